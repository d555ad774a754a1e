"""What a deleted object leaves: gone with it where the zone keeps the log, in the outbox where it does not."""

from __future__ import annotations

import pytest

from koinon.errors import ActionError
from koinon.federation import outbox
from koinon.identity import vdcs
from koinon.identity.vdc_record import get as get_vdc
from koinon.infrastructure import clusters, documents, hosts, targets
from koinon.objects.kinds import Kind
from koinon.wire.messages import decode
from koinon.wire.zone_operations import OBJECT_DELETED, ObjectDeleted
from tests.identity.site import ADMIN
from tests.infrastructure.ground import Ground


def _waiting(ground: Ground) -> list[ObjectDeleted]:
    found = ground.read(outbox.waiting)
    assert {one.operation.kind for one in found} <= {OBJECT_DELETED}
    return [decode(ObjectDeleted, one.operation.body) for one in found]


def test_a_deleted_object_leaves_its_vdcs_in_the_same_transaction(ground: Ground) -> None:
    """On a zone that keeps the log."""
    host = ground.host("h0")
    vdc = ground.write(lambda tx: vdcs.create(tx, ADMIN, 'NAME="lab"'))
    ground.write(lambda tx: vdcs.give_to_group(tx, ADMIN, vdc, 1))
    before = ground.rules()
    ground.write(lambda tx: vdcs.add_resource(tx, ADMIN, vdc, 0, host, kind=Kind.HOST, local_target=targets.find))
    assert len(ground.rules()) > len(before)
    ground.write(lambda tx: hosts.delete(tx, ADMIN, host))
    assert ground.rules() == before
    assert ground.read(lambda tx: get_vdc(tx, vdc)).members(Kind.HOST) == []
    assert _waiting(ground) == []


def test_without_the_log_it_waits_in_the_outbox_in_order(ground: Ground) -> None:
    cluster, host, document = ground.cluster("east"), ground.host("h0"), ground.document(ADMIN)
    ground.change(lambda tx: documents.delete(tx, ADMIN, document))
    ground.change(lambda tx: hosts.delete(tx, ADMIN, host))
    ground.change(lambda tx: clusters.delete(tx, ADMIN, cluster))
    assert _waiting(ground) == [ObjectDeleted("DOCUMENT", document), ObjectDeleted("HOST", host), ObjectDeleted("CLUSTER", cluster)]
    assert len({one.request_id for one in ground.read(outbox.waiting)}) == 3


def test_what_was_not_deleted_is_not_told(ground: Ground) -> None:
    """Deletion and operation are one transaction: neither is there without the other."""
    east = ground.cluster("east")
    ground.host("h0", east)
    with pytest.raises(ActionError, match="is not empty"):
        ground.change(lambda tx: clusters.delete(tx, ADMIN, east))
    assert _waiting(ground) == []


def test_whether_an_object_is_known(ground: Ground) -> None:
    host = ground.host("h0")
    asked = [(Kind.HOST, host), (Kind.HOST, host + 1), (Kind.CLUSTER, 0), (Kind.CLUSTER, 77), (Kind.DATASTORE, 0), (Kind.NET, 0)]
    assert ground.read(lambda tx: [targets.known(tx, kind, oid) for kind, oid in asked]) == [True, False, True, False, None, None]

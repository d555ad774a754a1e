"""What a zone may have changed in shared data because of an object of its own: that, once, and nothing of other zones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from koinon.database.transactions import ReadTx
from koinon.errors import ActionError, UnavailableError
from koinon.federation import operations, trust
from koinon.federation.replies import Reply
from koinon.identity import acl, vdcs, zones
from koinon.objects.acl import Rule
from koinon.objects.kinds import SHARED_TABLE_OF, Kind
from koinon.objects.template import Template
from koinon.wire.messages import encode
from koinon.wire.zone_operations import OBJECT_DELETED, ObjectDeleted, ZoneOperation
from tests.identity.site import ADMIN, Site

pytestmark = pytest.mark.engines

OWN, BRANCH, OTHER = 0, 100, 101
KEY = trust.key_text(bytes(32))
REQUEST_ID = "ab" * 16


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Site]:
    """With two more zones, both enrolled."""
    site = Site(tmp_path)
    site.become_master()
    for zone_id, name in ((BRANCH, "branch"), (OTHER, "other")):
        _add_zone(site, name)
        _trust(site, zone_id, "ENROLLED")
    yield site
    site.close()


def _add_zone(site: Site, name: str) -> None:
    site.write(lambda tx: zones.create(tx, ADMIN, f'NAME="{name}" ENDPOINT="http://{name}:2633/RPC2"'))


def _trust(site: Site, zone_id: int, word: str) -> None:
    template = Template()
    for name, value in (("ENDPOINT", "http://x:2633/RPC2"), ("PUBLIC_KEY", KEY), ("TRUST", word)):
        template.set(name, value)
    site.write(lambda tx: tx.update("zone_pool", zones.Zone(zone_id, f"zone{zone_id}", 0, template).as_row()))


def _nothing_kept(_tx: ReadTx, _kind: Kind, _oid: int) -> None:
    """No zone's objects can be seen from here."""


def _allow(site: Site, text: str) -> None:
    site.write(lambda tx: acl.add_rule(tx, ADMIN, Rule.parse(text, OWN)))


def _vdc(site: Site, kind: Kind, *members: tuple[int, int]) -> int:
    vdc = site.write(lambda tx: vdcs.create(tx, ADMIN, f'NAME="{kind.acl_name}"'))
    site.write(lambda tx: vdcs.give_to_group(tx, ADMIN, vdc, 1))
    for zone_id, oid in members:
        _open(site, vdc, kind, zone_id, oid)
    return vdc


def _open(site: Site, vdc: int, kind: Kind, zone_id: int, oid: int) -> None:
    site.write(lambda tx: vdcs.add_resource(tx, ADMIN, vdc, zone_id, oid, kind=kind, local_target=_nothing_kept))


def _members(site: Site, vdc: int, kind: Kind) -> list[tuple[int, int]]:
    return site.read(lambda tx: vdcs.get(tx, vdc)).members(kind)


def _receive(site: Site, operation: ZoneOperation, *, by: int = BRANCH, request_id: str = REQUEST_ID, halted: str | None = None) -> Reply:
    return site.run(operations.receive(site.database, lambda: halted, encode(operation), by, request_id))


@pytest.mark.parametrize("kind", [Kind.HOST, Kind.CLUSTER, Kind.NET, Kind.DATASTORE, Kind.DOCUMENT])
def test_a_deleted_object_takes_along_what_counts_in_its_zone(master: Site, kind: Kind) -> None:
    word = kind.acl_name
    vdc_kind = kind if kind is not Kind.DOCUMENT else Kind.HOST
    vdc = _vdc(master, vdc_kind, (OTHER, 7), (OWN, 7), (BRANCH, 8))
    kept = [
        f"#5 {word}/#7 USE #{OTHER}",
        f"#5 {word}/#7 USE #{OWN}",
        f"#5 {word}/#8 USE #{BRANCH}",
        f"#5 {word}+IMAGE/#7 USE #{BRANCH}",
        f"#5 NET/@7 USE #{BRANCH}",
        f"#5 {word}/* USE #{BRANCH}",
        f"#5 HOST/%7 MANAGE #{OTHER}",
    ]
    for text in kept:
        _allow(master, text)
    before, members = sorted(master.rules()), _members(master, vdc, vdc_kind)
    gone = [f"#5 {word}/#7 USE #{BRANCH}", f"@1 {word}/#7 USE+MANAGE #{BRANCH}"]
    if kind is Kind.CLUSTER:
        gone += [f"#5 HOST/%7 MANAGE #{BRANCH}", f"#5 NET/%7 USE #{BRANCH}"]
    for text in gone:
        _allow(master, text)
    if kind is not Kind.DOCUMENT:
        _open(master, vdc, kind, BRANCH, 7)
    assert len(master.rules()) > len(before)

    assert _receive(master, operations.object_deleted(kind, 7)).status == 204

    assert sorted(master.rules()) == before
    assert _members(master, vdc, vdc_kind) == members


def test_the_same_request_changes_nothing_a_second_time(master: Site) -> None:
    _allow(master, f"#5 HOST/#7 USE #{BRANCH}")
    operation = operations.object_deleted(Kind.HOST, 7)
    assert _receive(master, operation).status == 204
    _allow(master, f"#5 HOST/#7 MANAGE #{BRANCH}")
    after = master.rules()
    head = master.database.state().position
    assert _receive(master, operation).status == 204
    assert (master.rules(), master.database.state().position) == (after, head)


def test_a_request_id_belongs_to_one_operation(master: Site) -> None:
    _allow(master, f"#5 HOST/#7 USE #{BRANCH}")
    _receive(master, operations.object_deleted(Kind.HOST, 7))
    with pytest.raises(ActionError, match="was used for another request"):
        _receive(master, operations.object_deleted(Kind.HOST, 8))


@pytest.mark.parametrize("word", ["REVOKED", "LEFT", "INVITED", ""])
def test_a_zone_without_trust_changes_nothing(master: Site, word: str) -> None:
    """Also one whose request came in before its trust ended."""
    _allow(master, f"#5 HOST/#7 USE #{BRANCH}")
    _trust(master, BRANCH, word)
    before = master.rules()
    with pytest.raises(ActionError, match=f"Zone {BRANCH} is not enrolled"):
        _receive(master, operations.object_deleted(Kind.HOST, 7))
    assert master.rules() == before


@pytest.mark.parametrize("kind", list(SHARED_TABLE_OF))
def test_what_belongs_to_the_federation_is_no_zone_s_to_delete(master: Site, kind: Kind) -> None:
    if kind is not Kind.ACL:
        _allow(master, f"#5 {kind.acl_name}/#1 USE #{BRANCH}")
    before = master.rules()
    reply = _receive(master, operations.object_deleted(kind, 1))
    assert (reply.status, b"belongs to the whole federation" in reply.body) == (400, True)
    assert master.rules() == before


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (ZoneOperation("rule added", b""), b"no operation of a zone"),
        (ZoneOperation(OBJECT_DELETED, b""), b"not a ObjectDeleted"),
        (ZoneOperation(OBJECT_DELETED, msgspec.msgpack.encode(["HOST", "7"])), b"not a ObjectDeleted"),
        (ZoneOperation(OBJECT_DELETED, encode(ObjectDeleted("COMPUTER", 7))), b"no objects of the kind"),
        (ZoneOperation(OBJECT_DELETED, encode(ObjectDeleted("HOST", -1))), b"no id of an object"),
        (ZoneOperation(OBJECT_DELETED, encode(ObjectDeleted("HOST", 2**31))), b"no id of an object"),
    ],
)
def test_anything_else_is_refused_plainly(master: Site, operation: ZoneOperation, said: bytes) -> None:
    before = master.database.state().position
    reply = _receive(master, operation)
    assert (reply.status, said in reply.body) == (400, True)
    assert master.database.state().position == before


@pytest.mark.parametrize("body", [b"", b"\x00", b"\xc1", b"\x92\xa1a"])
def test_what_is_no_operation_is_refused(master: Site, body: bytes) -> None:
    assert master.run(operations.receive(master.database, lambda: None, body, BRANCH, REQUEST_ID)).status == 400


@pytest.mark.parametrize("request_id", ["", "ab", "AB" * 16, "zz" * 16, "ab" * 17])
def test_an_operation_needs_a_request_id(master: Site, request_id: str) -> None:
    reply = _receive(master, operations.object_deleted(Kind.HOST, 7), request_id=request_id)
    assert (reply.status, b"request id" in reply.body) == (400, True)


def test_a_master_that_stopped_shared_writes_takes_none(master: Site) -> None:
    _allow(master, f"#5 HOST/#7 USE #{BRANCH}")
    before = master.rules()
    with pytest.raises(UnavailableError, match="set back"):
        _receive(master, operations.object_deleted(Kind.HOST, 7), halted="This zone was set back.")
    assert master.rules() == before

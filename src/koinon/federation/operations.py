"""Zone operations: what a zone changes in shared data because of something that happened in it.

Path:     infrastructure.leftovers -> on a master or standalone zone forget_object(), on a slave outbox.put(object_deleted())
          -> POST /federation/v1/operation -> receive() on the master -> perform()
Holds:    an operation touches what counts in the zone that signed it, and nothing else: the zone is never a part of the message.
          The same request id changes nothing a second time.
Not here: how a slave keeps and sends them (outbox.py); whether the sender is who it says (listener.py).
Source:   OpenNebula src/acl/AclManager.cc (del_resource_rules, del_cid_rules), which removes the rules of every zone on its master and none
          on a slave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import structlog

from koinon.database.database import Database
from koinon.database.jobs import Request
from koinon.database.transactions import SharedTx
from koinon.errors import ActionError, UnavailableError
from koinon.federation import trust
from koinon.federation.replies import Reply, bad_request
from koinon.identity import acl, vdcs
from koinon.objects.kinds import SHARED_TABLE_OF, Kind
from koinon.wire.messages import MessageError, decode, encode
from koinon.wire.zone_operations import OBJECT_DELETED, ObjectDeleted, ZoneOperation

log = structlog.get_logger(__name__)

PATH: Final = "/federation/v1/operation"
MAX_BODY: Final = 4096
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{32}")
_MAX_ID: Final = 2**31 - 1


def object_deleted(kind: Kind, oid: int) -> ZoneOperation:
    """The operation that says that an object of this zone is gone for good."""
    return ZoneOperation(OBJECT_DELETED, encode(ObjectDeleted(kind.acl_name, oid)))


def forget_object(tx: SharedTx, zone_id: int, kind: Kind, oid: int) -> None:
    """Remove an object's places in VDCs, and the rules about it alone that count in its zone alone; a cluster's are also those about the
    objects in it. Rules of other zones may be about objects of theirs that have the same id.
    """
    vdcs.drop_resource(tx, kind, zone_id, oid)
    acl.drop_of_object(tx, zone_id, kind, oid)


def perform(tx: SharedTx, zone_id: int, operation: ZoneOperation) -> None:
    """Do what a zone's operation says, for that zone.

    Raises:
        MessageError: it is none that a zone may ask for.
    """
    gone = read(operation)
    forget_object(tx, zone_id, Kind[gone.kind], gone.oid)


def read(operation: ZoneOperation) -> ObjectDeleted:
    """The message in an operation, checked.

    Raises:
        MessageError: it is none that a zone may ask for.
    """
    if operation.kind != OBJECT_DELETED:
        raise MessageError(f"{operation.kind[:64]!r} is no operation of a zone")
    gone = decode(ObjectDeleted, operation.body)
    if gone.kind not in Kind.__members__:
        raise MessageError(f"there are no objects of the kind {gone.kind[:64]!r}")
    if Kind[gone.kind] in SHARED_TABLE_OF:
        raise MessageError(f"a {gone.kind} belongs to the whole federation, no zone deletes it by itself")
    if not 0 <= gone.oid <= _MAX_ID:
        raise MessageError(f"{gone.oid} is no id of an object")
    return gone


def request_of(zone_id: int, request_id: str, operation: ZoneOperation) -> Request:
    """How the log remembers an operation. It holds no secret, so its hash needs no key."""
    return Request(zone_id, request_id, blake2b(encode(operation), digest_size=32, person=b"koinon-operation").digest())


async def receive(database: Database, halted: Callable[[], str | None], body: bytes, zone_id: int, request_id: str) -> Reply:
    """The master's side: do what a zone says of itself, once (POST /federation/v1/operation).

    Args:
        database: the master's.
        halted: why shared writes are refused, None if they are not.
        body: a ZoneOperation.
        zone_id: the zone that proved to have sent it.
        request_id: as signed by that zone.

    Returns:
        204 once it is durable, 400 for what no zone may ask for.

    Raises:
        CloudError: not now: this zone is no master, shared writes are stopped, the sender's trust has just ended.
    """
    try:
        operation = decode(ZoneOperation, body)
        read(operation)
    except MessageError as error:
        log.warning("zone operation refused", zone=zone_id, request=request_id, error=str(error))
        return bad_request(str(error))
    if _REQUEST_ID.fullmatch(request_id) is None:
        return bad_request("a zone operation needs a request id of 32 hex digits")
    why = halted()
    if why is not None:
        raise UnavailableError(why)

    def job(tx: SharedTx) -> None:
        if trust.trusted_key(tx, zone_id) is None:
            raise ActionError(f"Zone {zone_id} is not enrolled.")  # it was when its request came in
        perform(tx, zone_id, operation)

    written = await database.write_shared("zone operation", job, request=request_of(zone_id, request_id, operation))
    log.info("zone operation done", zone=zone_id, request=request_id, kind=operation.kind, repeated=written.repeated)
    return Reply(204)

"""The servers that a zone's record lists: its front-ends, each with a name and an address for clients.

Path:     the zone itself -> add(), remove() -> zones.store() on the master
Holds:    ids grow from 0; a new one is above all that are in use.
Not here: servers among themselves. Those of a zone share its database, so the list is for people and clients only.
Source:   OpenNebula src/rm/api/ZoneAPI.cc, src/zone/Zone.cc, include/ZoneServer.h (effects and texts).
"""

from __future__ import annotations

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import ActionError, InvalidChangeError
from koinon.identity import access, zones
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller


def add(tx: SharedTx, caller: Caller, oid: int, text: str) -> int:
    """Put a server into a zone's record. Needs ZONE:ADMIN.

    Args:
        tx: the write.
        caller: who asks.
        oid: the zone.
        text: template with ``SERVER = [ NAME, ENDPOINT or ENDPOINT_GRPC ]``; other keys are kept, ID is chosen here.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: the template can't be read, or a part is missing.
    """
    _require_admin(tx, caller, oid)
    try:
        server = Template.parse(text).vector("SERVER")
    except ValueError as error:
        raise InvalidChangeError(str(error)) from error
    if server is None:
        raise InvalidChangeError("Missing SERVER in the template: write SERVER = [ NAME = ..., ENDPOINT = ... ].")
    if not server.get("NAME"):
        raise InvalidChangeError("Missing NAME in SERVER")
    if not (server.get("ENDPOINT") or server.get("ENDPOINT_GRPC")):
        raise InvalidChangeError("Missing ENDPOINT or ENDPOINT_GRPC in SERVER")
    zone = zones.get(tx, oid)
    server["ID"] = str(1 + max((_id(other) for other in zone.servers), default=-1))
    zone.servers.append(server)
    zones.store(tx, zone)
    return oid


def remove(tx: SharedTx, caller: Caller, oid: int, server_id: int) -> int:
    """Take a server out of a zone's record. Needs ZONE:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: the record has no such server.
    """
    _require_admin(tx, caller, oid)
    zone = zones.get(tx, oid)
    kept = [server for server in zone.servers if _id(server) != server_id]
    if len(kept) == len(zone.servers):
        raise ActionError("SERVER not found in zone")
    zone.servers = kept
    zones.store(tx, zone)
    return oid


def reset(tx: ReadTx, caller: Caller, oid: int, _server_id: int) -> int:
    """Have a server copied anew: nothing is copied between the servers of a zone. As in OpenNebula any id will do. Needs ZONE:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
    """
    _require_admin(tx, caller, oid)
    return oid


def _require_admin(tx: ReadTx, caller: Caller, oid: int) -> None:
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.ZONE, oid))


def _id(server: dict[str, str]) -> int:
    """The id; -1 for one that is none, which only another program can have written."""
    text = server.get("ID", "")
    return int(text) if text.isascii() and text.isdigit() else -1

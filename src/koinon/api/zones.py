"""Who does what the rows about zones promise."""

from __future__ import annotations

from functools import partial

from koinon.api.bindings import Bindings, Services
from koinon.database.transactions import ReadTx
from koinon.identity import access, zone_servers, zones
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.xml import escape
from koinon.policy.caller import Caller


def raft_status(tx: ReadTx, caller: Caller) -> bytes:
    """How far the zone's log is, in the words of a server without peers in its own zone. Needs ZONE:ADMIN on this zone.

    Source: OpenNebula src/raft/RaftManager.cc: state 0 is SOLO; FEDLOG_INDEX is -1 outside a federation.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.ZONE, tx.state.zone_id))
    federated = tx.state.position if tx.state.role != "standalone" else -1
    fields = {
        "SERVER_ID": -1,
        "STATE": 0,
        "TERM": 0,
        "VOTEDFOR": -1,
        "COMMIT": 0,
        "LOG_INDEX": -1,
        "LOG_TERM": -1,
        "FEDLOG_INDEX": federated,
    }
    return escape(f"<RAFT>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</RAFT>").encode()


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about zones."""
    bindings.bind("one.zone.allocate", zones.create)
    bindings.bind("one.zone.delete", zones.delete)
    bindings.bind("one.zone.info", lambda tx, caller, oid, _decrypt: zones.show(tx, caller, oid))
    bindings.bind("one.zone.update", zones.update)
    bindings.bind("one.zone.rename", zones.rename)
    bindings.bind("one.zone.enable", zones.set_enabled)
    bindings.bind("one.zone.addserver", zone_servers.add)
    bindings.bind("one.zone.delserver", zone_servers.remove)
    bindings.bind("one.zone.resetserver", zone_servers.reset)
    bindings.bind("one.zone.raftstatus", raft_status)
    bindings.bind("one.zonepool.info", partial(zones.pool_document, ascending=services.ascending))

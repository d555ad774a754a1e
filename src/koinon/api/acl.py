"""Who does what the rows about ACL rules promise."""

from __future__ import annotations

import structlog

from koinon.api.bindings import Bindings
from koinon.database.transactions import ReadTx, SharedTx
from koinon.identity import acl, explanation, rule_changes
from koinon.infrastructure import targets
from koinon.policy.caller import Caller

log = structlog.get_logger(__name__)


def add_rule(tx: SharedTx, caller: Caller, user: str, resource: str, rights: str, zone: str) -> int:
    """Store a rule from its hexadecimal fields; without a zone it counts in the zone that stores it, the master.

    Source: OpenNebula src/rm/api/AclAPI.cc: the daemon that executes the call fills the zone in.
    """
    if not zone:
        log.warning("a rule without a zone counts in the master's zone", zone=tx.state.zone_id, uid=caller.uid)
    return acl.add_rule(tx, caller, acl.parse(user, resource, rights, zone, default_zone=tx.state.zone_id))


def explain(tx: ReadTx, caller: Caller, uid: int, right: str, target: str, zone_id: int) -> str:
    """Say why a user may or may not do something."""
    return explanation.answer(tx, caller, uid, right, target, zone_id, local_target=targets.find)


def diff(tx: ReadTx, caller: Caller, changes: str) -> str:
    """Say what a change of rules would grant and remove."""
    return rule_changes.difference(tx, caller, changes, local_targets=targets.all_of)


def bind(bindings: Bindings) -> None:
    """Bind every row about ACL rules."""
    bindings.bind("one.acl.addrule", add_rule)
    bindings.bind("one.acl.delrule", acl.delete_rule)
    bindings.bind("one.acl.info", acl.show_all)
    bindings.bind("koinon.acl.explain", explain)
    bindings.bind("koinon.acl.diff", diff, in_thread=True)

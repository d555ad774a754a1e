"""Ask policy/ about stored objects: the rules of this zone, an object as a target, and the refusal in OpenNebula's words.

Path:     an operation -> require_all() -> policy.decide
Not here: how a decision is made (policy/decide.py); what a call needs (wire/calls and the operations themselves).
Source:   OpenNebula src/authm/AuthManager.cc (texts), src/pool/PoolObjectAuth.cc (what an object shows of itself).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from koinon.database.transactions import ReadTx
from koinon.errors import AuthorizationError, NotFoundError
from koinon.objects import xml
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, decide
from koinon.policy.rules import RuleSet
from koinon.statements.schema import PoolRow

_OWNER_USE_MANAGE: Final = 0o600
_GROUP_USE: Final = 0o040
_BITS: Final = ("OWNER_U", "OWNER_M", "OWNER_A", "GROUP_U", "GROUP_M", "GROUP_A", "OTHER_U", "OTHER_M", "OTHER_A")
_WITHOUT_PERMISSIONS: Final = {Kind.USER: _OWNER_USE_MANAGE, Kind.GROUP: _OWNER_USE_MANAGE | _GROUP_USE, Kind.VDC: 0o600, Kind.ZONE: 0o600}


def rules(tx: ReadTx, zone_id: int) -> RuleSet:
    """The stored ACL rules that count in a zone, compiled once per version of ``acl``."""
    return tx.table_memo(
        "acl",
        ("rules", zone_id),
        lambda: RuleSet.compile((Rule(row.userset, row.resource, row.rights, row.zone) for row in tx.acl()), zone_id),
    )


def target_of(tx: ReadTx, kind: Kind, oid: int) -> Target:
    """One stored shared object as access decisions see it.

    Raises:
        NotFoundError: there is no such object.
    """
    target = tx.memo(kind.table, oid, "target", lambda row: _target(kind, row))
    if target is None:
        raise NotFoundError(kind.label, oid)
    return target


def targets_of(tx: ReadTx, kind: Kind) -> list[Target]:
    """All stored objects of a shared kind as access decisions see them."""
    return tx.memos(kind.table, "target", lambda row: _target(kind, row))


def new_object(caller: Caller, kind: Kind) -> Target:
    """An object that the caller wants to create: it has no id yet and will be the caller's."""
    return Target(kind=kind, oid=-1, uid=caller.uid, gid=caller.gid)


def the_whole(kind: Kind) -> Target:
    """No object in particular, as for ACL:MANAGE."""
    return Target(kind=kind, oid=-1, uid=-1, gid=-1)


def require(tx: ReadTx, caller: Caller, right: Right, target: Target) -> None:
    """Refuse unless the caller may do this.

    Raises:
        AuthorizationError: it may not.
    """
    require_all(tx, caller, [(right, target)])


def require_all(tx: ReadTx, caller: Caller, needs: Iterable[tuple[Right, Target]]) -> None:
    """Refuse unless the caller may do all of this; every need that fails is named.

    Raises:
        AuthorizationError: at least one need is not met.
    """
    needs = list(needs)
    if caller.is_admin and not any(target.locked for _, target in needs):
        return  # no rule is looked at for them; compiling all after each change of one would be most of what such a change costs
    compiled = rules(tx, caller.zone_id)
    failed = [_missing(caller, right, target) for right, target in needs if not decide(caller, right, target, compiled)]
    if failed:
        raise AuthorizationError.denied(caller.uid, "; ".join(failed))


def _missing(caller: Caller, right: Right, target: Target) -> str:
    if caller.is_admin:  # whom nothing but a lock stops
        return f"{target.kind.acl_name} is locked. [{target.oid}]"
    which = f" [{target.oid}]" if target.oid >= 0 else ""
    return f"Not authorized to perform {right.name} {target.kind.acl_name}{which}"


def _target(kind: Kind, row: PoolRow) -> Target:
    bits = _WITHOUT_PERMISSIONS.get(kind)
    if bits is not None:
        return Target(kind=kind, oid=row.oid, uid=row.uid, gid=row.gid, bits=bits)
    root = xml.parse(row.body)
    bits = 0
    for name in _BITS:
        bits = bits << 1 | (root.findtext(f"PERMISSIONS/{name}") == "1")
    return Target(kind=kind, oid=row.oid, uid=row.uid, gid=row.gid, bits=bits, locked=int(root.findtext("LOCK/LOCKED") or 0))

"""Groups: create, delete, update, administrators.

Holds:    an administrator is a member; the rules of the role exist exactly as long as the role.
Not here: who is a member (users.py changes it, membership.py derives it).
Source:   OpenNebula src/rm/api/GroupAPI.cc, src/group/GroupPool.cc (effects and texts).
"""

from __future__ import annotations

from typing import Final

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import ActionError, ConflictError, NotFoundError, TakenError
from koinon.identity import access, acl, template_updates, vdcs
from koinon.identity.group_record import Group, document, pool_document, rules_of_admin, show
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

__all__ = [
    "ADMINS", "FIRST_ID", "USERS", "Group", "add_admin", "create", "del_admin", "delete", "document", "drop_member", "get", "pool_document",
    "show", "update",
]  # fmt: skip

ADMINS: Final = 0  #: the group whose members may do everything
USERS: Final = 1  #: the group of users that an administrator creates
FIRST_ID: Final = 100
_TABLE: Final = "group_pool"


def get(tx: ReadTx, oid: int) -> Group:
    """One group. Raises NotFoundError."""
    return Group.from_row(_row(tx, oid))


def name_of(tx: ReadTx, oid: int) -> str:
    """A group's name, without reading the rest of it. Raises NotFoundError."""
    return _row(tx, oid).name


def _row(tx: ReadTx, oid: int) -> PoolRow:
    row = tx.row(_TABLE, oid)
    if row is None:
        raise NotFoundError(Kind.GROUP.label, oid)
    return row


def create(tx: SharedTx, caller: Caller, name: str) -> int:
    """Add a group; it joins the default VDC.

    Returns:
        Its id.

    Raises:
        AuthorizationError: the caller lacks GROUP:CREATE.
        InvalidError, TakenError: the name is not allowed, or taken.
    """
    access.require(tx, caller, Right.CREATE, access.new_object(caller, Kind.GROUP))
    require_name(name, Kind.GROUP)
    taken = tx.named(_TABLE, name)
    if taken is not None:
        raise TakenError(Kind.GROUP.acl_name, taken.oid)
    oid = tx.next_id(_TABLE, at_least=FIRST_ID)
    tx.insert(_TABLE, Group(oid, name, Template(), []).as_row())
    vdcs.add_group(tx, vdcs.DEFAULT_VDC, oid)
    return oid


def delete(tx: SharedTx, caller: Caller, oid: int) -> int:
    """Remove an empty group, its rules, and its places in VDCs.

    Raises:
        NotFoundError, AuthorizationError: no such group; the caller lacks GROUP:ADMIN.
        ActionError: a system group, or it has members.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.GROUP, oid))
    if oid < FIRST_ID:
        raise ActionError("Cannot delete group. System Groups (ID < 100) cannot be deleted.", object_id=oid)
    if tx.members(oid):
        raise ActionError(f"Cannot delete group. Group {oid} is not empty.", object_id=oid)
    tx.delete(_TABLE, oid)
    vdcs.drop_group(tx, oid)
    acl.drop_of_group(tx, oid)
    return oid


def update(tx: SharedTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a group's template; see ``template_updates.updated`` for the types and failures. Needs GROUP:ADMIN."""
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.GROUP, oid))
    group = get(tx, oid)
    restricted = () if caller.is_admin else template_updates.RESTRICTED
    group.template = template_updates.updated(group.template, text, update_type, restricted=restricted)
    tx.update(_TABLE, group.as_row())
    return oid


def add_admin(tx: SharedTx, caller: Caller, oid: int, uid: int) -> int:
    """Make a member the group's administrator, with the rules of the role. Needs GROUP:ADMIN and USER:ADMIN.

    Raises:
        ConflictError: not a member, or administrator already.
    """
    group = _for_admin_change(tx, caller, oid, uid)
    if uid not in tx.members(oid):
        raise ConflictError(f"Cannot edit group. User {uid} is not part of Group {oid}.")
    if uid in group.admins:
        raise ConflictError(f"Cannot edit group. User {uid} is already an administrator of Group {oid}.")
    group.admins = sorted([*group.admins, uid])
    tx.update(_TABLE, group.as_row())
    for rule in rules_of_admin(oid, uid):
        acl.ensure(tx, rule)
    return oid


def del_admin(tx: SharedTx, caller: Caller, oid: int, uid: int) -> int:
    """Take the role of administrator from a user. Needs GROUP:ADMIN and USER:ADMIN.

    Raises:
        ConflictError: the user does not have it.
    """
    group = _for_admin_change(tx, caller, oid, uid)
    if uid not in group.admins:
        raise ConflictError(f"Cannot edit group. User {uid} is not an administrator of Group {oid}.")
    _end_role(tx, group, uid)
    return oid


def drop_member(tx: SharedTx, oid: int, uid: int) -> None:
    """What a group has to do when a user has left it: end the role of administrator. Nothing if there is none."""
    row = tx.row(_TABLE, oid)
    if row is None:
        return
    group = Group.from_row(row)
    if uid in group.admins:
        _end_role(tx, group, uid)


def _for_admin_change(tx: SharedTx, caller: Caller, oid: int, uid: int) -> Group:
    needs = [(Right.ADMIN, access.target_of(tx, Kind.GROUP, oid)), (Right.ADMIN, access.target_of(tx, Kind.USER, uid))]
    access.require_all(tx, caller, needs)
    return get(tx, oid)


def _end_role(tx: SharedTx, group: Group, uid: int) -> None:
    group.admins.remove(uid)
    tx.update(_TABLE, group.as_row())
    # The rule that all of a user's groups share stays while another of them needs it (OpenNebula drops it with the first).
    others = (Group.from_row(row) for row in tx.rows(_TABLE) if row.oid != group.oid and f"<ID>{uid}</ID>" in row.body)
    kept = {rule for other in others if uid in other.admins for rule in rules_of_admin(other.oid, uid)}
    for rule in rules_of_admin(group.oid, uid):
        if rule not in kept:
            acl.drop(tx, rule)

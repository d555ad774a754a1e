"""Who may set quotas and VLAN rules in this zone, and who sees its default quotas. Every zone has its own and changes only those.

Path:     api -> here -> accounting/
Not here: what a quota is (accounting/quotas.py); documents of users and groups (user_documents.py, group_record.py).
Source:   OpenNebula src/rm/api/UserAPI.cc, GroupAPI.cc, src/rm/RequestManagerSystem.cc (rights, order of checks, texts).
"""

from __future__ import annotations

from koinon.accounting import quota_rows
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import ActionError, AuthorizationError
from koinon.identity import access, groups, users
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller


def set_user_quotas(tx: ZoneTx, caller: Caller, oid: int, text: str) -> int:
    """Change a user's quotas in this zone. Needs USER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: user 0.
        InvalidChangeError: as ``Quotas.set_limits``.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.USER, oid))
    if oid == users.ONEADMIN:
        raise ActionError("Cannot set quotas for oneadmin user", object_id=oid)
    quota_rows.set_limits(tx, quota_rows.USERS, oid, text)
    return oid


def set_group_quotas(tx: ZoneTx, caller: Caller, oid: int, text: str) -> int:
    """Change a group's quotas in this zone. Needs GROUP:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: group 0.
        InvalidChangeError: as ``Quotas.set_limits``.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.GROUP, oid))
    if oid == groups.ADMINS:
        raise ActionError("Cannot set quotas for oneadmin group", object_id=oid)
    quota_rows.set_limits(tx, quota_rows.GROUPS, oid, text)
    return oid


def set_group_vlans(tx: ZoneTx, caller: Caller, oid: int, text: str) -> int:
    """Replace a group's VLAN rules in this zone. Needs GROUP:ADMIN.

    Raises:
        NotFoundError, AuthorizationError; InvalidChangeError as ``vlan_rules.rules_of``.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.GROUP, oid))
    quota_rows.set_vlan_rules(tx, oid, text)
    return oid


def user_defaults(tx: ReadTx, _caller: Caller) -> str:
    """The quotas of users who have none of their own here, for everybody to see."""
    return quota_rows.default(tx, quota_rows.USERS)


def group_defaults(tx: ReadTx, _caller: Caller) -> str:
    """The quotas of groups that have none of their own here, for everybody to see."""
    return quota_rows.default(tx, quota_rows.GROUPS)


def set_user_defaults(tx: ZoneTx, caller: Caller, text: str) -> str:
    """Change the quotas of users who have none of their own here; returns them.

    Raises:
        AuthorizationError: the session's primary group is not 0.
        InvalidChangeError: as ``Quotas.set_limits``.
    """
    _require_admins(caller)
    return quota_rows.set_default_limits(tx, quota_rows.USERS, text)


def set_group_defaults(tx: ZoneTx, caller: Caller, text: str) -> str:
    """Change the quotas of groups that have none of their own here; returns them. Raises as ``set_user_defaults``."""
    _require_admins(caller)
    return quota_rows.set_default_limits(tx, quota_rows.GROUPS, text)


def _require_admins(caller: Caller) -> None:
    if caller.gid != groups.ADMINS:
        raise AuthorizationError.denied(caller.uid, "The default quotas can only be updated by users in the oneadmin group")

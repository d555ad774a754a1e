"""Users: create, change, delete. Every zone of the federation knows them.

Holds:    a user's groups hold the primary one; user 0 stays, enabled, in group 0; what a password opened ends with it.
Not here: log-in tokens (login_tokens.py); replies (user_documents.py); hashing, which never happens in a transaction: operations take the
          verifier (passwords.py).
Source:   OpenNebula src/rm/api/UserAPI.cc, src/um/UserPool.cc (effects, order of checks, texts).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import ActionError, BadArgumentError, ConflictError, InvalidChangeError, InvalidError, NotFoundError, TakenError
from koinon.identity import access, acl, auth_drivers, groups, passwords, template_updates
from koinon.identity.user_documents import document, pool_document, show
from koinon.identity.user_record import User
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller

__all__ = [
    "ONEADMIN", "User", "add_group", "change_driver", "change_primary_group", "create", "del_group", "delete", "document", "driver_of",
    "get", "new_verifier", "pool_document", "require_create", "require_driver_change", "set_enabled", "set_verifier", "show", "update",
]  # fmt: skip

ONEADMIN: Final = 0
_FIRST_ID: Final = 2
_TABLE: Final = "user_pool"
_DRIVER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def get(tx: ReadTx, oid: int) -> User:
    """One user. Raises NotFoundError."""
    row = tx.row(_TABLE, oid)
    if row is None:
        raise NotFoundError(Kind.USER.label, oid)
    return User.from_row(row)


def driver_of(tx: ReadTx, caller: Caller, oid: int) -> str:
    """The driver that a new password of this user is for, asked before it is hashed.

    Raises:
        NotFoundError, AuthorizationError, ActionError: as ``set_verifier`` would.
    """
    return _for_password(tx, caller, oid).driver


async def new_verifier(hasher: passwords.Hasher, secret: str, driver: str, scheme: passwords.Scheme, *, creating: bool = False) -> str:
    """What to store for a password: a hash for ``core``, the text itself for drivers that check it elsewhere.

    Args:
        hasher: does the work.
        secret: the password.
        driver: empty for ``core``.
        scheme: how this zone stores passwords.
        creating: it is for a new user, whose refusal has another code.

    Raises:
        InvalidChangeError, InvalidError: it can't be a password.
        UnavailableError: too many hashes wait.
    """
    wrong = passwords.problem(secret, driver or auth_drivers.CORE)
    if wrong and creating:
        raise InvalidError(f"{wrong}.")
    if wrong:
        raise InvalidChangeError(wrong)
    return await hasher.make(secret, scheme) if driver in ("", auth_drivers.CORE) else secret


def create(tx: SharedTx, caller: Caller, name: str, verifier: str, driver: str, group_ids: Sequence[int], *, token_password: str) -> int:
    """Add a user to the whole federation.

    Args:
        tx: the transaction.
        caller: needs USER:CREATE, and GROUP:MANAGE of each listed group but its own primary one.
        name: not taken, without blanks.
        verifier: from ``new_verifier``.
        driver: empty for ``core``.
        group_ids: the primary group and others; empty for group 1 if an administrator asks, else the caller's primary group.
        token_password: a random key for tokens of the user's machines, made outside so that the job can run again.

    Returns:
        The user's id.

    Raises:
        NotFoundError: a listed group does not exist.
        AuthorizationError: the caller may not.
        InvalidError, TakenError: name or driver not allowed, or the name taken.
    """
    require_create(tx, caller, group_ids)
    require_name(name, Kind.USER)
    driver = driver or auth_drivers.CORE
    _require_driver_name(driver, InvalidError)
    taken = tx.named(_TABLE, name)
    if taken is not None:
        raise TakenError(Kind.USER.acl_name, taken.oid)
    gid = group_ids[0] if group_ids else groups.USERS if caller.gid == groups.ADMINS else caller.gid
    template = Template()
    template.set("TOKEN_PASSWORD", token_password)
    user = User(
        oid=tx.next_id(_TABLE, at_least=_FIRST_ID),
        gid=gid,
        groups=sorted({gid, *group_ids}),
        gname=groups.name_of(tx, gid),
        name=name,
        password=verifier,
        driver=driver,
        enabled=True,
        tokens=[],
        template=template,
    )
    tx.insert(_TABLE, user.as_row())
    return user.oid


def require_create(tx: ReadTx, caller: Caller, group_ids: Sequence[int]) -> None:
    """Refuse a caller who may not create users, or not in these groups; also asked before a password is hashed for nothing.

    Raises:
        NotFoundError, AuthorizationError: as ``create``.
    """
    needs = [(Right.CREATE, access.new_object(caller, Kind.USER))]
    for gid in dict.fromkeys(group_ids):
        target = access.target_of(tx, Kind.GROUP, gid)
        if gid != caller.gid:
            needs.append((Right.MANAGE, target))
    access.require_all(tx, caller, needs)


def delete(tx: SharedTx, caller: Caller, oid: int) -> int:
    """Remove a user and the rules for it; what it owns stays. Needs USER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: user 0.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.USER, oid))
    user = get(tx, oid)
    if oid == ONEADMIN:
        raise ActionError("Cannot delete user. oneadmin cannot be deleted.", object_id=oid)
    tx.delete(_TABLE, oid)
    for gid in user.groups:
        groups.drop_member(tx, gid, oid)
    acl.drop_of_user(tx, oid)
    return oid


def update(tx: SharedTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a user's template; see ``template_updates.updated`` for the types and failures. Needs USER:MANAGE."""
    access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.USER, oid))
    user = get(tx, oid)
    restricted = () if caller.is_admin else template_updates.RESTRICTED
    user.template = template_updates.updated(user.template, text, update_type, restricted=restricted)
    tx.update(_TABLE, user.as_row())
    return oid


def set_verifier(tx: SharedTx, caller: Caller, oid: int, verifier: str, *, driver: str) -> int:
    """Change a user's password; its log-in tokens end. Needs USER:MANAGE.

    Args:
        tx: the transaction.
        caller: who asks.
        oid: the user.
        verifier: from ``new_verifier``.
        driver: the one that the verifier was made for.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: the user's driver has its passwords elsewhere, or changed meanwhile.
    """
    user = _for_password(tx, caller, oid)
    if user.driver != driver:
        raise ActionError(f"The driver of user {oid} changed to {user.driver} meanwhile. Set the password again.", object_id=oid)
    user.password = verifier
    user.tokens = []
    tx.update(_TABLE, user.as_row())
    return oid


def change_driver(tx: SharedTx, caller: Caller, oid: int, driver: str, verifier: str) -> int:
    """Change a user's auth driver, and the password unless ``verifier`` is empty. Needs USER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: not the name of a driver.
    """
    require_driver_change(tx, caller, oid)
    _require_driver_name(driver, InvalidChangeError)
    user = get(tx, oid)
    user.driver = driver
    if verifier:
        user.password = verifier
        user.tokens = []
    tx.update(_TABLE, user.as_row())
    return oid


def require_driver_change(tx: ReadTx, caller: Caller, oid: int) -> None:
    """Refuse a caller who may not change this user's driver; also asked before a password is hashed for nothing.

    Raises:
        NotFoundError, AuthorizationError: as ``change_driver``.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.USER, oid))


def set_enabled(tx: SharedTx, caller: Caller, oid: int, enabled: bool) -> int:
    """Let a user log in, or not any more. Needs USER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: user 0.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.USER, oid))
    if oid == ONEADMIN:
        raise ActionError("Cannot enable/disable oneadmin user", object_id=oid)
    user = get(tx, oid)
    user.enabled = enabled
    tx.update(_TABLE, user.as_row())
    return oid


def change_primary_group(tx: SharedTx, caller: Caller, oid: int, gid: int) -> int:
    """Make another group the primary one. The old one is left unless the new one was a group of the user already.

    Needs USER:MANAGE and GROUP:USE.

    Raises:
        BadArgumentError: a negative group, or the user's driver keeps the groups.
        ConflictError: user 0.
        NotFoundError, AuthorizationError.
    """
    if gid < 0:
        raise BadArgumentError("Wrong group ID", object_id=oid)
    target = access.target_of(tx, Kind.USER, oid)
    user = get(tx, oid)
    is_new = gid not in user.groups
    if is_new and auth_drivers.driver(user.driver).managed_groups:
        raise BadArgumentError(f"Groups cannot be manually managed for auth driver {user.driver}", object_id=oid)
    new_group = access.target_of(tx, Kind.GROUP, gid)
    if oid == ONEADMIN:
        raise ConflictError(
            f"{Kind.USER.label} [{ONEADMIN}] {user.name} cannot be moved outside of the {Kind.GROUP.label} [{groups.ADMINS}] "
            f"{groups.name_of(tx, groups.ADMINS)}",
            object_id=oid,
        )
    access.require_all(tx, caller, [(Right.MANAGE, target), (Right.USE, new_group)])
    old_gid = user.gid
    if old_gid == gid:
        return oid
    user.gid, user.gname = gid, groups.name_of(tx, gid)
    if is_new:
        user.join(gid)
        user.leave(old_gid)
    tx.update(_TABLE, user.as_row())
    if is_new:
        groups.drop_member(tx, old_gid, oid)
    return oid


def add_group(tx: SharedTx, caller: Caller, oid: int, gid: int) -> int:
    """Add a secondary group. Needs USER:MANAGE and GROUP:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: a group of the user already, or the user's driver keeps the groups.
    """
    user = _for_group_change(tx, caller, oid, gid)
    if gid in user.groups:
        raise ActionError("User is already in this group", object_id=oid)
    user.join(gid)
    tx.update(_TABLE, user.as_row())
    return oid


def del_group(tx: SharedTx, caller: Caller, oid: int, gid: int) -> int:
    """Take a user out of a secondary group. Needs USER:MANAGE and GROUP:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: not a group of the user, its primary one, or the user's driver keeps the groups.
    """
    user = _for_group_change(tx, caller, oid, gid)
    if gid not in user.groups:
        raise ActionError("User is not part of this group", object_id=oid)
    if gid == user.gid:
        raise ActionError("Cannot remove user from the primary group", object_id=oid)
    user.leave(gid)
    tx.update(_TABLE, user.as_row())
    groups.drop_member(tx, gid, oid)
    return oid


def _for_password(tx: ReadTx, caller: Caller, oid: int) -> User:
    access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.USER, oid))
    user = get(tx, oid)
    if not caller.is_admin and not auth_drivers.driver(user.driver).password_change:
        raise ActionError(f"Password for driver {user.driver} cannot be changed.", object_id=oid)
    return user


def _for_group_change(tx: ReadTx, caller: Caller, oid: int, gid: int) -> User:
    target = access.target_of(tx, Kind.USER, oid)
    user = get(tx, oid)
    if auth_drivers.driver(user.driver).managed_groups:
        raise ActionError(f"Groups cannot be manually managed for auth driver {user.driver}", object_id=oid)
    needs = [(Right.MANAGE, target), (Right.MANAGE, access.target_of(tx, Kind.GROUP, gid))]
    access.require_all(tx, caller, needs)
    return user


def _require_driver_name(name: str, error: type[InvalidChangeError] | type[InvalidError]) -> None:
    if _DRIVER_NAME.fullmatch(name) is None:
        raise error(f"{name[:64]!r} can't name an auth driver: use letters, digits, '_', '.' and '-', at most 64.")

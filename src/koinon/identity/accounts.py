"""Find the accounts that log-in works with, each read once per version of its user, and make callers of them."""

from __future__ import annotations

from typing import Final

from koinon.database.transactions import ReadTx
from koinon.identity.login_tokens import ANY_GROUP
from koinon.identity.user_record import Account
from koinon.policy.caller import Caller
from koinon.statements.schema import MAX_NAME_BYTES

_TABLE: Final = "user_pool"


def with_id(tx: ReadTx, uid: int) -> Account | None:
    """The account of the user with this id."""
    return tx.memo(_TABLE, uid, "account", Account.from_row)


def with_name(tx: ReadTx, name: str) -> Account | None:
    """The account of the user with this name, which may be any text."""
    try:
        if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
            return None
    except UnicodeEncodeError:
        return None
    row = tx.named(_TABLE, name)
    return None if row is None else with_id(tx, row.oid)


def caller(account: Account, egid: int, zone_id: int) -> Caller:
    """Who calls in a session of this account; ``egid`` narrows it to one group unless it is ANY_GROUP."""
    if egid == ANY_GROUP:
        return Caller(uid=account.uid, gid=account.gid, groups=account.groups, name=account.name, zone_id=zone_id)
    return Caller(uid=account.uid, gid=egid, groups=(egid,), name=account.name, zone_id=zone_id)

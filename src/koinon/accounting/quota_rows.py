"""Where a zone keeps its quotas and VLAN rules, and the elements that documents of users and groups show of them.

Holds:    rows are local: no other zone writes or reads them. Whoever has none has no row. A user or group that is gone, or whose id now
          belongs to another, leaves no row in any zone: each zone drops its own as it applies the change.
          A write says whose documents it changes (``touch``), so documents are computed once and are never behind.
Source:   OpenNebula src/um/QuotasSQL.cc, src/um/DefaultQuotas.cc (tables, elements); protocol: quotas stand beside users in lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from koinon.accounting.quotas import Quotas
from koinon.accounting.vlan_rules import rules_of
from koinon.database.cursor import Cursor, ReadCursor
from koinon.database.local_pools import require_size
from koinon.database.row_changes import Derivation, Follow
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import DefectError
from koinon.statements.schema import PoolRow

NONE: Final = Quotas().to_xml()


class Holders(msgspec.Struct, frozen=True):
    """Users or groups: those that have quotas.

    Attributes:
        pool: their shared table.
        table: where their quotas are.
        key: its column with their id.
        default: name of the default quotas in system_attributes, and their element.
    """

    pool: str
    table: str
    key: str
    default: str


USERS: Final = Holders("user_pool", "user_quotas", "user_oid", "DEFAULT_USER_QUOTAS")
GROUPS: Final = Holders("group_pool", "group_quotas", "group_oid", "DEFAULT_GROUP_QUOTAS")


def inside(tx: ReadCursor, holders: Holders, oid: int) -> str:
    """The four elements in the document of a user or a group."""
    body = _body(tx, holders, oid)
    return NONE if body is None else body.removeprefix(_head(oid)).removesuffix(_TAIL)


def beside(tx: ReadCursor, holders: Holders, oid: int) -> str:
    """The element that follows a user or a group in a list."""
    return _body(tx, holders, oid) or f"{_head(oid)}{NONE}{_TAIL}"


def default(tx: ReadCursor, holders: Holders) -> str:
    """The element with the quotas of those who have none of their own."""
    found = tx.fetch("SELECT body FROM system_attributes WHERE name = ?", (holders.default,))
    return str(found[0][0]) if found else f"<{holders.default}>{NONE}</{holders.default}>"


def vlan_rules(tx: ReadCursor, gid: int) -> str:
    """The element with a group's VLAN rules."""
    found = tx.fetch("SELECT body FROM group_vlans WHERE group_oid = ?", (gid,))
    return str(found[0][0]) if found else _vlan_rules(gid, "")


def set_limits(tx: ZoneTx, holders: Holders, oid: int, text: str) -> None:
    """Change the quotas of one user or group; see ``Quotas.set_limits`` for the template and failures, and ``require_size``."""
    body = _body(tx, holders, oid)
    quotas = Quotas() if body is None else _read(body, what=f"{holders.table} {oid}")
    quotas.set_limits(text, clusters=_clusters(tx))
    tx.execute(f"DELETE FROM {holders.table} WHERE {holders.key} = ?", (oid,))  # noqa: S608 - our own names
    if not quotas.is_empty:
        row = (oid, f"{_head(oid)}{quotas.to_xml()}{_TAIL}")
        require_size(row[1], object_id=oid)
        tx.execute(f"INSERT INTO {holders.table} ({holders.key}, body) VALUES (?, ?)", row)  # noqa: S608 - our own names
    tx.touch(holders.pool, oid)


def set_default_limits(tx: ZoneTx, holders: Holders, text: str) -> str:
    """Change the quotas of those who have none of their own; see ``Quotas.set_limits``.

    Returns:
        The element with them.
    """
    quotas = _read(default(tx, holders), what=holders.default, for_all=True)
    quotas.set_limits(text, clusters=())
    body = f"<{holders.default}>{quotas.to_xml()}</{holders.default}>"
    require_size(body, object_id=-1)
    tx.execute("DELETE FROM system_attributes WHERE name = ?", (holders.default,))
    tx.execute("INSERT INTO system_attributes (name, body) VALUES (?, ?)", (holders.default, body))
    for row in tx.rows(holders.pool):  # every document ends with them
        tx.touch(holders.pool, row.oid)
    return body


def set_vlan_rules(tx: ZoneTx, gid: int, text: str) -> None:
    """Replace a group's VLAN rules; see ``vlan_rules.rules_of`` for the template and failures."""
    rules = rules_of(text)
    require_size(rules, object_id=gid)
    tx.execute("DELETE FROM group_vlans WHERE group_oid = ?", (gid,))
    if rules:
        tx.execute("INSERT INTO group_vlans (group_oid, body) VALUES (?, ?)", (gid, _vlan_rules(gid, rules)))
    tx.touch(GROUPS.pool, gid)


def _forgetter(holders: Holders, *tables: str) -> Follow:
    statements = tuple(f"DELETE FROM {table} WHERE {holders.key} = ?" for table in tables)  # noqa: S608 - our own names

    def forget(tx: Cursor, before: PoolRow | None, after: PoolRow | None) -> Iterable[tuple[str, int]]:
        # Users and groups are never renamed: another name under the same id is someone else, as is one that comes anew.
        row = after if before is None else before
        if row is not None and (before is None or after is None or before.name != after.name):
            for statement in statements:
                tx.later(statement, (row.oid,))
        return ()

    return forget


#: Rows of users and groups that are gone vanish as their deletion is written or applied.
DERIVATIONS: Final = (
    Derivation(USERS.pool, _forgetter(USERS, USERS.table)),
    Derivation(GROUPS.pool, _forgetter(GROUPS, GROUPS.table, "group_vlans")),
)

_TAIL: Final = "</QUOTAS>"


def _head(oid: int) -> str:
    return f"<QUOTAS><ID>{oid}</ID>"


def _vlan_rules(gid: int, rules: str) -> str:
    return f"<VLAN_RULES><ID>{gid}</ID>{rules}</VLAN_RULES>"


def _body(tx: ReadCursor, holders: Holders, oid: int) -> str | None:
    found = tx.fetch(f"SELECT body FROM {holders.table} WHERE {holders.key} = ?", (oid,))  # noqa: S608 - our own names
    return str(found[0][0]) if found else None


def _clusters(tx: ReadTx) -> frozenset[int]:
    return frozenset(oid for (oid,) in tx.fetch("SELECT oid FROM cluster_pool"))


def _read(body: str, *, what: str, for_all: bool = False) -> Quotas:
    try:
        return Quotas.from_body(body, for_all=for_all)
    except (ValueError, ArithmeticError) as error:
        raise DefectError(f"The stored quotas {what} can't be read: {error}.") from error

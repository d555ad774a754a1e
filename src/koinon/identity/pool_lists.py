"""List what a caller may see of a whole shared table, from chunks that are rendered once per version of a row.

Administrators get one joined text per version of the table; others a choice by columns and compiled rules, so no body is parsed either way.
Path:     *_documents.py -> listing() -> api
Source:   OpenNebula src/pool/PoolSQL.cc (the condition), src/rm/api/PoolSharedAPI.cc (order; API_LIST_ORDER).
"""

from __future__ import annotations

from collections.abc import Callable

from koinon.database.transactions import ReadTx
from koinon.identity import access
from koinon.objects import xml
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.policy.decide import Visible, visible
from koinon.statements.schema import PoolRow

_SETTING = "API_LIST_ORDER"


def listing(tx: ReadTx, caller: Caller, kind: Kind, chunk_of: Callable[[PoolRow], bytes], *, ascending: bool) -> list[bytes]:
    """The chunks of the rows that the caller may see, in the caller's order.

    Args:
        tx: the read.
        caller: who asks.
        kind: a kind with a shared table.
        chunk_of: renders one row, escaped for the reply.
        ascending: whether the smallest id comes first; the caller's or the group's template may say other.
    """
    table = kind.table
    ascending = is_ascending(tx, caller, ascending)
    if not caller.is_admin:
        seen = visible(caller, kind, access.rules(tx, caller.zone_id))
        if not seen.all:
            return _chosen(tx, caller, table, seen, chunk_of, ascending=ascending)
    return [tx.table_memo(table, ("joined", ascending), lambda: b"".join(_in_order(tx.memos(table, "listed", chunk_of), ascending)))]


def _chosen(tx: ReadTx, caller: Caller, table: str, seen: Visible, chunk_of: Callable[[PoolRow], bytes], *, ascending: bool) -> list[bytes]:
    groups = frozenset(caller.groups)
    chosen = [
        row.oid
        for row in tx.rows(table)
        if row.uid == caller.uid or row.other_u or (row.group_u and row.gid in groups) or row.oid in seen.oids or row.gid in seen.gids
    ]
    chunks = (tx.memo(table, oid, "listed", chunk_of) for oid in chosen)
    return _in_order([chunk for chunk in chunks if chunk is not None], ascending)


def _in_order(chunks: list[bytes], ascending: bool) -> list[bytes]:
    return chunks if ascending else chunks[::-1]


def is_ascending(tx: ReadTx, caller: Caller, default: bool) -> bool:
    """Whether the caller gets lists with the smallest id first: as the user's template says, else the group's, else by default."""
    for table, oid in (("user_pool", caller.uid), ("group_pool", caller.gid)):
        order = tx.memo(table, oid, "list order", _list_order)
        if order:
            return order != "DESC"
    return default


def _list_order(row: PoolRow) -> str:
    if _SETTING not in row.body:
        return ""
    template = xml.parse(row.body).find("TEMPLATE")
    settings = None if template is None else Template.from_element(template).vector("OPENNEBULA")
    return (settings or {}).get(_SETTING, "").strip().upper()

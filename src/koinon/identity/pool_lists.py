"""List what a caller may see of a shared table, from chunks that are rendered once per version of a row.

Administrators get one joined text per version of the table; others a choice by columns and compiled rules, so no body is parsed either way.
A part of a list is chosen before anything is rendered.
Path:     *_documents.py -> listing() -> api
Source:   OpenNebula src/pool/PoolSQL.cc (the condition), src/rm/api/PoolSharedAPI.cc (order; API_LIST_ORDER).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from koinon.database.transactions import ReadTx
from koinon.identity import access
from koinon.objects import xml
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.policy.decide import Visible, visible
from koinon.statements.schema import PoolRow

T = TypeVar("T")

_SETTING = "API_LIST_ORDER"


class Selection(msgspec.Struct, frozen=True):
    """Which part of a list is wanted.

    Attributes:
        name: only what is called so; empty for all.
        after: only what comes after this id in the caller's order; None from the beginning.
        limit: at most so many; None for all.
    """

    name: str = ""
    after: int | None = None
    limit: int | None = None


EVERYTHING: Final = Selection()


def listing(
    tx: ReadTx, caller: Caller, kind: Kind, chunk_of: Callable[[PoolRow], bytes], *, ascending: bool, selection: Selection = EVERYTHING
) -> list[bytes]:
    """The chunks of the rows that the caller may see, in the caller's order.

    Args:
        tx: the read.
        caller: who asks.
        kind: a kind with a shared table.
        chunk_of: renders one row, escaped for the reply.
        ascending: whether the smallest id comes first; the caller's or the group's template may say other.
        selection: which part of the list.
    """
    table = kind.table
    ascending = is_ascending(tx, caller, ascending)
    seen = None if caller.is_admin else visible(caller, kind, access.rules(tx, caller.zone_id))
    all_of_it = seen is None or seen.all
    if all_of_it and selection == EVERYTHING:
        return [tx.table_memo(table, ("joined", ascending), lambda: b"".join(_in_order(tx.memos(table, "listed", chunk_of), ascending)))]
    rows = tx.rows(table) if not selection.name else [row for row in [tx.named(table, selection.name)] if row is not None]
    if seen is not None and not seen.all:
        rows = _chosen(rows, caller, seen)
    chunks = (tx.memo(table, oid, "listed", chunk_of) for oid in _selected(rows, selection, ascending))
    return [chunk for chunk in chunks if chunk is not None]


def _chosen(rows: Sequence[PoolRow], caller: Caller, seen: Visible) -> list[PoolRow]:
    groups = frozenset(caller.groups)
    return [
        row
        for row in rows
        if row.uid == caller.uid or row.other_u or (row.group_u and row.gid in groups) or row.oid in seen.oids or row.gid in seen.gids
    ]


def _selected(rows: Sequence[PoolRow], selection: Selection, ascending: bool) -> list[int]:
    """Ids of the rows, which come ascending, that are wanted, in the order that is wanted."""
    oids = _in_order([row.oid for row in rows], ascending)
    after = selection.after
    if after is not None:
        oids = [oid for oid in oids if (oid > after if ascending else oid < after)]
    return oids[: selection.limit]


def _in_order(values: list[T], ascending: bool) -> list[T]:
    return values if ascending else values[::-1]


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

"""List what a caller may see of a local pool: filter flags, ranges and pages, in the caller's order.

Path:     clusters, hosts, documents -> listing() -> api
Source:   OpenNebula src/pool/PoolSQL.cc (conditions), src/rm/api/PoolSharedAPI.cc (flags, ranges, order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from koinon.database.local_pools import LocalPool, Row, Where
from koinon.database.transactions import ReadTx
from koinon.errors import BadArgumentError
from koinon.identity import access, pool_lists
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.objects import xml
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import visible

PRIMARY_GROUP: Final = -4
MINE: Final = -3
ALL: Final = -2
MINE_AND_GROUPS: Final = -1
_UNBOUNDED: Final = -1


class Window(msgspec.Struct, frozen=True):
    """Which part of a list is asked for.

    Attributes:
        flag: one of the flags above, or the id of the user whose objects are meant.
        start: least id, -1 for no bound; if ``end`` is below -1, how many objects to pass over.
        end: greatest id, -1 for no bound; below -1, its absolute value is how many objects to give. Without ``start`` it bounds nothing.
    """

    flag: int = ALL
    start: int = _UNBOUNDED
    end: int = _UNBOUNDED

    @property
    def page(self) -> tuple[int, int] | None:
        """How many to pass over and to give, None if ids are meant."""
        return (max(self.start, 0), -self.end) if self.end < _UNBOUNDED else None


def listing(
    tx: ReadTx,
    caller: Caller,
    kind: Kind,
    pool: LocalPool[Row],
    window: Window,
    *,
    ascending: bool,
    selection: Selection = EVERYTHING,
    conditions: Iterable[Where] = (),
    body_of: Callable[[Row], str] = lambda row: row.body,
) -> list[bytes]:
    """The whole pool document, escaped for the reply, in chunks.

    Args:
        tx: the read.
        caller: who asks; sees what they may USE.
        kind: the kind of object.
        pool: its table.
        window: which part, as XML-RPC's callers say it.
        ascending: whether the smallest id comes first; the caller's or the group's template may say other.
        selection: which part of that part.
        conditions: what else must hold.
        body_of: what to show of a row.

    Raises:
        BadArgumentError: there is no such flag.
    """
    ascending = pool_lists.is_ascending(tx, caller, ascending)
    wanted = [*conditions, *_of_flag(caller, window.flag), *_of_range(window), *_of_selection(selection, ascending)]
    page = window.page if selection.limit is None else (0, selection.limit)
    rows = pool.rows(tx, [*wanted, *_may_see(tx, caller, kind)], ascending=ascending, page=page)
    root = f"{kind.acl_name}_POOL"
    return [xml.escape(f"<{root}>").encode(), xml.escape("".join(map(body_of, rows))).encode(), xml.escape(f"</{root}>").encode()]


def _of_flag(caller: Caller, flag: int) -> list[Where]:
    if flag < PRIMARY_GROUP:
        raise BadArgumentError("Incorrect filter_flag")
    if flag == ALL:
        return []
    if flag == PRIMARY_GROUP:
        return [Where("gid = ?", (caller.gid,))]
    if flag == MINE_AND_GROUPS:
        return [Where(f"uid = ? OR gid IN ({_numbers(caller.groups)})", (caller.uid,))]
    return [Where("uid = ?", (caller.uid if flag == MINE else flag,))]


def _of_range(window: Window) -> list[Where]:
    if window.page is not None or window.start == _UNBOUNDED:
        return []
    if window.end == _UNBOUNDED:
        return [Where("oid >= ?", (window.start,))]
    return [Where("oid BETWEEN ? AND ?", (window.start, window.end))]


def _of_selection(selection: Selection, ascending: bool) -> list[Where]:
    found = [Where("name = ?", (selection.name,))] if selection.name else []
    if selection.after is not None:
        found.append(Where("oid > ?" if ascending else "oid < ?", (selection.after,)))
    return found


def _may_see(tx: ReadTx, caller: Caller, kind: Kind) -> list[Where]:
    """Own objects need no right, not even the owner's own bit; a flag for one's own objects so adds no condition here."""
    seen = visible(caller, kind, access.rules(tx, caller.zone_id))
    if seen.all:
        return []
    either = [f"uid = {caller.uid}", "other_u = 1", f"(group_u = 1 AND gid IN ({_numbers(caller.groups)}))"]
    if seen.oids:
        either.append(f"oid IN ({_numbers(seen.oids)})")
    if seen.gids:
        either.append(f"gid IN ({_numbers(seen.gids)})")
    if seen.cids and kind is Kind.HOST:
        either.append(f"cid IN ({_numbers(seen.cids)})")
    return [Where(" OR ".join(either))]


def _numbers(values: Iterable[int]) -> str:
    # As text and not as parameters: rules may name more objects than a statement can have parameters.
    return ", ".join(map(str, sorted(values)))

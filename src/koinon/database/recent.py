"""What the newest write groups changed, kept in ``zone_state`` itself, so that each process can drop from its caches what others changed.

Every group that changes shared rows, or how their documents read, puts them down here in its own transaction; old groups fall out.
Holds:    after the group ``since`` nothing is missing. Whoever is further behind knows only which tables moved.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from koinon.database.state import ZoneState
from koinon.statements.schema import SHARED_TABLES

_TABLES: Final = tuple(SHARED_TABLES)
_NUMBER: Final = {table: number for number, table in enumerate(_TABLES)}
#: The row is written with every group, so it has to stay short: about two KiB at most.
_MAX_GROUPS: Final = 64
_MAX_ROWS: Final = 256


class _Recent(msgspec.Struct, frozen=True, array_like=True):
    """Groups by ``write_seq``, each with (number of the table, id)."""

    since: int
    groups: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


_decoder: Final = msgspec.msgpack.Decoder(_Recent)


def extended(raw: bytes, write_seq: int, changed: Collection[tuple[str, int]]) -> bytes:
    """Add what one group changed.

    Args:
        raw: what stood there before; empty if nothing is known.
        write_seq: the group's.
        changed: rows by table and id.
    """
    before = _decoder.decode(raw) if raw else _Recent(write_seq - 1, ())
    groups = [*before.groups, (write_seq, tuple((_NUMBER[table], oid) for table, oid in changed))]
    since, rows = before.since, sum(len(group[1]) for group in groups)
    while len(groups) > _MAX_GROUPS or rows > _MAX_ROWS:
        since, dropped = groups.pop(0)
        rows -= len(dropped)
    return msgspec.msgpack.encode(_Recent(since, tuple(groups)))


def since(state: ZoneState, after: int) -> frozenset[tuple[str, int]] | None:
    """All rows that groups later than ``after`` changed, up to a state.

    Returns:
        None if that is not known: ``after`` is too old, or not older at all, or somebody changed a table without putting it down.
    """
    if not state.recent or state.write_seq < after:
        return None
    recent = _decoder.decode(state.recent)
    if recent.since > after:
        return None
    later = [(seq, rows) for seq, rows in recent.groups if after < seq <= state.write_seq]
    noted = {(_TABLES[number], seq) for seq, rows in later for number, _ in rows}
    if any(version > after and (table, version) not in noted for table, version in state.versions.items()):
        return None
    return frozenset((_TABLES[number], oid) for _, rows in later for number, oid in rows)

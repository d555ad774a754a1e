"""Rows of the shared tables that this process has read, each valid for exactly the state that a read has checked.

Every read first asks the database for its ``write_seq``. The writer leaves a note of what each of its groups changed before it commits,
so the cache can step from one state to the next and drop only those rows; for groups of other processes the state says it (recent.py).
A state that it can't step to drops whole tables.
A cache belongs to one thread; notes are left by the one that writes and read by all.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from koinon.database import recent
from koinon.database.state import ZoneState
from koinon.statements.schema import POOL_TABLES, PoolRow

T = TypeVar("T")

_NOTES_KEPT: Final = 4096


class Entry:
    """One row with its hash, and what was computed from it."""

    __slots__ = ("memos", "row", "row_hash")

    def __init__(self, row: PoolRow, row_hash: bytes) -> None:
        self.row = row
        self.row_hash = row_hash
        self.memos: dict[str, Any] = {}


class Changes:
    """What a write group has changed so far.

    Attributes:
        touched: shared objects whose documents may read differently, and so all rows that it wrote.
        rows: those that its jobs on shared tables wrote, as they are now; None for one that is gone.
    """

    __slots__ = ("rows", "touched")

    def __init__(self) -> None:
        self.touched: set[tuple[str, int]] = set()
        self.rows: dict[tuple[str, int], Entry | None] = {}

    def of_job(self) -> Changes:
        """What one more job sees; its own rows are the group's only once ``rows`` is taken over."""
        made = Changes()
        made.touched = self.touched
        made.rows = dict(self.rows)
        return made


class _Table:
    """Cached rows of one table. ``ids`` lists all of its ids once the whole table was read; ``stale`` are those to read again."""

    __slots__ = ("entries", "ids", "memos", "names", "stale")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.names: dict[str, int] = {}
        self.ids: list[int] | None = None
        self.stale: set[int] = set()
        self.memos: dict[Hashable, tuple[int, Any]] = {}


class Notes:
    """What each write group of this process changed, by ``write_seq``; left before its COMMIT: no reader sees the state first.

    If that fails, another process may have got the number before the note is taken back: a note counts for the state that ours leaves.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[int, tuple[int, frozenset[tuple[str, int]]]] = OrderedDict()

    def leave(self, state: ZoneState, changed: frozenset[tuple[str, int]]) -> None:
        self._left[state.write_seq] = _mark(state), changed
        self._left.move_to_end(state.write_seq)
        while len(self._left) > _NOTES_KEPT:
            self._left.popitem(last=False)

    def holds(self, state: ZoneState) -> bool:
        """Whether the group that left a state is one of this process's own."""
        note = self._left.get(state.write_seq)
        return note is not None and note[0] == _mark(state)

    def take_back(self, write_seq: int) -> None:
        """The group was rolled back, or may have been: its number will be given to another."""
        self._left.pop(write_seq, None)

    def forget(self) -> None:
        """The database may be another one now (a copy took over): its numbers say nothing of what we wrote."""
        self._left.clear()

    def between(self, after: int, state: ZoneState) -> Iterable[frozenset[tuple[str, int]]] | None:
        """Notes of all groups later than ``after`` up to the one that left a state, None if one is missing."""
        if not 0 < state.write_seq - after <= _NOTES_KEPT or not self.holds(state):
            return None
        found = [self._left.get(seq) for seq in range(after + 1, state.write_seq + 1)]
        return None if None in found else [note[1] for note in found if note is not None]


def _mark(state: ZoneState) -> int:
    """Tells a state from others that a group could have left under the same number."""
    return hash((state.chain, state.recent))


class Source(Protocol):
    """Where the cache reads what it lacks."""

    def select_one(self, table: str, column: str, value: int | str) -> Entry | None: ...

    def select_all(self, table: str) -> Iterable[Entry]: ...


class RowCache:
    """All cached rows of a process, as of ``state``."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._tables = {name: _Table() for name in (*POOL_TABLES, "acl")}
        self.state: ZoneState | None = None

    def forget(self) -> None:
        """Know nothing any more."""
        self._tables = {name: _Table() for name in self._tables}
        self.state = None

    def advance(self, state: ZoneState) -> None:
        """Make the cache right for ``state``."""
        before, self.state = self.state, state
        if before is None or before.write_seq == state.write_seq:
            return
        notes = self._notes.between(before.write_seq, state)
        if notes is None and (by_others := recent.since(state, before.write_seq)) is not None:
            notes = [by_others]
        if notes is None:
            for name in self._tables:
                if before.versions[name] != state.versions[name] or state.write_seq < before.write_seq:
                    self._tables[name] = _Table()
            return
        for changed in notes:
            for table, oid in changed:
                self._drop(self._tables[table], oid)

    @staticmethod
    def _drop(table: _Table, oid: int) -> None:
        entry = table.entries.pop(oid, None)
        if entry is not None and table.names.get(entry.row.name) == oid:
            del table.names[entry.row.name]
        if table.ids is not None:
            table.stale.add(oid)

    def entry(self, table: str, oid: int, source: Source) -> Entry | None:
        cached = self._tables[table]
        found = cached.entries.get(oid)
        if found is not None:
            return found
        read = source.select_one(table, "oid", oid)
        return None if read is None else self._keep(cached, read)

    def named(self, table: str, name: str, source: Source) -> Entry | None:
        cached = self._tables[table]
        oid = cached.names.get(name)
        if oid is not None:
            return cached.entries[oid]
        read = source.select_one(table, "name", name)
        if read is None:
            return None
        # The row itself may be at hand already under its id, with what was computed from it.
        found = cached.entries.get(read.row.oid)
        return found if found is not None and found.row.name == name else self._keep(cached, read)

    def entries(self, table: str, source: Source) -> Sequence[Entry]:
        """All rows, ascending by id."""
        cached = self._tables[table]
        if cached.ids is None:
            for read in source.select_all(table):
                if read.row.oid not in cached.entries:
                    self._keep(cached, read)
            cached.ids = sorted(cached.entries)
            cached.stale.clear()
        for oid in cached.stale:
            row_now = self.entry(table, oid, source)
            at = bisect_left(cached.ids, oid)
            listed = at < len(cached.ids) and cached.ids[at] == oid
            if row_now is None and listed:
                del cached.ids[at]
            elif row_now is not None and not listed:
                insort(cached.ids, oid)
        cached.stale.clear()
        return [cached.entries[oid] for oid in cached.ids]

    def learn(self, state: ZoneState, rows: Mapping[tuple[str, int], Entry | None]) -> None:
        """A group of ours is durable: make the cache right for the state that it left, with the rows that it wrote."""
        self.advance(state)
        for (table, _), entry in rows.items():
            if entry is not None:
                self._keep(self._tables[table], entry)

    @staticmethod
    def _keep(cached: _Table, entry: Entry) -> Entry:
        cached.entries[entry.row.oid] = entry
        cached.names[entry.row.name] = entry.row.oid
        return entry

    def table_memo(self, table: str, key: Hashable, version: int, make: Callable[[], T]) -> T:
        memos = self._tables[table].memos
        found = memos.get(key)
        if found is not None and found[0] == version:
            value: T = found[1]
            return value
        made = make()
        memos[key] = (version, made)
        return made

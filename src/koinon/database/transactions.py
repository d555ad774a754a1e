"""The kinds of transaction, told apart by type: what a function may touch stands in its signature.

ReadTx reads; ZoneTx writes this zone's own tables; SharedTx, on the master or a standalone zone only, also writes the shared ones and so
the log; ApplyTx, for the applier only, takes over what the master's log says.
Path:     database.py hands them out; write_group.py runs the writing ones.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import msgspec

from koinon.database.cache import Changes, Entry, RowCache
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.row_changes import Derivation, Different, RowChanges
from koinon.database.state import COLUMNS, LoggedCommit, Role, ZoneState
from koinon.database.statement_log import write_log
from koinon.errors import DefectError, InvalidError
from koinon.statements import digest
from koinon.statements.commits import Head, Position
from koinon.statements.rendering import check
from koinon.statements.schema import DIGESTED, POOL_TABLES, SHARED_TABLES, AclRow, Delete, Insert, PoolRow, RowChange, SetCounter, Update

T = TypeVar("T")

_POOL_COLUMNS: Final = ", ".join(SHARED_TABLES["user_pool"].names)
_BY: Final = {
    (table, column): f"SELECT {_POOL_COLUMNS}, row_hash FROM {table} WHERE {column} = ?"
    for table in POOL_TABLES
    for column in ("oid", "name")
}
_ALL: Final = {table: f"SELECT {_POOL_COLUMNS}, row_hash FROM {table} ORDER BY oid" for table in POOL_TABLES}
_STATE: Final = f"SELECT {', '.join(COLUMNS)} FROM zone_state WHERE id = 1"
SET_DIGEST: Final = "UPDATE shared_digest SET digest = ? WHERE tablename = ?"
_MOVE_DIGEST: Final = f"{SET_DIGEST} AND digest = ?"
#: A row that is read ahead takes memory, up to 4 MiB, until it has changed.
_AHEAD_COMMITS: Final = 64
_AHEAD_ROWS: Final = 128
_WRITE_SEQ: Final = "SELECT write_seq FROM zone_state WHERE id = 1"


class Overtaken(Exception):
    """The zone's position is not what the applier thought: someone else moved it. Nothing was changed."""


def read_state(connection: Connection) -> ZoneState:
    """The state that a read on this connection sees now."""
    return ZoneState.from_row(connection.execute(_STATE).fetchone())


def newest_state(connection: Connection, known: ZoneState | None) -> ZoneState:
    """As ``read_state``, without reading the whole row when nothing was written since ``known``."""
    if known is not None and connection.execute(_WRITE_SEQ).fetchone()[0] == known.write_seq:
        return known
    return read_state(connection)


def _entry(values: tuple[Any, ...]) -> Entry:
    *row, row_hash = values
    return Entry(PoolRow(*row), bytes(row_hash))


class ReadTx:
    """A read of one committed state.

    Attributes:
        state: that state.
    """

    def __init__(self, connection: Connection, state: ZoneState, cache: RowCache | None) -> None:
        self._connection = connection
        self._cache = cache
        self._changes = Changes()  # what this transaction has written: the cache does not know it
        self.state = state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, _error: BaseException | None, _traceback: object) -> None:
        """Nothing to end: the state was checked at the beginning, and no await may stand inside."""

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query (``?`` marks)."""
        return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterable[tuple[Any, ...]]:
        """Rows one by one, for tables too long to hold."""
        return self._connection.stream(sql, parameters)

    def select_one(self, table: str, column: str, value: int | str) -> Entry | None:
        found = self._connection.execute(_BY[table, column], (value,)).fetchone()
        return None if found is None else _entry(found)

    def select_all(self, table: str) -> Iterable[Entry]:
        return map(_entry, self._connection.execute(_ALL[table]))

    def row(self, table: str, oid: int) -> PoolRow | None:
        """The row of a pool table with this id."""
        entry = self.entry(table, oid)
        return None if entry is None else entry.row

    def named(self, table: str, name: str) -> PoolRow | None:
        """The row of a pool table with exactly this name."""
        cache = None if self._wrote(table) else self._cache
        entry = self.select_one(table, "name", name) if cache is None else cache.named(table, name, self)
        return None if entry is None else entry.row

    def rows(self, table: str) -> Sequence[PoolRow]:
        """All rows of a pool table, ascending by id."""
        if self._cache is None or self._wrote(table):
            return [entry.row for entry in self.select_all(table)]
        return [entry.row for entry in self._cache.entries(table, self)]

    def memos(self, table: str, key: str, make: Callable[[PoolRow], T]) -> list[T]:
        """What ``make`` computes from each row of a table, ascending by id; computed once per version of a row."""
        if self._cache is None or self._wrote(table):
            return [make(entry.row) for entry in self.select_all(table)]
        return [self._memo(entry, key, make) for entry in self._cache.entries(table, self)]

    def memo(self, table: str, oid: int, key: str, make: Callable[[PoolRow], T]) -> T | None:
        """What ``make`` computes from one row, computed once per version of the row; None if there is no such row."""
        entry = self.entry(table, oid)
        return None if entry is None else self._memo(entry, key, make)

    def table_memo(self, table: str, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` computes from a whole table, computed once per version of the table."""
        if self._cache is None or self._wrote(table):
            return make()
        return self._cache.table_memo(table, key, self.state.versions[table], make)

    def acl(self) -> list[AclRow]:
        """All ACL rules, ascending by id."""
        return [AclRow(*row) for row in self._connection.execute("SELECT oid, userset, resource, rights, zone FROM acl ORDER BY oid")]

    def members(self, gid: int) -> list[int]:
        """Ids of the users in a group, ascending."""
        return [uid for (uid,) in self._connection.execute("SELECT uid FROM group_member WHERE gid = ? ORDER BY uid", (gid,))]

    def counter(self, table: str) -> int:
        """The last id given out in a table, -1 if none was."""
        found = self.fetch("SELECT last_oid FROM pool_control WHERE tablename = ?", (table,))
        return int(found[0][0]) if found else -1

    def has_changed(self, table: str, since: ZoneState) -> bool:
        """Whether rows of a shared table may be others than in that state: by a later one, or by this transaction."""
        return self.state.versions[table] != since.versions[table] or self._wrote(table)

    def digests(self) -> dict[str, bytes]:
        """The running digest of each shared table."""
        return {table: bytes(value) for table, value in self.fetch("SELECT tablename, digest FROM shared_digest")}

    def entry(self, table: str, oid: int) -> Entry | None:
        """The row of a pool table with this id, as it is kept."""
        if (table, oid) in self._changes.rows:
            return self._changes.rows[table, oid]
        if self._cache is None or (table, oid) in self._changes.touched:
            return self.select_one(table, "oid", oid)
        return self._cache.entry(table, oid, self)

    def _wrote(self, table: str) -> bool:
        return any(changed == table for changed, _ in self._changes.touched)

    @staticmethod
    def _memo(entry: Entry, key: str, make: Callable[[PoolRow], T]) -> T:
        try:
            value: T = entry.memos[key]
        except KeyError:
            value = entry.memos[key] = make(entry.row)
        return value


class ZoneTx(ReadTx):
    """A write of this zone's own tables.

    Args:
        connection: the writer's.
        state: as of the group's first statement.
        cache: rows as they were before the group; None reads all from the database.
        changes: what the group has done so far; gets what this job does.
    """

    def __init__(self, connection: Connection, state: ZoneState, cache: RowCache | None, changes: Changes) -> None:
        super().__init__(connection, state, cache)
        self._changes = changes
        self._state_before = state

    @property
    def changed_state(self) -> ZoneState | None:
        """What this transaction has made of the zone, None if the zone is what it was."""
        return None if self.state is self._state_before else self.state

    def touch(self, table: str, oid: int) -> None:
        """Say that a shared object's document reads differently here, for a row of this zone enters it: what was computed is dropped."""
        self._changes.touched.add((table, oid))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement on a local table; rows touched."""
        return self._connection.execute(sql, parameters).rowcount

    def later(self, sql: str, /, *rows: Sequence[Any]) -> None:
        """Run one statement for each row of parameters, before anything that is read next: on a server, without a round trip of its own."""
        self._connection.later(sql, *rows)

    def later_one(self, sql: str, parameters: Sequence[Any], /) -> None:
        """As ``later``, for a statement that must find a row."""
        self._connection.later_one(sql, parameters)

    def set_membership(self, *, zone_id: int, role: Role, federation_id: str, epoch: int) -> None:
        """Change what this zone is. The epoch never falls while the zone stays in one federation."""
        self.execute(
            "UPDATE zone_state SET zone_id = ?, role = ?, federation_id = ?, epoch = ? WHERE id = 1", (zone_id, role, federation_id, epoch)
        )
        self.state = msgspec.structs.replace(self.state, zone_id=zone_id, role=role, federation_id=federation_id, epoch=epoch)


class SharedTx(ZoneTx):
    """A write of shared tables: each change becomes a statement of the log in the same database transaction."""

    def __init__(
        self,
        connection: Connection,
        state: ZoneState,
        cache: RowCache | None,
        dialect: Dialect,
        derivations: Sequence[Derivation],
        changes: Changes,
    ) -> None:
        super().__init__(connection, state, cache, changes)
        self._row_changes = RowChanges(self, dialect, derivations, changes.touched, changes.rows)
        self.statements: list[RowChange] = []

    @property
    def deltas(self) -> Mapping[str, int]:
        """What the statements add to each table's digest (mod 2^256)."""
        return self._row_changes.deltas

    def next_id(self, table: str, *, at_least: int = 0) -> int:
        """Reserve the next id of a table: one more than the last, ``at_least`` that number. An id is never given out twice."""
        oid = max(self.counter(table) + 1, at_least)
        self._make(SetCounter(table, oid))
        return oid

    def set_counter(self, table: str, last_oid: int) -> None:
        """Let the next id be ``last_oid + 1``."""
        self._make(SetCounter(table, last_oid))

    def insert(self, table: str, row: PoolRow | AclRow) -> None:
        """Add a row.

        Raises:
            InvalidError: a value is outside the limits of the log (a body over 4 MiB).
            DefectError: its id or name is taken, which the caller should have found.
        """
        self._make(Insert(table, msgspec.structs.astuple(row)))

    def update(self, table: str, row: PoolRow) -> None:
        """Write those columns of the row that differ; nothing if none does."""
        before = self.row(table, row.oid)
        if before is None:
            raise DefectError(f"{table} has no row {row.oid} to update.", object_id=row.oid)
        columns = tuple(name for name in SHARED_TABLES[table].names if getattr(before, name) != getattr(row, name))
        if columns:
            self._make(Update(table, row.oid, columns, tuple(getattr(row, name) for name in columns)))

    def delete(self, table: str, oid: int) -> None:
        """Remove the row with this id."""
        self._make(Delete(table, oid))

    def _make(self, change: RowChange) -> None:
        try:
            check(change)
            self._row_changes.apply(change)
        except ValueError as error:
            raise InvalidError(f"{error}.") from error
        except Different as error:
            raise DefectError(f"{error}.") from error
        self.statements.append(change)


class ApplyTx(ZoneTx):
    """The applier's transaction. What it does first must be ``claim``. A long job is a generator: readers get the loop at each step.

    Args:
        connection: the writer's.
        state: as of the group's first statement.
        dialect: its engine.
        derivations: who keeps derived rows.
        changes: gets what this job does.
        known_digests: those stored for each table, if the writer knows them; else they are read.

    Attributes:
        left_digests: what is stored once this is durable, if all of it is known.
    """

    def __init__(
        self,
        connection: Connection,
        state: ZoneState,
        dialect: Dialect,
        derivations: Sequence[Derivation],
        changes: Changes,
        known_digests: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(connection, state, None, changes)
        self._integrity_error = dialect.integrity_error
        self._row_changes = RowChanges(self, dialect, derivations, changes.touched, changes.rows)
        self._digests = dict(known_digests or {})
        self._stored = dict(self._digests)  # what must be found where they are stored
        self._moved: set[str] = set()  # tables whose stored digest is not yet that of ``_digests``
        self.left_digests: Mapping[str, int] | None = None

    def claim(self, old: Head) -> None:
        """Make sure that this zone still stands at ``old``; nobody else can move it, for the group's first statement has locked its row.

        Raises:
            Overtaken: it does not.
        """
        if (self.state.position, self.state.chain) != (old.position.index, old.chain):
            raise Overtaken(f"this zone is no longer at {old.position}")

    def change(self, change: RowChange) -> None:
        """Make one change that is no statement of our log (it comes from a snapshot).

        Raises:
            Different: it does not fit our rows.
        """
        self._row_changes.apply(change)
        self._changes.rows.clear()  # a snapshot may hold more than memory does, and each row but once

    def derive_anew(self) -> None:
        """Compute this zone's derived rows from the shared rows as they are now."""
        self._row_changes.derive_anew()

    def apply(self, commits: Sequence[LoggedCommit]) -> Generator[None, None, Head]:
        """Apply whole commits in order, log them, and move the position behind the last, a commit at a step: use ``yield from``.

        Args:
            commits: contiguous, the first directly after the claimed head, chains already verified.

        Returns:
            The head that this zone holds once the transaction is durable.

        Raises:
            Different: a change does not fit our rows, a row or a stored digest is not the one that this zone left, or a table's digest
                differs from the master's afterwards.
        """
        self._row_changes.verifies = True
        for at, logged in enumerate(commits):
            commit = logged.commit
            if not at % _AHEAD_COMMITS:
                self._read_ahead(commits[at : at + _AHEAD_COMMITS])
            for change in commit.changes:
                self._row_changes.apply(change)
            self._fold_deltas()
            for table, expected in commit.digests.items():
                if digest.to_bytes(self._digests[table]) != expected:
                    raise Different(f"after index {commit.last_idx} the digest of {table} is not the master's")
            yield
        self._changes.rows.clear()
        write_log(self, commits)
        last = commits[-1]
        head = Head(Position(last.commit.epoch, last.commit.last_idx), last.chain)
        self.set_head(head)
        return head

    def _read_ahead(self, commits: Sequence[LoggedCommit]) -> None:
        """Read the rows that these commits change with one query for a table, where a server would be asked for each of them."""
        self._changes.rows.clear()
        changes = [change for logged in commits for change in logged.commit.changes if isinstance(change, Update | Delete)]
        wanted: dict[str, set[int]] = {}
        for change in changes[:_AHEAD_ROWS]:
            if change.table in POOL_TABLES:
                wanted.setdefault(change.table, set()).add(change.oid)
        for table, oids in wanted.items():
            listed = ", ".join(map(str, sorted(oids)))
            for values in self.fetch(f"SELECT {_POOL_COLUMNS}, row_hash FROM {table} WHERE oid IN ({listed})"):
                entry = _entry(values)
                self._changes.rows[table, entry.row.oid] = entry

    def digests(self) -> dict[str, bytes]:
        """The digest of each shared table with the changes made so far."""
        self._fold_deltas()
        return {table: digest.to_bytes(value) for table, value in self._digests.items()}

    def replace_digests(self, digests: Mapping[str, int]) -> None:
        """Go on from these digests instead of the stored ones, whatever those are; ``set_head`` stores them."""
        self._digests = dict(digests)
        self._stored = {}
        self._moved.update(digests)

    def _fold_deltas(self) -> None:
        if not self._digests:
            self._digests = {table: digest.from_bytes(value) for table, value in super().digests().items()}
            self._stored = dict(self._digests)
            if missing := set(DIGESTED) - self._digests.keys():
                raise Different(f"the stored digest of {min(missing)} is not there")
        for table, delta in self._row_changes.deltas.items():
            self._digests[table] = digest.add(self._digests[table], digest.to_bytes(delta))
            self._moved.add(table)
        self._row_changes.deltas.clear()

    def set_head(self, head: Head) -> None:
        """Move this zone to another head and store the digests that belong to its rows."""
        self._fold_deltas()
        for table in sorted(self._moved):
            self._store_digest(table)
        self._moved.clear()
        self.left_digests = self._digests
        self.later_one(
            "UPDATE zone_state SET epoch = ?, position = ?, chain = ? WHERE id = 1 AND position = ? AND chain = ?",
            (head.position.epoch, head.position.index, head.chain, self.state.position, self.state.chain),
        )
        self.state = msgspec.structs.replace(self.state, epoch=head.position.epoch, position=head.position.index, chain=head.chain)

    def _store_digest(self, table: str) -> None:
        """Put a digest in the place of the one that this zone left there. A hand that was there in between shows: nothing is found."""
        new = digest.to_bytes(self._digests[table])
        if table not in self._stored:
            self.later("DELETE FROM shared_digest WHERE tablename = ?", (table,))
            self.later("INSERT INTO shared_digest (digest, tablename) VALUES (?, ?)", (new, table))
            return
        try:
            self.later_one(_MOVE_DIGEST, (new, table, digest.to_bytes(self._stored[table])))
        except self._integrity_error as error:
            raise Different(f"the stored digest of {table} is not the one that this zone left there") from error

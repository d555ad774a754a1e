"""Apply typed changes to the shared tables, with everything that must move along: row hashes, digests, derived rows.

The writer on the master and the applier on a slave come through here alike, so both sides do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from koinon.database.cache import Entry
from koinon.database.cursor import Cursor
from koinon.database.dialects.protocol import Dialect
from koinon.statements import digest
from koinon.statements.schema import COUNTERS, POOL_TABLES, SHARED_TABLES, Delete, Insert, PoolRow, RowChange, SetCounter, Update, Value

#: (transaction, row before, row after) -> shared objects whose documents changed by it.
Follow = Callable[[Cursor, PoolRow | None, PoolRow | None], Iterable[tuple[str, int]]]


class Derivation(msgspec.Struct, frozen=True):
    """Rows of this zone that follow from the rows of a shared table.

    Attributes:
        source: the shared table.
        follow: keeps the derived rows in step with one change of a row.
        derived: tables that hold nothing else; after a snapshot they are emptied and filled anew.
    """

    source: str
    follow: Follow
    derived: tuple[str, ...] = ()


class Different(Exception):
    """A change does not fit our rows: a missing row, a taken name, another digest. The text names the row."""


def _names(table: str) -> str:
    return ", ".join(SHARED_TABLES[table].names)


_SELECT_RULE: Final = f"SELECT {_names('acl')}, row_hash FROM acl WHERE oid = ?"
_INSERT: Final = {
    name: f"INSERT INTO {name} ({_names(name)}, row_hash) VALUES ({', '.join('?' * (len(table.columns) + 1))})"
    for name, table in SHARED_TABLES.items()
}
_DELETE: Final = {name: f"DELETE FROM {name} WHERE oid = ?" for name in SHARED_TABLES}
_SET_COUNTER: Final = "UPDATE pool_control SET last_oid = ?, row_hash = ? WHERE tablename = ?"
_NEW_COUNTER: Final = "INSERT INTO pool_control (last_oid, row_hash, tablename) VALUES (?, ?, ?)"
_COLUMN_AT: Final = {name: {column: at for at, column in enumerate(table.names)} for name, table in SHARED_TABLES.items()}


class RowCursor(Cursor, Protocol):
    """Knows rows of pool tables too."""

    def entry(self, table: str, oid: int) -> Entry | None: ...


class RowChanges:
    """Applies changes through one transaction and gathers what they did.

    Args:
        cursor: the transaction.
        dialect: its engine.
        derivations: who keeps derived rows.
        touched: gets each row changed, and objects whose documents changed with it.
        rows: gets the rows of pool tables as they are then, if it is worth the memory.

    Attributes:
        deltas: what to add to each table's digest (mod 2^256).
        verifies: whether a row that is changed must be the one that its hash is of. If it was edited by hand, the change may write the
            right value over it, and what was derived from the right one before would stay.
    """

    def __init__(
        self,
        cursor: RowCursor,
        dialect: Dialect,
        derivations: Sequence[Derivation],
        touched: set[tuple[str, int]],
        rows: dict[tuple[str, int], Entry | None] | None = None,
    ) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._derivations = derivations
        self.deltas: dict[str, int] = {}
        self.verifies = False
        self._touched = touched
        self._rows = rows

    def apply(self, change: RowChange) -> None:
        """Make one change.

        Raises:
            Different: it does not fit the rows that are there.
        """
        try:
            match change:
                case Insert(table, values):
                    self._insert(table, values)
                case Update(table, oid, columns, values):
                    self._update(table, oid, columns, values)
                case Delete(table, oid):
                    self._delete(table, oid)
                case SetCounter(table, last_oid):
                    self._count(table, last_oid)
        except self._dialect.integrity_error as error:
            raise Different(f"{change.table}: {error}") from error

    def _insert(self, table: str, values: tuple[Value, ...]) -> None:
        row_hash = digest.row_hash(table, values)
        self._cursor.later(_INSERT[table], (*values, row_hash))
        self._moved(table, int(values[0]), b"", row_hash, None, values)

    def _update(self, table: str, oid: int, columns: tuple[str, ...], values: tuple[Value, ...]) -> None:
        before, old_hash = self._found(table, oid, "update")
        after = list(before)
        for column, value in zip(columns, values, strict=True):
            after[_COLUMN_AT[table][column]] = value
        row_hash = digest.row_hash(table, after)
        assignments = "".join(f"{column} = ?, " for column in columns)
        self._cursor.later_one(f"UPDATE {table} SET {assignments}row_hash = ? WHERE oid = ?", (*values, row_hash, oid))
        self._moved(table, oid, old_hash, row_hash, before, after)

    def _delete(self, table: str, oid: int) -> None:
        before, old_hash = self._found(table, oid, "delete")
        self._cursor.later_one(_DELETE[table], (oid,))
        self._moved(table, oid, old_hash, b"", before, None)

    def _found(self, table: str, oid: int, what_for: str) -> tuple[Sequence[Value], bytes]:
        """The values and the hash of a row. What a cache knows of it that is no longer there shows when the change finds no row."""
        values, row_hash = self._known(table, oid)
        if values is None:
            raise Different(f"{table} has no row {oid} to {what_for}")
        if self.verifies and digest.row_hash(table, values) != row_hash:
            raise Different(f"{table} has another row {oid} than the one that its hash is of")
        return values, row_hash

    def _known(self, table: str, oid: int) -> tuple[Sequence[Value] | None, bytes]:
        if table in POOL_TABLES:
            entry = self._cursor.entry(table, oid)
            return (None, b"") if entry is None else (msgspec.structs.astuple(entry.row), entry.row_hash)
        for *values, row_hash in self._cursor.fetch(_SELECT_RULE, (oid,)):
            return values, bytes(row_hash)
        return None, b""

    def _count(self, table: str, last_oid: int) -> None:
        found = self._cursor.fetch("SELECT row_hash, last_oid FROM pool_control WHERE tablename = ?", (table,))
        old_hash = found[0][0] if found else b""
        if self.verifies and old_hash and bytes(old_hash) != digest.counter_hash(table, found[0][1]):
            raise Different(f"the counter of {table} is not the one that its hash is of")
        row_hash = digest.counter_hash(table, last_oid)
        self._cursor.later(_SET_COUNTER if found else _NEW_COUNTER, (last_oid, row_hash, table))
        self._shift(COUNTERS, old_hash, row_hash)

    def _shift(self, table: str, old_hash: bytes | None, new_hash: bytes) -> None:
        total = self.deltas.get(table, digest.EMPTY)
        if old_hash:
            total = digest.subtract(total, old_hash)
        if new_hash:
            total = digest.add(total, new_hash)
        self.deltas[table] = total

    def _moved(self, table: str, oid: int, old_hash: bytes, new_hash: bytes, before: Any, after: Any) -> None:
        self._shift(table, old_hash, new_hash)
        self._touched.add((table, oid))
        if self._rows is not None and table in POOL_TABLES:
            self._rows[table, oid] = Entry(PoolRow(*after), new_hash) if after else None
        for derivation in self._derivations:
            if derivation.source == table:
                changed = derivation.follow(self._cursor, PoolRow(*before) if before else None, PoolRow(*after) if after else None)
                self._touched.update(changed)

    def derive_anew(self) -> None:
        """Empty the derived tables and fill them from the rows that are there now: hand edits may have left them out of step."""
        for derivation in self._derivations:
            for table in derivation.derived:
                self._cursor.later(f"DELETE FROM {table}", ())
            if derivation.derived:
                names = _names(derivation.source)
                for values in self._cursor.fetch(f"SELECT {names} FROM {derivation.source} ORDER BY oid"):
                    self._touched.update(derivation.follow(self._cursor, None, PoolRow(*values)))

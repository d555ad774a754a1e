"""Pool tables of the zone itself: get, find, list, add, change, remove, and hand out ids, the same for every kind.

Holds:    an id is given out once, as long as the counter in pool_control stands; nothing here enters the log.
Not here: who may do or see it (infrastructure/); shared pools (transactions.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import InvalidError
from koinon.statements.schema import INT32, MAX_BODY_BYTES, PoolRow

Row = TypeVar("Row", bound=PoolRow)

_SET_COUNTER: Final = "UPDATE pool_control SET last_oid = ? WHERE tablename = ?"
_NEW_COUNTER: Final = "INSERT INTO pool_control (last_oid, tablename) VALUES (?, ?)"


class Where(msgspec.Struct, frozen=True):
    """A condition of a list: SQL with ``?`` marks, made of our own names and of numbers only, and what stands for the marks."""

    sql: str
    parameters: tuple[Any, ...] = ()


class LocalPool(Generic[Row]):
    """One local pool table.

    Args:
        table: its name.
        row: the shape of its rows; the fields are named as the columns.
    """

    def __init__(self, table: str, row: type[Row]) -> None:
        self.table = table
        self._row = row
        self.columns: tuple[str, ...] = row.__struct_fields__
        names = ", ".join(self.columns)
        self._select = f"SELECT {names} FROM {table}"
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(self.columns))})"
        self._update = f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in self.columns[1:])} WHERE oid = ?"

    def get(self, tx: ReadTx, oid: int) -> Row | None:
        """The row with this id."""
        return self._first(tx, "oid", oid)

    def named(self, tx: ReadTx, name: str) -> Row | None:
        """The row with exactly this name; the oldest one, if the kind allows several."""
        return self._first(tx, "name", name)

    def rows(
        self, tx: ReadTx, conditions: Sequence[Where] = (), *, ascending: bool = True, page: tuple[int, int] | None = None
    ) -> list[Row]:
        """Rows that meet all conditions, by id.

        Args:
            tx: the read.
            conditions: none for all rows.
            ascending: the smallest id first.
            page: how many rows to pass over and how many to give, None for all.
        """
        sql = self._select
        parameters = [value for condition in conditions for value in condition.parameters]
        if conditions:
            sql += " WHERE " + " AND ".join(f"({condition.sql})" for condition in conditions)
        sql += f" ORDER BY oid {'ASC' if ascending else 'DESC'}"
        if page is not None:
            sql += " LIMIT ? OFFSET ?"
            parameters += [page[1], page[0]]
        return [self._row(*found) for found in tx.fetch(sql, parameters)]

    def next_id(self, tx: ZoneTx) -> int:
        """Reserve an id: one more than the last. Raises InvalidError if the last one that there is was given out."""
        oid = tx.counter(self.table) + 1
        if oid > INT32[1]:
            raise InvalidError(f"In {self.table} no ids are left: {INT32[1]} was the last.")
        self.set_counter(tx, oid)
        return oid

    def set_counter(self, tx: ZoneTx, last_oid: int) -> None:
        """Let the next id be ``last_oid + 1``."""
        if not tx.execute(_SET_COUNTER, (last_oid, self.table)):
            tx.later(_NEW_COUNTER, (last_oid, self.table))

    def insert(self, tx: ZoneTx, row: Row) -> None:
        """Add a row, whose name and id the caller has found to be free. Raises InvalidError if its body is too long."""
        require_size(row.body, object_id=row.oid)
        tx.later(self._insert, msgspec.structs.astuple(row))

    def update(self, tx: ZoneTx, row: Row) -> None:
        """Write a row over the one with its id. Raises InvalidError if its body is too long."""
        require_size(row.body, object_id=row.oid)
        oid, *rest = msgspec.structs.astuple(row)
        tx.later(self._update, (*rest, oid))

    def delete(self, tx: ZoneTx, oid: int) -> None:
        """Remove the row with this id."""
        tx.later(f"DELETE FROM {self.table} WHERE oid = ?", (oid,))

    def _first(self, tx: ReadTx, column: str, value: int | str) -> Row | None:
        found = tx.fetch(f"{self._select} WHERE {column} = ? ORDER BY oid LIMIT 1", (value,))
        return self._row(*found[0]) if found else None


def require_size(body: str, *, object_id: int) -> None:
    """Refuse a document that is longer than what all zones share may be. Raises InvalidError."""
    if len(body.encode()) > MAX_BODY_BYTES:
        raise InvalidError(f"The object would be larger than {MAX_BODY_BYTES >> 20} MiB, the most that is stored.", object_id=object_id)

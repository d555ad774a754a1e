"""Where a snapshot's rows wait until all are here: the table ``snapshot_row``, for one load at a time.

Path:     snapshot_loading.py -> Staging.begin() -> lay_aside() in small transactions -> rows(), in whatever reads them
Holds:    the table begins with a mark that says whose load it is. To begin is to empty the table and set the mark in one transaction; who
          adds, reads or takes over rows looks at the mark in the transaction in which it does. So rows of two loads never mix: the newer
          one wins, the older hears so at its next step and has changed nothing.
Not here: what the rows are for (snapshot_loading.py).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from koinon import clock
from koinon.database.database import Database
from koinon.database.transactions import Overtaken, ReadTx, ZoneTx
from koinon.federation.snapshot_file import Row
from koinon.statements.schema import Value

#: The mark, a row that no snapshot can hold: ``row_hash`` says whose the others are, ``row`` when that load last did something.
_MARK: Final = "tablename = '' AND oid = 0"
_INSERT: Final = "INSERT INTO snapshot_row (tablename, oid, row, row_hash) VALUES (?, ?, ?, ?)"


class Superseded(Overtaken):
    """A newer load of this zone has begun, in whichever process: this one has ended and changed nothing."""

    def __init__(self) -> None:
        super().__init__("another process of this zone has begun to load a snapshot since")


class Staging:
    """The rows of one load."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._load = secrets.token_bytes(32)

    async def begin(self) -> None:
        """Take the table from whatever load had it."""

        def job(tx: ZoneTx) -> None:
            tx.execute("DELETE FROM snapshot_row")
            tx.later(_INSERT, ("", 0, _now(), self._load))

        await self._database.write_zone("begin snapshot", job)

    async def lay_aside(self, rows: Iterable[tuple[Row, bytes]]) -> None:
        """Add rows and their hashes. Raises Superseded."""
        packed = [(row.table, row.oid, msgspec.msgpack.encode(row.values), row_hash) for row, row_hash in rows]

        def job(tx: ZoneTx) -> None:
            if not tx.execute(f"UPDATE snapshot_row SET row = ? WHERE {_MARK} AND row_hash = ?", (_now(), self._load)):  # noqa: S608 - our own text
                raise Superseded
            tx.later(_INSERT, *packed)

        await self._database.write_zone("stage snapshot", job)

    def require(self, tx: ReadTx) -> None:
        """Make sure that what this transaction sees in the table are this load's rows. Raises Superseded."""
        found = tx.fetch(f"SELECT row_hash FROM snapshot_row WHERE {_MARK}")  # noqa: S608 - as above
        if not found or bytes(found[0][0]) != self._load:
            raise Superseded

    def rows(self, tx: ReadTx, table: str) -> Iterator[tuple[Value, ...]]:
        """The values of a table's rows, ascending by id. Call ``require`` in the same transaction before."""
        for (raw,) in tx.stream("SELECT row FROM snapshot_row WHERE tablename = ? ORDER BY oid", (table,)):
            yield msgspec.msgpack.decode(raw, type=tuple[Value, ...])

    def row(self, tx: ReadTx, table: str, oid: int) -> tuple[Value, ...] | None:
        """One row's values. As ``rows``."""
        found = tx.fetch("SELECT row FROM snapshot_row WHERE tablename = ? AND oid = ?", (table, oid))
        return msgspec.msgpack.decode(found[0][0], type=tuple[Value, ...]) if found else None

    async def end(self) -> None:
        """Empty the table, if it is still this load's."""

        def job(tx: ZoneTx) -> None:
            self.require(tx)
            empty(tx)

        with contextlib.suppress(Superseded):
            await self._database.write_zone("end snapshot", job, frees_space=True)


def empty(tx: ZoneTx) -> None:
    """Drop all that is laid aside, and the mark."""
    tx.execute("DELETE FROM snapshot_row")


async def remove_stale(database: Database, *, before_ms: int) -> None:
    """Empty the table if the load that has it did nothing since a moment, in milliseconds since 1970: it was killed.

    Raises:
        UnavailableError: the database does not answer.
    """
    with database.read() as tx:
        if not _is_stale(tx, before_ms):
            return

    def job(tx: ZoneTx) -> None:
        if _is_stale(tx, before_ms):
            empty(tx)

    await database.write_zone("remove snapshot", job, frees_space=True)


def _is_stale(tx: ReadTx, before_ms: int) -> bool:
    first = tx.fetch("SELECT tablename, row FROM snapshot_row ORDER BY tablename, oid LIMIT 1")  # the mark, if there is one
    return bool(first) and (first[0][0] != "" or int(bytes(first[0][1])) < before_ms)


def _now() -> bytes:
    return str(clock.now_ms()).encode()

"""All that a database holds, as rows: read in one moment, written to an empty database of any engine, and compared.

Path:     daemon/moving.py -> Reading (a database) or backup_file.py -> Filling -> another database
Holds:    a database that is being filled is closed: it carries a mark, made first and removed last, with which no server starts. Nothing is
          believed to have arrived but what was read back and has the sums of what was sent.
Not here: which database is filled from which, and what an operator is told (daemon/moving.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Self

import msgspec

from koinon.database import lease, migrations
from koinon.database.closed import Mark, mark_of, remove_mark, require_open, set_mark
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.fence import generation, shut
from koinon.database.state import GENERATION
from koinon.database.tables import metadata
from koinon.database.transactions import read_state
from koinon.errors import UnavailableError
from koinon.statements import digest
from koinon.statements.schema import COUNTERS, SHARED_TABLES

Row = tuple[Any, ...]

#: Is told now and then what is under way.
Tell = Callable[[str], None]

#: Every table of the schema and its columns, in one order.
TABLES: Final[Mapping[str, tuple[str, ...]]] = {str(table.name): tuple(map(str, table.columns.keys())) for table in metadata.sorted_tables}
#: Tables whose ids the engine itself gives.
_NUMBERED: Final = tuple(table.name for table in metadata.sorted_tables if table.autoincrement_column is not None)
_STATE_TABLE: Final = "zone_state"
_ROWS_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 4 * 2**20

_encode: Final = msgspec.msgpack.Encoder().encode


class Total(msgspec.Struct, frozen=True):
    """How many rows a table has, and the sum of their hashes mod 2^256."""

    rows: int = 0
    digest: bytes = bytes(digest.SIZE)


class Summing:
    """Passes rows on and sums them up."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self._count = 0
        self._digest = digest.EMPTY

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self._count += 1
            self._digest = digest.add(self._digest, blake2b(_encode(tuple(row)), digest_size=digest.SIZE).digest())
            yield row

    @property
    def total(self) -> Total:
        """Of the rows so far."""
        return Total(self._count, digest.to_bytes(self._digest))


def total_of(rows: Iterable[Row]) -> Total:
    """Sum rows up."""
    summing = Summing(rows)
    for _ in summing:
        pass
    return summing.total


class Reading:
    """A database whose rows are read as they are in one moment, while others may write to it. For a ``with``.

    Args:
        dialect: engine and place.

    Attributes:
        connection: its session.
        state: what the zone is in that moment.

    Raises:
        UnavailableError: it holds no zone of this program's schema, or is closed.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.connection = dialect.reader()
        try:
            _require_present(dialect, self.connection)
            require_open(dialect, self.connection)
            dialect.begin_snapshot(self.connection)
            self.state = read_state(self.connection)
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, _error: BaseException | None, _traceback: object) -> None:
        self._dialect.rollback(self.connection)
        self.connection.close()

    def rows(self, table: str) -> Iterable[Row]:
        """The rows of a table, one by one; all of them have to be read before the next table's."""
        return self.connection.stream(_select(table, TABLES[table]))

    def zone_name(self) -> str:
        """What the zone's own record calls it; empty before the first start has filled it."""
        row = self.connection.execute("SELECT name FROM zone_pool WHERE oid = ?", (self.state.zone_id,)).fetchone()
        return str(row[0]) if row else ""

    def faults(self) -> list[str]:
        """Shared tables whose rows do not have the digest that the zone has kept of them."""
        kept = {table: bytes(value) for table, value in self.connection.execute("SELECT tablename, digest FROM shared_digest")}
        return [table for table, found in self._shared_digests() if kept.get(table) != digest.to_bytes(found)]

    def _shared_digests(self) -> Iterator[tuple[str, int]]:
        for table, shape in SHARED_TABLES.items():
            total = digest.EMPTY
            for row in self.connection.stream(_select(table, shape.names)):
                total = digest.add(total, digest.row_hash(table, row))
            yield table, total
        counters = self.connection.execute("SELECT tablename, last_oid FROM pool_control").fetchall()
        hashes = [digest.counter_hash(table, last_oid) for table, last_oid in counters if table in SHARED_TABLES]
        total = digest.EMPTY
        for one in hashes:
            total = digest.add(total, one)
        yield COUNTERS, total


@contextmanager
def unserved(dialect: Dialect) -> Iterator[Connection]:
    """A session that writes to a database which no server serves, for a ``with`` within which none can start.

    Raises:
        UnavailableError: a server runs on it.
    """
    dialect.claim()
    try:
        connection = dialect.writer()
        try:
            dialect.alone(connection)
            if dialect.shared and dialect.has_table(connection, lease.TABLE):
                lease.require_unheld(connection, dialect)
            yield connection
        finally:
            dialect.rollback(connection)
            connection.close()
    finally:
        dialect.release()


def reopen(dialect: Dialect) -> None:
    """Let servers start again on a database that its zone has left for another one.

    Raises:
        UnavailableError: it holds no zone, is open, or is closed for another reason.
    """
    connection = dialect.reader()
    try:
        _require_present(dialect, connection)
        mark = mark_of(dialect, connection)
    finally:
        connection.close()
    if mark is None:
        raise UnavailableError(f"{dialect.place} is open: a server can start on it.")
    if not mark.left:
        raise UnavailableError(f"{dialect.place} stays closed: it holds {mark.holds}. {mark.remedy}")
    with unserved(dialect) as connection:
        remove_mark(connection)


class Filling:
    """A database that is filled from elsewhere: closed until ``open``, whatever breaks before.

    Args:
        dialect: engine and place.
        connection: from ``unserved``.
        mark: what it says of itself meanwhile.
        replace: give up what it holds. Without, it has to be empty, or closed before it was full. What an earlier attempt from the
            same source has put there is not put again (``has``).
        schema: the version that the rows are of.

    Attributes:
        sessions_left: how many sessions of others could not be ended; see ``fence.shut``.

    Raises:
        UnavailableError: it is not fit, or not empty.
    """

    def __init__(self, dialect: Dialect, connection: Connection, mark: Mark, *, replace: bool, schema: str = migrations.HEAD) -> None:
        self._dialect = dialect
        self._connection = connection
        self._schema = schema
        self._generation = 0  # what processes that have it open may know it by
        self.sessions_left = 0
        dialect.require_fit(connection)
        self._kept = self._close(mark, replace)

    def has(self, table: str, rows: Callable[[], Iterable[Row]]) -> Total | None:
        """The total of a table that an earlier attempt has left as it is to be; None if it must be put."""
        if not self._kept or table == _STATE_TABLE:  # each attempt gives it a generation of its own
            return None
        wanted = total_of(rows())
        return wanted if self.total(table, TABLES[table]) == wanted else None

    def put(self, table: str, columns: tuple[str, ...], rows: Iterable[Row], tell: Tell) -> Total:
        """Make a table's rows these; the row of ``zone_state`` is never missing, and gets a generation that neither side has had.

        Returns:
            The total of what was put.
        """
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        summing = Summing(self._of_next_generation(columns, rows) if table == _STATE_TABLE else rows)
        clear = f"DELETE FROM {table}"
        for part in _parts(summing):
            self._in_transaction(partial(self._put_part, clear, insert, part))
            clear = ""
            tell(f"{table}: {summing.total.rows:,} rows")
        return summing.total

    def _put_part(self, clear: str, insert: str, part: Sequence[Row]) -> None:
        if clear:
            self._connection.execute(clear)
        self._connection.later(insert, *part)

    def _of_next_generation(self, columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[Row]:
        at = columns.index("write_seq")
        for row in rows:
            former, groups = divmod(row[at], GENERATION)
            yield *row[:at], (max(former, self._generation) + 1) * GENERATION + groups, *row[at + 1 :]

    def total(self, table: str, columns: tuple[str, ...]) -> Total:
        """What a table holds now, read back from the database."""
        self._dialect.begin(self._connection)
        try:
            return total_of(self._connection.stream(_select(table, columns)))
        finally:
            self._dialect.rollback(self._connection)

    def check(self, totals: Mapping[str, tuple[tuple[str, ...], Total]], tell: Tell) -> None:
        """Read everything back.

        Raises:
            UnavailableError: a table is not what was sent.
        """
        for table, (columns, sent) in totals.items():
            tell(f"checking {table}")
            found = self.total(table, columns)
            if found != sent:
                raise UnavailableError(
                    f"{self._dialect.place} is not a true copy: {table} was sent as {sent.rows} rows (sum {sent.digest.hex()[:16]}) "
                    f"and holds {found.rows} ({found.digest.hex()[:16]}). It stays closed. Look for who else writes to it, and try again."
                )

    def open(self) -> None:
        """Bring the schema up to date, and let servers start on it."""
        if self._schema != migrations.HEAD:
            migrations.upgrade(self._dialect)
        for table in _NUMBERED:
            self._dialect.go_on_numbering(self._connection, table)
        remove_mark(self._connection)

    def leave_closed(self, mark: Mark) -> None:
        """Let it say something else of itself."""
        set_mark(self._dialect, self._connection, mark)

    def _close(self, mark: Mark, replace: bool) -> bool:
        """Mark the database and make its tables; whether some hold what an earlier attempt has put there."""
        dialect, connection = self._dialect, self._connection
        there = [name for name in (migrations.TABLE, *TABLES) if dialect.has_table(connection, name)]
        left = mark_of(dialect, connection)
        goes_on = left is not None and left.holds == mark.holds and migrations.version(dialect, connection) == self._schema
        if there and not replace and (left is None or left.left):
            what = "a zone" if there[0] == migrations.TABLE else f"tables of the same names ({there[0]})"
            raise UnavailableError(
                f"{dialect.place} is not empty: it holds {what}. Name another database, or give what it holds up with --replace."
            )
        self.sessions_left = shut(dialect, connection, mark)
        self._generation = generation(dialect, connection)
        if not goes_on:
            for name in there:
                connection.execute(f"DROP TABLE {name}")
            migrations.upgrade(dialect, self._schema)
            connection.execute("UPDATE zone_state SET write_seq = ? WHERE id = 1", (self._generation * GENERATION,))
        return goes_on

    def _in_transaction(self, act: Callable[[], object]) -> None:
        dialect, connection = self._dialect, self._connection
        connection.defers = True
        dialect.begin(connection)
        try:
            act()
            connection.flush()
            if not dialect.in_transaction(connection):
                raise UnavailableError(f"{dialect.place} dropped the transaction before COMMIT. Try again.")
            connection.execute("COMMIT")
        except BaseException:
            dialect.rollback(connection)
            raise
        finally:
            connection.defers = False


def _require_present(dialect: Dialect, connection: Connection) -> None:
    found = migrations.version(dialect, connection)
    if not found:
        raise UnavailableError(f"{dialect.place} holds no zone. Check [database] in the settings: give the --config FILE of the server.")
    if found != migrations.HEAD:
        raise UnavailableError(
            f"{dialect.place} was written by another version of koinon (schema {found}, this one knows {migrations.HEAD}). Use that "
            "version, or start this one's server once: it brings the database up to date."
        )


def _select(table: str, columns: Iterable[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table}"


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in parts, at least one."""
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(part) >= _ROWS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    yield part

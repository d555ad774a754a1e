"""What the rest of this package asks of an engine. SQL is written once, with ``?`` marks; what engines say differently is a member here.

Holds:    a connection is used by one thread at a time. Text comes back as it went in, numbers as int, blobs as bytes.
Not here: why each engine is as it is (its own module).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from koinon.database.dialects.queries import Table


class Rows(Protocol):
    """What a statement answers."""

    @property
    def rowcount(self) -> int:
        """Rows that a statement found, changed or not."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A session. Outside of a transaction each statement is one of its own.

    Attributes:
        defers: whether ``later`` may wait; at first it does not.
    """

    defers: bool

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows: ...

    def later(self, sql: str, /, *rows: Sequence[Any]) -> None:
        """Run a statement once for each row of parameters, at the latest before the next one of which somebody wants the answer.

        On a server that saves a round trip. If it fails, the transaction is lost, unless ``defers`` is off: then it fails by itself.
        """

    def later_one(self, sql: str, parameters: Sequence[Any], /) -> None:
        """As ``later``, once, for a statement that must find a row: that it does not is an ``integrity_error``."""

    def flush(self) -> None:
        """Run what ``later`` has left."""

    def stream(self, sql: str, parameters: Sequence[Any] = ...) -> Iterable[tuple[Any, ...]]:
        """Rows one by one, of a table too long to hold; inside a transaction, and nothing else runs before the last one was read."""

    def close(self) -> None: ...


class Dialect(Protocol):
    """One database of one engine."""

    #: for operators: engine and place, never a password
    place: str
    #: engine and driver as SQLAlchemy calls them
    alchemy: str
    driver_error: type[Exception]
    integrity_error: type[Exception]
    #: whether statements wait for a network, so that a write group had better run in a thread
    waits: bool
    #: whether several processes may serve one database at a time
    shared: bool
    #: SQL for the database's own clock, in milliseconds since 1970, where it is shared
    now_ms: str
    #: how long to try to learn what became of a COMMIT that failed
    doubt_patience_s: float

    def claim(self) -> None:
        """Make sure that no other process serves this database, on an engine that takes one only.

        Raises:
            UnavailableError: another one does.
        """

    def release(self) -> None:
        """Let go of what ``claim`` took."""

    def alone(self, connection: Connection) -> None:
        """Until this session ends, keep other processes from making the same database ready.

        Raises:
            UnavailableError: another one takes too long over it.
        """

    def require_fit(self, connection: Connection) -> None:
        """Look at the server before anything is written to it.

        Raises:
            UnavailableError: it is of a wrong version, encoding or durability; the text says what to change.
        """

    def require_rights(self, connection: Connection, tables: Sequence[str]) -> None:
        """Look whether we may read and change the rows of these tables, all of which are there.

        Args:
            connection: from ``writer``.
            tables: their names.

        Raises:
            UnavailableError: we may not; the text names the first right that is missing, whose it is, and the statement that grants it.
        """

    def connect(self) -> Connection:
        """A plain session: for reading, and for whoever repairs by hand."""

    def writer(self) -> Connection:
        """The session with which this process writes."""

    def reader(self) -> Connection:
        """A session that can't write."""

    def query(self, sql: str, *, seconds: float, most_bytes: int) -> Table:
        """Run one SELECT of an operator's own on a session of its own, on which nothing but reading is possible. Blocks.

        Args:
            sql: in this engine's words.
            seconds: how long it may take.
            most_bytes: how long its result may be, about.

        Raises:
            driver_error: it can't be run, or would do more than read.
            TimeoutError, OverflowError: it takes too long, or yields too much.
        """

    def migrator(self) -> Any:
        """The driver's own connection, for SQLAlchemy."""

    def has_table(self, connection: Connection, name: str) -> bool:
        """Whether the database holds a table of this name."""

    def go_on_numbering(self, connection: Connection, table: str) -> None:
        """Let the ids that the engine itself gives to a table's rows go on after those that were written by hand."""

    def tidy(self) -> None:
        """Regular housekeeping, off the loop."""

    def begin(self, connection: Connection) -> None:
        """Start a transaction that writes."""

    def begin_snapshot(self, connection: Connection) -> None:
        """Start a transaction in which every read sees one state."""

    def in_transaction(self, connection: Connection) -> bool:
        """Whether a transaction is open that COMMIT would make durable."""

    def rollback(self, connection: Connection) -> None:
        """End a transaction, if there is one, and forget what was left for later; never fails."""

    def lost_transaction(self, connection: Connection) -> bool:
        """Whether an error has thrown the whole transaction away, or may have, and not just the statement."""

    def is_gone(self, connection: Connection) -> bool:
        """Whether the session is over and another one is needed; costs next to nothing."""

    def end_stalled(self) -> int:
        """End the sessions of other processes that hold up all writers and are stopped in the middle of a transaction. Blocks.

        Returns:
            How many.
        """

    def end_others(self, own: Sequence[Connection]) -> int:
        """End the sessions that servers have with this database, where the engine has sessions. Blocks until they have ended.

        Args:
            own: those that stay; the first one, outside of a transaction, is used for it.

        Returns:
            How many could not be ended, for want of rights.
        """

    def identity(self) -> object:
        """What stands at the place now, to be compared; the same for ever where a server says who is there."""

    def held_up(self) -> str:
        """What the server lets no write of ours end for, if it says so: sentences for a caller, else empty. Blocks."""

    def commit_in_doubt(self, connection: Connection) -> bool:
        """After a COMMIT that failed: whether it may have taken effect all the same."""

    def await_own_end(self, connection: Connection) -> None:
        """On a new session: wait until a transaction of ours whose COMMIT failed has ended, one way or the other."""

    def is_full(self, error: BaseException) -> bool:
        """Whether there was no space on the database's disk."""

    def explain(self, error: BaseException, *, serving: bool = True) -> str:
        """Say what a driver error means for an operator.

        Args:
            error: of the driver, also one that comes of connecting.
            serving: whether a zone runs on this database and tries again by itself.
        """

    def free_bytes(self) -> int | None:
        """Space that is left for the database; None if it can't be known from here."""

"""Keep processes off a database that was closed, or filled anew, behind their back: one that was paused, or that nobody saw, and wakes.

A database has a generation, the upper part of ``write_seq``, which goes up each time that it is closed or filled. A process serves the
generation that it found at its start, and no other. Each write group begins with that row, so none of an older generation comes as far
as its COMMIT, and finding out takes no statement more.
Path:     Database.open() -> Fence; each new session goes through it, and each state that is read
          daemon/moving.py, contents.py -> shut() -> the other sessions, the generation, the mark
Holds:    once one session of a process has found out, the process reads and writes nothing until it is started again.
Why:      docs/decisions/0016-moving.md
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, NoReturn

from koinon.database.closed import Closed, Mark, mark_of, set_mark
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.state import GENERATION, ZoneState
from koinon.database.transactions import newest_state
from koinon.errors import UnavailableError

_STATE_TABLE: Final = "zone_state"


class Fence:
    """What one process may use of a database: nothing any more, once it is closed or another one.

    Args:
        dialect: engine and place.
        generation: the one that this process has found at its start.

    Attributes:
        reason: why it serves no longer, and what to do; empty as long as it may.
    """

    def __init__(self, dialect: Dialect, generation: int) -> None:
        self._dialect = dialect
        self._generation = generation
        self._identity = dialect.identity()
        self.reason = ""

    def require(self) -> None:
        """Refuse if this process has found out.

        Raises:
            Closed: it has.
        """
        if self.reason:
            raise Closed(self.reason)

    def session(self, connect: Callable[[], Connection]) -> Connection:
        """A new session with a database that is open.

        Raises:
            Closed: it is not.
        """
        connection = connect()
        try:
            self._look_at_mark(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def newest(self, connection: Connection, known: ZoneState | None = None) -> ZoneState:
        """As ``newest_state``, if the database is the one that this process serves.

        Raises:
            Closed: it is not.
        """
        self.require()
        try:
            state = newest_state(connection, known)
        except self._dialect.driver_error:  # a table may be missing while a database is filled
            self._explain(connection)
            raise
        if state is known:
            return state
        if state.generation != self._generation:
            self._explain(connection)
            self._refuse(
                f"{self._dialect.place} was closed, restored or copied into since this server opened it", "Look at what it holds now."
            )
        if known is None and not self._dialect.waits:  # where it takes no round trip
            if self._dialect.identity() != self._identity:
                self._refuse(f"{self._dialect.place} was removed or replaced since this server opened it", "See who did that.")
            self._look_at_mark(connection)
        return state

    def _explain(self, connection: Connection) -> None:
        """Refuse in the words of the mark, if there is one and it can be read."""
        with contextlib.suppress(self._dialect.driver_error):
            self._look_at_mark(connection)

    def _look_at_mark(self, connection: Connection) -> None:
        mark = mark_of(self._dialect, connection)
        if mark is not None:
            self._refuse(f"{self._dialect.place} was closed since this server opened it: it holds {mark.holds}", mark.remedy)

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        self.reason = f"{what}. {remedy} This server has stopped serving and writes nothing any more; if it is to go on, start it again."
        raise Closed(self.reason)


def shut(dialect: Dialect, connection: Connection, mark: Mark, *, read_by: Connection | None = None, since: int | None = None) -> int:
    """Close a database, also to servers that nobody sees: when this returns, no transaction of theirs can be committed.

    Args:
        dialect: engine and place.
        connection: from ``unserved``.
        mark: what it is to say of itself.
        read_by: another session of ours.
        since: the ``write_seq`` that it must still have.

    Returns:
        How many sessions of others could not be ended, for want of rights. They can commit nothing either.

    Raises:
        UnavailableError: somebody has written since ``since``; nothing was changed.
    """
    if since is not None and _write_seq(dialect, connection) != since:
        raise _written_to(dialect)  # before a server that serves loses its sessions
    left = dialect.end_others([connection] if read_by is None else [connection, read_by])
    dialect.begin(connection)
    try:
        _raise_generation(dialect, connection, since)
        set_mark(dialect, connection, mark)  # MariaDB commits what is before it, if it has to make the table
        connection.execute("COMMIT")
    except BaseException:
        dialect.rollback(connection)
        raise
    return left


def _raise_generation(dialect: Dialect, connection: Connection, since: int | None) -> None:
    if dialect.has_table(connection, _STATE_TABLE):
        # It waits for a transaction that is under way, which orders itself by the same row.
        raising = f"UPDATE {_STATE_TABLE} SET write_seq = write_seq + ? WHERE id = 1"
        if since is None:
            connection.execute(raising, (GENERATION,))
        elif not connection.execute(f"{raising} AND write_seq = ?", (GENERATION, since)).rowcount:
            raise _written_to(dialect)


def _written_to(dialect: Dialect) -> UnavailableError:
    return UnavailableError(
        f"{dialect.place} was written to while it was copied: a server of this zone is at work that seemed to be stopped, or was paused. "
        "The copy stays closed, and the zone is as it was. Stop that server, then give the command again."
    )


def generation(dialect: Dialect, connection: Connection) -> int:
    """The generation of a database; 0 of one that holds no zone."""
    return _write_seq(dialect, connection) // GENERATION


def _write_seq(dialect: Dialect, connection: Connection) -> int:
    if not dialect.has_table(connection, _STATE_TABLE):
        return 0
    found = connection.execute(f"SELECT write_seq FROM {_STATE_TABLE} WHERE id = 1").fetchone()
    return 0 if found is None else int(found[0])

"""The session with which this process writes, and what it remembers of the database between two groups.

Holds:    rows, state and digests are remembered of the database that this session reached: a new session begins without them. What a group
          has left is right until somebody else writes, and each group that does so moves ``write_seq``.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex

import msgspec

from koinon.database.cache import Notes, RowCache
from koinon.database.closed import Closed
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.fence import Fence
from koinon.database.state import ZoneState
from koinon.errors import UnavailableError


class Lost(Exception):
    """The whole transaction is gone, through no fault of the job that was running."""


class Unreachable(Lost):
    """There is no session with the server, and none can be had now."""


class Full(Lost):
    """There is no space left: the same job would fail again."""


class WriteSession:
    """A connection that writes.

    Args:
        dialect: the engine.
        fence: see there.
        notes: where to tell the caches what changed.
        cache: rows that jobs may read from; the readers' own, if jobs run where they do.

    Attributes:
        connection: it changes when the server has ended the session.
        name: of this writer, among all that ever wrote to the database.
    """

    def __init__(self, dialect: Dialect, fence: Fence, notes: Notes, cache: RowCache) -> None:
        self.dialect = dialect
        self.fence = fence
        self.notes = notes
        self.cache = cache
        self.connection: Connection = fence.session(dialect.writer)
        self.name = token_hex(16)
        self._left: ZoneState | None = None  # by the last group of this process
        self._left_digests: Mapping[str, int] | None = None
        self._undisturbed = True  # nobody else wrote before the present group

    def renew_if_gone(self) -> None:
        """Get another session if this one is over; what was remembered from it may not be true of the server that answers now.

        Raises:
            Unreachable: there is none to be had.
            Closed: the database is closed.
        """
        if not self.dialect.is_gone(self.connection):
            return
        self.connection.close()
        self.cache.forget()
        self._left = None
        try:
            self.connection = self.fence.session(self.dialect.writer)
        except self.dialect.driver_error as error:
            raise Unreachable(self.dialect.explain(error)) from error
        except Closed:
            raise
        except UnavailableError as error:
            raise Unreachable(error.text) from error

    def distrust_state(self) -> None:
        """Let the next group read the whole state, whatever its number says."""
        self._undisturbed = False

    def close(self) -> None:
        self.connection.close()

    def rollback(self) -> None:
        self.dialect.rollback(self.connection)

    def lost(self, error: Exception) -> Lost:
        """What an error that has cost the transaction is told as."""
        kind = Full if self.dialect.is_full(error) else Lost
        return kind(self.dialect.explain(error))

    def require_transaction(self) -> None:
        """See that a transaction is open that COMMIT would make durable.

        Raises:
            Lost: there is none.
        """
        if not self.dialect.in_transaction(self.connection):
            self.rollback()
            raise Lost("the database dropped the transaction before COMMIT")

    def read_state(self) -> ZoneState:
        """The state behind a group's first statement. A server is asked for its number alone as long as nobody else writes.

        Raises:
            Closed: the database is not the one that this process serves.
        """
        expected = None if self._left is None else msgspec.structs.replace(self._left, write_seq=self._left.write_seq + 1)
        state = self.fence.newest(self.connection, expected if self.dialect.waits and self._undisturbed else None)
        self._undisturbed = expected is None or expected.write_seq == state.write_seq
        return state

    def digests_before(self, state: ZoneState) -> Mapping[str, int] | None:
        """The digests of the shared tables before a group, if this process's own last group left them.

        Args:
            state: as of the group's first statement.
        """
        return self._left_digests if self._left is not None and self._left.write_seq == state.write_seq - 1 else None

    def leave(self, state: ZoneState, digests: Mapping[str, int] | None) -> None:
        """A group is durable: remember what it has left."""
        self._left, self._left_digests = state, digests

"""The session with which this process writes, and what it remembers of the database between two groups.

Holds:    rows and digests are remembered of the database that this session reached: a new session begins without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex

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
        self._digests: Mapping[str, int] = {}  # of the shared tables, right while ``_digests_at`` is the database's write_seq
        self._digests_at = -1

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
        self._digests_at = -1
        try:
            self.connection = self.fence.session(self.dialect.writer)
        except self.dialect.driver_error as error:
            raise Unreachable(self.dialect.explain(error)) from error
        except Closed:
            raise
        except UnavailableError as error:
            raise Unreachable(error.text) from error

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

    def digests_before(self, state: ZoneState) -> Mapping[str, int] | None:
        """The digests before a group, if this process's own last group left them.

        Args:
            state: as of the group's first statement.
        """
        return self._digests if self._digests_at == state.write_seq - 1 else None

    def keep_digests(self, digests: Mapping[str, int], write_seq: int) -> None:
        """Remember the digests that a durable group has left."""
        self._digests, self._digests_at = digests, write_seq

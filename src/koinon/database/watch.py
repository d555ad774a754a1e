"""Keep an eye on what other processes of the same zone do: a thread with a session of its own.

Path:     Database.start() -> Watch -> the newest state -> Database, which tells whoever listens; -> the lease -> lease.py
Holds:    the loop never waits for it, and a server that hangs holds up nothing but this thread. It looks at once when another process of
          this machine says that it has written (hints.py), else often while others write, and seldom while nobody does.
Why:      docs/decisions/0017-processes.md
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from koinon import clock
from koinon.database import lease
from koinon.database.closed import Closed
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.fence import Fence
from koinon.database.hints import Hints
from koinon.database.lease import Claimant, Lease, Seen
from koinon.database.state import ZoneState

log = structlog.get_logger(__name__)

#: Between two looks: while others write, and while they do not.
OFTEN_S: Final = 0.004
SELDOM_S: Final = 0.02
_BUSY_FOR_S: Final = 1.0
_RETRY_S: Final = 0.25
_END_S: Final = 3.0


def process_name() -> str:
    """This process, for people: machine and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Watch:
    """The thread.

    Args:
        dialect: the engine, one that several processes may use.
        fence: the watch ends when it says that the database was closed.
        held: is told of each look at the lease, on the loop.
        seen: is told of a state that this thread had not seen before, on the loop.
        hints: see ``Hints``.
    """

    def __init__(self, dialect: Dialect, fence: Fence, held: Lease, seen: Callable[[ZoneState], None], hints: Path | None) -> None:
        self._dialect = dialect
        self._fence = fence
        self._lease = held
        self._seen = seen
        self._hints = Hints(hints)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._busy_until = 0.0
        self._answered_at = clock.monotonic_s()
        self.me = Claimant(secrets.token_hex(16), process_name())

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self) -> None:
        """Give the lease up and end."""
        self._ending.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, _END_S)
        if not self._thread.is_alive():
            self._hints.close()

    def we_wrote(self) -> None:
        """This process has committed something: let the others look."""
        self._hints.give()

    def others_write(self) -> None:
        """There was something to see: look often for a while."""
        self._busy_until = clock.monotonic_s() + _BUSY_FOR_S

    def silence_s(self) -> float:
        """Seconds since the database last answered here."""
        return clock.monotonic_s() - self._answered_at

    def _run(self) -> None:
        connection: Connection | None = None
        known: ZoneState | None = None
        lease_due = 0.0
        hinted = False
        while not self._ending.is_set():
            try:
                if connection is None or self._dialect.is_gone(connection):
                    connection = self._connect_anew(connection)
                    known = None
                # after a hint, no need to ask first whether it has moved
                newest = self._fence.newest(connection, None if hinted else known)
                if known is None or newest.write_seq != known.write_seq:
                    known = newest
                    self._tell(self._seen, newest)
                if clock.monotonic_s() >= lease_due:
                    seen = lease.look(connection, self._dialect, self.me, self._lease.to_say)
                    lease_due = clock.monotonic_s() + lease.RENEW_EVERY_S
                    self._tell(self._lease.see, seen)
                self._answered_at = clock.monotonic_s()
            except Closed:  # its rows are not ours any more, the lease's neither
                self._close(connection)
                return
            except Exception as error:  # a fault of ours or of a driver must not leave this process blind
                known_kind = isinstance(error, self._dialect.driver_error)
                log.log(
                    logging.DEBUG if known_kind else logging.ERROR,
                    "the watch lost its session",
                    error=self._dialect.explain(error) if known_kind else repr(error),
                )
                self._close(connection)
                connection = None
                self._ending.wait(_RETRY_S)
                continue
            hinted = self._hints.wait(OFTEN_S if clock.monotonic_s() < self._busy_until else SELDOM_S)
        if connection is not None:
            with contextlib.suppress(self._dialect.driver_error):
                lease.give_up(connection, self.me)
        self._close(connection)

    def _connect_anew(self, connection: Connection | None) -> Connection:
        self._close(connection)
        return self._fence.session(self._dialect.connect)

    def _close(self, connection: Connection | None) -> None:
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be broken in any way
                connection.close()

    def _tell(self, hear: Callable[[Any], None], what: ZoneState | Seen) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(hear, what)

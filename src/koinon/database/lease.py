"""The lease: which process of a zone does the work that only one should do.

It is one row: who holds it, until when on the database's own clock, and what its holder has to say to the other processes. Nothing but
waste is prevented by it: who is paused, loses it and wakes up finds that the position which it claims has moved.
Path:     watch.py asks for it and renews it, in its thread -> Lease, on the loop -> whoever starts and stops work by it
Holds:    the holder stops before the others may take over: it counts from before it asked, on a clock that nobody sets.
Why:      docs/decisions/0017-processes.md
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from koinon import clock
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.errors import UnavailableError

TABLE: Final = "lease"
LENGTH_S: Final = 3.0
RENEW_EVERY_S: Final = 0.5
#: The holder stops so long before others may begin.
_MARGIN_S: Final = 0.75
#: A process that has just started asks for it within this time.
_QUIET_S: Final = 1.5
_LOOK_EVERY_S: Final = 0.1


class Seen(msgspec.Struct, frozen=True):
    """The lease as one look at the database showed it.

    Attributes:
        held_until: on our monotonic clock, up to when it is ours; None if it is another's.
        holder: name of the process that holds it, empty if nobody does.
        said: what that process last said.
        said_at: when it said so, on our monotonic clock.
    """

    held_until: float | None
    holder: str
    said: bytes
    said_at: float


class Claimant(msgspec.Struct, frozen=True):
    """A process that would hold the lease.

    Attributes:
        id: 32 hex digits, random.
        name: for people: machine and process id.
    """

    id: str
    name: str


def look(connection: Connection, dialect: Dialect, me: Claimant, to_say: bytes) -> Seen:
    """Renew the lease if it is ours, take it if nobody's, else say whose it is."""
    began = clock.monotonic_s()
    now, length_ms = dialect.now_ms, int(LENGTH_S * 1000)
    holder, name, left_ms, said = connection.execute(f"SELECT holder, name, until_ms - {now}, said FROM lease WHERE id = 1").fetchone()
    # A clock that was set back must not leave a lease behind that lasts for hours.
    if holder == me.id or not 0 < left_ms <= 2 * length_ms:
        taken = connection.execute(
            f"UPDATE lease SET holder = ?, name = ?, until_ms = {now} + ?, said = ? "
            f"WHERE id = 1 AND (holder = ? OR until_ms <= {now} OR until_ms > {now} + ?)",
            (me.id, me.name, length_ms, to_say, me.id, 2 * length_ms),
        ).rowcount
        if taken:
            return Seen(began + LENGTH_S - _MARGIN_S, me.name, to_say, began)
    return Seen(None, name if left_ms > 0 else "", bytes(said), began - max(0.0, length_ms - left_ms) / 1000)


def give_up(connection: Connection, me: Claimant) -> None:
    """Let another process have it at once."""
    connection.execute("UPDATE lease SET until_ms = 0 WHERE id = 1 AND holder = ?", (me.id,))


def require_unheld(connection: Connection, dialect: Dialect) -> None:
    """Wait until it is certain that no process serves the database: one that does renews the lease all the time.

    Raises:
        UnavailableError: one does.
    """
    began = unheld_since = clock.monotonic_s()
    while clock.monotonic_s() - unheld_since < _QUIET_S:
        name, left_ms = connection.execute(f"SELECT name, until_ms - {dialect.now_ms} FROM lease WHERE id = 1").fetchone()
        if left_ms > 0:
            unheld_since = clock.monotonic_s()
            if unheld_since - began > LENGTH_S + _QUIET_S:
                raise UnavailableError(f"{dialect.place} is in use by another koinon server ({name}). Stop all of this zone first.")
        time.sleep(_LOOK_EVERY_S)


class Lease:
    """What this process knows of the lease; all of it on the loop.

    Args:
        alone: there is no other process that could hold it.

    Attributes:
        alone: see above.
        to_say: what the others get to read while it is ours.
    """

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self._seen: Seen | None = None
        self._held = alone
        self._expiry: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self.to_say = b""

    @property
    def held(self) -> bool:
        """Whether this process holds it now."""
        return self.alone or (self._seen is not None and (self._seen.held_until or 0.0) > clock.monotonic_s())

    @property
    def holder(self) -> str:
        """The name of the process that holds it as far as is known, empty if it is this one alone, or nobody."""
        return "" if self._seen is None else self._seen.holder

    def said(self) -> tuple[bytes, float] | None:
        """What another process that holds it last said, and how many seconds ago; None if there is none."""
        if self.alone or self.held or self._seen is None or not self._seen.said:
            return None
        return self._seen.said, clock.monotonic_s() - self._seen.said_at

    def on_change(self, hear: Callable[[], None]) -> None:
        """Call ``hear`` each time that this process got it or lost it."""
        self._listeners.append(hear)

    def see(self, seen: Seen) -> None:
        """Take note of a look at the database."""
        self._seen = seen
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if seen.held_until is not None:
            left_s = max(0.0, seen.held_until - clock.monotonic_s())
            self._expiry = asyncio.get_running_loop().call_later(left_s + 0.001, self._compare)
        self._compare()

    def close(self) -> None:
        """Tell nobody any more."""
        self._listeners.clear()
        if self._expiry is not None:
            self._expiry.cancel()

    def _compare(self) -> None:
        held = self.held
        if held != self._held:
            self._held = held
            for hear in tuple(self._listeners):
                hear()

"""Load on a zone whose database fails, and what must be true afterwards of everything that was said."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from typing import Any, Final

from harness.replies import Caller
from harness.zones import Zone, wait_until
from koinon.database.dialects import choose
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx, read_state
from koinon.statements.chain import extend

_WRITERS: Final = 3
_TAKEN: Final = re.compile(r"already taken by USER (\d+)")


class Load:
    """Threads that create users, each name asked for once, and remember what they were told of it.

    Where the answer is lost with its connection they ask again, as clients do; a name that is taken by then was made by the first call.

    Attributes:
        made: id of each user whose creation was acknowledged.
        refused: what was said of each that was not made.
        unknown: what was said of each of which nobody knows.
        cut: how many answers were lost.
    """

    def __init__(self, *zones: Zone, port: int = 0) -> None:
        """Say where to.

        Args:
            zones: processes of one zone; each thread keeps to one of them.
            port: asked in place of theirs, as that of a load balancer.
        """
        self._zones = zones
        self._port = port
        self._enough = threading.Event()
        self._numbers = itertools.count(1)
        self._threads = [threading.Thread(target=self._write, args=(zones[number % len(zones)],)) for number in range(_WRITERS)]
        self.made: dict[str, int] = {}
        self.refused: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self.cut = 0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a write waits for its answer without end"

    def _write(self, zone: Zone) -> None:
        caller = Caller(self._port or zone.port, zone.secret)
        while not self._enough.is_set():
            name = f"user{next(self._numbers)}"
            again = False
            while (reply := self._ask(caller, name)) is None and not self._enough.is_set():
                again = True
                self.cut += 1
                time.sleep(0.05)
            if reply is None:
                self.unknown[name] = "no answer"
            elif reply[0]:
                self.made[name] = reply[1]
            elif again and (taken := _TAKEN.search(reply[1])):
                self.made[name] = int(taken[1])
            elif again or "unknown" in reply[1]:
                self.unknown[name] = reply[1]
            else:
                self.refused[name] = reply[1]
            if reply and not reply[0]:
                time.sleep(0.05)
        caller.close()

    @staticmethod
    def _ask(caller: Caller, name: str) -> Any:
        with contextlib.suppress(OSError):
            return caller.call("one.user.allocate", name, "x", "public", [])
        return None

    def goes_on(self, *, timeout_s: float = 30.0) -> None:
        """Wait until every thread has been acknowledged a write that it begins from now on."""
        before = len(self.made)
        wait_until("writes are acknowledged", lambda: len(self.made) > before + 2 * _WRITERS, timeout_s=timeout_s)

    def check(self, zone: Zone) -> None:
        """What was told is so."""
        found: dict[str, int] = {}
        for user in zone.client().userpool.info().USER:
            assert user.NAME not in found, f"{user.NAME} is there twice"
            found[user.NAME] = user.ID
        assert {name: found.get(name) for name in self.made} == self.made, "acknowledged users are lost"
        assert not set(self.refused) & set(found), "users were made whose making was refused"
        assert not set(found) - set(self.made) - set(self.unknown) - {"oneadmin", "serveradmin"}


def check_log(url: str, *, after: int = 0) -> None:
    """The log has no gap and one chain, and ends where the zone stands.

    Args:
        url: of the zone's database.
        after: the index of a commit, taken as it is, from which on the log is looked at; a slave has none from before its snapshot.
    """
    connection = choose(url).connect()
    try:
        tx = ReadTx(connection, read_state(connection), None)
        chain, index = bytes(32), after
        if after:
            chain = connection.execute("SELECT chain FROM federation_commit WHERE last_idx = ?", (after,)).fetchone()[0]
        while logged := read_commits(tx, index, statements=1000):
            for one in logged:
                assert one.commit.first_idx == index + 1
                chain = extend(chain, one.commit, one.statements)
                assert chain == one.chain
                index = one.commit.last_idx
        assert (index, chain) == (tx.state.position, tx.state.chain)
    finally:
        connection.close()

"""Load on a zone whose database fails, and what must be true afterwards of everything that was said."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any, Final

from harness.zones import Zone, wait_until
from koinon.database.dialects import choose
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx, read_state
from koinon.statements.chain import extend

_WRITERS: Final = 3


class Load:
    """Threads that create users, each name asked for once, and remember what they were told of it."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._enough = threading.Event()
        self._numbers = itertools.count(1)
        self._threads = [threading.Thread(target=self._write) for _ in range(_WRITERS)]
        self.made: dict[str, int] = {}
        self.refused: dict[str, str] = {}
        self.unknown: dict[str, str] = {}

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a write waits for its answer without end"

    def _write(self) -> None:
        caller = self._zone.caller()
        while not self._enough.is_set():
            name = f"user{next(self._numbers)}"
            reply: Any = caller.call("one.user.allocate", name, "x", "public", [])
            if reply[0]:
                self.made[name] = reply[1]
            elif "unknown" in reply[1]:
                self.unknown[name] = reply[1]
            else:
                self.refused[name] = reply[1]
                time.sleep(0.05)
        caller.close()

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


def check_log(url: str) -> None:
    """The log has no gap and one chain, and ends where the zone stands."""
    connection = choose(url).connect()
    try:
        tx = ReadTx(connection, read_state(connection), None)
        chain, index = bytes(32), 0
        while logged := read_commits(tx, index, statements=1000):
            for one in logged:
                assert one.commit.first_idx == index + 1
                chain = extend(chain, one.commit, one.statements)
                assert chain == one.chain
                index = one.commit.last_idx
        assert (index, chain) == (tx.state.position, tx.state.chain)
    finally:
        connection.close()

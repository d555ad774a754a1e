"""A zone on PostgreSQL with a synchronous standby: the primary is killed under load, the standby promoted, nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from harness import engines, processes
from harness.zones import Zone, wait_until
from koinon.database.dialects import choose
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx, read_state
from koinon.statements.chain import extend

_WRITERS: Final = 3
_ROUNDS: Final = 6
#: From the promotion to the next acknowledged write; the zone looks for its database four times a second.
_RETURN_S: Final = 10.0


class Pair:
    """A primary and its synchronous standby."""

    def __init__(self) -> None:
        self.primary = engines.PostgreSQL()
        self.primary.start()
        self.primary.database("zone")
        self.servers = [self.primary]
        self.add_standby()

    @property
    def url(self) -> str:
        return engines.either(self.servers[-2:], "zone")

    def add_standby(self) -> None:
        self.standby = engines.Standby(self.primary)
        self.standby.start()
        self.standby.become_synchronous()
        self.servers.append(self.standby)

    def kill_primary(self) -> None:
        assert self.primary.process is not None
        processes.kill(self.primary.process)  # its children end by themselves when they see it gone
        self.primary.process = None

    def promote(self) -> None:
        self.standby.promote()
        self.primary = self.standby

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    try:
        made = Pair()
    except engines.Missing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    yield made
    made.remove()


@pytest.fixture
def zone(pair: Pair, tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path / "zone", "zone", engine="sqlite", settings={"database": {"url": pair.url}})
    made.start()
    yield made
    made.stop()


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
        assert all("goes on when it is back" in text for text in self.refused.values()), set(self.refused.values())
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


def test_acknowledged_writes_survive_the_loss_of_the_primary(pair: Pair, zone: Zone) -> None:
    with Load(zone) as load:
        load.goes_on()
        pair.kill_primary()
        pair.promote()
        load.goes_on(timeout_s=_RETURN_S)
    load.check(zone)
    check_log(pair.url)


def test_a_commit_that_only_a_restarted_primary_holds_is_not_acknowledged(pair: Pair, zone: Zone) -> None:
    """Such a commit shows after the restart as if it were safe, and is lost if the standby is promoted then."""
    receiver = pair.standby.receiver()
    os.kill(receiver, signal.SIGSTOP)
    replies: list[Any] = []
    caller = zone.caller()
    writing = threading.Thread(target=lambda: replies.append(caller.call("one.user.allocate", "in-doubt", "x", "public", [])))
    writing.start()
    try:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_until("the commit waits for the standby", lambda: pair.primary.administer(waiting))
        pair.kill_primary()
        (pair.primary.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        pair.primary.start()
        wait_until("the zone looks its commit up, and waits again", lambda: pair.primary.administer(waiting))
        assert replies == []
        assert pair.primary.administer("SELECT current_database()")  # the primary answers: it is the standby that is waited for
    finally:
        os.kill(receiver, signal.SIGCONT)
        writing.join(60)
    assert replies[0][0]
    wait_until("the standby has it", lambda: _users(pair.standby, "in-doubt") == 1)


def _users(server: engines.PostgreSQL, name: str) -> int:
    connection = choose(server.url("zone")).connect()
    try:
        return int(connection.execute("SELECT COUNT(*) FROM user_pool WHERE name = ?", (name,)).fetchone()[0])
    finally:
        connection.close()


@pytest.mark.soak
def test_acknowledged_writes_survive_one_primary_after_the_other(pair: Pair, tmp_path: Path) -> None:
    """Each promoted standby gets a standby of its own, under load; the zone is started anew with their addresses when both have changed."""
    randomly = random.Random(7)
    for _ in range(_ROUNDS):
        zone = Zone(tmp_path / "zone", "zone", engine="sqlite", settings={"database": {"url": pair.url}})
        zone.start()
        try:
            with Load(zone) as load:
                load.goes_on()
                time.sleep(randomly.uniform(0.0, 1.0))
                pair.kill_primary()
                time.sleep(randomly.uniform(0.0, 3.0))
                pair.promote()
                load.goes_on(timeout_s=_RETURN_S)
                pair.add_standby()
                load.goes_on()
            load.check(zone)
            check_log(pair.url)
            for oid in load.made.values():
                zone.client().user.delete(oid)
            for name in load.unknown:
                zone.command("oneuser", "delete", name, session=zone.secret, check=False)
        finally:
            zone.stop()

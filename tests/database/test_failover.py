"""A zone on PostgreSQL with a synchronous standby: the primary is killed under load, the standby promoted, nothing acknowledged is lost."""

from __future__ import annotations

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
from tests.database.load import Load, check_log
from tests.servers import needed

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
        """All of its processes: one that is left over has its memory still, and no primary starts beside it."""
        assert self.primary.process is not None
        processes.kill_family(self.primary.process)
        self.primary.process = None

    def waits(self, table: str) -> bool:
        """Whether a transaction that has changed ``table`` waits in its COMMIT for the standby.

        Others wait there too: the lease is renewed twice a second.
        """
        with engines.session(self.primary.url("zone")) as session:
            found = session.execute(
                "SELECT 1 FROM pg_stat_activity JOIN pg_locks USING (pid) "
                "WHERE wait_event = 'SyncRep' AND mode = 'RowExclusiveLock' AND relation = CAST(? AS regclass)",
                (table,),
            )
            return found.fetchone() is not None

    def promote(self) -> None:
        self.standby.promote()
        self.primary = self.standby

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with needed():
        made = Pair()
    yield made
    made.remove()


@pytest.fixture
def zone(pair: Pair, tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path / "zone", "zone", engine="sqlite", settings={"database": {"url": pair.url}})
    made.start()
    yield made
    made.stop()


def test_acknowledged_writes_survive_the_loss_of_the_primary(pair: Pair, zone: Zone) -> None:
    with Load(zone) as load:
        load.goes_on()
        pair.kill_primary()
        pair.promote()
        load.goes_on()
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
        wait_until("the commit waits for the standby", lambda: pair.waits("user_pool"))
        pair.kill_primary()
        (pair.primary.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        pair.primary.start()
        wait_until("the zone looks its commit up, and waits again", lambda: pair.waits("zone_state"))
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

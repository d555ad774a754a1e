"""``kill -9`` in the middle of writes: every acknowledged write survives, and all zones hold the same rows afterwards."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest

from harness.replies import Caller
from harness.zones import PATIENCE_S, Federation, Zone, federation

pytestmark = pytest.mark.engines

_numbers = itertools.count(1)
_WRITERS: Final = 3


class Writers:
    """Threads that create users and change one, in every zone at once, and remember what was acknowledged.

    Attributes:
        made: name and id of each user whose creation was answered with success.
        marks: for each writer the last mark whose writing was answered with success, and the one asked for last.
    """

    def __init__(self, zones: Federation) -> None:
        self._zones = zones
        self._enough = threading.Event()
        self._threads: list[threading.Thread] = []
        self.made: dict[str, int] = {}
        self.marks: dict[int, tuple[int, int]] = {}
        self.refusals: list[object] = []
        admin = zones.caller(zones.master)
        self.targets = [admin.value("one.user.allocate", f"target{next(_numbers)}", "x", "public") for _ in range(_WRITERS)]
        admin.close()

    def start(self) -> None:
        for number, target in enumerate(self.targets):
            zone = self._zones.zones[number % len(self._zones.zones)]
            thread = threading.Thread(target=self._write, args=(zone, target), name=f"writer-{number}")
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} waits for an answer without end"

    def _write(self, zone: Zone, target: int) -> None:
        caller = self._zones.caller(zone)
        for mark in itertools.count(1):
            if self._enough.is_set():
                break
            self._create(caller)
            self._mark(caller, target, mark)
        caller.close()

    def _create(self, caller: Caller) -> None:
        name = f"made{next(_numbers)}"
        reply = _attempt(caller, "one.user.allocate", name, "x", "public")
        if reply is not None and reply[0]:
            self.made[name] = reply[1]
        elif reply is not None:
            self.refusals.append(reply)

    def _mark(self, caller: Caller, target: int, mark: int) -> None:
        done = self.marks.get(target, (0, 0))[0]
        self.marks[target] = (done, mark)
        reply = _attempt(caller, "one.user.update", target, f"MARK={mark}", 0)
        if reply is not None and reply[0]:
            self.marks[target] = (mark, mark)


def _attempt(caller: Caller, method: str, *arguments: Any) -> Any:
    """One call to a zone that may be dead: None if it gave no answer."""
    try:
        return caller.call(method, *arguments)
    except OSError:
        time.sleep(0.05)
        return None


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("kills"), 3) as made:
        yield made


def _survives(zones: Federation, victim: Zone, kills: int) -> None:
    writers = Writers(zones)
    randomly = random.Random(kills)  # which moments are hit depends on the machine anyway; the choice at least does not
    writers.start()
    try:
        for _ in range(kills):
            time.sleep(randomly.uniform(0.1, 0.6))
            victim.kill()
            time.sleep(randomly.uniform(0.0, 0.3))
            victim.start()
        time.sleep(0.3)
    finally:
        writers.stop()
        if not victim.running:
            victim.start()
    zones.settled()
    assert writers.made, f"not one user was created; refusals: {writers.refusals[:3]}"
    for zone in zones.zones:
        one = zones.client(zone)
        found = {user.NAME: user.ID for user in one.userpool.info().USER}
        lost = {name: uid for name, uid in writers.made.items() if found.get(name) != uid}
        assert not lost, f"{zone.name} lost acknowledged users: {lost}"
        for target, (acknowledged, asked) in writers.marks.items():
            mark = int(one.user.info(target).TEMPLATE.get("MARK", 0))
            assert acknowledged <= mark <= asked, f"{zone.name}: user {target} shows {mark}, acknowledged was {acknowledged}"
    pools = {zones.caller(zone).value("one.userpool.info") for zone in zones.zones}
    assert len(pools) == 1, "zones show different users"


@pytest.mark.parametrize("victim", ["master", "slave"])
def test_zones_agree_after_kills_in_the_middle_of_writes(zones: Federation, victim: str) -> None:
    """Five times the same zone; a position and its rows are one transaction, so nothing is applied twice or skipped."""
    _survives(zones, zones.master if victim == "master" else zones.slaves[0], 5)


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["master", "slave"])
def test_zones_agree_after_many_kills(zones: Federation, victim: str) -> None:
    """Twenty times the same zone."""
    _survives(zones, zones.master if victim == "master" else zones.slaves[0], 20)


@pytest.mark.soak
def test_zones_agree_after_all_of_them_were_killed_at_random(zones: Federation) -> None:
    """Any zone, at any time, also several at once."""
    writers = Writers(zones)
    writers.start()
    try:
        for round_number in range(20):
            victims = random.Random(round_number).sample(zones.zones, k=round_number % len(zones.zones) + 1)
            time.sleep(0.4)
            for victim in victims:
                victim.kill()
            for victim in victims:
                victim.launch()
            for victim in victims:
                victim.await_answer()
    finally:
        writers.stop()
        for zone in zones.zones:
            with suppress(AssertionError):
                zone.start()
    zones.settled()
    for zone in zones.zones:
        found = {user.NAME: user.ID for user in zones.client(zone).userpool.info().USER}
        assert writers.made.items() <= found.items()


def test_a_zone_that_was_killed_starts_without_help(zones: Federation) -> None:
    """No stale lock, socket or half-written file stands in the way, and the zone stops cleanly when asked."""
    slave = zones.slaves[1]
    slave.kill()
    slave.start()
    zones.settled()
    assert slave.stop() == 0
    slave.start()
    zones.settled()

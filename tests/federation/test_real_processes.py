"""Several server processes of one zone on one database server: any answers any call, one leads, and any may die at any moment."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from harness.replies import Caller
from harness.zones import PATIENCE_S, Federation, Section, Zone, join, wait_until
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx, read_state
from koinon.statements.chain import extend
from koinon.statements.commits import GENESIS

pytestmark = pytest.mark.engines

#: promised when the leader is killed; only `make soak`, which has the machine for itself, can hold it against a clock
TAKEOVER_S: Final = 5.0
_SETTINGS: Final[dict[str, Section]] = {
    "login": {"password_hash": "sha256"},
    "log": {"level": "info"},
    "federation": {"read_your_writes_s": 60},  # until another process copies in the place of one that was killed or paused
}
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def servers(engine: str) -> None:
    if engine == "sqlite":
        pytest.skip("SQLite takes one process")


@contextlib.contextmanager
def processes_of(folder: Path, count: int, name: str = "zone") -> Iterator[list[Zone]]:
    first = Zone(folder / f"{name}1", name, settings=_SETTINGS)
    found = [first, *(Zone(folder / f"{name}{number}", name, settings=_SETTINGS, beside=first) for number in range(2, count + 1))]
    try:
        for process in found:
            process.launch()
        for process in found:
            process.await_answer()
        yield found
    finally:
        for process in found:
            if process.running:
                process.resume()
            process.stop()


def leader_of(processes: Sequence[Zone]) -> Zone:
    """The one that leads; waits until there is just one."""

    def one() -> list[Zone]:
        leading = [process for process in processes if process.running and process.leads]
        return leading if len(leading) == 1 else []

    found: list[Zone] = wait_until("one process leads", one)
    return found[0]


class Load:
    """Threads that write through one process and read through another at once.

    Attributes:
        made: name and id of each user whose creation was answered with success.
        marks: by user, the marks whose writing was answered with success.
        stale: what was read that was older than what had been acknowledged.
    """

    def __init__(self, processes: Sequence[Zone], secret: str, writers: int = 3) -> None:
        self._processes = processes
        self._secret = secret
        self._enough = threading.Event()
        self.made: dict[str, int] = {}
        self.marks: dict[int, list[int]] = {}
        self.stale: list[str] = []
        self.refusals: list[object] = []
        admin = Caller(processes[0].port, secret)
        targets = [admin.value("one.user.allocate", f"target{next(_numbers)}", "x", "public") for _ in range(writers)]
        admin.close()
        self._threads = [threading.Thread(target=self._work, args=(target,)) for target in targets]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a writer waits for an answer without end"

    def _work(self, target: int) -> None:
        callers = {process: Caller(process.port, self._secret) for process in self._processes}
        done = self.marks[target] = []
        for mark in itertools.count(1):
            if self._enough.is_set():
                break
            writer, reader = random.sample(list(self._processes), 2)
            name = f"made{next(_numbers)}"
            if (reply := self._attempt(callers[writer], "one.user.allocate", name, "x", "public")) is not None:
                self.made[name] = reply
                if (seen := self._attempt(callers[reader], "one.user.info", reply)) is not None and f"<NAME>{name}</NAME>" not in str(seen):
                    self.stale.append(f"user {reply} is not {name} at {reader}")
            if self._attempt(callers[writer], "one.user.update", target, f"MARK={mark}", 0) is not None:
                done.append(mark)
                seen = self._attempt(callers[reader], "one.user.info", target)
                if seen is not None and f"<MARK><![CDATA[{mark}]]></MARK>" not in seen:
                    self.stale.append(f"user {target} does not show {mark} at {reader}, written at {writer}")
        for caller in callers.values():
            caller.close()

    def _attempt(self, caller: Caller, method: str, *arguments: Any) -> Any:
        """The value, None if there was no answer or none that says yes."""
        try:
            reply = caller.call(method, *arguments)
        except OSError:
            time.sleep(0.02)
            return None
        if not reply[0]:
            self.refusals.append(reply[1])
            return None
        return reply[1]


def assert_nothing_lost_or_repeated(process: Zone, load: Load) -> None:
    """The log is contiguous and one chain, and holds each acknowledged write once."""
    texts: list[str] = []
    with process.by_hand() as connection:
        tx = ReadTx(connection, read_state(connection), None)
        head, index = GENESIS, 0
        chain = head.chain
        for logged in read_commits(tx, 0, statements=1_000_000):
            assert logged.commit.first_idx == index + 1
            chain = extend(chain, logged.commit, logged.statements)
            assert chain == logged.chain
            index = logged.commit.last_idx
            texts += logged.statements
        assert (index, chain) == (tx.state.position, tx.state.chain)
        users = dict(tx.fetch("SELECT name, oid FROM user_pool"))
    made = Counter(found[1] for text in texts if (found := re.search(r"INSERT INTO user_pool .*?, '(made\d+)'", text)))
    marked = Counter(
        (int(found[2]), int(found[1]))
        for text in texts
        if (found := re.search(r"<MARK><!\[CDATA\[(\d+)\]\]></MARK>.* WHERE oid = (\d+)$", text))
    )
    assert load.made, f"nothing was written; refusals: {load.refusals[:3]}"
    assert {name: uid for name, uid in load.made.items() if users.get(name) != uid} == {}
    assert {name for name in load.made if made[name] != 1} == set()
    assert {(uid, mark) for uid, marks in load.marks.items() for mark in marks if marked[uid, mark] != 1} == set()
    assert max(marked.values(), default=0) <= 1
    assert load.stale == []


def _survive(folder: Path, count: int, kills: int) -> None:
    with processes_of(folder, count) as processes:
        randomly = random.Random(kills)
        with Load(processes, processes[0].secret) as load:
            for _ in range(kills):
                time.sleep(randomly.uniform(0.5, 1.5))
                victim = randomly.choice(processes)
                victim.kill()
                time.sleep(randomly.uniform(0.0, 0.5))
                victim.start()
            wait_until("something was written", lambda: load.made)
        leader_of(processes)
        assert_nothing_lost_or_repeated(processes[0], load)


def test_two_processes_lose_and_repeat_nothing_when_one_is_killed(tmp_path: Path) -> None:
    _survive(tmp_path, 2, 2)


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 4])
def test_processes_lose_and_repeat_nothing_under_many_kills(tmp_path: Path, count: int) -> None:
    _survive(tmp_path, count, 30)


def test_another_process_leads_soon_when_the_leader_is_killed_or_paused_and_one_that_wakes_up_harms_nothing(tmp_path: Path) -> None:
    with processes_of(tmp_path, 2) as processes, Load(processes, processes[0].secret) as load:
        first = leader_of(processes)
        second = next(process for process in processes if process is not first)
        wait_until("it knows who leads", lambda: second.health("/leader")[1].get("status", "").startswith("the leader is "))
        first.kill()
        wait_until("the other leads", lambda: second.leads)
        first.start()
        second.pause()
        try:
            wait_until("the first leads again", lambda: first.leads)
            for _ in range(5):
                _write(first.caller())
        finally:
            second.resume()
        wait_until("one leads", lambda: first.leads and second.health("/leader")[0] == 503)
        time.sleep(0.5)
        load.__exit__()
        assert_nothing_lost_or_repeated(first, load)


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 4])
def test_another_process_leads_within_the_promised_time_each_time_the_leader_is_killed_or_paused(tmp_path: Path, count: int) -> None:
    with processes_of(tmp_path, count) as processes, Load(processes, processes[0].secret) as load:
        for turn in range(12):
            leader = leader_of(processes)
            others = [process for process in processes if process is not leader]
            if turn % 2:
                leader.pause()
            else:
                leader.kill()
            try:
                wait_until("another leads", lambda others=others: any(other.leads for other in others), timeout_s=TAKEOVER_S)  # type: ignore[misc] # a lambda with a default
                for other in others:
                    _write(other.caller())
            finally:
                if turn % 2:
                    leader.resume()
                else:
                    leader.start()
        leader_of(processes)
        load.__exit__()
        assert_nothing_lost_or_repeated(processes[0], load)


def _write(caller: Caller) -> None:
    """One that must go on; at first it may hear that the rows are locked, by a process that is paused."""
    wait_until("writes go on", lambda: caller.call("one.user.allocate", f"beside{next(_numbers)}", "x", "public")[0])
    caller.close()


def test_a_change_of_role_is_followed_by_all_processes_without_a_restart(tmp_path: Path) -> None:
    with processes_of(tmp_path, 2) as (one, two):
        wait_until("both are ready", lambda: [process.health("/readyz")[0] for process in (one, two)] == [200, 200])
        one.federation("init")
        for process in (one, two):
            wait_until("it is a master", lambda process=process: process.health("/healthz")[1].get("role") == "master")  # type: ignore[misc] # a lambda with a default
            wait_until("zones can call it", lambda process=process: _listens(process.federation_port))  # type: ignore[misc] # as above
        wait_until("one leads", lambda: (told := one.status()["lease"])["holder"] or told["held"])
        one.federation("leave", "--force")
        for process in (one, two):
            wait_until("it is alone", lambda process=process: not _listens(process.federation_port))  # type: ignore[misc] # as above


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_machine_without_the_zones_keys_says_so_and_with_them_it_serves(tmp_path: Path) -> None:
    with processes_of(tmp_path, 1) as (one,):
        far = Zone(tmp_path / "far", "zone", settings=_SETTINGS, beside=one, apart=True)
        try:
            far.start()
            one.federation("init")
            wait_until("it lacks the keys", lambda: "zone.key is missing" in far.health("/readyz")[1].get("status", ""))
            assert far.health("/readyz")[0] == 503
            assert not (far.state_dir / "federation" / "zone.key").exists()
            shutil.copytree(one.state_dir / "federation", far.state_dir / "federation", dirs_exist_ok=True)
            wait_until("it serves", lambda: far.health("/readyz")[0] == 200 and _listens(far.federation_port))
            assert far.caller(one.secret).value("one.user.info", 0)
            far.stop()
            (far.state_dir / "federation" / "zone.key").unlink()
            far.launch()
            assert far.process is not None
            assert far.process.wait(PATIENCE_S) == 1
            assert "zone.key is missing" in far.tail(1)
        finally:
            far.stop()


def test_workers_share_a_port_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    zone = Zone(tmp_path / "zone", "zone", settings=_SETTINGS, options=("--workers", "2"))
    zone.launch()
    try:
        zone.await_answer()
        wait_until("both answer", lambda: len({zone.health("/healthz")[1].get("process") for _ in range(20)}) == 2)
        before = _children(zone.pid)
        os.kill(before[0], signal.SIGKILL)
        wait_until("there are two again", lambda: len(set(_children(zone.pid)) - {before[0]}) == 2)
        wait_until("both answer again", lambda: len({zone.health("/healthz")[1].get("process") for _ in range(20)} - {None}) == 2)
        assert zone.status()["name"] == "zone"
        workers = _children(zone.pid)
        assert zone.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        assert '"worker": 2' in zone.log.read_text()
    finally:
        zone.stop()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def two_by_two(folder: Path) -> Iterator[tuple[Federation, list[Zone]]]:
    """A master with two workers, and a slave with two processes; the federation names the first of those."""
    master = Zone(folder / "master", "master", settings=_SETTINGS, options=("--workers", "2"))
    try:
        master.start()
        with processes_of(folder, 2, "slave") as slaves:
            master.federation("init")
            join(master, slaves[0])
            made = Federation([master, slaves[0]], None)
            made.settled()
            for slave in slaves:
                wait_until("it is a slave that has caught up", lambda slave=slave: slave.health("/caught-up")[0] == 200)  # type: ignore[misc] # a lambda with a default
                assert slave.health("/caught-up")[1]["role"] == "slave"
            yield made, slaves
    finally:
        master.stop()


def test_a_slave_of_two_processes_follows_a_master_of_two_and_both_may_lose_one(tmp_path: Path) -> None:
    with two_by_two(tmp_path) as (made, slaves):
        with Load(slaves, made.secret, writers=2) as load:
            wait_until("writes go through the slave", lambda: len(load.made) > 10)
            leader = leader_of(slaves)
            leader.kill()
            other = next(slave for slave in slaves if slave is not leader)
            wait_until("the other leads", lambda: other.leads)
            before = len(load.made)
            wait_until("writes go on", lambda: len(load.made) > before + 5)
            leader.start()
            os.kill(_children(made.master.pid)[0], signal.SIGKILL)
            before = len(load.made)
            wait_until("writes go on", lambda: len(load.made) > before + 5)
        made.settled()
        assert_nothing_lost_or_repeated(made.master, load)
        made.master.stop()
        for slave in slaves:
            wait_until("the silence is noticed", lambda slave=slave: slave.health("/caught-up")[0] == 503)  # type: ignore[misc] # as above
            reply = slave.caller(made.secret).call("one.user.allocate", "late", "x", "public")
            assert not reply[0]
            assert "Could not connect to the federation master" in reply[1]


def test_an_applier_that_is_paused_for_longer_than_the_lease_and_wakes_under_load_changes_nothing(tmp_path: Path) -> None:
    with two_by_two(tmp_path) as (made, slaves):
        with Load(slaves, made.secret, writers=2) as load:
            wait_until("writes go through the slave", lambda: len(load.made) > 10)
            for _ in range(2):
                leader = leader_of(slaves)
                other = next(slave for slave in slaves if slave is not leader)
                leader.pause()
                try:
                    wait_until("the other leads", lambda other=other: other.leads)  # type: ignore[misc] # a lambda with a default
                    for _ in range(5):
                        _write(other.caller(made.secret))
                finally:
                    leader.resume()
                before = len(load.made)
                wait_until("writes go on", lambda before=before: len(load.made) > before + 5)  # type: ignore[misc] # as above
        leader_of(slaves)
        made.settled()
        assert_nothing_lost_or_repeated(made.master, load)

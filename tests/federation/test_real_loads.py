"""Snapshots that are asked for or loaded in two processes of one slave at once, on two machines: whoever dies or sleeps, one load counts.

What must hold each time: whoever asks at a process that lives gets a success; each shared row and digest is the master's, also those that
were edited by hand before; nothing is left of the load that did not come to its end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from harness.zones import PATIENCE_S, Federation, Zone, join, wait_until
from koinon.federation.snapshot import KEPT_UNUSED_S
from koinon.statements import digest
from koinon.statements.schema import SHARED_TABLES

pytestmark = pytest.mark.engines("postgresql", "mariadb")

_SETTINGS: Final = {"login": {"password_hash": "sha256"}, "log": {"level": "info"}}
_BODY: Final = 500_000  # bytes, of which half are random: a load takes long enough to be caught at it
_USERS: Final = 12


class Slave:
    """Two processes of one slave, each on a machine of its own, and their master."""

    def __init__(self, made: Federation, processes: Sequence[Zone]) -> None:
        self.made = made
        self.processes = processes

    def leader(self) -> tuple[Zone, Zone]:
        """The process with the lease, and the other one."""
        first, second = self.processes
        wait_until("one process leads", lambda: first.leads != second.leads)
        return (first, second) if first.leads else (second, first)

    def edit(self) -> None:
        """What an operator does who should not; only a snapshot heals it."""
        with self.processes[0].by_hand() as connection:
            connection.execute("UPDATE user_pool SET body = '<USER>mine</USER>' WHERE oid = 0")
            connection.execute("DELETE FROM group_pool WHERE oid = 1")

    def laid_aside(self) -> int:
        with self.processes[0].by_hand() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM snapshot_row").fetchone()[0])

    def parts(self) -> list[Path]:
        return [part for process in self.processes for part in (process.state_dir / "snapshots" / "loading").glob("*")]

    def assert_sound(self) -> None:
        """The zone holds the master's rows, hashes and digests, and no rows of a load."""
        self.made.settled()
        ours, theirs = _shared(self.processes[0]), _shared(self.made.master)
        assert ours == theirs
        for table in SHARED_TABLES:
            total = digest.EMPTY
            for *values, row_hash in ours[table]:
                assert bytes(row_hash) == digest.row_hash(table, values)
                total = digest.add(total, bytes(row_hash))
            assert ours["digests"][table] == digest.to_bytes(total)
        assert self.laid_aside() == 0


def _shared(zone: Zone) -> dict[str, Any]:
    with zone.by_hand() as connection:
        found: dict[str, Any] = {
            table: connection.execute(f"SELECT {', '.join(shape.names)}, row_hash FROM {table} ORDER BY oid").fetchall()
            for table, shape in SHARED_TABLES.items()
        }
        found["counters"] = sorted(connection.execute("SELECT tablename, last_oid FROM pool_control").fetchall())
        found["digests"] = {table: bytes(value) for table, value in connection.execute("SELECT tablename, digest FROM shared_digest")}
    return found


class Asking:
    """`koinon federation resync` at a process, beside what else happens."""

    def __init__(self, process: Zone) -> None:
        self._process = process
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._done = self._process.federation("resync", check=False)

    def said(self) -> tuple[int, str]:
        """Exit code and output, when it has come back."""
        self._thread.join(PATIENCE_S * 2)
        assert not self._thread.is_alive(), "a resync waits without end"
        return self._done.returncode, self._done.stdout + self._done.stderr


@pytest.fixture(scope="module")
def slave(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slave]:
    assert engine != "sqlite"
    folder = tmp_path_factory.mktemp("loads")
    master = Zone(folder / "master", "master", settings=_SETTINGS)
    near = Zone(folder / "near", "slave", settings=_SETTINGS)
    far = Zone(folder / "far", "slave", settings=_SETTINGS, beside=near, apart=True)
    zones = [master, near, far]
    try:
        master.start()
        near.start()
        master.federation("init")
        join(master, near)
        shutil.copytree(near.state_dir / "federation", far.state_dir / "federation", dirs_exist_ok=True)
        far.start()
        made = Federation([master, near], None)
        caller = made.caller(master)
        for number in range(_USERS):
            uid = caller.value("one.user.allocate", f"large{number}", "x", "public")
            caller.value("one.user.update", uid, f'NOTE="{secrets.token_hex(_BODY // 2)}"', 0)
        caller.close()
        made.settled()
        yield Slave(made, [near, far])
    finally:
        for zone in reversed(zones):
            if zone.running:
                zone.resume()
            zone.stop()


def test_two_who_ask_at_once_at_two_processes_both_get_a_snapshot(slave: Slave) -> None:
    slave.edit()
    asked = [Asking(process) for process in slave.processes]
    for asking in asked:
        code, said = asking.said()
        assert code == 0, said
    slave.assert_sound()
    assert slave.parts() == []


def test_who_asks_gets_a_snapshot_though_the_process_that_loads_it_is_killed(slave: Slave) -> None:
    leader, other = slave.leader()
    slave.edit()
    asking = Asking(other)
    wait_until("rows are laid aside", slave.laid_aside, every_s=0.002)
    leader.kill()
    code, said = asking.said()
    assert code == 0, said
    wait_until("the other leads", lambda: other.leads)
    left = slave.parts()
    for part in left:
        assert part.is_relative_to(leader.state_dir)
        long_ago = time.time() - KEPT_UNUSED_S - 1
        os.utime(part, (long_ago, long_ago))
    leader.start()
    slave.assert_sound()
    wait_until("what the killed load left is removed", lambda: not slave.parts())


def test_a_load_that_sleeps_past_the_lease_harms_nothing_when_it_wakes_after_another_one(slave: Slave) -> None:
    leader, other = slave.leader()
    slave.edit()
    sleeping = Asking(leader)
    wait_until("rows are laid aside", slave.laid_aside, every_s=0.002)
    leader.pause()
    try:
        wait_until("the other leads", lambda: other.leads)
        code, said = Asking(other).said()
        assert code == 0, said
        caller = slave.made.caller(slave.made.master)
        for number in range(3):
            caller.value("one.user.allocate", f"meanwhile{time.time_ns()}-{number}", "x", "public")
        caller.close()
        held = slave.made.master.status()["position"]
        wait_until("the other follows", lambda: _position(slave) >= held)
    finally:
        leader.resume()
    code, said = sleeping.said()  # it shares what the other one did
    assert code == 0, said
    assert _position(slave) >= held
    slave.assert_sound()
    assert other.leads


def _position(slave: Slave) -> int:
    with slave.processes[0].by_hand() as connection:
        return int(connection.execute("SELECT position FROM zone_state").fetchone()[0])

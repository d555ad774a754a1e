"""Zones that are moved to another engine, and zones that come back from a backup, with real servers and the commands of the guide."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from harness import engines
from harness.zones import Federation, Zone, federation, wait_until


def _create(zones: Federation, zone: Zone, name: str) -> int:
    return int(zones.client(zone).user.allocate(name, "x", "public", []))


def _names(zones: Federation, zone: Zone) -> set[str]:
    return {user.NAME for user in zones.client(zone).userpool.info().USER}


def _koinon(zone: Zone, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return zone.command("koinon", *arguments, "--config", str(zone.config), check=check)


def _move_while_it_writes(zones: Federation, zone: Zone, source: str, target: str, prefix: str) -> list[str]:
    """The guide's way: a copy while the zone runs and writes, then the last step with the zone stopped; names that were acknowledged."""
    made: list[str] = []
    over = threading.Event()

    def write() -> None:
        caller = zones.caller(zone)
        while not over.wait(0.02):
            name = f"{prefix}{len(made)}"
            if caller.call("one.user.allocate", name, "x", "public", [])[0]:
                made.append(name)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        rehearsal = _koinon(zone, "database", "copy", "--to", target)
        copied = len(made)
        wait_until("writes go on", lambda: len(made) > copied + 1)
    finally:
        over.set()
        writing.join()
    assert "closed" in rehearsal.stdout
    assert "stop the zone" in rehearsal.stderr
    zone.stop()
    zone.write_settings(database={"url": target})
    refused = _koinon(zone, "server", check=False)
    assert refused.returncode == 1
    assert "unfinished copy" in refused.stderr
    zone.write_settings(database={"url": source})
    assert "ready" in _koinon(zone, "database", "copy", "--to", target).stdout
    zone.write_settings(database={"url": target})
    zone.start()
    return made


def test_a_zone_moves_to_another_engine_and_back_and_loses_nothing(tmp_path: Path) -> None:
    try:
        there = engines.url(tmp_path / "moved", "postgresql")
    except engines.Missing as missing:
        pytest.skip(str(missing))
    with federation(tmp_path, 2, on=["sqlite", "sqlite"]) as zones:
        master, slave = zones.master, zones.slaves[0]
        first, back = f"sqlite:///{master.database}", f"sqlite:///{tmp_path}/back.db"
        for source, target, prefix in ((first, there, "a"), (there, back, "b")):
            made = _move_while_it_writes(zones, master, source, target, prefix)
            zones.settled()  # the digests of the slave, which was not moved, are the master's
            assert set(made) <= _names(zones, master)
            _create(zones, slave, f"after-{prefix}")
            zones.settled()


def test_a_slave_that_was_set_back_copies_on_or_takes_a_snapshot(tmp_path: Path) -> None:
    settings = {"federation": {"log_keep": 5, "log_cap": 5}}
    with federation(tmp_path, 2, settings=settings) as zones:
        master, slave = zones.master, zones.slaves[0]
        backup = tmp_path / "nightly"
        told = _koinon(slave, "backup", str(backup))
        assert "one_auth" in told.stderr
        _create(zones, master, "soon")
        zones.settled()
        refused = _koinon(slave, "restore", str(backup), "--yes", "--replace", check=False)
        assert refused.returncode == 1
        assert "in use by another koinon server" in refused.stderr
        for name in ("soon", "late"):
            slave.stop()
            refused = _koinon(slave, "restore", str(backup), "--yes", check=False)
            assert refused.returncode == 1
            assert "not empty" in refused.stderr
            told = _koinon(slave, "restore", str(backup), "--yes", "--replace")
            assert "copies from its master again" in told.stderr
            if name == "late":  # by now the log lacks what the backup lacks
                for at in range(10):
                    _create(zones, master, f"late{at}")
                _create(zones, master, "late")
            slave.start()
            zones.settled()
            assert name in _names(zones, slave)


def test_a_restored_master_stops_shared_writes_when_a_slave_proves_that_it_lost_some(tmp_path: Path) -> None:
    with federation(tmp_path, 2) as zones:
        master, slave = zones.master, zones.slaves[0]
        _create(zones, master, "kept")
        backup = tmp_path / "nightly"
        _koinon(master, "backup", "--with-keys", str(backup))
        _create(zones, master, "lost")
        zones.settled()
        wait_until("the slave keeps the master's signature", lambda: _keeps_proof(slave))
        master.kill()
        untold = _koinon(master, "restore", str(backup), "--replace", check=False)
        assert untold.returncode == 1
        assert "accept-loss" in untold.stderr
        assert "Nothing was changed" in untold.stderr
        _koinon(master, "restore", str(backup), "--replace", "--yes")
        master.start()
        wait_until("the master sees that it was set back", lambda: master.status()["state"] == "halted")
        master.federation("accept-loss")
        _create(zones, master, "after")
        zones.settled()
        assert {"kept", "after"} <= _names(zones, slave)
        assert "lost" not in _names(zones, slave)


def _keeps_proof(slave: Zone) -> bool:
    with slave.by_hand() as database:
        return bool(database.execute("SELECT COUNT(*) FROM federation_setting WHERE name = 'signed frame'").fetchone()[0])

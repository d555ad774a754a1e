"""Servers that are paused while their database is moved or restored, and wake: nothing that they do then is committed, and they say so."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from harness import engines, processes
from harness.zones import Zone, wait_until
from koinon.daemon import moving
from koinon.errors import UnavailableError
from koinon.settings import DatabaseSettings, Settings

pytestmark = pytest.mark.engines

_WATCHED_S: Final = 1.0
_WRITERS: Final = 4


@contextmanager
def running(zone: Zone) -> Iterator[Zone]:
    try:
        yield zone.start()
    finally:
        if zone.running:
            zone.resume()
        zone.stop()


def create(zone: Zone, name: str) -> tuple[bool, str]:
    """Whether a user was made through this process, and what it said."""
    done, said, *_ = zone.caller().call("one.user.allocate", name, "x", "public", [])
    return done, str(said)


def names(address: str) -> set[str]:
    with engines.session(address) as session:
        return {name for (name,) in session.execute("SELECT name FROM user_pool")}


def rows(zone: Zone) -> dict[str, Any]:
    """All rows but the lease, which says nothing of the zone."""
    return {table: found for table, found in engines.save(zone.database, zone.engine).items() if table != "lease"}


def koinon(zone: Zone, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return zone.command("koinon", *arguments, "--config", str(zone.config), check=check)


def address(zone: Zone) -> str:
    return engines.url(zone.database, zone.engine)


def elsewhere(tmp_path: Path) -> str:
    (tmp_path / "moved").mkdir()
    return engines.url(tmp_path / "moved" / "koinon.db")


def pause_unseen(zone: Zone) -> None:
    """Stop a process so that nobody knows of it. On SQLite a lock tells of it, but only on the machine where it runs."""
    zone.pause()
    if zone.engine == "sqlite":
        Path(f"{zone.database}.lock").unlink()


def assert_stopped_serving(zone: Zone, *words: str) -> None:
    """Calls and health say why, the log says it once, and the process rests."""
    wait_until("it has found out", lambda: zone.health("/healthz")[0] == 503)
    for path in ("/healthz", "/readyz", "/leader", "/caught-up"):
        status, said = zone.health(path)
        assert status == 503
        for word in words:
            assert word in said["status"]
    caller = zone.caller()
    for done, text, *_ in (caller.call("one.user.allocate", "never", "x", "public", []), caller.call("one.userpool.info")):
        assert not done
        for word in (*words, "This server has stopped serving"):
            assert word in text
    wait_until("the log says it", lambda: "this process has stopped serving" in zone.log.read_text())
    before, used_s = zone.log.read_text(), processes.cpu_s(zone.pid)
    time.sleep(_WATCHED_S)
    assert processes.cpu_s(zone.pid) - used_s < _WATCHED_S / 2
    after = zone.log.read_text()
    assert len([line for line in after.splitlines() if "this process has stopped serving" in line]) == 1
    assert after.count("\n") - before.count("\n") < 3
    assert "Traceback" not in after


def test_a_server_that_is_paused_while_its_zone_moves_away_changes_nothing_when_it_wakes(tmp_path: Path) -> None:
    target = elsewhere(tmp_path)
    with running(Zone(tmp_path / "zone", "zone")) as zone:
        zone.federation("init")
        assert create(zone, "before")[0]
        pause_unseen(zone)
        assert "ready" in koinon(zone, "database", "copy", "--to", target).stdout
        left = rows(zone)
        zone.resume()
        assert_stopped_serving(zone, "a zone that moved to", "Set `url`")
        wait_until("other zones are let go", lambda: not _listens(zone.federation_port))
        assert zone.stop() == 0
        refused = koinon(zone, "server", check=False)
        assert (refused.returncode, "a zone that moved to" in refused.stderr) == (1, True)
        assert rows(zone) == left
        assert "before" in names(target)


def test_a_server_that_is_paused_while_its_database_is_restored_leaves_it_alone_and_serves_it_after_a_restart(tmp_path: Path) -> None:
    with running(Zone(tmp_path / "zone", "zone")) as zone:
        backup = tmp_path / "nightly"
        koinon(zone, "backup", str(backup))
        assert create(zone, "after-backup")[0]
        pause_unseen(zone)
        koinon(zone, "restore", str(backup), "--yes", "--replace")
        beside = Zone(tmp_path / "beside", "zone", beside=zone, apart=True, settings={"database": {"url": address(zone)}})
        with running(beside):
            assert beside.caller(zone.secret).call("one.user.allocate", "new", "x", "public", [])[0]
            before = rows(zone)
            zone.resume()
            assert_stopped_serving(zone, "was closed, restored or copied into")
            assert rows(zone) == before
            assert beside.caller(zone.secret).call("one.user.allocate", "newer", "x", "public", [])[0]
        zone.restart()
        assert create(zone, "newest")[0]
        assert {"new", "newer", "newest"} <= names(address(zone))
        assert not {"never", "after-backup"} & names(address(zone))


def test_what_a_server_acknowledges_under_load_before_or_after_a_move_behind_its_back_is_in_the_copy(tmp_path: Path) -> None:
    """It may be stopped anywhere, in the middle of a transaction too."""
    target = elsewhere(tmp_path)
    with running(Zone(tmp_path / "zone", "zone")) as zone:
        made: list[str] = []
        over = threading.Event()

        def write(writer: int) -> None:
            number = 0
            while not over.is_set():
                number += 1
                if create(zone, f"{writer}-{number}")[0]:
                    made.append(f"{writer}-{number}")

        writing = [threading.Thread(target=write, args=(number,)) for number in range(_WRITERS)]
        for thread in writing:
            thread.start()
        try:
            wait_until("there is a load", lambda: len(made) > 3 * _WRITERS)
            pause_unseen(zone)
            copied = koinon(zone, "database", "copy", "--to", target, check=False)
            while copied.returncode and "locked" in copied.stderr:  # SQLite: it holds the file in the middle of a transaction
                zone.resume()
                time.sleep(0.1)
                zone.pause()
                copied = koinon(zone, "database", "copy", "--to", target, check=False)
            assert "ready" in copied.stdout, copied.stderr
            left = rows(zone)
            zone.resume()
            wait_until("it has found out", lambda: zone.health("/healthz")[0] == 503)
            time.sleep(0.2)  # let it be asked for more
        finally:
            over.set()
            zone.resume()
            for thread in writing:
                thread.join()
        assert rows(zone) == left
        assert set(made) <= names(target)
        assert_stopped_serving(zone, "a zone that moved to")


def test_a_copy_stays_closed_if_a_server_that_seemed_to_be_stopped_writes_while_it_is_made(tmp_path: Path) -> None:
    target = elsewhere(tmp_path)
    with running(Zone(tmp_path / "zone", "zone")) as zone:
        pause_unseen(zone)

        def wake(text: str) -> None:
            if text == "checking acl":
                zone.resume()
                wait_until("it writes", lambda: create(zone, "meanwhile")[0])

        settings = Settings(state_dir=str(zone.state_dir), database=DatabaseSettings(url=address(zone)))
        with pytest.raises(UnavailableError, match=r"was written to while it was copied.*The copy stays closed.*Stop that server"):
            moving.copy(settings, target, replace=False, tell=wake)
        assert create(zone, "later")[0]  # it is as it was
        zone.stop()
        moving.copy(settings, target, replace=False, tell=lambda _text: None)
        assert {"meanwhile", "later"} <= names(target)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

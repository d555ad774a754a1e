"""A disk that fills up under a master and its slave: nothing acknowledged is lost, all are told why, and both go on when there is room.

The disk is a real one, small and filled by a file: of SQLite's files, of a server's data, or of what a server writes ahead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import engines, processes
from harness.disks import SmallDisk
from harness.engines import Missing, Server
from harness.zones import PATIENCE_S, Federation, Zone, join, wait_until
from koinon.database.database import Database
from koinon.errors import UnavailableError
from tests.database.load import Load, check_log

#: until a caller hears why, also from a server that lets a commit wait; only `make soak` looks at a clock
_TOLD_S = 10.0
#: MariaDB looks once a minute whether there is room for its binary log
_LOOKS_AGAIN_S = 75.0
_BOTH = ("master", "slave")


class _SmallLog(engines.PostgreSQL):
    """Its write-ahead log is on a disk of its own, in short files."""

    @property
    def log_folder(self) -> Path:
        return self.folder / "wal"

    def _setup(self, data: Path) -> list[str | Path]:
        return [*super()._setup(data), "--wal-segsize=1", f"--waldir={self.log_folder}"]


class Site:
    """A master and its slave, and where their databases are.

    Attributes:
        server: of both; None where they have files.
        disk: what fills up.
    """

    def __init__(self, server: Server | None, disk: SmallDisk, folder: Path) -> None:
        self.server = server
        self.disk = disk
        self.urls = {name: self._url(folder, name) for name in (*_BOTH, "fresh")}
        # Nothing is refused for the sake of a reserve: the disk itself does.
        self.zones = [
            Zone(folder / name, name, engine="sqlite", settings={"database": {"url": self.urls[name], "disk_reserve_mib": 0}})
            for name in _BOTH
        ]
        self.master, self.slave = self.zones
        self.federation = Federation(self.zones, None)

    def _url(self, folder: Path, name: str) -> str:
        return self.server.database(name) if self.server is not None else f"sqlite:///{folder}/{name}/state/koinon.db"

    def start(self) -> None:
        for zone in self.zones:
            zone.launch()
        for zone in self.zones:
            zone.await_answer()
        self.master.federation("init")
        join(self.master, self.slave)
        self.federation.settled()

    def check(self, load: Load) -> None:
        """Nobody was told what is not so, and both zones hold the same."""
        # One finds its server again before the other.
        wait_until("both are ready", lambda: all(zone.health("/readyz")[0] == 200 for zone in self.zones))
        self.federation.settled()
        load.check(self.master)
        check_log(self.urls["master"])
        with engines.session(self.urls["slave"]) as slave:
            first = slave.execute("SELECT MIN(last_idx) FROM federation_commit").fetchone()[0]
        check_log(self.urls["slave"], after=first)

    def remove(self) -> None:
        self.federation.stop()
        self.disk.remove()
        if self.server is not None:
            self.server.remove()


def running(server: Server | None, disk_at: Path, mib: int, folder: Path) -> Iterator[Site]:
    """A site whose disk is at a directory."""
    if server is not None and os.geteuid() == 0:
        disk_at.mkdir(exist_ok=True)
        owner = server.folder.stat()
        os.chown(disk_at, owner.st_uid, owner.st_gid)
    try:
        disk = SmallDisk(disk_at, mib)
    except Missing as missing:  # in CI too: a container may let root mount nothing, and no package would help
        pytest.skip(str(missing))
    try:
        if server is not None:
            server.start()
        site = Site(server, disk, folder)
    except BaseException:
        disk.remove()
        raise
    try:
        site.start()
        yield site
    finally:
        site.remove()


@pytest.fixture
def site(engine: str, tmp_path: Path) -> Iterator[Site]:
    """All of a server's files, or of the zones', are on the disk."""
    if engine == "sqlite":
        yield from running(None, tmp_path / "zones", 32, tmp_path / "zones")
        return
    server = {"postgresql": engines.PostgreSQL, "mariadb": engines.MariaDB}[engine]()
    yield from running(server, server.folder, 300, tmp_path)


@pytest.fixture
def small_log(tmp_path: Path) -> Iterator[Site]:
    """The disk is PostgreSQL's write-ahead log's."""
    server = _SmallLog("wal_recycle=off", "min_wal_size=2MB", "max_wal_size=8MB")
    yield from running(server, server.log_folder, 32, tmp_path)


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Site]:
    """The disk is MariaDB's, which writes a binary log."""
    server = engines.MariaDB("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
    yield from running(server, server.folder, 300, tmp_path)


def users(zone: Zone) -> int:
    """How many the zone shows, asked as its federation's administrator."""
    return len(zone.client().userpool.info().USER)


@pytest.mark.engines
def test_a_full_disk_refuses_writes_in_plain_words_and_loses_none(site: Site) -> None:
    with Load(site.master) as load:
        load.goes_on()
        site.disk.fill()
        wait_until("writes are refused", lambda: len(load.refused) > 20)
        assert users(site.master) >= len(load.made)  # reads go on
        wait_until("it counts as ready", lambda: site.master.health("/readyz")[0] == 200)
        assert site.slave.running
        with pytest.raises(UnavailableError, match=r"no space left|is full|seems to be full"):
            Database.open(site.urls["fresh"])
        site.disk.free()
        load.goes_on()
    for said in load.refused.values():
        assert "no space left" in said or "is full" in said, said
        assert "Free" in said, said
        assert "nothing was changed" in said, said
    site.check(load)


@pytest.mark.engines("postgresql")
def test_postgresql_without_space_for_its_log_ends_and_is_found_again(small_log: Site) -> None:
    """It does not even start then; whoever looks after services starts it when there is room."""
    site, server = small_log, small_log.server
    assert server is not None
    with Load(site.master) as load:
        load.goes_on()
        site.disk.fill()
        wait_until("the server ends", lambda: server.process is not None and server.process.poll() is not None)
        wait_until("the zone says so", lambda: site.master.health("/readyz")[0] == 503)
        said = str(site.master.caller().call("one.userpool.info", -1, -1, -1)[1])
        assert "can't be reached" in said
        assert "goes on when it can" in said
        wait_until("writes are refused", lambda: len(load.refused) + len(load.unknown) > 3)
        site.disk.free()
        server.start()
        load.goes_on()
    site.check(load)


def _fill_under_commits(site: Site, load: Load, *, told_s: float = PATIENCE_S) -> None:
    """Fill the disk, and see that everybody is told while a commit waits for space."""
    load.goes_on()
    site.disk.fill()
    wait_until("those who wait for the commit are told", lambda: load.unknown, timeout_s=told_s)
    wait_until("those who come later are told", lambda: len(load.refused) > 3, timeout_s=told_s)
    for said in (*load.refused.values(), *load.unknown.values()):
        assert "no space left for its binary log" in said, said
        assert "Free it" in said, said
    no_space = "the database has no space left: no write ends there"
    wait_until("the zone says so", lambda: site.master.health("/readyz")[1].get("status") == no_space)
    assert site.master.health("/readyz")[0] == 503
    assert users(site.master) >= len(load.made)  # reads go on


@pytest.mark.engines("mariadb")
def test_mariadb_that_waits_for_space_holds_up_no_caller(logged: Site) -> None:
    """What the waiting commit becomes when the server is killed, nobody could know: it is there or not."""
    server = logged.server
    assert server is not None
    with Load(logged.master) as load:
        _fill_under_commits(logged, load)
        assert server.process is not None
        processes.kill(server.process)
        logged.disk.free()
        server.start()
        load.goes_on()
    logged.check(load)


@pytest.mark.soak
@pytest.mark.engines("mariadb")
def test_mariadb_that_waits_for_space_goes_on_by_itself(logged: Site) -> None:
    with Load(logged.master) as load:
        _fill_under_commits(logged, load, told_s=_TOLD_S)
        logged.disk.free()
        load.goes_on(timeout_s=_LOOKS_AGAIN_S)
        wait_until("it is ready", lambda: logged.master.health("/readyz")[0] == 200)
    logged.check(load)

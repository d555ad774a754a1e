"""What is measured of a federation: calls on the master and through a slave, readers beside writers, lag, catching up.

Path:     a scenario -> load.run() on real zones, and on a bare bound of the same size -> Table
Not here: how requests are sent (load.py), the bounds themselves (bounds.py), printing (report.py).
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bench import bounds, calls
from bench.load import Exchange, Load, Result, forever, repeated, run
from bench.report import Cell, Table
from harness import processes
from harness.zones import Federation, NotThereYet, Zone, federation, wait_until

CONNECTIONS: Final = (1, 8, 32)
_BODY: Final = "x" * 600

_COLUMNS: Final = (
    "call",
    "zone",
    "connections",
    "calls/s",
    "p50 ms",
    "p99 ms",
    "master CPU us",
    "slave CPU us",
    "bound/s",
    "of bound",
)


class Bench:
    """A running federation of a master and a slave, and how long to measure.

    Attributes:
        seconds: length of one measurement.
        users: ids of the users that the calls are about.
    """

    def __init__(self, zones: Federation, folder: Path, *, seconds: float, pool: int) -> None:
        self.zones = zones
        self.folder = folder
        self.seconds = seconds
        self._pool = pool
        self._names = itertools.count()
        self._texts = itertools.count()
        self.users: list[int] = []
        self.watched = {"master": zones.master.pid, "slave": zones.slaves[0].pid}
        self._sqlite: dict[int, bounds.Commits] = {}

    @property
    def secret(self) -> str:
        return self.zones.secret

    def populate(self) -> None:
        """Create users until the pool holds as many as the issue's list: 1,000, those of the first start included."""
        made = self.measure("one.user.allocate", self.zones.master, 8, iter([self._allocation() for _ in range(self._pool - 2)]), 120)
        assert not made.failed, made.first_failure
        pool = self.zones.client(self.zones.master).userpool.info()
        self.users = [user.ID for user in pool.USER if user.ID > 1]
        self.zones.settled()

    def measure(self, name: str, zone: Zone, connections: int, requests: Iterator[bytes], seconds: float = 0.0) -> Result:
        """Run one load; any refused call ends the run, for its figures would mean nothing."""
        load = Load(name, zone.port, requests, connections)
        (result,) = run([load], seconds or self.seconds, watched=self.watched)
        if result.failed:
            raise NotThereYet(f"{name} on {zone.name}: {result.failed} calls failed, the first with {result.first_failure!r}")
        return result

    def infos(self) -> Iterator[bytes]:
        """Reads of many users, without end."""
        return itertools.cycle([calls.request("one.user.info", self.secret, uid, False) for uid in self.users[:100]])

    def pools(self) -> Iterator[bytes]:
        """Reads of the whole pool, without end."""
        return forever(calls.request("one.userpool.info", self.secret))

    def updates(self, seconds: float) -> Iterator[bytes]:
        """Changes of many users' templates, each with a body never seen before."""
        text = f'NOTE="{calls.Prepared.HERE}" SSH_PUBLIC_KEY="{_BODY}"'
        prepared = [calls.Prepared("one.user.update", self.secret, uid, text, 0) for uid in self.users[:100]]
        return repeated(lambda number: prepared[number % len(prepared)].with_text(f"n{next(self._texts)}"), max(1000, int(8000 * seconds)))

    def _allocation(self) -> bytes:
        return calls.request("one.user.allocate", self.secret, f"load{next(self._names)}", "no-log-in", "public")

    def allocations(self, seconds: float) -> Iterator[bytes]:
        """New users of driver ``public``: what is measured is the write, not the hashing of a password."""
        return repeated(lambda _: self._allocation(), max(500, int(4000 * seconds)))

    def echo(self, requests: Iterator[bytes], reply_bytes: int, connections: int) -> Result:
        """The same load against a server that does nothing."""
        with bounds.echo_server(self.folder, reply_bytes) as (port, pid):
            (result,) = run([Load("echo", port, requests, connections)], min(self.seconds, 2.0), watched={"echo": pid})
        return result

    def commits(self, group: int) -> bounds.Commits:
        """The database loop with ``group`` changes a commit, measured once a run."""
        if group not in self._sqlite:
            self._sqlite[group] = bounds.sqlite_commits(self.folder, group, min(self.seconds, 2.0))
        return self._sqlite[group]


def _row(result: Result, zone: Zone, bound: float) -> list[Cell]:
    return [
        result.name,
        zone.name,
        result.connections,
        result.per_second,
        result.percentile_us(0.5) / 1e3,
        result.percentile_us(0.99) / 1e3,
        result.cpu_us.get("master"),
        result.cpu_us.get("slave"),
        bound,
        f"{result.per_second / bound:.0%}" if bound else None,
    ]


def reads(bench: Bench) -> Table:
    """one.user.info and one.userpool.info, each next to an echo of the same sizes."""
    rows: list[list[Cell]] = []
    sources: list[tuple[str, Callable[[], Iterator[bytes]]]] = [("one.user.info", bench.infos), ("one.userpool.info", bench.pools)]
    for name, requests in sources:
        sample = Exchange(bench.zones.master.port)
        reply_bytes = len(sample.ask(next(requests())).partition(b"\r\n\r\n")[2])
        sample.close()
        for connections in CONNECTIONS:
            bound = bench.echo(requests(), reply_bytes, connections)
            rows.append(["echo", f"{reply_bytes:,} bytes", connections, *_figures(bound), bound.cpu_us["echo"], None, None, None])
            for zone in bench.zones.zones:
                rows.append(_row(bench.measure(name, zone, connections, requests()), zone, bound.per_second))
    return Table(
        "Reads",
        _COLUMNS,
        rows,
        f"A pool of {len(bench.users) + 2:,} users. Bound: uvicorn (uvloop, httptools) that answers at once with a reply of the same size; "
        "its CPU stands in the master's column.",
    )


def _figures(result: Result) -> tuple[float, float, float]:
    return result.per_second, result.percentile_us(0.5) / 1e3, result.percentile_us(0.99) / 1e3


def updates(bench: Bench) -> Table:
    """one.user.update, each next to the database alone with as many changes a commit as connections could share."""
    return _writes(bench, "Updates", "one.user.update", bench.updates)


def allocations(bench: Bench) -> Table:
    """one.user.allocate, likewise. Each adds two statements: the user and the counter."""
    return _writes(bench, "New users", "one.user.allocate", bench.allocations)


def _writes(bench: Bench, title: str, name: str, requests: Callable[[float], Iterator[bytes]]) -> Table:
    rows: list[list[Cell]] = []
    for connections in CONNECTIONS:
        bound = bench.commits(connections).changes_per_second
        for zone in bench.zones.zones:
            result = bench.measure(name, zone, connections, requests(bench.seconds))
            bench.zones.settled(timeout_s=60)
            rows.append(_row(result, zone, bound))
    return Table(
        title,
        _COLUMNS,
        rows,
        "Bound: SQLite alone, WAL with synchronous=FULL, one row updated and one log row of 2,000 bytes inserted per change, "
        "as many changes in a commit as there are connections. Through the slave a call is answered when the slave holds it too.",
    )


def mixed(bench: Bench) -> Table:
    """Readers and writers alone and together: neither may starve."""
    rows: list[list[Cell]] = []
    for zone in bench.zones.zones:
        for readers, writers in ((8, 0), (0, 8), (8, 8)):
            loads = []
            if readers:
                loads.append(Load("one.user.info", zone.port, bench.infos(), readers))
            if writers:
                loads.append(Load("one.user.update", zone.port, bench.updates(bench.seconds), writers))
            results = run(loads, bench.seconds, watched=bench.watched)
            bench.zones.settled(timeout_s=60)
            for result in results:
                if result.failed:
                    raise NotThereYet(f"{result.name}: {result.failed} failed, the first with {result.first_failure!r}")
                rows.append([zone.name, f"{readers} + {writers}", result.name, *_figures(result)])
    return Table("Readers and writers together", ("zone", "readers + writers", "call", "calls/s", "p50 ms", "p99 ms"), rows)


def lag(bench: Bench) -> Table:
    """From the master's answer to the moment the slave shows the change, asked without pause."""
    user = bench.users[0]
    write = calls.Prepared("one.user.update", bench.secret, user, f'MARK="{calls.Prepared.HERE}"', 0)
    read = calls.request("one.user.info", bench.secret, user, False)
    master, slave = Exchange(bench.zones.master.port), Exchange(bench.zones.slaves[0].port)
    rounds = int(100 * bench.seconds)
    seen_us, write_us = [], []
    for number in range(rounds):
        mark = f"lag-{number}-{time.time_ns()}"
        asked = time.perf_counter_ns()
        reply = master.ask(write.with_text(mark))
        answered = time.perf_counter_ns()
        assert b"<boolean>1</boolean>" in reply, reply
        while mark.encode() not in slave.ask(read):
            if time.perf_counter_ns() - answered > 10e9:
                raise NotThereYet("a change did not reach the slave within 10 s")
        seen_us.append((time.perf_counter_ns() - answered) / 1e3)
        write_us.append((answered - asked) / 1e3)
    master.close()
    slave.close()
    rows: list[tuple[Cell, ...]] = [
        (name, rounds, *(figures[int(share * rounds)] / 1e3 for share in (0.5, 0.9, 0.99)), figures[-1] / 1e3)
        for name, figures in (("write answered by the master", sorted(write_us)), ("then readable on the slave", sorted(seen_us)))
    ]
    return Table("Lag", ("step", "rounds", "p50 ms", "p90 ms", "p99 ms", "max ms"), rows)


def catching_up(folder: Path, *, seconds: float, pool: int, statements: int) -> Table:
    """How fast a slave that was away takes what it missed, near the master and 50 ms from it."""
    rows: list[tuple[Cell, ...]] = []
    with federation(folder, 2, through_proxy=True, settings={"log": {"level": "warning"}}) as zones:
        bench = Bench(zones, folder, seconds=seconds, pool=pool)
        bench.populate()
        assert zones.link is not None
        for round_trip_ms in (0, 50):
            slave = zones.slaves[0]
            slave.stop()
            bench.watched.pop("slave")
            before = zones.master.status()["position"]
            bench.measure("one.user.update", zones.master, 32, itertools.islice(bench.updates(statements / 8000), statements), 120)
            goal = zones.master.status()["position"]
            zones.link.delay_s = round_trip_ms / 2e3
            slave.start()
            started = time.perf_counter()
            first = slave.status()["position"]
            arrived = wait_until("the slave catches up", partial(_reached, slave, goal), timeout_s=120, every_s=0.005)
            took = arrived - started
            zones.settled(timeout_s=60)
            zones.link.delay_s = 0.0
            bench.watched["slave"] = slave.pid
            rows.append((f"{round_trip_ms} ms", goal - before, goal - first, took, (goal - first) / took))
    return Table(
        "Catching up",
        ("round trip", "statements missed", "still missing at first look", "s", "statements/s"),
        rows,
        "The slave is stopped, the master writes, the slave starts. Measured from its first answer to the master's position.",
    )


def starting(folder: Path, *, pool: int, settle_s: float) -> Table:
    """A zone that has run before: from exec to its first answers, and its memory some time later, with few users and with many."""
    rows: list[tuple[Cell, ...]] = []
    with federation(folder, 1) as zones:
        zone = zones.master
        for users in (2, pool):
            caller = zones.caller(zone)
            for number in range(users - 2):
                caller.value("one.user.allocate", f"user{number}", "x", "public", [])
            caller.close()
            starts = []
            for _ in range(5):
                zone.stop()
                began = time.monotonic()
                zone.start()
                starts.append(time.monotonic() - began)
            zones.client(zone).userpool.info()
            time.sleep(settle_s)
            rows.append((users, sorted(starts)[2], processes.pss_mib(zone.pid)))
    return Table(
        "Start and memory",
        ("users", "start to first answer s (median of 5)", "PSS MiB"),
        rows,
        note=f"A standalone-sized federation of one zone; PSS {settle_s:.0f} s after the start and one list of all users.",
    )


def _reached(slave: Zone, goal: int) -> float:
    """The time if ``slave`` is at ``goal``, else 0."""
    return time.perf_counter() if slave.status()["position"] >= goal else 0.0


def database(seconds: float) -> Table:
    """The database alone, for the size of group that the writer may reach."""
    with tempfile.TemporaryDirectory() as folder:
        found = [bounds.sqlite_commits(Path(folder), group, seconds) for group in (1, 8, 32, 64)]
    return Table(
        "SQLite alone",
        ("changes in a commit", "commits/s", "changes/s"),
        [(each.group, each.commits_per_second, each.changes_per_second) for each in found],
        "WAL, synchronous=FULL, one thread, sqlite3 of the standard library, bodies of 2,000 bytes written twice (row and log).",
    )

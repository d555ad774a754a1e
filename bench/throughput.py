"""Calls a second: reads, changes and new users, at the master and through the slave, alone and beside each other.

Path:     a scenario(ground) -> loads on the zones, and on a bare bound of the same size -> Outcome
Not here: how soon the other zone has it (copying.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from bench import bounds
from bench.ground import Ground, Outcome
from bench.load import Load, Result
from bench.report import Cell, Table
from bench.targets import Measured
from harness.zones import Zone

_CONNECTIONS: Final = (1, 8, 32)
_FEW: Final = (1, 8)
_HASHES_AT_ONCE: Final = 2

_COLUMNS: Final = (
    "call",
    "zone",
    "connections",
    "calls/s",
    "p50 ms",
    "p99 ms",
    "master CPU us",
    "slave CPU us",
    "generator CPU us",
    "bound/s",
    "of bound",
)
_DATABASE: Final = (
    "Bound: the database alone, one session of its driver, durable; one row updated and one log row of "
    f"{bounds.BODY_BYTES:,} bytes inserted per change, as many changes in a commit as there are connections. Through the slave a call is "
    "answered when the slave holds it too. CPU is that of the zone, without a database server's."
)

_DRIVERS: Final = {
    "sqlite": "WAL, synchronous=FULL, sqlite3 of the standard library, one thread",
    "postgresql": "fsync and synchronous_commit on, psycopg's executemany in one session over a UNIX socket",
    "mariadb": "innodb_flush_log_at_trx_commit = 1, PyMySQL's executemany in one session over a UNIX socket",
}


def _row(result: Result, zone: str, bound: float, name: str = "") -> list[Cell]:
    cpu = result.cpu_us
    return [
        name or result.name,
        zone,
        result.connections,
        *_figures(result),
        cpu.get("master", cpu.get("echo")),
        cpu.get("slave"),
        cpu["generator"],
        bound,
        f"{result.per_second / bound:.0%}",
    ]


def _figures(result: Result) -> tuple[float, float, float]:
    return result.per_second, result.percentile_ms(0.5), result.percentile_ms(0.99)


def reads(ground: Ground) -> Outcome:
    """one.user.info and one.userpool.info, each next to an echo of the same size."""
    rows: list[list[Cell]] = []
    measured = {}
    sources: list[tuple[str, str, Callable[[], Iterator[bytes]]]] = [
        ("info", "one.user.info", ground.infos),
        ("list", "one.userpool.info", ground.pools),
    ]
    for key, name, requests in sources:
        reply_bytes = ground.reply_bytes(next(requests()))
        for connections in _CONNECTIONS:
            bound = ground.echo(requests, reply_bytes, connections)
            rows.append(_row(bound, f"{reply_bytes:,} bytes", bound.per_second))
            for zone in ground.zones.zones:
                result = ground.measure(name, zone, connections, requests())
                rows.append(_row(result, zone.name, bound.per_second))
                if zone is ground.master and connections == 8:
                    measured[key] = Measured((result.per_second, result.percentile_ms(0.5)), bound.per_second)
    note = (
        f"A pool of {len(ground.users) + 2:,} users. Bound: a server on uvloop that looks at a request's length and answers with as many "
        "bytes; its CPU stands in the master's column."
    )
    return Outcome(measured, [Table("Reads", _COLUMNS, rows, note)])


def updates(ground: Ground) -> Outcome:
    """one.user.update, next to the database alone with as many changes a commit as connections could share."""
    alone = [ground.commits(group) for group in (1, 8, 32, 64)]
    rows: list[list[Cell]] = []
    measured = {}
    for connections in _CONNECTIONS:
        bound = ground.commits(connections).changes_per_second
        for zone, key in ((ground.master, "update"), (ground.slave, "slave-update")):
            result = _writing(ground, "one.user.update", zone, connections, ground.updates())
            rows.append(_row(result, zone.name, bound))
            if connections in _FEW:
                measured[f"{key}-{connections}"] = Measured((result.per_second,), bound)
    bare = Table(
        "The database alone",
        ("changes in a commit", "commits/s", "changes/s"),
        [(each.group, each.commits_per_second, each.changes_per_second) for each in alone],
        f"{_DRIVERS[ground.engine]}; {bounds.BODY_BYTES:,} bytes written twice (row and log).",
    )
    return Outcome(measured, [bare, Table("Updates", _COLUMNS, rows, _DATABASE)])


def allocations(ground: Ground) -> Outcome:
    """one.user.allocate without a password to hash, with scrypt, and with OpenNebula's hash. Each writes a user and a counter."""
    rows: list[list[Cell]] = []
    measured = {}

    def with_driver(name: str, driver: str, zones: list[Zone], bound_of: Callable[[int], float]) -> None:
        for connections in _FEW:
            bound = bound_of(connections)
            for zone in zones:
                result = _writing(ground, "one.user.allocate", zone, connections, ground.allocations(driver))
                rows.append(_row(result, zone.name, bound, f"{result.name}, {name}"))
                if zone is ground.master:
                    measured[f"allocate-{name}-{connections}"] = Measured((result.per_second,), bound)

    def commits(connections: int) -> float:
        return ground.commits(connections).changes_per_second

    def hashes(connections: int) -> float:
        return bounds.scrypt_hashes(min(1.0, ground.scale.seconds), min(connections, _HASHES_AT_ONCE))

    with_driver("public", "public", ground.zones.zones, commits)
    with_driver("scrypt", "core", [ground.master], hashes)
    ground.master.write_settings(login={"password_hash": "sha256"})
    ground.restart(ground.master)
    with_driver("sha256", "core", [ground.master], commits)
    note = f"{_DATABASE} For scrypt: the bare hash in as many threads, {_HASHES_AT_ONCE} at most."
    return Outcome(measured, [Table("New users", _COLUMNS, rows, note)])


def _writing(ground: Ground, name: str, zone: Zone, connections: int, requests: Iterator[bytes]) -> Result:
    result = ground.measure(name, zone, connections, requests)
    ground.zones.settled(timeout_s=60)
    return result


def mixed(ground: Ground) -> Outcome:
    """Readers and writers alone and together: neither may starve."""
    rows: list[list[Cell]] = []
    measured = {}
    for zone in ground.zones.zones:
        for readers, writers in ((8, 0), (0, 8), (8, 8)):
            loads = [
                *([Load("one.user.info", zone.port, ground.infos(), readers)] if readers else []),
                *([Load("one.user.update", zone.port, ground.updates(), writers)] if writers else []),
            ]
            results = ground.measure_together(loads)
            ground.zones.settled(timeout_s=60)
            rows += [[zone.name, f"{readers} + {writers}", result.name, *_figures(result)] for result in results]
            if zone is ground.master and len(results) == 2:
                read, written = results
                measured["mixed"] = Measured((read.per_second, written.per_second, written.percentile_ms(0.99)))
    columns = ("zone", "readers + writers", "call", "calls/s", "p50 ms", "p99 ms")
    return Outcome(measured, [Table("Readers and writers together", columns, rows)])

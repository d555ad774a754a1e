"""What grows with the data: a large group, a zone's memory, its start.

Path:     a scenario(ground) -> Outcome
"""

from __future__ import annotations

import time
from typing import Final

from bench import bounds, calls
from bench.ground import Ground, Outcome
from bench.load import Exchange, percentile
from bench.report import Cell, Table
from bench.targets import Measured
from harness.processes import family, pss_bytes, rss_bytes
from harness.zones import NotThereYet

_MB: Final = 1e6


def groups(ground: Ground) -> Outcome:
    """Add users to a large group and to one that is empty each time, by turns, so that both see the same machine."""
    client = ground.zones.client(ground.master)
    large, empty = (client.group.allocate(f"{name}-{time.time_ns()}") for name in ("large", "empty"))
    ground.add(ground.allocation("public", large) for _ in range(ground.scale.members))
    took_ms: dict[int, list[float]] = {large: [], empty: []}
    exchange = Exchange(ground.master.port)
    for number in range(max(4, int(100 * ground.scale.seconds))):
        user = ground.users[number % len(ground.users)]
        for group in (large, empty):
            started = time.perf_counter()
            _must(exchange.ask(calls.request("one.user.addgroup", ground.secret, user, group)))
            took_ms[group].append((time.perf_counter() - started) * 1e3)
            _must(exchange.ask(calls.request("one.user.delgroup", ground.secret, user, group)))
    exchange.close()
    ground.zones.settled(timeout_s=60)
    rows: list[tuple[Cell, ...]] = []
    for group, members in ((large, ground.scale.members), (empty, 0)):
        times = took_ms[group] = sorted(took_ms[group])
        rows.append((members, len(times), percentile(times, 0.5), percentile(times, 0.99)))
    medians = percentile(took_ms[large], 0.5), percentile(took_ms[empty], 0.5)
    note = "one.user.addgroup on the master, one connection; the user is taken out again after each time."
    table = Table("Groups", ("members before", "calls", "p50 ms", "p99 ms"), rows, note, numbers_from=0)
    return Outcome({"group": Measured((medians[0] / medians[1], *medians))}, [table])


def _must(reply: bytes) -> None:
    if b"<boolean>1</boolean>" not in reply:
        raise NotThereYet(f"the master refused: {reply!r}")


def memory(ground: Ground) -> Outcome:
    """A zone's memory some time after its start and one list of all users, with few users and with many; nothing else runs meanwhile."""
    zone = ground.master
    zone.stop()
    with bounds.bare_server(ground.folder) as bare:
        bound = pss_bytes(bare.pid) / _MB
    zone.start()
    rows: list[tuple[Cell, ...]] = []
    measured = {}
    for key, users in (("memory-few", 2), ("memory-many", ground.scale.many_users)):
        ground.populate(users)
        ground.restart(zone)
        started = time.monotonic()
        ground.zones.client(zone).userpool.info()
        time.sleep(max(0.0, ground.scale.settle_s - (time.monotonic() - started)))
        processes = family(zone.pid)
        together = sum(map(pss_bytes, processes)) / _MB
        rows.append((users, len(processes), together, pss_bytes(zone.pid) / _MB, sum(map(rss_bytes, processes)) / _MB))
        measured[key] = Measured((together, len(processes)), bound)
    note = (
        f"PSS {ground.scale.settle_s} s after the start of a federation of one zone and one list of all its users; of Python nothing else "
        f"runs that could share its pages, but this program. RSS counts every shared page in full. The bare server takes {bound:.0f} MB."
    )
    columns = ("users", "processes", "PSS of all MB", "PSS of the first MB", "RSS of all MB")
    return Outcome(measured, [Table("Memory", columns, rows, note, numbers_from=0)])


def start(ground: Ground) -> Outcome:
    """From exec to the first answer of a zone that has run before: an administrator's own record, his password checked."""
    ground.populate(ground.scale.many_users)
    zone = ground.master
    request = calls.request("one.user.info", ground.secret, -1, False)
    starts_s, bare_s = [], []
    for _ in range(ground.scale.starts):
        zone.stop()
        with bounds.bare_server(ground.folder) as bare:
            bare_s.append(bare.start_s)
        began = time.perf_counter()
        zone.launch()
        assert zone.process is not None
        starts_s.append(bounds.first_answer(zone.port, request, zone.process) - began)
        zone.await_answer()
    rows: list[tuple[Cell, ...]] = []
    for name, times in (("zone", starts_s), ("bare server", bare_s)):
        times.sort()
        rows.append((name, len(times), percentile(times, 0.5), times[0], times[-1]))
    users = ground.scale.many_users
    note = f"A federation of one zone with {users:,} users. It answers one.user.info, with a password that scrypt must check."
    table = Table("Start", ("what", "starts", "median s", "least s", "most s"), rows, note)
    return Outcome({"start": Measured((percentile(starts_s, 0.5),), percentile(bare_s, 0.5))}, [table])

"""A federation to measure: its zones, the users in it, the calls about them, and the bare bounds of the same machine.

Path:     opened() -> Ground -> measure(...) -> load.run() on real zones
Not here: what is measured (throughput.py, copying.py, growth.py); how requests are sent (load.py).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import bounds, calls
from bench.load import Exchange, Load, Result, repeated, run
from bench.report import Table
from bench.scale import Scale
from bench.targets import Measured
from harness.processes import family
from harness.zones import Federation, NotThereYet, Zone, federation

_BOUND_S: Final = 2.0
_KEY_BYTES: Final = 600


class Outcome(msgspec.Struct):
    """What a scenario found: the rows of the targets that it measures, and the details."""

    measured: dict[str, Measured]
    tables: list[Table]


class Layout(msgspec.Struct, frozen=True):
    """How a ground is laid out: so many zones, slaves behind a proxy or not, the scale's users made at once or not."""

    zones: int
    through_proxy: bool = False
    populated: bool = True


class Variant(msgspec.Struct, frozen=True):
    """What is measured beside others: zones on an engine, their servers with options. ``name`` is empty if there is but one."""

    name: str = ""
    engine: str = "sqlite"
    options: tuple[str, ...] = ()


class Ground:
    """A running federation, and how much to measure of it.

    Attributes:
        scale: lengths and counts.
        engine: of the zones' databases.
        users: ids of the users that the calls are about.
    """

    def __init__(self, zones: Federation, folder: Path, scale: Scale, engine: str) -> None:
        self.zones = zones
        self.folder = folder
        self.scale = scale
        self.engine = engine
        self.users: list[int] = []
        self._names = itertools.count()
        self._notes = itertools.count()
        self._commits: dict[int, bounds.Commits] = {}
        self._echoes: dict[tuple[int, int], Result] = {}

    @property
    def master(self) -> Zone:
        return self.zones.master

    @property
    def slave(self) -> Zone:
        return self.zones.slaves[0]

    @property
    def secret(self) -> str:
        return self.zones.secret

    def populate(self, users: int) -> None:
        """Create users until there are so many, those of the first start included."""
        missing = users - len(self.zones.client(self.master).userpool.info().USER)
        self.add(self.allocation() for _ in range(missing))
        self.users = [user.ID for user in self.zones.client(self.master).userpool.info().USER if user.ID > 1]

    def add(self, requests: Iterator[bytes]) -> None:
        """Send all of ``requests`` to the master and wait until the slave has what they made."""
        self.measure("preparing", self.master, 32, iter(list(requests)), seconds=600)
        self.zones.settled(timeout_s=60)

    def measure(self, name: str, zone: Zone, connections: int, requests: Iterator[bytes], *, seconds: float = 0.0) -> Result:
        """Run one load."""
        (result,) = self.measure_together([Load(name, zone.port, requests, connections)], seconds=seconds)
        return result

    def measure_together(self, loads: Sequence[Load], *, seconds: float = 0.0) -> list[Result]:
        """Run loads side by side; any refused call ends the scenario, for its figures would mean nothing.

        Raises:
            NotThereYet: a call was refused.
        """
        watched = {"slave" if zone is not self.master else "master": family(zone.pid) for zone in self.zones.zones if zone.running}
        results = run(loads, seconds or self.scale.seconds, watched=watched)
        for result in results:
            if result.failed:
                raise NotThereYet(f"{result.name}: {result.failed} calls failed, the first with {result.first_failure!r}")
        return results

    def restart(self, zone: Zone) -> None:
        """Stop and start ``zone``, and let it see the administrator's password once: checking it anew takes long."""
        zone.restart()
        self.zones.settled()
        self.zones.client(zone).user.info(-1)

    def infos(self) -> Iterator[bytes]:
        """Reads of many users, without end."""
        return itertools.cycle([calls.request("one.user.info", self.secret, uid, False) for uid in self.users[:100]])

    def pools(self) -> Iterator[bytes]:
        """Reads of the whole pool, without end."""
        return itertools.repeat(calls.request("one.userpool.info", self.secret))

    def updates(self, count: int = 0) -> Iterator[bytes]:
        """Changes of many users' templates: each user keeps a key of his own and gets a note never seen before.

        Args:
            count: how many; by default as many as a measurement may need.
        """
        prepared = []
        for uid in self.users[:100]:
            template = f'NOTE="{calls.Prepared.HERE}" SSH_PUBLIC_KEY="{bounds.incompressible(_KEY_BYTES, seed=uid)}"'
            prepared.append(calls.Prepared("one.user.update", self.secret, uid, template, 0))
        return repeated(lambda number: prepared[number % len(prepared)].with_text(f"n{next(self._notes)}"), count or self._enough())

    def allocation(self, driver: str = "public", *groups: int) -> bytes:
        """A new user; of driver ``public`` no password is hashed."""
        return calls.request("one.user.allocate", self.secret, f"load{next(self._names)}", "no-log-in", driver, list(groups))

    def allocations(self, driver: str) -> Iterator[bytes]:
        """New users, as many as a measurement may need."""
        return repeated(lambda _: self.allocation(driver), self._enough())

    def _enough(self) -> int:
        return max(500, int(8000 * self.scale.seconds))

    def echo(self, requests: Callable[[], Iterator[bytes]], reply_bytes: int, connections: int) -> Result:
        """A load of these requests against a server that does nothing, measured once a run for each size."""
        key = (reply_bytes, connections)
        if key not in self._echoes:
            with bounds.echo_server(self.folder, reply_bytes) as bare:
                load = Load("echo", bare.port, requests(), connections)
                (self._echoes[key],) = run([load], min(self.scale.seconds, _BOUND_S), watched={"echo": [bare.pid]})
        return self._echoes[key]

    def reply_bytes(self, request: bytes) -> int:
        """Length of the master's answer without its head."""
        exchange = Exchange(self.master.port)
        try:
            return len(exchange.ask(request).partition(b"\r\n\r\n")[2])
        finally:
            exchange.close()

    def commits(self, group: int) -> bounds.Commits:
        """The database alone with ``group`` changes a commit, measured once a run."""
        if group not in self._commits:
            self._commits[group] = bounds.commits(self.folder, self.engine, group, min(self.scale.seconds, _BOUND_S))
        return self._commits[group]


@contextlib.contextmanager
def opened(layout: Layout, folder: Path, scale: Scale, variant: Variant) -> Iterator[Ground]:
    """Start zones in ``folder``, and stop them at the end."""
    settings = {"log": {"level": "warning"}}
    with federation(
        folder,
        layout.zones,
        through_proxy=layout.through_proxy,
        settings=settings,
        options=variant.options,
        on=[variant.engine] * layout.zones,
    ) as zones:
        ground = Ground(zones, folder, scale, variant.engine)
        if layout.populated:
            ground.populate(scale.users)
        yield ground

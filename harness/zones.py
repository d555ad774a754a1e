"""Real zones: one ``koinon server`` process each, its own folder, free loopback ports, joined as a person would join them.

Path:     Federation.create() -> Zone.start() -> koinon server; init, invite and join through the ``koinon`` program
Holds:    every process is ended by its own id, also when a test fails; its output is kept and shown with the failure.
          Start zones from the main thread: the kernel ends a child together with the thread that started it.
Not here: what the zones promise (tests/federation), how fast they are (bench).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pyone

from harness import engines, processes
from harness.proxy import Link
from harness.replies import Caller
from koinon.client.admin import AdminClient
from koinon.client.errors import ClientError, UnreachableError
from koinon.database.dialects.protocol import Connection

Section = Mapping[str, str | int | float]

#: how long a zone may take to answer after its start, or a federation to agree, on a machine that is slow and busy; a test that waits
#: longer has found a defect
PATIENCE_S: Final = 120.0

#: silence after which a slave takes the master for gone; the default is less than what a busy machine keeps zones waiting for now and then
MASTER_SILENT_S: Final = 8.0

#: zones whose processes we started; their logs are shown when a test fails
alive: weakref.WeakSet[Zone] = weakref.WeakSet()


class NotThereYet(AssertionError):
    """Something that must happen within a bound did not."""


def wait_until(what: str, check: Callable[[], Any], *, timeout_s: float = PATIENCE_S, every_s: float = 0.02) -> Any:
    """Call ``check`` until it returns something true, and return that.

    Raises:
        NotThereYet: it did not within ``timeout_s``; carries what was seen last.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = check()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise NotThereYet(f"{what}: not within {timeout_s:g} s; last seen: {seen!r}")
        time.sleep(every_s)


class Zone:
    """One zone of its own: a folder, two ports, and the process when it runs.

    Attributes:
        name: zone name in its settings.
        engine: of its database.
        folder: holds ``koinon.toml``, ``server.log`` and ``state/``.
        port: where clients call.
        federation_port: where other zones call.
        process: the running server, None when stopped.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        ports: tuple[int, int] | None = None,
        federation_endpoint: str = "",
        settings: Mapping[str, Section] | None = None,
        engine: str = "",
        options: Sequence[str] = (),
        beside: Zone | None = None,
        apart: bool = False,
    ) -> None:
        """Put one together.

        Args:
            folder: its own.
            name: see Attributes.
            ports: for clients and for zones.
            federation_endpoint: where other zones are told to call.
            settings: sections of the settings file.
            engine: of its database; the current one if empty.
            beside: another process of the same zone, whose database this one serves too.
            apart: on another machine than that, with a directory of its own.
            options: what follows on the command line.
        """
        self.name = name
        self.engine: str = engine or (beside.engine if beside else engines.current)
        self.folder = folder
        self._beside = beside
        self._apart = apart
        self.port, self.federation_port = ports or (processes.free_port(), processes.free_port())
        self.process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, Section] = dict(settings or {})
        self._options = options
        self._federation_endpoint = federation_endpoint or f"127.0.0.1:{self.federation_port}"
        folder.mkdir(parents=True, exist_ok=True)
        self.write_settings()

    def __repr__(self) -> str:
        return f"<Zone {self.name} :{self.port} {'pid ' + str(self.process.pid) if self.process else 'stopped'}>"

    @property
    def state_dir(self) -> Path:
        if self._beside is not None and not self._apart:
            return self._beside.state_dir
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "koinon.toml"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def database(self) -> Path:
        """Its file; on a server, what its database is named for."""
        if self._beside is not None:
            return self._beside.database
        return self.state_dir / "koinon.db"

    def by_hand(self) -> AbstractContextManager[Connection]:
        """A session with the zone's database beside the zone's own."""
        return engines.by_hand(self.database, self.engine)

    @property
    def endpoint(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}/RPC2"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} does not run"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def write_settings(self, **changes: Section) -> None:
        """Write the settings file; ``changes`` (a section each) are kept for later writes. Takes effect at the next start."""
        for section, values in changes.items():
            self._settings[section] = {**self._settings.get(section, {}), **values}
        ours: dict[str, Section] = {
            "zone": {"name": self.name, "endpoint": self.endpoint},
            "server": {"listen": "127.0.0.1", "port": self.port},
            "federation": {
                "listen": "127.0.0.1",
                "port": self.federation_port,
                "endpoint": self._federation_endpoint,
                "master_silent_s": MASTER_SILENT_S,
            },
        }
        if self.engine != "sqlite":
            ours["database"] = {"url": engines.url(self.database, self.engine)}
        lines = [f"state_dir = {json.dumps(str(self.state_dir))}"]
        for section in dict.fromkeys((*ours, *self._settings)):
            values = {**ours.get(section, {}), **self._settings.get(section, {})}
            lines += ["", f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def launch(self) -> None:
        """Start the process and return at once."""
        assert not self.running, f"{self.name} runs already"
        alive.add(self)
        command: list[str | Path] = [processes.program("koinon"), "server", "--config", self.config, *self._options]
        self.process = processes.start(command, log=self.log, environment={"KOINON_DEBUG": "1"})  # a defect shows its place

    def await_answer(self) -> None:
        """Wait until the zone answers clients and its administrator."""
        wait_until(f"{self.name} answers", self._answers)

    def _answers(self) -> bool:
        if not self.running:
            raise NotThereYet(f"{self.name} ended by itself:\n{self.tail()}")
        with contextlib.suppress(OSError, ClientError):
            self.status()
            self.caller("").call("system.listMethods", session=False)
            return True
        return False

    def start(self) -> Zone:
        """Start the process and wait until it answers."""
        self.launch()
        self.await_answer()
        return self

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit code. Nothing happens if it does not run."""
        if self.process is None:
            return 0
        code = processes.end(self.process)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL: the zone is gone in the middle of whatever it did."""
        assert self.process is not None, f"{self.name} does not run"
        processes.kill(self.process)
        self.process = None

    def restart(self) -> Zone:
        """Stop (if it runs) and start."""
        self.stop()
        return self.start()

    def tail(self, lines: int = 80) -> str:
        """The last lines of the zone's output."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def pause(self) -> None:
        """SIGSTOP: it lives and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def health(self, question: str) -> tuple[int, dict[str, Any]]:
        """What this process answers a load balancer: status and body; status 0 if it does not answer."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", question)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return 0, {}

    @property
    def leads(self) -> bool:
        """Whether this process does its zone's single work."""
        return self.health("/leader")[0] == 200

    def status(self) -> dict[str, Any]:
        """What the zone says of itself on its administration socket.

        Of several processes one has the socket; when that one dies, it is another's after a moment in which nobody listens.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return AdminClient(self.state_dir).status()
            except UnreachableError:
                if not self.running or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    @property
    def secret(self) -> str:
        """``oneadmin:PASSWORD`` of this zone; after a join the zone has none of its own, but the federation's."""
        return (self.state_dir / "one_auth").read_text().strip()

    def client(self, user: str = "", password: str = "") -> Any:
        """A pyone client; without a user as this zone's own administrator."""
        return pyone.OneServer(self.endpoint, session=f"{user}:{password}" if user else self.secret)

    def caller(self, session: str | None = None) -> Caller:
        """A client that returns reply arrays as they came; by default as this zone's own administrator."""
        return Caller(self.port, self.secret if session is None else session)

    def command(self, program: str, *arguments: str, session: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of our commands against this zone, as a person would.

        Args:
            program: ``koinon``, ``oneuser``, ...
            arguments: what follows.
            session: ``user:password`` that its ONE_AUTH file holds; needed by all but ``koinon federation``.
            check: whether a failure is one here.

        Raises:
            AssertionError: it failed and ``check`` is set; carries what it said.
        """
        auth = self.folder / "one_auth"
        auth.touch(mode=0o600)
        auth.write_text(session + "\n")
        done = subprocess.run(
            [processes.program(program), *arguments],
            env=os.environ | {"ONE_XMLRPC": self.endpoint, "ONE_AUTH": str(auth)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def federation(self, verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``koinon federation VERB ...`` against this zone's administration socket."""
        return self.command("koinon", "federation", verb, "--config", str(self.config), *arguments, check=check)


class Federation:
    """Zones that joined: the first one is the master.

    Attributes:
        zones: all of them, the master first.
        link: the proxy through which slaves reach the master, None if they dial it directly.
    """

    def __init__(self, zones: list[Zone], link: Link | None) -> None:
        self.zones = zones
        self.link = link

    @property
    def master(self) -> Zone:
        return self.zones[0]

    @property
    def slaves(self) -> list[Zone]:
        return self.zones[1:]

    @property
    def secret(self) -> str:
        """``oneadmin:PASSWORD`` of the federation: the master's."""
        return self.master.secret

    def client(self, zone: Zone) -> Any:
        """A pyone client of ``zone`` as the federation's administrator."""
        return zone.client(*self.secret.split(":", 1))

    def caller(self, zone: Zone) -> Caller:
        """A client that returns reply arrays, of ``zone``, as the federation's administrator."""
        return zone.caller(self.secret)

    def settled(self, *, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until all zones hold one history: position, chain and the digests of every table are equal.

        Returns:
            The master's status then.
        """
        statuses: list[dict[str, Any]] = []

        def agree() -> bool:
            statuses[:] = [zone.status() for zone in self.zones]
            heads = {
                (status["epoch"], status["position"], status["chain"], tuple(sorted(status["digests"].items()))) for status in statuses
            }
            return len(heads) == 1 and all(status["state"] == "ok" for status in statuses)

        try:
            wait_until("all zones agree", agree, timeout_s=timeout_s)
        except NotThereYet as late:
            raise NotThereYet("\n".join([str(late), *map(_in_short, statuses)])) from None
        return statuses[0]

    def stop(self) -> None:
        """End all zones, slaves first, and the proxy."""
        for zone in reversed(self.zones):
            zone.stop()
        if self.link is not None:
            self.link.close()


def _in_short(status: dict[str, Any]) -> str:
    digests = " ".join(f"{table}={digest[:8]}" for table, digest in sorted(status["digests"].items()))
    return (
        f"{status['name']}: {status['role']}, {status['state']}, position {status['epoch']}.{status['position']}, "
        f"chain {status['chain'][:12]}, last error {status.get('last_error')!r}, {digests}"
    )


def invite(master: Zone, name: str, endpoint: str) -> str:
    """Make a token for a new zone on the master's machine, and return it."""
    return master.federation("invite", name, "--endpoint", endpoint).stdout.strip()


def join(master: Zone, zone: Zone) -> None:
    """Invite ``zone`` on the master and join it with the token: the two commands of the guide."""
    zone.federation("join", invite(master, zone.name, zone.endpoint))


@contextlib.contextmanager
def federation(
    folder: Path,
    size: int,
    *,
    through_proxy: bool = False,
    settings: Mapping[str, Section] | None = None,
    options: Sequence[str] = (),
    ports: list[tuple[int, int]] | None = None,
    on: Sequence[str] = (),
) -> Iterator[Federation]:
    """A federation of ``size`` zones that runs inside the ``with`` block.

    Args:
        folder: for the zones' folders; must not hold any yet.
        size: number of zones, the master included.
        through_proxy: slaves reach the master through a ``Link``.
        settings: sections for every zone, on top of names, addresses and ports.
        options: for every zone's ``koinon server``.
        ports: (clients, zones) per zone; free ones are chosen if absent.
        on: engine per zone; the current one if absent.
    """
    names = ["master", *(f"slave{number}" for number in range(1, size))]
    pairs = ports or [(processes.free_port(), processes.free_port()) for _ in names]
    link = Link(pairs[0][1]) if through_proxy else None
    zones = [
        Zone(
            folder / name,
            name,
            ports=pair,
            settings=settings,
            engine=engine,
            options=options,
            federation_endpoint=link.address if link is not None and name == "master" else "",
        )
        for name, pair, engine in zip(names, pairs, on or [""] * size, strict=True)
    ]
    made = Federation(zones, link)
    try:
        for zone in zones:
            zone.launch()
        for zone in zones:
            zone.await_answer()
        made.master.federation("init")
        for slave in made.slaves:
            join(made.master, slave)
        made.settled()
        yield made
    finally:
        made.stop()

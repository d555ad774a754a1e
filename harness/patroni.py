"""PostgreSQL under Patroni on this machine, from Debian's patroni and etcd-server: nodes of their own, and the etcd that they agree by.

Path:     Cluster() -> etcd -> Node.start() -> patroni -> postgres
Holds:    a node's two processes have one end: ``kill`` takes both at once, as a machine that loses its power does.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from harness import engines, processes
from harness.engines import Missing

_SCOPE: Final = "koinon"
_NEEDED: Final = ("patroni", "patronictl", "etcd")


class Node:
    """One PostgreSQL and the Patroni that starts, promotes and demotes it.

    Attributes:
        name: in the cluster.
        port: of PostgreSQL, on the loopback address.
        api: port of Patroni's REST API.
        process: Patroni; None when it does not run.
    """

    def __init__(self, name: str, folder: Path, etcd: int, programs: Path, shared: str) -> None:
        self.name = name
        self.port, self.api = processes.free_port(), processes.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self.settings = folder / f"{name}.yml"
        self.settings.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in self._own(etcd, programs).items()) + shared)

    def _own(self, etcd: int, programs: Path) -> dict[str, Any]:
        return {
            "scope": _SCOPE,
            "name": self.name,
            "etcd3": {"host": f"127.0.0.1:{etcd}"},
            "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "bin_dir": str(programs),
                "data_dir": str(self._folder / self.name),
                "pgpass": str(self._folder / f"{self.name}.pgpass"),
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"}},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": str(self._folder), "shared_buffers": "32MB"},
            },
        }

    def start(self, user: str | None) -> None:
        """Start Patroni, and let it do the rest."""
        self.process = processes.start([str(shutil.which("patroni")), self.settings], log=self._folder / f"{self.name}.log", user=user)

    def kill(self) -> None:
        """SIGKILL for Patroni and all of its PostgreSQL."""
        assert self.process is not None
        self.process.kill()
        with contextlib.suppress(FileNotFoundError, ValueError):
            server = int((self._folder / self.name / "postmaster.pid").read_text().split()[0])  # Patroni starts it in a session of its own
            for pid in processes.family(server):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def is_(self, role: str) -> bool:
        """Whether Patroni says so to a load balancer: ``primary``, ``replica``, ``sync``..."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/{role}", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def tail(self) -> str:
        return (self._folder / f"{self.name}.log").read_text()[-3000:]


class Cluster:
    """etcd and nodes that have chosen a primary and a synchronous standby."""

    def __init__(self, size: int, shared: str) -> None:
        """Start it, and wait until it is whole.

        Args:
            size: number of nodes.
            shared: lines of ``patroni.yml`` that all nodes have alike, as people are told to write them.

        Raises:
            Missing: a package is not installed.
        """
        if missing := [name for name in _NEEDED if shutil.which(name) is None]:
            raise Missing(f"{', '.join(missing)} can't be found: apt install patroni etcd-server postgresql")
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            raise Missing("PostgreSQL is not installed: apt install postgresql")
        self._folder = Path(tempfile.mkdtemp(prefix="koinon-patroni-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        client, peer = processes.free_port(), processes.free_port()
        own = [f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}"]
        others = [
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        ]
        data = self._folder / "etcd"
        log = self._folder / "etcd.log"
        self.nodes = [Node(f"db{number}", self._folder, client, found[-1].parent, shared) for number in range(1, size + 1)]
        self._etcd = processes.start([str(shutil.which("etcd")), f"--data-dir={data}", *own, *others], log=log, user=self._user)
        try:
            for node in self.nodes:
                node.start(self._user)
                self.await_whole()
        except BaseException:
            self.remove()
            raise

    def await_whole(self) -> None:
        """Wait until all nodes that run have their parts: one primary, a synchronous standby if there is a second one."""
        deadline = time.monotonic() + 120
        while not self._whole():
            for node in self.nodes:
                assert node.process is None or node.process.poll() is None, f"patroni ended by itself:\n{node.tail()}"
            assert time.monotonic() < deadline, "\n".join(node.tail() for node in self.nodes if node.process)
            time.sleep(0.1)

    def _whole(self) -> bool:
        running = [node for node in self.nodes if node.process]
        primaries = [node for node in running if node.is_("primary")]
        followers = [node for node in running if node not in primaries and node.is_("replica")]
        return (
            len(primaries) == 1
            and len(followers) == len(running) - 1
            and (len(running) == 1 or any(node.is_("sync") for node in followers))
        )

    @property
    def primary(self) -> Node:
        return next(node for node in self.nodes if node.process and node.is_("primary"))

    def url(self, name: str) -> str:
        """The address of a database on whichever node takes writes."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://postgres@{hosts}/{name}?target_session_attrs=read-write"

    def database(self, name: str) -> str:
        """The address of a new database."""
        with engines.session(self.url("postgres")) as session:
            session.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def switch_over(self) -> None:
        """What an administrator types before the primary is serviced; returns when Patroni has done it."""
        command = ["patronictl", "-c", str(self.nodes[0].settings), "switchover", _SCOPE, "--master", self.primary.name, "--force"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C.UTF-8"})
        assert "Successfully switched over" in done.stdout, done.stdout + done.stderr

    def rejoin(self, node: Node) -> None:
        """Start a node that was killed, and wait until it follows."""
        node.start(self._user)
        self.await_whole()

    def remove(self) -> None:
        """End all and forget the data."""
        for node in self.nodes:
            if node.process is not None:
                node.kill()
        processes.kill(self._etcd)
        shutil.rmtree(self._folder, ignore_errors=True)

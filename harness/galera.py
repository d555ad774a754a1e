"""A Galera cluster of MariaDB servers on this machine, from Debian's galera-4 and rsync."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Final

from harness import processes
from harness.engines import MariaDB, Missing

_LIBRARY: Final = Path("/usr/lib/galera/libgalera_smm.so")
_PATIENCE_S: Final = 120.0


class Node(MariaDB):
    """One node."""

    def __init__(self, name: str, port: int, members: list[int]) -> None:
        addresses = ",".join(f"127.0.0.1:{member}" for member in members)
        times = "evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;evs.install_timeout=PT4S"
        own = f"base_port={port};ist.recv_addr=127.0.0.1:{processes.free_port()};gcache.size=32M"
        super().__init__(
            "--wsrep-on=ON",
            f"--wsrep-provider={_LIBRARY}",
            f"--wsrep-cluster-address=gcomm://{addresses}",
            f"--wsrep-node-name={name}",
            f"--wsrep-node-address=127.0.0.1:{port}",
            f"--wsrep-sst-receive-address=127.0.0.1:{processes.free_port()}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-provider-options={times};{own}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
        )
        self.first = False  # whether the next start makes a new cluster

    def _setup(self, data: Path) -> list[str | Path]:
        return [*super()._setup(data), "--wsrep-on=OFF"]

    def _command(self, data: Path) -> list[str | Path]:
        return [*super()._command(data), *(["--wsrep-new-cluster"] if self.first else [])]

    def size(self) -> int:
        """How many nodes this one sees, itself included; 0 while it is not up to date."""
        found: dict[str, Any] = dict(self.administer("SHOW STATUS LIKE 'wsrep_%'"))
        return int(found["wsrep_cluster_size"]) if found["wsrep_local_state_comment"] == "Synced" else 0


class Cluster:
    """Nodes that have found each other."""

    def __init__(self, size: int) -> None:
        if not _LIBRARY.exists() or shutil.which("rsync") is None:
            raise Missing("Galera is not installed: apt install galera-4 rsync")
        ports = [processes.free_port() for _ in range(size)]
        self.nodes = [Node(f"node{number}", port, ports) for number, port in enumerate(ports)]
        self.nodes[0].first = True
        for number, node in enumerate(self.nodes, 1):
            node.start()
            self._await_size(node, number)
        self.nodes[0].first = False
        self.nodes[0].administer("CREATE USER koinon@localhost", "GRANT ALL ON *.* TO koinon@localhost")

    @staticmethod
    def _await_size(node: Node, size: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while node.size() != size:
            assert time.monotonic() < deadline, "a node does not find the others"
            time.sleep(0.1)

    def url(self, name: str) -> str:
        """The address of a database on whichever node is ready, the first of them if all are."""
        return f"mysql://koinon@{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}/{name}"

    def kill(self, node: Node) -> None:
        """SIGKILL."""
        assert node.process is not None
        processes.kill(node.process)
        node.process = None

    def rejoin(self, node: Node) -> None:
        """Start a node that was away, and wait until it is up to date."""
        node.start()
        self._await_size(node, sum(one.process is not None for one in self.nodes))

    def remove(self) -> None:
        """End it and forget its data."""
        for node in self.nodes:
            node.remove()

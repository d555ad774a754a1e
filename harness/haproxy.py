"""HAProxy from Debian's package, in front of processes of a zone on this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import processes
from harness.engines import Missing


class Balancer:
    """One HAProxy.

    Attributes:
        port: where it takes what it passes on.
    """

    def __init__(self, settings: str, port: int) -> None:
        """Start it.

        Args:
            settings: its whole configuration.
            port: one on which these make it listen.

        Raises:
            Missing: the package is not installed.
        """
        program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if program is None:
            raise Missing("HAProxy is not installed: apt install haproxy")
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix="koinon-haproxy-"))
        written = self._folder / "haproxy.cfg"
        written.write_text(settings)
        checked = subprocess.run([program, "-c", "-f", written], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        self._process = processes.start([program, "-db", "-f", written], log=self._folder / "haproxy.log")

    def remove(self) -> None:
        """End it."""
        processes.kill(self._process)
        shutil.rmtree(self._folder)

"""The process that starts the others: what it refuses, and what it does when they end."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness import processes
from harness.zones import PATIENCE_S, wait_until
from koinon.daemon import workers
from koinon.errors import UnavailableError
from koinon.settings import load


def _settings(tmp_path: Path, url: str, port: int) -> object:
    config = tmp_path / "koinon.toml"
    config.write_text(
        f"[server]\nlisten = '127.0.0.1'\nport = {port}\n[federation]\nlisten = '127.0.0.1'\nport = {processes.free_port()}\n"
        f"[database]\nurl = '{url}'\n"
    )
    return load(config, {"HOME": str(tmp_path)})


def test_sqlite_takes_no_workers_and_says_what_does(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"--workers needs PostgreSQL or MariaDB"):
        workers.require_possible(_settings(tmp_path, f"sqlite:///{tmp_path}/koinon.db", processes.free_port()))  # type: ignore[arg-type] # as load gives it


def test_a_port_that_another_program_has_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1 port {port}: .*\[server\]"):
            workers.require_possible(_settings(tmp_path, "postgresql://x@y/z", port))  # type: ignore[arg-type] # as above


def _parent(tmp_path: Path, work: str, count: int = 2) -> subprocess.Popen[bytes]:
    """A process that keeps workers which do ``work`` (given ``number``, ``serves`` and ``tmp_path``)."""
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, pathlib, signal, sys, time\nfrom koinon.daemon import workers\nfrom koinon.daemon.workers import Workers\n"
        f"tmp_path = pathlib.Path({str(tmp_path)!r})\ndef work(number, serves):\n{textwrap.indent(work, '    ')}\n"
        f"sys.exit(Workers({count}, work).run())\n"
    )
    return processes.start([sys.executable, program], log=tmp_path / "log")


_WAIT = "(tmp_path / f'{number}-{os.getpid()}').touch()\nsignal.sigwait({signal.SIGTERM})\nreturn 0"
_LIVE = f"signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})\n{_WAIT}"


def _started(tmp_path: Path, least: int) -> list[tuple[int, int]]:
    def enough() -> list[Path]:
        found = sorted(tmp_path.glob("[0-9]-*"))
        return found if len(found) >= least else []

    found = wait_until("workers start", enough)
    return [(int(path.name.partition("-")[0]), int(path.name.partition("-")[2])) for path in found]


def test_a_worker_that_is_killed_is_started_again_under_its_number_and_all_end_with_sigterm(tmp_path: Path) -> None:
    parent = _parent(tmp_path, _LIVE)
    first = _started(tmp_path, 2)
    os.kill(first[0][1], signal.SIGKILL)
    now = _started(tmp_path, 3)
    assert sorted(number for number, _ in now) == [1, 1, 2]
    assert processes.end(parent) == 0
    assert not any(Path(f"/proc/{pid}").exists() for _, pid in now)
    assert "exit_code=-9" in (tmp_path / "log").read_text()


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = _parent(tmp_path, _LIVE)
    found = _started(tmp_path, 2)
    processes.kill(parent)
    wait_until("they end", lambda: not any(processes.runs(pid) for _, pid in found))


def test_when_the_first_workers_can_not_start_it_ends_as_they_did(tmp_path: Path) -> None:
    parent = _parent(tmp_path, "if number == 2:\n    return 1\n" + _LIVE)
    assert parent.wait(PATIENCE_S) == 1


def test_a_first_worker_that_takes_long_to_be_refused_ends_it_too(tmp_path: Path) -> None:
    """Such as one whose database server can't be reached, and does not say so."""
    parent = _parent(tmp_path, "workers._LONG_S = 0.1\ntime.sleep(0.3)\nreturn 1", 1)
    assert parent.wait(PATIENCE_S) == 1


def test_one_that_has_served_is_started_again_though_it_is_refused_then(tmp_path: Path) -> None:
    """Its database server may be away."""
    work = f"if any(tmp_path.glob('[0-9]-*')):\n    (tmp_path / 'again').touch()\n    return 1\nserves()\n{_WAIT}"
    parent = _parent(tmp_path, f"signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})\n{work}", 1)
    ((_, pid),) = _started(tmp_path, 1)
    os.kill(pid, signal.SIGKILL)
    wait_until("it was tried again", (tmp_path / "again").exists)
    (tmp_path / "again").unlink()
    wait_until("and again", (tmp_path / "again").exists)
    assert processes.end(parent) == 0


def test_what_a_worker_dies_of_is_said(tmp_path: Path) -> None:
    parent = _parent(tmp_path, "raise RuntimeError('a fault of ours')", 1)
    assert parent.wait(PATIENCE_S) == 1
    assert "a fault of ours" in (tmp_path / "log").read_text()


def test_one_that_ends_at_once_is_started_later_each_time(tmp_path: Path) -> None:
    work = "open(tmp_path / 'times', 'a').write(f'{time.monotonic()}\\n')\nreturn 3"
    parent = _parent(tmp_path, work, 1)
    (tmp_path / "times").touch()
    wait_until("it was tried five times", lambda: (tmp_path / "times").read_text().count("\n") >= 5)
    times = [float(line) for line in (tmp_path / "times").read_text().split()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times[:5])]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True)), pauses
    assert processes.end(parent) == 0

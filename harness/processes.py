"""Child processes that never outlive us, and ports that no one else takes meanwhile.

Holds:    every child is told by the kernel to die with the thread that started it, so start children from the main thread.
Not here: what a child is for (zones.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

#: below the range from which Linux picks local ports of outgoing connections: a zone that restarts finds its port free
_PORTS: Final = range(15_000, 32_000)
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

#: locks that hold our ports until this process ends, whatever way it ends
_reserved: dict[int, IO[str]] = {}


def free_port(preferred: Iterable[int] = ()) -> int:
    """A loopback port that is free now and that no other user of this function gets while we run.

    Args:
        preferred: tried first, in order.
    """
    folder = Path(tempfile.gettempdir()) / f"koinon-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in (*preferred, *random.sample(_PORTS, 500)):
        if port not in _reserved and _reserve(folder, port):
            return port
    raise RuntimeError("no free port found on the loopback address")


def release_port(port: int) -> None:
    """Let others have ``port``."""
    if (lock := _reserved.pop(port, None)) is not None:
        lock.close()


def _reserve(folder: Path, port: int) -> bool:
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
    except OSError:
        lock.close()
        return False
    _reserved[port] = lock
    return True


def _die_with(parent: int) -> Callable[[], None]:
    def before_exec() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return before_exec


def start(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None, user: str | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, its output appended to ``log``.

    Args:
        command: program and arguments.
        log: file for standard output and error.
        environment: variables beside those of this process.
        user: who runs it; only root may say so.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
            user=user,
            group=user,
            start_new_session=True,  # Ctrl-C reaches us alone: we stop the children in order
            preexec_fn=_die_with(os.getpid()),
        )


def end(process: subprocess.Popen[bytes], *, patience_s: float = 60.0, by: signal.Signals = signal.SIGTERM) -> int:
    """Ask ``process`` to stop ``by`` a signal, wait, and kill it and its children if it does not.

    Returns its exit code (negative: the signal).
    """
    if process.poll() is None:
        process.send_signal(by)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience_s)
        kill_family(process)
    return process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End ``process`` as a power cut would: SIGKILL, nothing flushed, nothing said."""
    process.kill()
    process.wait()


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """``kill`` for ``process`` and all that descend from it; returns when none of them runs any more."""
    process.send_signal(signal.SIGSTOP)  # so that it starts no more
    members = family(process.pid)
    kill(process)
    for member in members[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    while any(runs(member) for member in members):
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether ``pid`` does anything yet: one that has ended stays to be seen until its parent asks for it."""
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def program(name: str) -> Path:
    """The program ``name`` of the environment that runs us (``koinon``, ``oneuser``...)."""
    return Path(sys.executable).with_name(name)


def family(pid: int) -> list[int]:
    """``pid`` and all processes that descend from it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def pss_bytes(pid: int) -> int:
    """Memory that ``pid`` has for itself, plus its share of what it shares with others."""
    return _memory(pid, "Pss:")


def rss_bytes(pid: int) -> int:
    """All memory that ``pid`` sees, however many share it."""
    return _memory(pid, "Rss:")


def _memory(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def cpu_s(pid: int) -> float:
    """Seconds of processor time that ``pid`` has used, all threads, user and system."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` behind the name: state, parent..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

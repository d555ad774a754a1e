"""``koinon server --workers N``: one process that starts N others, which serve one zone from one machine, and sees that they stay N.

Path:     server.py -> run() -> fork -> each worker is a server as any other; the kernel gives each its share of connections
Holds:    a worker that ends is started again, later each time if it does not live long; SIGTERM and SIGINT end all, and no worker outlives
          this process. When one of the first can't start, however long it takes to find out, none is tried again.
Not here: who does what in a zone of several processes (database/lease.py); that a worker may be killed (each keeps all in the database).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

import structlog

from koinon import clock
from koinon.errors import UnavailableError
from koinon.settings import Settings

log = structlog.get_logger(__name__)

_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
_PR_SET_PDEATHSIG: Final = 1
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
#: A worker that lived so long is started again at once.
_LONG_S: Final = 10.0
_REFUSED: Final = 1
_MOST_TOLD: Final = 65_536  #: bytes that a pipe holds


def require_possible(settings: Settings) -> None:
    """Refuse what can't work before anything starts. Raises UnavailableError."""
    if settings.database.engine == "sqlite":
        raise UnavailableError(
            "A zone on SQLite has one server process: --workers needs PostgreSQL or MariaDB ([database] url). Start it without --workers."
        )
    # Workers share their ports with each other, and so would two servers that were started by mistake.
    for section, address, port in (
        ("server", settings.server.listen, settings.server.port),
        ("federation", settings.federation.listen, settings.federation.port),
    ):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise UnavailableError(
                    f"Can't listen on {address} port {port}: {error.strerror}. Stop what listens there, or set another port in [{section}]."
                ) from error


class Workers:
    """The workers of one zone on one machine.

    Args:
        count: how many.
        work: what a worker does, given its number and what to call once it serves; returns its exit code.
    """

    def __init__(self, count: int, work: Callable[[int, Callable[[], None]], int]) -> None:
        self._count = count
        self._work = work
        self._running: dict[int, tuple[int, float]] = {}  # process id -> number, when it began
        self._due: dict[int, float] = dict.fromkeys(range(1, count + 1), 0.0)
        self._pause_s: dict[int, float] = {}
        self._stopping = False
        self._refused = False
        self._told, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # numbers of workers that serve
        self._served: set[int] = set()

    def run(self) -> int:
        """Keep them running until a signal; the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while not self._stopping or self._running:
            self._start_due()
            received = signal.sigtimedwait(_SIGNALS, self._wait_s())
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                log.info("stopping", signal=signal.Signals(received.si_signo).name, workers=len(self._running))
                self._stop()
            self._bury()
        return _REFUSED if self._refused else 0

    def _wait_s(self) -> float:
        now = clock.monotonic_s()
        return max(0.01, min([1.0, *(at - now for at in self._due.values())]))

    def _start_due(self) -> None:
        now = clock.monotonic_s()
        for number in [number for number, at in self._due.items() if at <= now]:
            del self._due[number]
            parent = os.getpid()
            child = os.fork()
            if child == 0:
                self._be_worker(number, parent)
            self._running[child] = (number, now)
            log.info("worker started", worker=number, pid=child)

    def _be_worker(self, number: int, parent: int) -> None:
        """In the new process: work, and never come back."""
        code = _REFUSED
        try:
            os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which says it to all once
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            if os.getppid() == parent:
                code = self._work(number, lambda: self._say_served(number))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else _REFUSED
        except Exception:
            log.exception("worker failed", worker=number)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _say_served(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._tell, f"{number} ".encode())

    def _hear_served(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._served |= set(map(int, os.read(self._told, _MOST_TOLD).split()))

    def _stop(self) -> None:
        self._stopping = True
        self._due.clear()
        for child in self._running:
            os.kill(child, signal.SIGTERM)

    def _bury(self) -> None:
        """Take note of all workers that have ended."""
        while self._running:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            number, began = self._running.pop(child, (0, 0.0))
            if number == 0 or self._stopping:
                continue
            code, lived_s = os.waitstatus_to_exitcode(status), clock.monotonic_s() - began
            self._hear_served()
            if code == _REFUSED and number not in self._served:  # it has said why
                self._refused = True
                self._stop()
                continue
            pause_s = _FIRST_PAUSE_S if lived_s > _LONG_S else min(_LONGEST_PAUSE_S, 2 * self._pause_s.get(number, _FIRST_PAUSE_S / 2))
            self._pause_s[number] = pause_s
            self._due[number] = clock.monotonic_s() + pause_s
            log.error("worker ended, will be started again", worker=number, pid=child, exit_code=code, lived_s=round(lived_s, 1))

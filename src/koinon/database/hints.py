"""Tell the other processes of this zone on this machine that something was committed, so that they look at once.

Path:     Database, after a group -> give() -> a datagram to each socket in the directory -> another process's watch, in wait()
Holds:    a hint says nothing but "look": what there is, the database alone says. One that is lost, or false, costs time and no more.
Why:      docs/decisions/0017-processes.md
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
from pathlib import Path
from typing import Final

import structlog

from koinon import clock

log = structlog.get_logger(__name__)

_LOOK_AROUND_EVERY_S: Final = 1.0


class Hints:
    """One process's end. One thread may give while another waits.

    Args:
        directory: where the processes that serve the zone from this machine put their sockets, made if it is missing; None for a
            process that neither gives nor takes hints. One that can't put its socket there goes without them too.
    """

    def __init__(self, directory: Path | None) -> None:
        self._name = secrets.token_hex(8)
        self._directory: int | None = None
        self._others: list[str] = []
        self._looked_around_at = -_LOOK_AROUND_EVERY_S
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._heard = select.poll()
        if directory is not None:
            try:
                self._bind(directory)
            except OSError as error:
                log.warning("no hints between processes, they see each other's writes later", directory=str(directory), error=str(error))

    def _bind(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.bind(_path(descriptor, self._name))
        except OSError:
            os.close(descriptor)
            raise
        self._directory = descriptor
        self._heard.register(self._socket, select.POLLIN)

    def give(self) -> None:
        """Have the others look. Never waits, never fails."""
        if self._directory is None:
            return
        now = clock.monotonic_s()
        if now - self._looked_around_at >= _LOOK_AROUND_EVERY_S:
            self._looked_around_at = now
            with contextlib.suppress(OSError):
                self._others = [name for name in os.listdir(self._directory) if name != self._name]
        for name in tuple(self._others):
            try:
                self._socket.sendto(b"", _path(self._directory, name))
            except ConnectionRefusedError:  # it was killed and could not take its socket away
                self._others.remove(name)
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)
            except FileNotFoundError:
                self._others.remove(name)
            except OSError:  # above all BlockingIOError: it has hints enough to read
                continue

    def wait(self, timeout_s: float) -> bool:
        """Wait for a hint.

        Returns:
            Whether one came within ``timeout_s`` seconds.
        """
        came = bool(self._heard.poll(timeout_s * 1000))
        with contextlib.suppress(OSError):  # all are read
            while came:
                self._socket.recv(1)
        return came

    def close(self) -> None:
        """Take the socket away."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
            os.close(self._directory)
            self._directory = None
        self._socket.close()


def _path(directory: int, name: str) -> str:
    """A socket's path that the kernel takes (107 bytes at most), however long that of its directory is."""
    return f"/proc/self/fd/{directory}/{name}"

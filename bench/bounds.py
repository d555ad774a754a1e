"""What this machine could do at best: an HTTP server that does nothing, a database that does nothing else.

Not here: our own server's figures (scenarios.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from harness import processes

_SIZE: Final = "BENCH_REPLY_BYTES"


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read a request whole and answer with as many bytes as the measured call does: the least an ASGI server does."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    size = int(os.environ[_SIZE])
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/xml"), (b"content-length", str(size).encode())],
        }
    )
    await send({"type": "http.response.body", "body": _body(size)})


_bodies: dict[int, bytes] = {}


def _body(size: int) -> bytes:
    if size not in _bodies:
        _bodies[size] = b"<boolean>1</boolean>".ljust(size, b".")[:size]
    return _bodies[size]


@contextlib.contextmanager
def echo_server(folder: Path, reply_bytes: int) -> Iterator[tuple[int, int]]:
    """A uvicorn process that runs ``echo``; gives its port and process id."""
    port = processes.free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.bounds:echo", "--host", "127.0.0.1", "--port", str(port)]
    server = processes.start(
        [*command, "--log-level", "warning", "--no-access-log", "--loop", "uvloop", "--http", "httptools", "--lifespan", "off"],
        log=folder / "echo.log",
        environment={_SIZE: str(reply_bytes)},
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.02)
        yield port, server.pid
    finally:
        processes.end(server)
        processes.release_port(port)


class Commits(msgspec.Struct):
    """Durable commits a second with ``group`` changes in each."""

    group: int
    commits_per_second: float
    changes_per_second: float


def sqlite_commits(folder: Path, group: int, seconds: float, *, body_bytes: int = 2000) -> Commits:
    """Commit in a loop with synchronous=FULL: each change updates one row and inserts one log entry of ``body_bytes``."""
    file = folder / f"bound-{group}.db"
    database = sqlite3.connect(file, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE pool (oid INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        database.execute("CREATE TABLE log (idx INTEGER PRIMARY KEY, statement TEXT NOT NULL)")
        database.executemany("INSERT INTO pool VALUES (?, '')", [(oid,) for oid in range(1000)])
        done = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            database.execute("BEGIN IMMEDIATE")
            for number in range(done, done + group):
                body = str(number).ljust(body_bytes, "x")
                database.execute("UPDATE pool SET body = ? WHERE oid = ?", (body, number % 1000))
                database.execute("INSERT INTO log VALUES (?, ?)", (number, body))
            database.execute("COMMIT")
            done += group
        took = time.perf_counter() - started
    finally:
        database.close()
    return Commits(group, done / group / took, done / took)

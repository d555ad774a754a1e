"""What this machine could do at best: servers that do nothing, a database, a stream and a hash that do nothing else.

Not here: our own server's figures (throughput.py, copying.py, growth.py).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import zstandard

from bench import calls
from bench.load import Exchange
from harness import engines, processes
from harness.proxy import Link

_RECORDS: Final = "BENCH_RECORDS"
#: length of a document in the bare database and stream; a user's with an SSH key is about as long
BODY_BYTES: Final = 2000
#: records in a frame of the bare stream and in a commit of who reads it: as many as a slave applies at once
_FRAME: Final = 1000
_ROWS: Final = 1000


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application: a GET gets the stream, anything else an empty answer."""
    if scope["method"] == "GET":
        await _stream(send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _stream(send: Any) -> None:
    """Send records as frames of compressed msgpack, each made when the last was taken: the least a master does."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    pack, press = msgspec.msgpack.Encoder().encode, zstandard.ZstdCompressor(3).compress
    for frame in _frames(int(os.environ[_RECORDS])):
        data = press(pack(frame))
        await send({"type": "http.response.body", "body": len(data).to_bytes(4, "big") + data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _frames(records: int) -> Iterator[list[tuple[int, str]]]:
    bodies = [incompressible(BODY_BYTES, seed=number) for number in range(100)]  # as the updates of as many users
    for first in range(0, records, _FRAME):
        numbers = range(first, min(first + _FRAME, records))
        yield [(number, str(number) + bodies[number % len(bodies)]) for number in numbers]


def incompressible(size: int, *, seed: int) -> str:
    """Letters and digits without pattern, the same for the same seed."""
    return base64.b64encode(random.Random(seed).randbytes(size)).decode()[:size]


class Bare(msgspec.Struct):
    """A running bare server.

    Attributes:
        port: where it listens.
        pid: its process.
        start_s: from exec to its first answer.
    """

    port: int
    pid: int
    start_s: float


@contextlib.contextmanager
def bare_server(folder: Path, *, records: int = 0) -> Iterator[Bare]:
    """A uvicorn process that runs ``bare``; its stream has so many records."""
    options = ["--log-level", "warning", "--no-access-log", "--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
    with _server(folder, ["uvicorn", "bench.bounds:bare", *options, "--port"], environment={_RECORDS: str(records)}) as bare:
        yield bare


@contextlib.contextmanager
def echo_server(folder: Path, reply_bytes: int) -> Iterator[Bare]:
    """A process that runs ``bench.echo``."""
    with _server(folder, ["bench.echo"], str(reply_bytes)) as bare:
        yield bare


@contextlib.contextmanager
def _server(folder: Path, before_port: Sequence[str], *after_port: str, environment: Mapping[str, str] | None = None) -> Iterator[Bare]:
    port = processes.free_port()
    command = [sys.executable, "-m", *before_port, str(port), *after_port]
    began = time.perf_counter()
    server = processes.start(command, log=folder / "bare.log", environment=environment)
    try:
        yield Bare(port, server.pid, first_answer(port, calls.post(b""), server) - began)
    finally:
        processes.end(server)
        processes.release_port(port)


def first_answer(port: int, request: bytes, server: subprocess.Popen[bytes], *, patience_s: float = 120.0) -> float:
    """Ask ``server`` again and again; the time of its first reply.

    Raises:
        TimeoutError: none came.
        ChildProcessError: the process ended instead.
    """
    deadline = time.perf_counter() + patience_s
    while True:
        with contextlib.suppress(OSError):
            exchange = Exchange(port)
            try:
                exchange.ask(request)
                return time.perf_counter()
            finally:
                exchange.close()
        if server.poll() is not None:
            raise ChildProcessError(f"{server.args!r} ended by itself with code {server.returncode}")
        if time.perf_counter() > deadline:
            raise TimeoutError(f"nobody answered on port {port} within {patience_s:g} s")
        time.sleep(0.005)


class Commits(msgspec.Struct):
    """Durable commits a second with ``group`` changes in each."""

    group: int
    commits_per_second: float
    changes_per_second: float


def commits(folder: Path, engine: str, group: int, seconds: float) -> Commits:
    """Commit in a loop: each change updates one row and inserts one log entry of ``BODY_BYTES``."""
    with _database(folder / f"bound-{group}.db", engine) as database:
        done = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            database.commit([(number, str(number).ljust(BODY_BYTES, "x")) for number in range(done, done + group)])
            done += group
        took = time.perf_counter() - started
    return Commits(group, done / group / took, done / took)


class _Database(ABC):
    """The bare database of an engine, through the driver that the zones use, as the driver's own documentation has it used."""

    def __init__(self, file: Path) -> None:
        self.connection = self.open(file)
        self.ask("CREATE TABLE pool (oid INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        self.ask("CREATE TABLE log (idx INTEGER PRIMARY KEY, statement TEXT NOT NULL)")
        self.run("INSERT INTO pool VALUES (?, '')", [(oid,) for oid in range(_ROWS)])

    def commit(self, changes: Sequence[tuple[int, str]]) -> None:
        """One transaction, durable when this returns."""
        self.ask("BEGIN")
        self.run("UPDATE pool SET body = ? WHERE oid = ?", [(body, number % _ROWS) for number, body in changes])
        self.run("INSERT INTO log VALUES (?, ?)", changes)
        self.ask("COMMIT")

    def ask(self, sql: str) -> None:
        """Run one statement."""
        self.connection.cursor().execute(sql)

    def run(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run one statement for each row."""
        self.connection.cursor().executemany(sql.replace("?", "%s"), rows)

    @abstractmethod
    def open(self, file: Path) -> Any:
        """A session of the driver, each statement a transaction of its own unless BEGIN says otherwise."""

    def close(self) -> None:
        """Forget the tables."""
        self.ask("DROP TABLE pool")
        self.ask("DROP TABLE log")
        self.connection.close()


class _SQLite(_Database):
    def open(self, file: Path) -> Any:
        self._file = file
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def run(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self.connection.executemany(sql, rows)

    def close(self) -> None:
        self.connection.close()
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)


class _PostgreSQL(_Database):
    def open(self, file: Path) -> Any:
        import psycopg

        return psycopg.connect(engines.url(file, "postgresql"), autocommit=True)


class _MariaDB(_Database):
    def open(self, file: Path) -> Any:
        import pymysql

        server = engines.server("mariadb")
        name = engines.database_name(file)
        server.database(name)
        return pymysql.connect(unix_socket=f"{server.folder}/socket", user="root", database=name, autocommit=True)


_ENGINES: Final[dict[str, type[_Database]]] = {"sqlite": _SQLite, "postgresql": _PostgreSQL, "mariadb": _MariaDB}


@contextlib.contextmanager
def _database(file: Path, engine: str) -> Iterator[_Database]:
    database = _ENGINES[engine](file)
    try:
        yield database
    finally:
        database.close()


def streamed(folder: Path, engine: str, records: int, delay_s: float = 0.0) -> float:
    """Records a second from a bare server over an aiohttp client into a database, durable: the least a slave does.

    Args:
        folder: for the database.
        engine: of that database.
        records: how many to send.
        delay_s: how long each byte is under way, one way.
    """
    with bare_server(folder, records=records) as server, _database(folder / "stream.db", engine) as database:
        link = Link(server.port, delay_s=delay_s) if delay_s else None
        try:
            return records / asyncio.run(_follow(link.port if link else server.port, database, records))
        finally:
            if link:
                link.close()


async def _follow(port: int, database: _Database, records: int) -> float:
    unpack, expand = msgspec.msgpack.Decoder(list[tuple[int, str]]).decode, zstandard.ZstdDecompressor().decompress
    waiting = bytearray()
    stored = 0
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as reply:
        async for chunk in reply.content.iter_any():
            waiting += chunk
            while len(waiting) >= 4 and len(waiting) >= (end := 4 + int.from_bytes(waiting[:4], "big")):
                frame = unpack(expand(bytes(waiting[4:end])))
                del waiting[:end]
                database.commit(frame)
                stored += len(frame)
    if stored < records:
        raise ConnectionError(f"the bare stream ended after {stored} of {records} records")
    return time.perf_counter() - started


def scrypt_hashes(seconds: float, threads: int) -> float:
    """Hashes a second with the parameters that passwords have (N = 2^14, r = 8, p = 1), in so many threads."""

    def hash_for_a_while(_: int) -> int:
        done = 0
        while time.perf_counter() < deadline:
            hashlib.scrypt(b"no-log-in", salt=b"0123456789abcdef", n=2**14, r=8, p=1, maxmem=2**26)
            done += 1
        return done

    started = time.perf_counter()
    deadline = started + seconds
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(hash_for_a_while, range(threads)))
    return done / (time.perf_counter() - started)

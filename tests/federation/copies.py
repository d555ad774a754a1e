"""A master and its copies in one process: real databases, real frames, snapshots and answers; only the network between them is a queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Message

from harness import engines
from koinon.database.database import Database
from koinon.database.transactions import ApplyTx, ReadTx, SharedTx
from koinon.federation.applier import Applier, Master
from koinon.federation.link import Answer, Interrupted, Link, Unreachable
from koinon.federation.positions import Positions
from koinon.federation.replies import Reply
from koinon.federation.retention import Retention
from koinon.federation.rollback import RollbackGuard
from koinon.federation.snapshot import Snapshots
from koinon.federation.stream import Feed
from koinon.federation.trust import key_text
from koinon.statements.schema import DIGESTED, POOL_TABLES, PoolRow

FEDERATION = "f" * 32
HEARTBEAT_S = 0.05


def user(oid: int, name: str = "", body: str = "<USER/>") -> PoolRow:
    return PoolRow(oid, name or f"user{oid}", body, oid, 1, 1, 0, 0)


def add_user(name: str = "", body: str = "<USER/>") -> Callable[[SharedTx], int]:
    def job(tx: SharedTx) -> int:
        oid = tx.next_id("user_pool")
        tx.insert("user_pool", user(oid, name, body))
        return oid

    return job


def tables(tx: ReadTx) -> dict[str, Any]:
    """All that is shared, as plain values."""
    found: dict[str, Any] = {table: tx.fetch(f"SELECT * FROM {table} ORDER BY oid") for table in (*POOL_TABLES, "acl")}
    found["pool_control"] = tx.fetch("SELECT tablename, last_oid FROM pool_control ORDER BY tablename")
    found["digests"] = {table: tx.digests()[table] for table in DIGESTED}
    return found


def seen(database: Database) -> dict[str, Any]:
    with database.read() as tx:
        return tables(tx)


class Origin:
    """A master zone's log, stream and snapshots."""

    def __init__(self, state_dir: Path, *, keep: int = 1_000_000) -> None:
        self.state_dir = state_dir
        self.database = Database.open(engines.url(state_dir / "koinon.db"))
        self.database.start()
        self.private_key = Ed25519PrivateKey.generate()
        self.serve(keep=keep)

    def serve(self, *, keep: int = 1_000_000) -> None:
        self.guard = RollbackGuard(self.database, lambda: self.private_key)
        self.feed = Feed(self.database, lambda: self.private_key, self.guard, heartbeat_s=HEARTBEAT_S)
        self.positions = Positions(self.database, lambda _tx: [1, 2, 3])
        self.snapshots = Snapshots(self.database, self.state_dir / "snapshots", lambda: self.private_key)
        self.retention = Retention(self.database, keep=keep, cap=2 * keep, low_water=self.positions.low_water, pin=self.snapshots.pin)

    async def found(self, epoch: int = 1) -> None:
        """Begin a federation, with the master's own record."""

        def job(tx: ApplyTx) -> None:
            tx.claim(tx.state.head)
            tx.set_membership(zone_id=0, role="master", federation_id=FEDERATION, epoch=epoch)

        await self.database.apply("found", job)
        key = key_text(self.private_key.public_key().public_bytes_raw())
        body = f"<ZONE><TEMPLATE><PUBLIC_KEY>{key}</PUBLIC_KEY><TRUST>ENROLLED</TRUST></TEMPLATE></ZONE>"
        await self.write(lambda tx: tx.insert("zone_pool", PoolRow(0, "master", body, 0, 0, 1, 0, 0)))

    async def found_again(self, epoch: int) -> None:
        """Go on in another reign."""
        await self.database.write_zone(
            "reign", lambda tx: tx.set_membership(zone_id=0, role="master", federation_id=FEDERATION, epoch=epoch)
        )

    async def write(self, job: Callable[[SharedTx], Any]) -> Any:
        return (await self.database.write_shared("test", job)).value

    async def add_users(self, count: int) -> None:
        await asyncio.gather(*(self.write(add_user(f"u{self.database.state().position}-{number}")) for number in range(count)))

    async def close(self) -> None:
        await self.feed.close()
        await self.database.close()


class _Content:
    """A response's body that comes in pieces."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def iter_any(self) -> AsyncIterator[bytes]:
        return self._pieces

    def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        return self._pieces

    async def read(self, _size: int = -1) -> bytes:
        return b"".join([piece async for piece in self._pieces])


class _Response:
    def __init__(self, status: int, pieces: AsyncIterator[bytes]) -> None:
        self.status = status
        self.content = _Content(pieces)


class LocalLink:
    """Stands in for a link to an Origin. ``cut`` decides how a body comes: whole, in pieces, broken off, changed."""

    def __init__(self, origin: Origin, zone_id: int) -> None:
        self.origin = origin
        self.asker = zone_id
        self.zone_id = 0
        self.up = True
        self.asked: list[str] = []
        self.cut: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]] = lambda pieces: pieces

    async def request(self, _method: str, path: str, body: bytes = b"", **_limits: Any) -> Answer:
        self._dial(path)
        answers: dict[str, Callable[[int, bytes], Awaitable[Reply]]] = {
            "position": self.origin.positions.answer,
            "locate": self.origin.guard.locate,
            "snapshot": self.origin.snapshots.offer,
        }
        reply = await answers[path.rpartition("/")[2]](self.asker, body)
        return Answer(reply.status, reply.body, {})

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **_limits: Any) -> AsyncIterator[_Response]:
        self._dial(path)
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith("/log"):
            opened = self.origin.feed.open(self.asker, query)
            if isinstance(opened, Reply):
                yield _Response(opened.status, _once(opened.body))
                return
            async with pump(opened) as pieces:
                yield _Response(200, self.cut(pieces))
        else:
            response = self.origin.snapshots.download(self.asker, parts.path.rpartition("/")[2], int(query["offset"]))
            async with pump(response) as pieces:
                yield _Response(response.status_code, self.cut(pieces))

    def _dial(self, path: str) -> None:
        self.asked.append(path)
        if not self.up:
            raise Unreachable("the cable is cut")

    def master(self) -> Master:
        return Master(cast(Link, self), self.origin.private_key.public_key(), FEDERATION, 1)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


@contextlib.asynccontextmanager
async def pump(application: Any) -> AsyncIterator[AsyncIterator[bytes]]:
    """Run an ASGI response; what it sends waits until it is read, one message at a time."""
    queue: asyncio.Queue[Message | None] = asyncio.Queue(1)
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        await application({"type": "http", "method": "GET"}, receive, queue.put)
        await queue.put(None)

    async def pieces() -> AsyncIterator[bytes]:
        while (message := await queue.get()) is not None:
            if message["type"] == "http.response.body":
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body"):
                    return

    task = asyncio.create_task(run())
    try:
        yield pieces()
    finally:
        gone.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def cut_after(size: int) -> Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]:
    """Break the body off after some bytes."""

    async def cut(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = size
        async for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                raise Interrupted("the connection broke")

    return cut


class Copy:
    """A slave zone with its applier."""

    def __init__(self, state_dir: Path, origin: Origin, zone_id: int = 1, *, batch_statements: int = 1000) -> None:
        self.state_dir = state_dir
        self.zone_id = zone_id
        self.link = LocalLink(origin, zone_id)
        self.batch_statements = batch_statements
        self.following: asyncio.Task[None] | None = None
        self.open()

    def open(self) -> None:
        self.database = Database.open(engines.url(self.state_dir / "koinon.db"))
        self.database.start()
        self.applier = Applier(
            self.database,
            self.link.master,
            state_dir=self.state_dir,
            heartbeat_s=HEARTBEAT_S,
            batch_statements=self.batch_statements,
        )

    async def enrol(self) -> None:
        def job(tx: ApplyTx) -> None:
            tx.claim(tx.state.head)
            tx.set_membership(zone_id=self.zone_id, role="slave", federation_id=FEDERATION, epoch=1)

        await self.database.apply("enrol", job)

    def follow(self) -> None:
        self.following = asyncio.create_task(self.applier.follow())

    async def stop(self) -> None:
        if self.following is not None:
            self.following.cancel()
            await asyncio.gather(self.following, return_exceptions=True)
            self.following = None

    async def close(self) -> None:
        await self.stop()
        await self.database.close()


@contextlib.asynccontextmanager
async def federation(tmp_path: Path, *, keep: int = 1_000_000) -> AsyncIterator[tuple[Origin, Copy]]:
    """A master with its own record, and an enrolled slave that holds nothing yet and does not follow yet."""
    for name in ("master", "slave"):
        (tmp_path / name).mkdir()
    origin = Origin(tmp_path / "master", keep=keep)
    copy = Copy(tmp_path / "slave", origin)
    beating = asyncio.create_task(origin.feed.keep_beating())
    try:
        await origin.found()
        await copy.enrol()
        yield origin, copy
    finally:
        beating.cancel()
        await copy.close()
        await origin.close()


async def until(true: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Wait until something holds; fail if it does not come to that."""
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def equal(origin: Origin, copy: Copy) -> None:
    """Wait until the copy holds the master's head; then everything must be the same."""
    await until(lambda: copy.database.state().head == origin.database.state().head)
    assert seen(copy.database) == seen(origin.database)

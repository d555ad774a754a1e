"""The master's side of snapshots: one dump of the shared tables, for all zones that need one at about the same time.

Path:     POST /federation/v1/snapshot -> offer() -> file in snapshots/; GET /federation/v1/snapshot/ID?offset=N -> download()
Holds:    a dump shows one committed state; while it is in use the log after it is kept (pin()); it is gone some minutes after its last use.
          One zone has one dump at a time, is sent one file at a time, and has the master dump for a bounded part of the time.
Not here: what a slave does with it (snapshot_loading.py); the file's form (snapshot_file.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from koinon import clock
from koinon.database.blocks import Hashing
from koinon.database.database import Database
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import CloudError
from koinon.federation import reign
from koinon.federation.replies import Reply, refuse, say
from koinon.federation.seldom import Seldom
from koinon.federation.snapshot_file import Counter, Header, Item, Reign, Row, write_items
from koinon.statements.schema import SHARED_TABLES
from koinon.wire.messages import JSON, Manifest, SignedManifest, SnapshotRequest, decode, encode

log = structlog.get_logger(__name__)

#: What a manifest's signature is over begins with this, so that it can't be taken for a signature over anything else.
SIGNING_CONTEXT: Final = b"koinon snapshot 1\0"

SHARED_FOR_S: Final = 60.0
KEPT_UNUSED_S: Final = 600.0
#: A zone may have the master dump for so many seconds at once, and for this part of the time in the long run. A zone whose copy is sound
#: needs one dump, or a few when its operator tries a join; one that was stolen may ask for the newest state again and again.
DUMP_BURST_S: Final = 10.0
DUMP_PART: Final = 0.1
#: A dump counts as so long at least: each costs a transaction and a file.
DUMP_LEAST_S: Final = 1.0
SWEEP_EVERY_S: Final = 30.0
TELL_EVERY_S: Final = 5.0
#: Another process's word counts for so long: it may be dead.
_TOLD_FOR_MS: Final = int(3 * TELL_EVERY_S * 1000)
#: A request is tried again within seconds, over a promotion within hours.
OUTCOMES_KEPT_MS: Final = 24 * 3600 * 1000
MAX_OUTCOMES: Final = 50_000
_CHUNK: Final = 2**18
_SUFFIX: Final = ".snap"
_HEADER_COLUMNS: Final = (
    "commit_id, first_idx, last_idx, epoch, origin_zone, request_id, request_hash, outcome, digests, chain, committed_at"
)
_ID: Final = re.compile(r"[0-9]+\.[0-9]+-[0-9a-f]{16}")


class _Dump:
    """One file that can be loaded."""

    def __init__(self, path: Path, manifest: Manifest, signed: SignedManifest) -> None:
        self.path = path
        self.manifest = manifest
        self.signed = signed
        self.zones: set[int] = set()  # that were last offered this one
        self.made_at = self.used_at = clock.monotonic_s()
        self.touched_at = path.stat().st_mtime

    def used_elsewhere(self) -> bool:
        """Whether another process on this machine has sent of the file lately."""
        with contextlib.suppress(FileNotFoundError):
            return self.path.stat().st_mtime > max(self.touched_at, time.time() - KEPT_UNUSED_S)
        return False

    def touch(self) -> None:
        """Let the other processes on this machine know that it is in use."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path)
            self.touched_at = self.path.stat().st_mtime

    @property
    def index(self) -> int:
        return self.manifest.head.position.index


class _Sending(StreamingResponse):
    """A file on its way to a zone. The newest is sent on: an older one of the same zone has broken off, or is one too many."""

    def __init__(self, content: AsyncIterator[bytes], size: int, zone_id: int, under_way: dict[int, asyncio.Task[Any]]) -> None:
        super().__init__(content, media_type="application/octet-stream", headers={"Content-Length": str(size)})
        self._zone_id = zone_id
        self._under_way = under_way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        before, task = self._under_way.get(self._zone_id), asyncio.current_task()
        if before is not None:
            before.cancel()
        if task is not None:
            self._under_way[self._zone_id] = task
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._under_way.get(self._zone_id) is task:
                del self._under_way[self._zone_id]


class Snapshots:
    """All snapshots that this zone offers.

    Args:
        database: whose shared tables.
        directory: where the files go, for all processes on this machine; what lies there from an earlier run is removed.
        key: the zone's private key; asked for at each dump, because a zone gets it only when it joins or founds a federation.
    """

    def __init__(self, database: Database, directory: Path, key: Callable[[], Ed25519PrivateKey]) -> None:
        self._database = database
        self._directory = directory
        self._key = key
        self._dumps: dict[str, _Dump] = {}
        self._making = asyncio.Lock()
        self._dumping_at: int | None = None
        self._told: set[str] = set()  # what others know of from us
        self._sending: dict[int, asyncio.Task[Any]] = {}  # by zone
        self._dumped_for: dict[int, tuple[float, float]] = {}  # by zone: seconds of dumping that still count, and when that was so
        self._refusals = Seldom()
        self._shared = not database.lease.alone
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_files(before=time.time() - KEPT_UNUSED_S if self._shared else math.inf)

    async def offer(self, zone_id: int, body: bytes) -> Reply:
        """Answer a zone that needs a snapshot with a signed manifest; dump one if none is fresh enough.

        Returns:
            The manifest; 409 if the zone asks for what is not here yet, 429 if it has had too much made.

        Raises:
            MessageError: the body is no request.
            UnavailableError: the database does not answer.
        """
        wanted = decode(SnapshotRequest, body)
        with self._database.read() as tx:
            position = tx.state.position
        if wanted.at_least > position:
            return refuse("ahead", f"you want index {wanted.at_least} or later, the master's log ends at {position}")
        async with self._making:
            dump = self._find(wanted)
            if dump is None:
                wait_s = self._wait_s(zone_id)
                if wait_s > 0:
                    return self._not_yet(zone_id, wait_s)
                began_s = clock.monotonic_s()
                try:
                    dump = await self._make()
                finally:
                    self._count(zone_id, clock.monotonic_s() - began_s)
            self._hand_to(zone_id, dump)
        log.info("snapshot offered", zone=zone_id, snapshot=dump.manifest.snapshot_id, size=dump.manifest.size)
        return say(dump.signed)

    def download(self, zone_id: int, snapshot_id: str, offset: int) -> Response:
        """The file from a byte on, whichever process on this machine made it; 404 when it is not here any more, 416 past its end. What the
        zone was being sent before ends.
        """
        path = self._directory / f"{snapshot_id}{_SUFFIX}"
        dump = self._dumps.get(snapshot_id)
        try:
            size = path.stat().st_size
            if dump is None:
                os.utime(path)
        except FileNotFoundError:
            return Response(b'{"error": "this snapshot is gone; ask for another"}', 404, media_type="application/json")
        if not 0 <= offset <= size:
            return Response(b'{"error": "the snapshot has fewer bytes"}', 416, media_type="application/json")
        if dump is not None:
            dump.used_at = clock.monotonic_s()
        return _Sending(self._bytes(path, dump, offset), size - offset, zone_id, self._sending)

    def pin(self, tx: ReadTx) -> int | None:
        """The oldest index that a snapshot in use or in the making belongs to: the log after it must stay. None if there is none."""
        held = [dump.index for dump in self._dumps.values()]
        if self._dumping_at is not None:
            held.append(self._dumping_at)
        offered = tx.fetch("SELECT snapshot_id, position FROM snapshot_offer WHERE told_at > ?", (clock.now_ms() - _TOLD_FOR_MS,))
        held += [position for snapshot_id, position in offered if snapshot_id not in self._told]
        return min(held, default=None)

    async def keep_swept(self) -> None:
        """Remove snapshots that nobody uses any more, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.sweep(clock.monotonic_s() - KEPT_UNUSED_S)
            for dump in self._dumps.values():
                dump.touch()
            self._remove_files(before=time.time() - KEPT_UNUSED_S)

    async def keep_told(self) -> None:
        """Tell the process that purges the log what is offered here, until cancelled."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            try:
                await self._tell_others()
            except CloudError as error:
                log.warning("snapshots not put down for other processes, will retry", error=error.text)

    def sweep(self, before: float) -> None:
        """Remove snapshots that were last used before a moment of the monotonic clock."""
        for snapshot_id, dump in list(self._dumps.items()):
            if dump.used_at < before and not dump.used_elsewhere():
                self._drop(snapshot_id)

    async def _tell_others(self, *, dumping: bool = False) -> None:
        """Put down what this process offers, so that the one that purges the log keeps what comes after."""
        if not self._shared or not (self._dumps or dumping):
            return
        now_ms = clock.now_ms()
        rows = [(snapshot_id, dump.index, now_ms) for snapshot_id, dump in self._dumps.items()]
        if dumping:
            rows.append((secrets.token_hex(16), self._database.state().position, now_ms))

        def write(tx: ZoneTx) -> None:
            tx.execute("DELETE FROM snapshot_offer WHERE told_at < ?", (now_ms - _TOLD_FOR_MS,))
            tx.later("DELETE FROM snapshot_offer WHERE snapshot_id = ?", *[row[:1] for row in rows])
            tx.later("INSERT INTO snapshot_offer (snapshot_id, position, told_at) VALUES (?, ?, ?)", *rows)

        self._told |= {row[0] for row in rows}
        await self._database.write_zone("snapshots", write)

    async def close(self) -> None:
        """Let the log after what this process offers go. Raises UnavailableError."""
        told, self._told = [(snapshot_id,) for snapshot_id in self._told], set()
        if told:
            await self._database.write_zone("snapshots", lambda tx: tx.later("DELETE FROM snapshot_offer WHERE snapshot_id = ?", *told))

    def _remove_files(self, *, before: float) -> None:
        for left in self._directory.glob(f"*{_SUFFIX}*"):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                if left.stat().st_mtime < before:
                    left.unlink()

    def _drop(self, snapshot_id: str) -> None:
        self._dumps.pop(snapshot_id).path.unlink(missing_ok=True)

    def _hand_to(self, zone_id: int, dump: _Dump) -> None:
        """From now on the zone has this dump; one that no zone has any more goes."""
        dump.used_at = clock.monotonic_s()
        dump.zones.add(zone_id)
        for snapshot_id, other in list(self._dumps.items()):
            if other is not dump:
                other.zones.discard(zone_id)
                if not other.zones:
                    self._drop(snapshot_id)

    def _wait_s(self, zone_id: int) -> float:
        """Seconds until the zone may have another dump made; not above 0 if it may now."""
        dumped_s, at_s = self._dumped_for.get(zone_id, (0.0, 0.0))
        return (dumped_s - DUMP_BURST_S) / DUMP_PART - (clock.monotonic_s() - at_s)

    def _count(self, zone_id: int, took_s: float) -> None:
        now_s = clock.monotonic_s()
        dumped_s, at_s = self._dumped_for.get(zone_id, (0.0, now_s))
        self._dumped_for[zone_id] = (max(0.0, dumped_s - (now_s - at_s) * DUMP_PART) + max(took_s, DUMP_LEAST_S), now_s)

    def _not_yet(self, zone_id: int, wait_s: float) -> Reply:
        wait = math.ceil(wait_s)
        if times := self._refusals.due(zone_id):
            log.warning("a zone asks for new snapshots too often, none is made", zone=zone_id, wait_s=wait, times=times)
        error = f"zone {zone_id} has had many snapshots made in a short time; the next one is made for it in {wait} s"
        return Reply(429, msgspec.json.encode({"error": error}), JSON)

    def _find(self, wanted: SnapshotRequest) -> _Dump | None:
        known = self._dumps.get(wanted.have)
        if known is not None and known.index >= wanted.at_least:
            return known
        fresh = clock.monotonic_s() - SHARED_FOR_S
        usable = [dump for dump in self._dumps.values() if dump.made_at >= fresh and dump.index >= wanted.at_least]
        return max(usable, key=lambda dump: dump.index, default=None)

    async def _make(self) -> _Dump:
        snapshot_key = self._key()
        part = self._directory / f"{secrets.token_hex(8)}{_SUFFIX}.part"
        try:
            self._dumping_at = self._database.state().position
            await self._tell_others(dumping=True)
            manifest = await self._database.read_in_thread(lambda tx: _dump(tx, part))
            payload = encode(manifest)
            path = self._directory / f"{manifest.snapshot_id}{_SUFFIX}"
            part.rename(path)
            dump = _Dump(path, manifest, SignedManifest(payload, snapshot_key.sign(SIGNING_CONTEXT + payload)))
            self._dumps[manifest.snapshot_id] = dump
        finally:
            self._dumping_at = None
            part.unlink(missing_ok=True)
        await self._tell_others()
        log.info("snapshot made", snapshot=manifest.snapshot_id, rows=manifest.rows, size=manifest.size)
        return dump

    async def _bytes(self, path: Path, dump: _Dump | None, offset: int) -> AsyncIterator[bytes]:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(offset)
            while part := await asyncio.to_thread(file.read, _CHUNK):
                if dump is not None:
                    dump.used_at = clock.monotonic_s()
                else:
                    os.utime(path)
                yield part


def is_snapshot_id(text: str) -> bool:
    """Whether a text has the form of a snapshot's name, and so can be part of a file's name."""
    return _ID.fullmatch(text) is not None


def _dump(tx: ReadTx, path: Path) -> Manifest:
    """Write everything shared that ``tx`` sees to a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        hashing = Hashing(file)
        rows = write_items(hashing, _items(tx))
    state = tx.state
    return Manifest(
        snapshot_id=f"{state.head.position}-{secrets.token_hex(8)}",
        federation_id=state.federation_id,
        zone_id=state.zone_id,
        head=state.head,
        digests=tx.digests(),
        size=hashing.size,
        blake2b=hashing.hash.digest(),
        rows=rows,
    )


def _items(tx: ReadTx) -> Iterator[Item]:
    for table, shape in SHARED_TABLES.items():
        for row in tx.stream(f"SELECT {', '.join(shape.names)} FROM {table} ORDER BY oid"):  # noqa: S608 - our own names
            yield Row(table, tuple(row))
    marks = ", ".join("?" * len(SHARED_TABLES))
    for table, last_oid in tx.fetch(
        f"SELECT tablename, last_oid FROM pool_control WHERE tablename IN ({marks}) ORDER BY tablename",  # noqa: S608 - marks only
        tuple(SHARED_TABLES),
    ):
        yield Counter(table, last_oid)
    for record in reign.load_all(tx):
        yield Reign(record.encode())
    # The newest commit comes along in any case: who feeds others later must know its chain.
    yield from reversed(
        [
            Header(*row)
            for row in tx.stream(
                f"SELECT {_HEADER_COLUMNS} FROM federation_commit "  # noqa: S608 - our own names
                "WHERE (request_id IS NOT NULL AND committed_at > ?) OR last_idx = ? ORDER BY last_idx DESC LIMIT ?",
                (clock.now_ms() - OUTCOMES_KEPT_MS, tx.state.position, MAX_OUTCOMES),
            )
        ]
    )

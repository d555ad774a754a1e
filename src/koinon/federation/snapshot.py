"""The master's side of snapshots: one dump of the shared tables, for all zones that need one at about the same time.

Path:     POST /federation/v1/snapshot -> offer() -> file in snapshots/; GET /federation/v1/snapshot/ID?offset=N -> download()
Holds:    a dump shows one committed state; while it is in use the log after it is kept (pin()); it is gone some minutes after its last use.
Not here: what a slave does with it (snapshot_loading.py); the file's form (snapshot_file.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.responses import Response, StreamingResponse

from koinon import clock
from koinon.database.blocks import Hashing
from koinon.database.database import Database
from koinon.database.transactions import ReadTx
from koinon.federation import reign
from koinon.federation.replies import Reply, say
from koinon.federation.snapshot_file import Counter, Header, Item, Reign, Row, write_items
from koinon.statements.schema import SHARED_TABLES
from koinon.wire.messages import Manifest, SignedManifest, SnapshotRequest, decode, encode

log = structlog.get_logger(__name__)

#: What a manifest's signature is over begins with this, so that it can't be taken for a signature over anything else.
SIGNING_CONTEXT: Final = b"koinon snapshot 1\0"

SHARED_FOR_S: Final = 60.0
KEPT_UNUSED_S: Final = 600.0
SWEEP_EVERY_S: Final = 30.0
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
        self.made_at = self.used_at = clock.monotonic_s()

    @property
    def index(self) -> int:
        return self.manifest.head.position.index


class Snapshots:
    """All snapshots that this zone offers.

    Args:
        database: whose shared tables.
        directory: where the files go; what lies there from an earlier run is removed.
        key: the zone's private key; asked for at each dump, because a zone gets it only when it joins or founds a federation.
    """

    def __init__(self, database: Database, directory: Path, key: Callable[[], Ed25519PrivateKey]) -> None:
        self._database = database
        self._directory = directory
        self._key = key
        self._dumps: dict[str, _Dump] = {}
        self._making = asyncio.Lock()
        self._dumping_at: int | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in directory.glob(f"*{_SUFFIX}*"):
            left.unlink(missing_ok=True)

    async def offer(self, zone_id: int, body: bytes) -> Reply:
        """Answer a zone that needs a snapshot with a signed manifest; dump one if none is fresh enough.

        Raises:
            MessageError: the body is no request.
        """
        wanted = decode(SnapshotRequest, body)
        async with self._making:
            dump = self._find(wanted) or await self._make()
        dump.used_at = clock.monotonic_s()
        log.info("snapshot offered", zone=zone_id, snapshot=dump.manifest.snapshot_id, size=dump.manifest.size)
        return say(dump.signed)

    def download(self, snapshot_id: str, offset: int) -> Response:
        """The file from a byte on; 404 when it is not here any more, 416 past its end."""
        dump = self._dumps.get(snapshot_id)
        if dump is None:
            return Response(b'{"error": "this snapshot is gone; ask for another"}', 404, media_type="application/json")
        if not 0 <= offset <= dump.manifest.size:
            return Response(b'{"error": "the snapshot has fewer bytes"}', 416, media_type="application/json")
        dump.used_at = clock.monotonic_s()
        headers = {"Content-Length": str(dump.manifest.size - offset)}
        return StreamingResponse(self._bytes(dump, offset), media_type="application/octet-stream", headers=headers)

    def pin(self) -> int | None:
        """The oldest index that a snapshot in use or in the making belongs to: the log after it must stay. None if there is none."""
        held = [dump.index for dump in self._dumps.values()]
        if self._dumping_at is not None:
            held.append(self._dumping_at)
        return min(held, default=None)

    async def keep_swept(self) -> None:
        """Remove snapshots that nobody uses any more, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.sweep(clock.monotonic_s() - KEPT_UNUSED_S)

    def sweep(self, before: float) -> None:
        """Remove snapshots that were last used before a moment of the monotonic clock."""
        for snapshot_id, dump in list(self._dumps.items()):
            if dump.used_at < before:
                del self._dumps[snapshot_id]
                dump.path.unlink(missing_ok=True)

    def _find(self, wanted: SnapshotRequest) -> _Dump | None:
        known = self._dumps.get(wanted.have)
        if known is not None and known.index >= wanted.at_least:
            return known
        fresh = clock.monotonic_s() - SHARED_FOR_S
        usable = [dump for dump in self._dumps.values() if dump.made_at >= fresh and dump.index >= wanted.at_least]
        return max(usable, key=lambda dump: dump.index, default=None)

    async def _make(self) -> _Dump:
        snapshot_key = self._key()
        self._dumping_at = self._database.state().position
        part = self._directory / f"{secrets.token_hex(8)}{_SUFFIX}.part"
        try:
            manifest = await self._database.read_in_thread(lambda tx: _dump(tx, part))
            payload = encode(manifest)
            path = self._directory / f"{manifest.snapshot_id}{_SUFFIX}"
            part.rename(path)
            dump = _Dump(path, manifest, SignedManifest(payload, snapshot_key.sign(SIGNING_CONTEXT + payload)))
            self._dumps[manifest.snapshot_id] = dump
        finally:
            self._dumping_at = None
            part.unlink(missing_ok=True)
        log.info("snapshot made", snapshot=manifest.snapshot_id, rows=manifest.rows, size=manifest.size)
        return dump

    async def _bytes(self, dump: _Dump, offset: int) -> AsyncIterator[bytes]:
        with contextlib.suppress(FileNotFoundError), dump.path.open("rb") as file:
            file.seek(offset)
            while part := await asyncio.to_thread(file.read, _CHUNK):
                dump.used_at = clock.monotonic_s()
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

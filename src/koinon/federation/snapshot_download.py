"""Bring the file of a master's snapshot here, and go on where an earlier transfer broke off.

Path:     snapshot_loading.py -> downloaded() -> the signed manifest -> a part in the loading directory, appended to until it is whole
Holds:    a part belongs to one load, as long as that lives: the kernel holds a lock on it, which ends with its process. Parts that nobody
          holds are gone on with, or removed.
Not here: what is done with the file's rows (snapshot_staging.py, snapshot_loading.py).
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from koinon.federation.link import Interrupted, Link, Refused, error_text
from koinon.federation.snapshot import SIGNING_CONTEXT, is_snapshot_id
from koinon.federation.snapshot_file import SnapshotError
from koinon.wire.messages import Manifest, MessageError, SignedManifest, SnapshotRequest, decode, encode

PATH: Final = "/federation/v1/snapshot"
#: The master dumps before it answers.
OFFER_TIMEOUT_S: Final = 120.0
SILENCE_S: Final = 20.0
_CHUNK: Final = 2**18
_MAX_MANIFEST: Final = 2**16
#: The snapshot's id, and what tells its parts apart.
_NAME: Final = re.compile(r"(.+)\.[0-9a-f]{16}\.part")


class _Part:
    """A file that a snapshot is loaded into, ours until ``close``."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def snapshot_id(self) -> str:
        """Which snapshot it is of, empty if its name does not say."""
        found = _NAME.fullmatch(self.path.name)
        return found[1] if found and is_snapshot_id(found[1]) else ""

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    @property
    def used_at(self) -> float:
        return os.fstat(self._descriptor).st_mtime

    def append(self, data: bytes) -> None:
        with os.fdopen(os.dup(self._descriptor), "ab") as file:
            file.write(data)

    def hash(self) -> bytes:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).digest()

    def close(self) -> None:
        """Leave it to whoever goes on with it."""
        os.close(self._descriptor)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()


@asynccontextmanager
async def downloaded(
    link: Link, directory: Path, *, master_key: Ed25519PublicKey | None, at_least: int
) -> AsyncIterator[tuple[Manifest, SignedManifest, Path]]:
    """A whole snapshot, for as long as the block lasts. If that ends well, the file is removed; else a later load finds it.

    Args:
        link: to the master.
        directory: for this machine's processes.
        master_key: who must have signed the manifest, None if it is not known yet.
        at_least: the index that it must hold.

    Raises:
        SnapshotError: the snapshot is damaged, not from our master, or not what was asked for.
        LinkError: the master can't be reached or the transfer broke.
    """
    part = _begun(directory)
    try:
        manifest, signed = await _ask(link, SnapshotRequest(at_least, part.snapshot_id if part else ""), master_key)
        if part is not None and (part.snapshot_id != manifest.snapshot_id or part.size > manifest.size):
            part.remove()
            part = None
        if part is None:
            part = _new(directory, manifest.snapshot_id)
        await _fill(link, manifest, part)
        if await asyncio.to_thread(part.hash) != manifest.blake2b:
            part.path.unlink()
            raise SnapshotError("the snapshot's bytes are not those that the master signed")
        yield manifest, signed, part.path
        part.path.unlink(missing_ok=True)
    finally:
        if part is not None:
            part.close()


def remove_parts(directory: Path, *, before: float) -> None:
    """Remove parts that nobody has added to since a moment, in seconds since 1970, and nobody holds."""
    for part in _unheld(directory):
        if part.used_at < before:
            part.remove()
        else:
            part.close()


async def _ask(link: Link, request: SnapshotRequest, master_key: Ed25519PublicKey | None) -> tuple[Manifest, SignedManifest]:
    answer = await link.request("POST", PATH, encode(request), timeout_s=OFFER_TIMEOUT_S, max_answer=_MAX_MANIFEST)
    try:
        signed = decode(SignedManifest, answer.expect())
        if master_key is not None:
            master_key.verify(signed.signature, SIGNING_CONTEXT + signed.payload)
        manifest = decode(Manifest, signed.payload)
    except InvalidSignature as error:
        raise SnapshotError("the snapshot's manifest is not signed by our master") from error
    except MessageError as error:
        raise SnapshotError(str(error)) from error
    if not is_snapshot_id(manifest.snapshot_id) or manifest.zone_id != link.zone_id or manifest.head.position.index < request.at_least:
        raise SnapshotError("the snapshot's manifest is not what was asked for")
    return manifest, signed


async def _fill(link: Link, manifest: Manifest, part: _Part) -> None:
    """Load what is missing of a part."""
    have = part.size
    if have < manifest.size:
        query = f"{PATH}/{manifest.snapshot_id}?offset={have}"
        async with link.stream(query, silence_s=SILENCE_S) as response:
            if response.status != 200:
                raise Refused(response.status, error_text(response.status, await response.content.read(_CHUNK)))
            await _append(response, part, manifest.size - have)
    have = part.size
    if have < manifest.size:
        raise Interrupted(f"the snapshot broke off after {have} of {manifest.size} bytes")


async def _append(response: aiohttp.ClientResponse, part: _Part, room: int) -> None:
    async for data in response.content.iter_chunked(_CHUNK):
        room -= len(data)
        if room < 0:
            raise SnapshotError("the master sends more than it announced")
        await asyncio.to_thread(part.append, data)


def _begun(directory: Path) -> _Part | None:
    """The newest part that a load has left; the others are removed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    newest: _Part | None = None
    for part in sorted(_unheld(directory), key=lambda part: part.used_at):
        if newest is not None:
            newest.remove()
        newest = part
    if newest is not None and not newest.snapshot_id:
        newest.remove()
        return None
    return newest


def _unheld(directory: Path) -> Iterator[_Part]:
    """Take hold of each part that no other load has hold of."""
    for path in directory.glob("*.part"):
        with suppress(FileNotFoundError):  # another process was quicker
            if (part := _hold(path)) is not None:
                yield part


def _new(directory: Path, snapshot_id: str) -> _Part:
    while True:  # who looks for parts that nobody holds may be quicker
        part = _hold(directory / f"{snapshot_id}.{secrets.token_hex(8)}.part", os.O_CREAT | os.O_EXCL)
        if part is not None:
            return part


def _hold(path: Path, flags: int = 0) -> _Part | None:
    """Take hold of a part, None if another load has it or has just removed it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return _Part(path, descriptor)
    except BlockingIOError:
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None

"""The file that a snapshot travels in: blocks of compressed items, each bounded, so that neither side ever holds the whole.

Path:     snapshot.py writes it on the master; snapshot_loading.py reads it on a slave
Holds:    a reader accepts only shared rows that the log could hold, and no block larger than a bound, whatever the bytes say.
Not here: who vouches for the file (the signed manifest, wire/messages.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import msgspec
import zstandard

from koinon.statements.rendering import GrammarError, check
from koinon.statements.schema import SHARED_TABLES, Insert, SetCounter, Value

_LENGTH: Final = struct.Struct(">I")
_BLOCK_BYTES: Final = 2**20
#: A block ends after the item that makes it too long; an outcome may be as large as a commit.
_MAX_BLOCK: Final = 24 * 2**20
_LEVEL: Final = 3


class SnapshotError(Exception):
    """A snapshot is damaged, is not from our master, or holds what no log may hold. The text says which."""


class Row(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """A row of a shared table, its columns in order."""

    table: str
    values: tuple[Value, ...]

    @property
    def oid(self) -> int:
        return int(self.values[0])


class Counter(msgspec.Struct, frozen=True, array_like=True, tag="C"):
    """The last id that a shared table gave out."""

    table: str
    last_oid: int


class Reign(msgspec.Struct, frozen=True, array_like=True, tag="G"):
    """A reign record, encoded as it travels elsewhere."""

    record: bytes


class Header(msgspec.Struct, frozen=True, array_like=True, tag="H"):
    """The header of a commit that answered a request, so that the request stays answered. Fields as in ``federation_commit``."""

    commit_id: str
    first_idx: int
    last_idx: int
    epoch: int
    origin_zone: int
    request_id: str | None
    request_hash: bytes
    outcome: bytes
    digests: bytes
    chain: bytes
    committed_at: int


Item = Row | Counter | Reign | Header

_encode: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[list[Item]]] = msgspec.msgpack.Decoder(list[Item])


def write_items(file: BinaryIO, items: Iterable[Item]) -> int:
    """Write items as blocks.

    Returns:
        How many there were.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
    count = size = 0
    block: list[bytes] = []
    for item in items:
        raw = _encode.encode(item)
        block.append(raw)
        size += len(raw)
        count += 1
        if size >= _BLOCK_BYTES:
            _write_block(file, compressor, block)
            block, size = [], 0
    if block:
        _write_block(file, compressor, block)
    return count


def _write_block(file: BinaryIO, compressor: zstandard.ZstdCompressor, block: list[bytes]) -> None:
    # msgpack "array 32": the items are encoded already
    packed = compressor.compress(b"".join((b"\xdd", _LENGTH.pack(len(block)), *block)))
    file.write(_LENGTH.pack(len(packed)))
    file.write(packed)


def read_items(file: BinaryIO) -> Iterator[list[Item]]:
    """Read a file block by block.

    Raises:
        SnapshotError: a block is damaged, too large, or holds what no log may hold.
    """
    decompressor = zstandard.ZstdDecompressor()
    while prefix := file.read(_LENGTH.size):
        if len(prefix) < _LENGTH.size:
            raise SnapshotError("the snapshot ends inside a block")
        (length,) = _LENGTH.unpack(prefix)
        if length > _MAX_BLOCK:
            raise SnapshotError(f"the snapshot has a block of {length} bytes; {_MAX_BLOCK} are allowed")
        packed = file.read(length)
        if len(packed) < length:
            raise SnapshotError("the snapshot ends inside a block")
        try:
            if not 0 < zstandard.frame_content_size(packed) <= _MAX_BLOCK:
                raise SnapshotError("the snapshot has a block of unknown or too large size")
            items = _decoder.decode(decompressor.decompress(packed, max_output_size=_MAX_BLOCK))
        except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SnapshotError(f"a block of the snapshot can't be read: {error}") from error
        for item in items:
            _check(item)
        yield items


def _check(item: Any) -> None:
    try:
        if isinstance(item, Row):
            check(Insert(item.table, item.values))
        elif isinstance(item, Counter):
            if item.table not in SHARED_TABLES:
                raise GrammarError(f"{item.table!r:.80} is not a shared table")
            check(SetCounter(item.table, item.last_oid))
    except GrammarError as error:
        raise SnapshotError(f"the snapshot holds what no log may hold: {error}") from error

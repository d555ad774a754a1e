"""Files of many items: blocks of compressed msgpack, each bounded, so that neither side ever holds the whole.

Path:     federation/snapshot_file.py and backup_file.py write and read their items through here
Not here: what the items are, and who vouches for them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

import msgspec
import zstandard

T = TypeVar("T")

_LENGTH: Final = struct.Struct(">I")
_BLOCK_BYTES: Final = 2**20
#: A block ends after the item that makes it too long; an outcome may be as large as a commit.
_MAX_BLOCK: Final = 24 * 2**20
_LEVEL: Final = 3

_encode: Final = msgspec.msgpack.Encoder()


class BlockError(Exception):
    """The bytes are no blocks of such items. The text goes on after the file's name."""


class Sink(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> int: ...


class Source(Protocol):
    """What can be read from."""

    def read(self, size: int, /) -> bytes: ...


class Hashing:
    """A sink that hashes what goes through it.

    Attributes:
        hash: BLAKE2b-256 of all bytes so far.
        size: how many there were.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.hash = hashlib.blake2b(digest_size=32)
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._sink.write(data)


def write_blocks(sink: Sink, items: Iterable[Any]) -> int:
    """Write items.

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
            _write_block(sink, compressor, block)
            block, size = [], 0
    if block:
        _write_block(sink, compressor, block)
    return count


def _write_block(sink: Sink, compressor: zstandard.ZstdCompressor, block: list[bytes]) -> None:
    # msgpack "array 32": the items are encoded already
    packed = compressor.compress(b"".join((b"\xdd", _LENGTH.pack(len(block)), *block)))
    sink.write(_LENGTH.pack(len(packed)))
    sink.write(packed)


def read_blocks(source: Source, decoder: msgspec.msgpack.Decoder[list[T]]) -> Iterator[list[T]]:
    """Read items block by block.

    Raises:
        BlockError: a block is damaged, too large, or holds something else.
    """
    decompressor = zstandard.ZstdDecompressor()
    while prefix := source.read(_LENGTH.size):
        if len(prefix) < _LENGTH.size:
            raise BlockError("ends inside a block")
        (length,) = _LENGTH.unpack(prefix)
        if length > _MAX_BLOCK:
            raise BlockError(f"has a block of {length} bytes; {_MAX_BLOCK} are allowed")
        packed = source.read(length)
        if len(packed) < length:
            raise BlockError("ends inside a block")
        try:
            if not 0 < zstandard.frame_content_size(packed) <= _MAX_BLOCK:
                raise BlockError("has a block of unknown or too large size")
            yield decoder.decode(decompressor.decompress(packed, max_output_size=_MAX_BLOCK))
        except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BlockError(f"has a block that can't be read: {error}") from error

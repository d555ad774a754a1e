"""The file that a snapshot travels in: what its blocks (database/blocks.py) hold.

Path:     snapshot.py writes it on the master; snapshot_loading.py reads it on a slave
Holds:    a reader accepts only shared rows that the log could hold, and no block larger than a bound, whatever the bytes say.
Not here: who vouches for the file (the signed manifest, wire/messages.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import msgspec

from koinon.database.blocks import BlockError, Sink, read_blocks, write_blocks
from koinon.statements.rendering import GrammarError, check
from koinon.statements.schema import SHARED_TABLES, Insert, SetCounter, Value


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

_decoder: Final[msgspec.msgpack.Decoder[list[Item]]] = msgspec.msgpack.Decoder(list[Item])


def write_items(sink: Sink, items: Iterable[Item]) -> int:
    """Write items as blocks.

    Returns:
        How many there were.
    """
    return write_blocks(sink, items)


def read_items(file: BinaryIO) -> Iterator[list[Item]]:
    """Read a file block by block.

    Raises:
        SnapshotError: a block is damaged, too large, or holds what no log may hold.
    """
    try:
        for items in read_blocks(file, _decoder):
            for item in items:
                _check(item)
            yield items
    except BlockError as error:
        raise SnapshotError(f"the snapshot {error}") from error


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

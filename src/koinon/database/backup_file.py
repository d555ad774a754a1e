"""A backup: one file with all rows of a zone's database, whatever its engine was or will be.

Path:     daemon/moving.py -> write() and Backup
Form:     a line that names it; blocks (blocks.py) of items: a header, key files, then for each table its columns, its rows and their total;
          last, a BLAKE2b-256 over all before it.
Holds:    the file appears under its name whole and synced, readable to its owner only; of a file nothing is used before its hash was found
          right. Names of tables, columns and key files come from ours, never from the file.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import msgspec

from koinon.database.blocks import BlockError, Hashing, read_blocks, write_blocks
from koinon.database.contents import TABLES, Row, Summing, Tell, Total
from koinon.database.state import Role
from koinon.errors import UnavailableError

FORMAT: Final = 1
_FIRST_LINE: Final = b"koinon backup\n"
_HASH_BYTES: Final = 32
_CHUNK: Final = 2**20
_TELL_EVERY: Final = 1000
#: The form of Alembic's revisions, and so of a schema's version.
_VERSION: Final = re.compile(r"[0-9]{4}")


class Header(msgspec.Struct, frozen=True, array_like=True, tag="H"):
    """What is in a backup.

    Attributes:
        format: of the file.
        program: version of koinon that wrote it.
        schema: version of the tables.
        engine: where the rows were.
        zone_id: of the zone; also all that follows, as in ``ZoneState``.
        made_at_ms: when, by this machine's clock.
        zone_name: as its record says.
    """

    format: int
    program: str
    schema: str
    engine: str
    zone_id: int
    role: Role
    federation_id: str
    epoch: int
    position: int
    chain: bytes
    made_at_ms: int
    zone_name: str


class KeyFile(msgspec.Struct, frozen=True, array_like=True, tag="K"):
    """A secret file of the state directory."""

    name: str
    content: bytes


class Table(msgspec.Struct, frozen=True, array_like=True, tag="T"):
    """Rows of this table follow."""

    name: str
    columns: tuple[str, ...]


class Values(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """One row; each value a number, text, bytes or nothing."""

    values: tuple[Any, ...]


class End(msgspec.Struct, frozen=True, array_like=True, tag="E"):
    """A table ends."""

    total: Total


Item = Header | KeyFile | Table | Values | End

_decoder: Final[msgspec.msgpack.Decoder[list[Item]]] = msgspec.msgpack.Decoder(list[Item])


def write(path: Path, header: Header, keys: Sequence[KeyFile], rows_of: Callable[[str], Iterable[Row]], tell: Tell) -> tuple[int, int]:
    """Write a backup.

    Args:
        path: a name that is free.
        header: what it says of itself.
        keys: secret files to take along.
        rows_of: reads a table.
        tell: hears of the progress.

    Returns:
        Its size in bytes, and the number of rows in it.

    Raises:
        OSError: it can't be written; nothing is left.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            hashing = Hashing(file)
            hashing.write(_FIRST_LINE)
            items = write_blocks(hashing, _items(header, keys, rows_of, tell))
            file.write(hashing.hash.digest())
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return hashing.size + _HASH_BYTES, items - 1 - len(keys) - 2 * len(TABLES)


def _items(header: Header, keys: Iterable[KeyFile], rows_of: Callable[[str], Iterable[Row]], tell: Tell) -> Iterator[Item]:
    yield header
    yield from keys
    for name, columns in TABLES.items():
        yield Table(name, columns)
        summing = Summing(rows_of(name))
        for count, row in enumerate(summing, 1):
            yield Values(tuple(row))
            if count % _TELL_EVERY == 0:
                tell(f"{name}: {count:,} rows")
        yield End(summing.total)


class Backup:
    """A backup whose hash is right. For a ``with``.

    Args:
        path: the file.

    Attributes:
        header: what it says of itself.
        keys: the secret files in it.

    Raises:
        UnavailableError: it is no backup, or damaged, or of a newer koinon.
        OSError: it can't be read.
    """

    def __init__(self, path: Path, *, newest_schema: str, key_files: Iterable[str]) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            blocks = self._blocks(_checked_size(path, self._file))
            self._stream = (item for block in blocks for item in block)
            first = next(self._stream, None)
            if not isinstance(first, Header) or first.format != FORMAT:
                raise UnavailableError(
                    f"{path} is a backup in a form that this koinon does not know. Use the one that wrote it, or a newer one."
                )
            if not _VERSION.fullmatch(first.schema) or first.schema > newest_schema:
                raise UnavailableError(
                    f"{path} was written by a newer koinon ({first.program}, schema {first.schema}; this one knows {newest_schema}). "
                    "Upgrade koinon."
                )
            self.header = first
            self.keys: list[KeyFile] = []
            self._ahead: Item | None = None
            allowed = frozenset(key_files)
            for item in self._stream:
                if not isinstance(item, KeyFile):
                    self._ahead = item
                    break
                if item.name not in allowed:
                    raise self._damaged(f"{item.name!r:.80} is no file of a zone's keys")
                self.keys.append(item)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, _error: BaseException | None, _traceback: object) -> None:
        self._file.close()

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], Iterable[Row]]]:
        """Each table with its columns and rows, which have to be read before the next table is asked for.

        Raises:
            UnavailableError: (also from the rows) what is there is not what a backup holds, or not what the file says of it.
        """
        seen: set[str] = set()
        while (item := self._next()) is not None:
            if not isinstance(item, Table) or item.name in seen or not set(item.columns) <= set(TABLES.get(item.name, ())):
                raise self._damaged("a table is not one of a zone's")
            seen.add(item.name)
            yield item.name, item.columns, self._rows(item)
        if not {"zone_state", "shared_digest"} <= seen:
            raise self._damaged("it ends too early")

    def _rows(self, table: Table) -> Iterator[Row]:
        summing = Summing(self._values(table))
        yield from summing
        assert isinstance(self._ahead, End)
        if self._ahead.total != summing.total:
            raise self._damaged(f"the rows of {table.name} are not those that were written")
        self._ahead = None

    def _values(self, table: Table) -> Iterator[Row]:
        while isinstance(item := self._next(), Values):
            fits = len(item.values) == len(table.columns) and all(isinstance(one, int | str | bytes | None) for one in item.values)
            if not fits:
                raise self._damaged(f"a row of {table.name} can't be one of it")
            yield item.values
        if not isinstance(item, End):
            raise self._damaged(f"{table.name} does not end")
        self._ahead = item

    def _next(self) -> Item | None:
        if self._ahead is not None:
            item, self._ahead = self._ahead, None
            return item
        return next(self._stream, None)

    def _blocks(self, size: int) -> Iterator[list[Item]]:
        try:
            yield from read_blocks(_Part(self._file, size), _decoder)
        except BlockError as error:
            raise UnavailableError(f"The backup {self._path} {error}. Use another one.") from error

    def _damaged(self, what: str) -> UnavailableError:
        return UnavailableError(f"The backup {self._path} is damaged: {what}. Use another one.")


class _Part:
    """So many bytes of a file, from where it stands."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def _checked_size(path: Path, file: BinaryIO) -> int:
    """Read a file through once; the size of its blocks. The file stands before them afterwards."""
    if file.read(len(_FIRST_LINE)) != _FIRST_LINE:
        raise UnavailableError(f"{path} is no backup of a zone. Name a file that `koinon backup` wrote.")
    size = os.fstat(file.fileno()).st_size - len(_FIRST_LINE) - _HASH_BYTES
    hashing = blake2b(_FIRST_LINE, digest_size=_HASH_BYTES)
    part = _Part(file, size)
    while size > 0 and (data := part.read(_CHUNK)):
        hashing.update(data)
    if size <= 0 or file.read() != hashing.digest():
        raise UnavailableError(f"The backup {path} is damaged or cut short: its hash is not that of its bytes. Use another one.")
    file.seek(len(_FIRST_LINE))
    return size

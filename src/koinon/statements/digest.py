"""The hash of a row's typed values, and the digest of a table: the sum of its rows' hashes mod 2^256.

A sum follows each change without reading the table, whatever the order of the rows. It finds faults; it is no defence against someone who
can choose rows freely, which nobody but the master may.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from koinon.statements.schema import COUNTERS, SHARED_TABLES, Table, Value

#: The digest of a table without rows.
EMPTY: Final = 0
SIZE: Final = 32

_MASK: Final = (1 << 8 * SIZE) - 1


def _template(table: Table) -> bytes:
    """Numbers end with ``;`` and texts carry their length, so no two rows share an encoding."""
    parts = "".join("i%d;" if column.bounds is not None else "t%d:%b;" for column in table.columns)
    return f"koinon row v1 {table.name} ".encode() + parts.encode()


_TEMPLATES: Final = {name: _template(table) for name, table in SHARED_TABLES.items()}
_TYPES: Final = {name: tuple(str if column.bounds is None else int for column in table.columns) for name, table in SHARED_TABLES.items()}


def row_hash(table: str, values: Sequence[Value]) -> bytes:
    """BLAKE2b-256 of one row of a shared table; ``values`` are its columns in order.

    A row that a hand edit gave other types (SQLite allows that) has a hash too, which no true row has.

    Raises:
        KeyError: not a shared table with rows of its own.
    """
    template = _TEMPLATES[table]
    if tuple(map(type, values)) != _TYPES[table]:
        return _odd_hash(table, values)
    encoded: list[int | bytes] = []
    try:
        for value in values:
            if isinstance(value, str):
                raw = value.encode()
                encoded += (len(raw), raw)
            else:
                encoded.append(value)
    except UnicodeEncodeError:
        return _odd_hash(table, values)
    return blake2b(template % tuple(encoded), digest_size=SIZE).digest()


def counter_hash(table: str, last_oid: int) -> bytes:
    """BLAKE2b-256 of a shared table's row of pool_control."""
    return blake2b(b"koinon row v1 %b t%d:%b;i%d;" % (COUNTERS.encode(), len(table), table.encode(), last_oid), digest_size=SIZE).digest()


def add(digest: int, row_hash: bytes) -> int:
    """The digest after a row came."""
    return (digest + int.from_bytes(row_hash)) & _MASK


def subtract(digest: int, row_hash: bytes) -> int:
    """The digest after a row went."""
    return (digest - int.from_bytes(row_hash)) & _MASK


def to_bytes(digest: int) -> bytes:
    """The digest as 32 bytes, for storing and sending."""
    return digest.to_bytes(SIZE)


def from_bytes(raw: bytes) -> int:
    """What ``to_bytes`` made.

    Raises:
        ValueError: not 32 bytes.
    """
    if len(raw) != SIZE:
        raise ValueError(f"a digest has {SIZE} bytes, not {len(raw)}")
    return int.from_bytes(raw)


def _odd_hash(table: str, values: Sequence[object]) -> bytes:
    told = repr([(type(value).__name__, value) for value in values]).encode("utf-8", "backslashreplace")
    return blake2b(b"koinon odd row v1 %b " % table.encode() + told, digest_size=SIZE).digest()

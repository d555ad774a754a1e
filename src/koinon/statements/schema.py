"""The shared tables: their columns and types, and the only four changes that a statement can make to them.

A change is typed; its SQL text (rendering.py) and back (grammar.py) is one to one.
Source: OpenNebula src/sql/OneDB.cc for names and order of columns.
"""

from __future__ import annotations

from typing import Final

import msgspec

INT32: Final = (-(2**31), 2**31 - 1)
INT64: Final = (-(2**63), 2**63 - 1)
MAX_BODY_BYTES: Final = 4 * 2**20
MAX_NAME_BYTES: Final = 128
MAX_COMMIT_BYTES: Final = 16 * 2**20

Value = int | str


class Column(msgspec.Struct, frozen=True):
    """One column. ``bounds`` are the least and greatest number, None for text; ``max_bytes`` bounds text in UTF-8."""

    name: str
    bounds: tuple[int, int] | None = None
    max_bytes: int = 0


class Table(msgspec.Struct, frozen=True):
    """One shared table. ``columns`` begins with the key."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _integers(bounds: tuple[int, int], *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, bounds) for name in names)


_POOL_COLUMNS = (
    Column("oid", INT32),
    Column("name", None, MAX_NAME_BYTES),
    Column("body", None, MAX_BODY_BYTES),
    *_integers(INT32, "uid", "gid", "owner_u", "group_u", "other_u"),
)

POOL_TABLES: Final = ("user_pool", "group_pool", "vdc_pool", "zone_pool", "marketplace_pool", "marketplaceapp_pool")

#: Every shared table with rows of its own, by name.
SHARED_TABLES: Final[dict[str, Table]] = {name: Table(name, _POOL_COLUMNS) for name in POOL_TABLES} | {
    "acl": Table("acl", (Column("oid", INT32), *_integers(INT64, "userset", "resource", "rights", "zone"))),
}

#: What has a digest: the shared tables and their seven rows of pool_control.
COUNTERS: Final = "pool_control"
DIGESTED: Final = (*SHARED_TABLES, COUNTERS)


class PoolRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of one of the six pool tables."""

    oid: int
    name: str
    body: str
    uid: int
    gid: int
    owner_u: int
    group_u: int
    other_u: int


class AclRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of ``acl``: the four numbers of a rule (signed 64 bit)."""

    oid: int
    userset: int
    resource: int
    rights: int
    zone: int


class Insert(msgspec.Struct, frozen=True, array_like=True, tag="I"):
    """INSERT of one whole row; ``values`` in the order of the table's columns."""

    table: str
    values: tuple[Value, ...]


class Update(msgspec.Struct, frozen=True, array_like=True, tag="U"):
    """UPDATE of the row ``oid``; ``columns`` is a non-empty part of the table's columns, in their order, without ``oid``."""

    table: str
    oid: int
    columns: tuple[str, ...]
    values: tuple[Value, ...]


class Delete(msgspec.Struct, frozen=True, array_like=True, tag="D"):
    """DELETE of the row ``oid``."""

    table: str
    oid: int


class SetCounter(msgspec.Struct, frozen=True, array_like=True, tag="C"):
    """REPLACE of a shared table's row of pool_control: the last id given out."""

    table: str
    last_oid: int


RowChange = Insert | Update | Delete | SetCounter

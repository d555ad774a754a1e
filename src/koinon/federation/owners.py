"""Whom a zone's own objects belong to once it has joined: the ids of owners stay, and may mean other people then.

Path:     joining.py: objects() of our tables -> strangers() with the users and groups of both sides -> the list that the operator reads
Holds:    an id that means the same name on both sides is taken for the same owner; so are those that every zone makes at its first start.
Not here: what joining would lose (clashes.py); giving objects to others (``join --map``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.federation.clashes import Rows
from koinon.statements.schema import PoolRow

_DEFAULTS: Final = frozenset({0, 1})
_SHOWN: Final = 10


class Owned(msgspec.Struct, frozen=True, order=True):
    """An object of this zone and one owner of it.

    Attributes:
        kind: of the owner, ``user`` or ``group``.
        owner: id of the owner.
        what: what the object is, in the plural.
        oid: its id; of quotas and rules that of the owner.
    """

    kind: str
    owner: int
    what: str
    oid: int


#: kind of owner, what the objects are, and the read of their owners and ids; hosts and clusters are always user 0's
READS: Final = (
    ("user", "documents", "SELECT uid, oid FROM document_pool"),
    ("group", "documents", "SELECT gid, oid FROM document_pool"),
    ("user", "quotas", "SELECT user_oid, user_oid FROM user_quotas"),
    ("group", "quotas", "SELECT group_oid, group_oid FROM group_quotas"),
    ("group", "VLAN rules", "SELECT group_oid, group_oid FROM group_vlans"),
)


def objects(tx: ReadTx) -> list[Owned]:
    """All that this zone keeps for users and groups, but for those of its first start."""
    found = (Owned(kind, owner, what, oid) for kind, what, read in READS for owner, oid in tx.fetch(read) if owner not in _DEFAULTS)
    return sorted(found)


def strangers(own: Rows, theirs: Rows, owned: Iterable[Owned]) -> list[str]:
    """Say which objects will belong to someone else.

    Args:
        own: this zone's rows by shared table.
        theirs: the federation's.
        owned: this zone's objects, sorted.

    Returns:
        One line for each owner and kind of object.
    """
    names = {kind: (_names(own, table), _names(theirs, table)) for kind, table in (("user", "user_pool"), ("group", "group_pool"))}
    lines = []
    for (kind, owner, what), group in groupby(owned, key=lambda one: (one.kind, one.owner, one.what)):
        before, after = (side.get(owner) for side in names[kind])
        if before != after:
            whose = f"{kind} {owner}, which is {_said(before)} here and {_said(after)} in the federation"
            lines.append(f"{_listed(what, [one.oid for one in group])} of {whose}")
    return lines


def _listed(what: str, oids: list[int]) -> str:
    if what != "documents":  # one for each owner, under the owner's id
        return f"the {what}"
    more = f" and {len(oids) - _SHOWN} more" if len(oids) > _SHOWN else ""
    return f"{what} {', '.join(map(str, oids[:_SHOWN]))}{more}"


def _said(name: str | None) -> str:
    return "nobody" if name is None else repr(name)


def _names(rows: Rows, table: str) -> Mapping[int, str]:
    return {row.oid: row.name for row in rows.get(table, ()) if isinstance(row, PoolRow)}

"""Whose a zone's own objects are after it joined, in words."""

from __future__ import annotations

import pytest

from koinon.database import tables
from koinon.federation.clashes import Rows
from koinon.federation.owners import READS, Owned, strangers
from koinon.statements.schema import SHARED_TABLES, PoolRow

pytestmark = pytest.mark.engines


def row(oid: int, name: str) -> PoolRow:
    return PoolRow(oid, name, "", 0, 0, 1, 0, 0)


OWN: Rows = {"user_pool": [row(2, "ann"), row(3, "bob"), row(4, "cleo")], "group_pool": [row(100, "lab")]}
THEIRS: Rows = {"user_pool": [row(2, "ann"), row(3, "zoe"), row(9, "dan")], "group_pool": [row(100, "staff")]}


def test_ids_that_mean_others_are_told_with_what_they_have() -> None:
    owned = [
        *(Owned("user", uid, "documents", oid) for uid, oid in ((2, 1), (3, 2), (3, 5), (4, 7), (9, 8), (77, 9))),
        *(Owned("user", uid, "quotas", uid) for uid in (2, 3)),
        Owned("group", 100, "documents", 1),
        Owned("group", 100, "VLAN rules", 100),
    ]
    assert strangers(OWN, THEIRS, sorted(owned)) == [
        "the VLAN rules of group 100, which is 'lab' here and 'staff' in the federation",
        "documents 1 of group 100, which is 'lab' here and 'staff' in the federation",
        "documents 2, 5 of user 3, which is 'bob' here and 'zoe' in the federation",
        "the quotas of user 3, which is 'bob' here and 'zoe' in the federation",
        "documents 7 of user 4, which is 'cleo' here and nobody in the federation",
        "documents 8 of user 9, which is nobody here and 'dan' in the federation",
    ]


def test_long_lists_are_cut() -> None:
    (line,) = strangers(OWN, THEIRS, [Owned("user", 3, "documents", oid) for oid in range(25)])
    assert line.startswith("documents 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 15 more of user 3")


def test_every_local_table_that_names_owners_is_read() -> None:
    """Hosts and clusters name them too, and it is user 0 and group 0 always."""
    read = {statement.split()[-1] for _, _, statement in READS}
    named = {
        table.name
        for table in tables.metadata.tables.values()
        if {"uid", "user_oid", "group_oid"} & set(table.columns.keys()) and table.name not in SHARED_TABLES
    }
    assert named - {"host_pool", "cluster_pool", "group_member"} == read

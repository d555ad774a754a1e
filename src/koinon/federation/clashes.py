"""What a zone would lose by joining: its own objects, set against those of the federation. Pure.

Path:     joining.py reads our rows, the snapshot brings theirs -> find() -> the list that the operator reads
Holds:    joining replaces every shared row, so any own row that is not in the federation exactly as it is here is named.
Not here: how the rows come (snapshot.py); making them fit (``join --map``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from koinon.objects.acl import Rule
from koinon.statements.schema import AclRow, PoolRow

Rows = Mapping[str, Sequence[PoolRow | AclRow]]

#: What every zone makes at its first start and so may lose: label, and the ids that are nobody's own.
_POOLS: Final = {
    "user_pool": ("user", frozenset({0, 1})),
    "group_pool": ("group", frozenset({0, 1})),
    "vdc_pool": ("VDC", frozenset({0})),
    "zone_pool": ("zone", frozenset()),
    "marketplace_pool": ("marketplace", frozenset({0, 1})),
    "marketplaceapp_pool": ("marketplace app", frozenset()),
}

#: The rules of a first start (reference: default ACL rules); those of VDC 0 hold in the zone itself.
_DEFAULT_RULES: Final = (
    "@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *",
    "* ZONE/* USE *",
    "* MARKETPLACE+MARKETPLACEAPP/* USE *",
    "@1 HOST/* MANAGE #{zone}",
    "@1 NET/* USE #{zone}",
    "@1 DATASTORE/* USE #{zone}",
)


def find(own: Rows, theirs: Rows, *, own_zone: int) -> list[str]:
    """Say what would be lost.

    Args:
        own: this zone's rows by shared table.
        theirs: the federation's.
        own_zone: this zone's id until now; its record is made anew by the invitation.

    Returns:
        One line for each object, in the order of tables and ids; empty if the zone may join.
    """
    found: list[str] = []
    for table, (label, defaults) in _POOLS.items():
        spared = defaults | {own_zone} if table == "zone_pool" else defaults
        found += _in_pool(label, _pool_rows(own, table), _pool_rows(theirs, table), spared)
    return found + list(_rules(_acl_rows(own), _acl_rows(theirs), own_zone))


def _in_pool(label: str, own: Sequence[PoolRow], theirs: Sequence[PoolRow], spared: frozenset[int]) -> Iterator[str]:
    by_oid = {row.oid: row for row in theirs}
    by_name = {row.name: row for row in theirs}
    for row in own:
        if row.oid in spared or by_oid.get(row.oid) == row:
            continue
        what = f"{label} {row.oid} {row.name!r}"
        same_id, same_name = by_oid.get(row.oid), by_name.get(row.name)
        if same_id is not None and same_id.name == row.name:
            yield f"{what}: the federation has it too, with other contents; ours would be lost"
        elif same_name is not None:
            yield f"{what}: the federation has a {label} of this name with id {same_name.oid}"
        elif same_id is not None:
            yield f"{what}: the federation's {label} {row.oid} is {same_id.name!r}"
        else:
            yield f"{what}: it is only here and would be lost"


def _rules(own: Sequence[AclRow], theirs: Sequence[AclRow], own_zone: int) -> Iterator[str]:
    known = {_rule(row) for row in theirs} | {Rule.parse(text.format(zone=own_zone), own_zone) for text in _DEFAULT_RULES}
    for row in own:
        rule = _rule(row)
        if rule not in known:
            yield f"ACL rule {row.oid} '{rule.text()}': it is only here and would be lost"


def _rule(row: AclRow) -> Rule:
    return Rule(row.userset, row.resource, row.rights, row.zone)


def _pool_rows(rows: Rows, table: str) -> list[PoolRow]:
    return [row for row in rows.get(table, ()) if isinstance(row, PoolRow)]


def _acl_rows(rows: Rows) -> list[AclRow]:
    return [row for row in rows.get("acl", ()) if isinstance(row, AclRow)]

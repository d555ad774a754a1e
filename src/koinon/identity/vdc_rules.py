"""Write a VDC and let the ACL rules follow: what its groups gained is added, what they lost is removed.

Path:     an operation -> store() -> vdc_pool, acl
Holds:    after each change the rules that VDCs give are those, and only those, that the VDCs' bodies say. A rule stays while another VDC
          gives it too, or for good if somebody had made it by hand before (OpenNebula drops it with the first VDC that stops).
          A rule of a VDC that somebody deletes by hand is back when a VDC starts to give it again, not before.
Not here: what a VDC grants (vdc_record.py); who may change it (vdcs.py).
Source:   OpenNebula src/vdc/Vdc.cc, ResourceSet: which rules, in which order.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from koinon.database.transactions import ReadTx, SharedTx
from koinon.identity import acl
from koinon.identity.vdc_record import KINDS, TABLE, Grant, Vdc
from koinon.objects.acl import Rule
from koinon.objects.kinds import Kind
from koinon.statements.schema import PoolRow


class _Giver(msgspec.Struct, frozen=True):
    """Another VDC, ready for look-ups."""

    groups: frozenset[int]
    grants: frozenset[Grant]
    found: frozenset[Rule]

    @classmethod
    def from_row(cls, row: PoolRow) -> _Giver:
        vdc = Vdc.from_row(row)
        return cls(frozenset(vdc.groups), frozenset(vdc.grants()), frozenset(vdc.found))


class Plan(msgspec.Struct, frozen=True):
    """What a change of a VDC does to the rules.

    Attributes:
        given: rules that must be there after it, also if they are there before.
        surplus: rules that go.
        found: those of the VDC that somebody had made by hand, ascending.
    """

    given: list[Rule]
    surplus: list[Rule]
    found: list[Rule]


def store(tx: SharedTx, oid: int, before: Vdc | None, after: Vdc | None) -> None:
    """Bring the VDC and its rules from ``before`` to ``after``.

    Args:
        tx: the write.
        oid: id of the VDC.
        before: as stored; None if the VDC is new.
        after: as it shall be, its ``found`` as it was (it is set here); None if the VDC goes.
    """
    planned = plan(tx, oid, before, after)
    if after is not None:
        after.found = planned.found
    _write(tx, oid, before, after)
    for rule in planned.given:
        acl.ensure(tx, rule)
    for rule in planned.surplus:
        acl.drop(tx, rule)


def drop_group(tx: SharedTx, gid: int) -> None:
    """Take a group out of every VDC."""

    def without(vdc: Vdc) -> Vdc | None:
        return vdc.without_group(gid) if gid in vdc.groups else None

    _forget(tx, f"<ID>{gid}</ID>", without)


def drop_resource(tx: SharedTx, kind: Kind, zone_id: int, oid: int) -> None:
    """Take an object of a zone that is gone out of every VDC; those that no VDC can have are in none."""
    if kind not in KINDS:
        return
    gone = (zone_id, oid)

    def without(vdc: Vdc) -> Vdc | None:
        return vdc.without_member(kind, gone) if gone in vdc.members(kind) else None

    _forget(tx, f"<ZONE_ID>{zone_id}</ZONE_ID>", without)


def _forget(tx: SharedTx, sign: str, without: Callable[[Vdc], Vdc | None]) -> None:
    """Change all VDCs in one pass; one after the other would weigh each against all others. What one loses, none may keep.

    Args:
        tx: the write.
        sign: stands in the body of each VDC that may change.
        without: the VDC as it shall be, None if it stays as it is.
    """
    lost: dict[Rule, None] = {}
    found: set[Rule] = set()
    for row in tx.rows(TABLE):
        before = Vdc.from_row(row) if sign in row.body else None
        after = None if before is None else without(before)
        if after is None:
            continue
        gone = {grant.to(gid): None for gid, grant in _lacking(after, before)}
        lost |= gone
        found |= {rule for rule in after.found if rule in gone}
        after.found = [rule for rule in after.found if rule not in gone]
        tx.update(TABLE, after.as_row())
    for rule in lost:
        if rule not in found:
            acl.drop(tx, rule)


def plan(tx: ReadTx, oid: int, before: Vdc | None, after: Vdc | None) -> Plan:
    """What ``store`` with these arguments would do to the rules, without doing it."""
    others = _others(tx, oid)
    started, stopped = _lacking(before, after), _lacking(after, before)
    found = {} if before is None else dict.fromkeys(before.found)
    surplus: list[Rule] = []
    for gid, grant in stopped:
        rule = grant.to(gid)
        if not _givers(others, gid, grant) and rule not in found:
            surplus.append(rule)
        found.pop(rule, None)
    for gid, grant in started:
        rule, givers = grant.to(gid), _givers(others, gid, grant)
        by_hand = any(rule in giver.found for giver in givers) if givers else acl.find(tx, rule) is not None
        if by_hand:
            found[rule] = None
    return Plan([grant.to(gid) for gid, grant in started], surplus, sorted(found, key=msgspec.structs.astuple))


def _write(tx: SharedTx, oid: int, before: Vdc | None, after: Vdc | None) -> None:
    if after is None:
        tx.delete(TABLE, oid)
    elif before is None:
        tx.insert(TABLE, after.as_row())
    else:
        tx.update(TABLE, after.as_row())


def _lacking(old: Vdc | None, new: Vdc | None) -> list[tuple[int, Grant]]:
    """What ``new`` gives and ``old`` does not: group and grant. Groups that both have cost nothing while the resources are the same."""
    if new is None:
        return []
    grants = new.grants()
    had = set() if old is None else set(old.grants())
    more = [grant for grant in grants if grant not in had]
    members = set() if old is None else set(old.groups)
    pairs = [(gid, grant) for gid in new.groups if gid not in members for grant in grants]
    if more:
        pairs += [(gid, grant) for gid in new.groups if gid in members for grant in more]
    return pairs


def _others(tx: ReadTx, oid: int) -> list[_Giver]:
    givers = (tx.memo(TABLE, row.oid, "giver", _Giver.from_row) for row in tx.rows(TABLE) if row.oid != oid)
    return [giver for giver in givers if giver is not None]


def _givers(others: list[_Giver], gid: int, grant: Grant) -> list[_Giver]:
    return [giver for giver in others if gid in giver.groups and grant in giver.grants]

"""A change of a VDC that is only looked at: what it would do to the rules.

Path:     rule_changes.py -> planned() -> vdc_rules.plan()
Not here: changing VDCs (vdcs.py); what rules allow (policy/).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import BadArgumentError, InternalError, NotFoundError
from koinon.identity import vdc_rules
from koinon.identity.vdc_record import ALL_RESOURCES, Member, Vdc, get
from koinon.identity.vdc_rules import Plan
from koinon.objects.kinds import Kind

_KINDS: Final = {"CLUSTER": Kind.CLUSTER, "HOST": Kind.HOST, "DATASTORE": Kind.DATASTORE, "VNET": Kind.NET}


class VdcChange(msgspec.Struct, forbid_unknown_fields=True):
    """What would be done to one VDC.

    Attributes:
        id: which one.
        add_groups: groups that would come in.
        del_groups: groups that would go.
        add: resources that would come in: kind (CLUSTER, HOST, DATASTORE, VNET), zone id, id (-10 for all).
        remove: resources that would go.
    """

    id: int
    add_groups: list[int] = []
    del_groups: list[int] = []
    add: list[tuple[str, int, int]] = []
    remove: list[tuple[str, int, int]] = []

    def count(self) -> int:
        """How many single changes these are."""
        return len(self.add_groups) + len(self.del_groups) + len(self.add) + len(self.remove)


def planned(tx: ReadTx, change: VdcChange) -> Plan:
    """What the change would do to the rules.

    Raises:
        NotFoundError: there is no such VDC, group or zone.
        BadArgumentError: there is no such kind of resource.
        InternalError: the VDC has, or lacks, a group or a resource already.
    """
    before = get(tx, change.id)
    for gid in change.add_groups:
        if tx.row(Kind.GROUP.table, gid) is None:
            raise NotFoundError(Kind.GROUP.label, gid)
    groups = _changed(before.groups, change.add_groups, change.del_groups, change.id)
    after = msgspec.structs.replace(before, groups=sorted(groups))
    for word, zone_id, oid in change.add:
        if tx.row(Kind.ZONE.table, zone_id) is None:
            raise NotFoundError(Kind.ZONE.label, zone_id)
        after = _with(after, _kind(word), (zone_id, oid))
    for word, zone_id, oid in change.remove:
        after = _without(after, _kind(word), (zone_id, oid))
    return vdc_rules.plan(tx, change.id, before, after)


def _changed(groups: Iterable[int], added: Iterable[int], removed: Iterable[int], oid: int) -> set[int]:
    found = set(groups)
    for gid in added:
        if gid in found:
            raise InternalError(f"Group {gid} is already assigned to the VDC {oid}")
        found.add(gid)
    for gid in removed:
        if gid not in found:
            raise InternalError(f"Group {gid} is not assigned to the VDC {oid}")
        found.remove(gid)
    return found


def _with(vdc: Vdc, kind: Kind, member: Member) -> Vdc:
    members = vdc.members(kind)
    if member in members:
        raise InternalError(f"{kind.acl_name} {member[1]} from Zone {member[0]} is already assigned to the VDC")
    # As when it is done: all resources of a zone take the place of the single ones.
    kept = [other for other in members if member[1] != ALL_RESOURCES or other[0] != member[0]]
    return vdc.with_members(kind, [*kept, member])


def _without(vdc: Vdc, kind: Kind, member: Member) -> Vdc:
    members = vdc.members(kind)
    if member not in members:
        raise InternalError(f"{kind.acl_name} {member[1]} from Zone {member[0]} is not assigned to the VDC ")
    return vdc.with_members(kind, [other for other in members if other != member])


def _kind(word: str) -> Kind:
    kind = _KINDS.get(word.upper())
    if kind is None:
        raise BadArgumentError(f"There is no resource of the kind {word!r} in VDCs; there are {', '.join(_KINDS)}.")
    return kind

"""A change of a VDC that is only looked at: what it would do to the rules.

Path:     rule_changes.py -> planned() -> vdc_rules.plan()
Not here: changing VDCs (vdcs.py); what rules allow (policy/).
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import BadArgumentError, NotFoundError
from koinon.identity import vdc_rules
from koinon.identity.vdc_record import get
from koinon.identity.vdc_rules import Plan
from koinon.objects.kinds import Kind

_KINDS: Final = {"CLUSTER": Kind.CLUSTER, "HOST": Kind.HOST, "DATASTORE": Kind.DATASTORE, "VNET": Kind.NET}


#: An id, or a number that stands for one: more can't be looked up.
Id: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class VdcChange(msgspec.Struct, forbid_unknown_fields=True):
    """What would be done to one VDC.

    Attributes:
        id: which one.
        add_groups: groups that would come in.
        del_groups: groups that would go.
        add: resources that would come in: kind (CLUSTER, HOST, DATASTORE, VNET), zone id, id (-10 for all).
        remove: resources that would go.
    """

    id: Id
    add_groups: list[Id] = []
    del_groups: list[Id] = []
    add: list[tuple[str, Id, Id]] = []
    remove: list[tuple[str, Id, Id]] = []

    def count(self) -> int:
        """How many single changes these are."""
        return len(self.add_groups) + len(self.del_groups) + len(self.add) + len(self.remove)


def planned(tx: ReadTx, change: VdcChange) -> Plan:
    """What the change would do to the rules.

    Raises:
        NotFoundError: there is no such VDC, group or zone.
        BadArgumentError: there is no such kind of resource.
        ConflictError: the VDC has, or lacks, a group or a resource already.
    """
    before = after = get(tx, change.id)
    for gid in change.add_groups:
        if tx.row(Kind.GROUP.table, gid) is None:
            raise NotFoundError(Kind.GROUP.label, gid)
        after = after.with_group(gid)
    for gid in change.del_groups:
        after = after.without_group(gid)
    for word, zone_id, oid in change.add:
        if tx.row(Kind.ZONE.table, zone_id) is None:
            raise NotFoundError(Kind.ZONE.label, zone_id)
        after = after.with_member(_kind(word), (zone_id, oid))
    for word, zone_id, oid in change.remove:
        after = after.without_member(_kind(word), (zone_id, oid))
    return vdc_rules.plan(tx, change.id, before, after)


def _kind(word: str) -> Kind:
    kind = _KINDS.get(word.upper())
    if kind is None:
        raise BadArgumentError(f"There is no resource of the kind {word!r} in VDCs; there are {', '.join(_KINDS)}.")
    return kind

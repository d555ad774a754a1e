"""VDCs: groups tied to the resources of zones, and the ACL rules that follow.

Here is what groups and a new zone need: the record, the default VDC, a group's way in and out.
Holds:    a rule that two VDCs give to a group stays until neither does (OpenNebula drops it with the first).
Source:   OpenNebula src/vdc/Vdc.cc; DEFAULT_VDC_*_ACL of share/etc/oned.conf for the rights.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import InternalError
from koinon.identity import acl
from koinon.objects import xml
from koinon.objects.acl import ALL, CLUSTER, INDIVIDUAL, Right, Rule, group, resource, zone
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.statements.schema import PoolRow

DEFAULT_VDC: Final = 0
ALL_RESOURCES: Final = -10
_TABLE: Final = "vdc_pool"

#: A resource of a zone: (zone id, resource id or ALL_RESOURCES).
Member = tuple[int, int]


class Vdc(msgspec.Struct):
    """One VDC. Groups are ascending; resources in the order of (zone, id)."""

    oid: int
    name: str
    groups: list[int]
    clusters: list[Member]
    hosts: list[Member]
    datastores: list[Member]
    vnets: list[Member]
    template: Template

    @classmethod
    def from_row(cls, row: PoolRow) -> Vdc:
        """Read a stored row. Raises InternalError if its body is not one of a VDC."""
        try:
            root = xml.parse(row.body)
            template = root.find("TEMPLATE")
            return cls(
                row.oid,
                row.name,
                sorted(set(xml.ids_of(root, "GROUPS"))),
                _members(root, "CLUSTER"),
                _members(root, "HOST"),
                _members(root, "DATASTORE"),
                _members(root, "VNET"),
                Template() if template is None else Template.from_element(template),
            )
        except ValueError as error:
            raise InternalError(f"The stored body of VDC {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> PoolRow:
        """The row to store."""
        body = (
            f"<VDC><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>{xml.ids_xml('GROUPS', self.groups)}"
            f"{_members_xml('CLUSTER', self.clusters)}{_members_xml('HOST', self.hosts)}"
            f"{_members_xml('DATASTORE', self.datastores)}{_members_xml('VNET', self.vnets)}{self.template.to_xml()}</VDC>"
        )
        return PoolRow(self.oid, self.name, body, uid=0, gid=0, owner_u=1, group_u=0, other_u=0)

    def rules_for(self, gid: int) -> list[Rule]:
        """The rules that membership gives a group, in the order of their resource numbers for each resource."""
        rules = []
        for zone_id, oid in self.clusters:
            rules += [
                _rule(gid, Kind.HOST, CLUSTER, oid, Right.MANAGE, zone_id),
                _rule(gid, Kind.NET, CLUSTER, oid, Right.USE, zone_id),
                _rule(gid, Kind.DATASTORE, CLUSTER, oid, Right.USE, zone_id),
            ]
        rules += [_rule(gid, Kind.HOST, INDIVIDUAL, oid, Right.MANAGE, zone_id) for zone_id, oid in self.hosts]
        rules += [_rule(gid, Kind.DATASTORE, INDIVIDUAL, oid, Right.USE, zone_id) for zone_id, oid in self.datastores]
        rules += [_rule(gid, Kind.NET, INDIVIDUAL, oid, Right.USE, zone_id) for zone_id, oid in self.vnets]
        return rules


def default(zone_id: int) -> Vdc:
    """The VDC that a new zone begins with: all clusters of the zone, no group yet."""
    return Vdc(DEFAULT_VDC, "default", [], [(zone_id, ALL_RESOURCES)], [], [], [], Template())


def find(tx: ReadTx, oid: int) -> Vdc | None:
    """One VDC, if it exists."""
    row = tx.row(_TABLE, oid)
    return None if row is None else Vdc.from_row(row)


def add_group(tx: SharedTx, oid: int, gid: int) -> None:
    """Put a group into a VDC and write its rules; nothing if the VDC is gone or has the group."""
    vdc = find(tx, oid)
    if vdc is None or gid in vdc.groups:
        return
    vdc.groups = sorted([*vdc.groups, gid])
    tx.update(_TABLE, vdc.as_row())
    for rule in vdc.rules_for(gid):
        acl.ensure(tx, rule)


def remove_group(tx: SharedTx, oid: int, gid: int) -> None:
    """Take a group out of a VDC, with those of its rules that no other VDC gives it."""
    vdc = find(tx, oid)
    if vdc is None or gid not in vdc.groups:
        return
    vdc.groups.remove(gid)
    tx.update(_TABLE, vdc.as_row())
    kept = {rule for other in _all_with(tx, gid) for rule in other.rules_for(gid)}
    for rule in vdc.rules_for(gid):
        if rule not in kept:
            acl.drop(tx, rule)


def drop_group(tx: SharedTx, gid: int) -> None:
    """Take a group out of every VDC."""
    for vdc in _all_with(tx, gid):
        remove_group(tx, vdc.oid, gid)


def _all_with(tx: ReadTx, gid: int) -> list[Vdc]:
    vdcs = (Vdc.from_row(row) for row in tx.rows(_TABLE))
    return [vdc for vdc in vdcs if gid in vdc.groups]


def _rule(gid: int, kind: Kind, selector: int, oid: int, right: Right, zone_id: int) -> Rule:
    field = resource([kind], ALL) if oid == ALL_RESOURCES else resource([kind], selector, oid)
    return Rule(group(gid), field, int(right), zone(zone_id))


def _members(root: xml.Element, kind: str) -> list[Member]:
    found = root.findall(f"{kind}S/{kind}")
    return sorted({(xml.int_of(node, "ZONE_ID"), xml.int_of(node, f"{kind}_ID")) for node in found})


def _members_xml(kind: str, members: list[Member]) -> str:
    inner = "".join(f"<{kind}><ZONE_ID>{zone_id}</ZONE_ID><{kind}_ID>{oid}</{kind}_ID></{kind}>" for zone_id, oid in members)
    return f"<{kind}S>{inner}</{kind}S>"

"""A VDC as a record, what it grants, and as replies show it.

Holds:    a grant is the same for every group of the VDC; with the group before it, it is a rule.
Not here: how stored rules follow the record (vdc_rules.py); who may change it (vdcs.py).
Source:   OpenNebula src/vdc/Vdc.cc (body, grants); DEFAULT_VDC_*_ACL of share/etc/oned.conf for the rights; share/doc/xsd/vdc.xsd.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import ConflictError, DefectError, NotFoundError
from koinon.identity import access, pool_lists
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.objects import xml
from koinon.objects.acl import ALL, CLUSTER, INDIVIDUAL, Right, Rule, group, resource, zone
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

ALL_RESOURCES: Final = -10
TABLE: Final = "vdc_pool"

_POOL_HEAD: Final = xml.escape("<VDC_POOL>").encode()
_POOL_TAIL: Final = xml.escape("</VDC_POOL>").encode()
_FIELDS: Final = {Kind.CLUSTER: "clusters", Kind.HOST: "hosts", Kind.DATASTORE: "datastores", Kind.NET: "vnets"}
#: Kinds of resources that a VDC can have.
KINDS: Final = frozenset(_FIELDS)
_OF_CLUSTER: Final = ((Kind.HOST, Right.MANAGE), (Kind.NET, Right.USE), (Kind.DATASTORE, Right.USE))

#: A resource of a zone: (zone id, resource id or ALL_RESOURCES).
Member = tuple[int, int]


class Grant(msgspec.Struct, frozen=True):
    """What one resource gives to every group of its VDC: a rule without its user field."""

    resource: int
    rights: int
    zone: int

    def to(self, gid: int) -> Rule:
        """The rule for one group."""
        return Rule(group(gid), self.resource, self.rights, self.zone)


class Vdc(msgspec.Struct):
    """One VDC. Groups are ascending; resources in the order of (zone, id).

    ``found`` are rules of this VDC that somebody had made by hand before any VDC gave them, ascending: they outlive it. They stand in
    the stored body and in no reply.
    """

    oid: int
    name: str
    groups: list[int]
    clusters: list[Member]
    hosts: list[Member]
    datastores: list[Member]
    vnets: list[Member]
    template: Template
    found: list[Rule] = []

    @classmethod
    def from_row(cls, row: PoolRow) -> Vdc:
        """Read a stored row. Raises DefectError if its body is not one of a VDC."""
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
                [Rule.parse(node.text or "", 0) for node in root.findall("FOUND_RULES/RULE")],
            )
        except ValueError as error:
            raise DefectError(f"The stored body of VDC {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> PoolRow:
        """The row to store."""
        found = "".join(f"<RULE>{rule.text()}</RULE>" for rule in self.found)
        body = self._xml(f"<FOUND_RULES>{found}</FOUND_RULES>" if found else "")
        return PoolRow(self.oid, self.name, body, uid=0, gid=0, owner_u=1, group_u=0, other_u=0)

    def shown(self) -> str:
        """The body as OpenNebula prints it."""
        return self._xml("")

    def members(self, kind: Kind) -> list[Member]:
        """The resources of one of the kinds in KINDS."""
        members: list[Member] = getattr(self, _FIELDS[kind])
        return members

    def with_members(self, kind: Kind, members: list[Member]) -> Vdc:
        """A copy that has these resources of one kind."""
        return msgspec.structs.replace(self, **{_FIELDS[kind]: sorted(members)})

    def with_group(self, gid: int) -> Vdc:
        """A copy that has this group too. Raises ConflictError if it has it already."""
        if gid in self.groups:
            raise ConflictError(f"Group {gid} is already assigned to the VDC {self.oid}")
        return msgspec.structs.replace(self, groups=sorted([*self.groups, gid]))

    def without_group(self, gid: int) -> Vdc:
        """A copy without this group. Raises ConflictError if it is not there."""
        if gid not in self.groups:
            raise ConflictError(f"Group {gid} is not assigned to the VDC {self.oid}")
        return msgspec.structs.replace(self, groups=[other for other in self.groups if other != gid])

    def with_member(self, kind: Kind, member: Member) -> Vdc:
        """A copy that has this resource too; ALL_RESOURCES takes the place of the zone's single ones.

        Raises:
            ConflictError: it has it already.
        """
        members, (zone_id, oid) = self.members(kind), member
        if member in members:
            raise ConflictError(f"{kind.acl_name} {oid} from Zone {zone_id} is already assigned to the VDC")
        return self.with_members(kind, [*(other for other in members if oid != ALL_RESOURCES or other[0] != zone_id), member])

    def without_member(self, kind: Kind, member: Member) -> Vdc:
        """A copy without this resource. Raises ConflictError if it is not there."""
        members, (zone_id, oid) = self.members(kind), member
        if member not in members:
            # The blank at the end is OpenNebula's.
            raise ConflictError(f"{kind.acl_name} {oid} from Zone {zone_id} is not assigned to the VDC ")
        return self.with_members(kind, [other for other in members if other != member])

    def grants(self) -> list[Grant]:
        """What the VDC gives to each of its groups, each grant once, in the order of resource numbers for each resource."""
        grants = [_grant(kind, CLUSTER, oid, right, zone_id) for zone_id, oid in self.clusters for kind, right in _OF_CLUSTER]
        grants += [_grant(Kind.HOST, INDIVIDUAL, oid, Right.MANAGE, zone_id) for zone_id, oid in self.hosts]
        grants += [_grant(Kind.DATASTORE, INDIVIDUAL, oid, Right.USE, zone_id) for zone_id, oid in self.datastores]
        grants += [_grant(Kind.NET, INDIVIDUAL, oid, Right.USE, zone_id) for zone_id, oid in self.vnets]
        return list(dict.fromkeys(grants))

    def rules_for(self, gid: int) -> list[Rule]:
        """The rules that membership gives a group."""
        return [grant.to(gid) for grant in self.grants()]

    def _xml(self, tail: str) -> str:
        return (
            f"<VDC><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>{xml.ids_xml('GROUPS', self.groups)}"
            f"{_members_xml('CLUSTER', self.clusters)}{_members_xml('HOST', self.hosts)}"
            f"{_members_xml('DATASTORE', self.datastores)}{_members_xml('VNET', self.vnets)}{self.template.to_xml()}{tail}</VDC>"
        )


def get(tx: ReadTx, oid: int) -> Vdc:
    """One VDC, free to be changed. Raises NotFoundError."""
    row = tx.row(TABLE, oid)
    if row is None:
        raise NotFoundError(Kind.VDC.label, oid)
    return Vdc.from_row(row)


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One VDC, if the caller may USE it. Raises NotFoundError, AuthorizationError."""
    access.require(tx, caller, Right.USE, access.target_of(tx, Kind.VDC, oid))
    return document(tx, oid)


def document(tx: ReadTx, oid: int) -> bytes:
    """One VDC, escaped for the reply, whoever asks. Raises NotFoundError."""
    made = tx.memo(TABLE, oid, "listed", _escaped)
    if made is None:
        raise NotFoundError(Kind.VDC.label, oid)
    return made


def pool_document(tx: ReadTx, caller: Caller, *, ascending: bool = False, selection: Selection = EVERYTHING) -> list[bytes]:
    """All VDCs that the caller may see, as chunks to be sent one after another; see ``pool_lists.listing`` for their order."""
    return [_POOL_HEAD, *pool_lists.listing(tx, caller, Kind.VDC, _escaped, ascending=ascending, selection=selection), _POOL_TAIL]


def _escaped(row: PoolRow) -> bytes:
    return xml.escape(Vdc.from_row(row).shown()).encode()


def _grant(kind: Kind, selector: int, oid: int, right: Right, zone_id: int) -> Grant:
    field = resource([kind], ALL) if oid == ALL_RESOURCES else resource([kind], selector, oid)
    return Grant(field, int(right), zone(zone_id))


def _members(root: xml.Element, kind: str) -> list[Member]:
    found = root.findall(f"{kind}S/{kind}")
    return sorted({(xml.int_of(node, "ZONE_ID"), xml.int_of(node, f"{kind}_ID")) for node in found})


def _members_xml(kind: str, members: list[Member]) -> str:
    inner = "".join(f"<{kind}><ZONE_ID>{zone_id}</ZONE_ID><{kind}_ID>{oid}</{kind}_ID></{kind}>" for zone_id, oid in members)
    return f"<{kind}S>{inner}</{kind}S>"

"""A group as a record, and as replies show it.

USERS are not in the stored body: they are derived from the users (membership.py) and put in when a document is made.
Source: OpenNebula src/group/Group.cc (order of the body, administrators' rules); share/doc/xsd/group.xsd, group_pool.xsd.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.accounting import quota_rows
from koinon.database.transactions import ReadTx
from koinon.errors import DefectError, NotFoundError
from koinon.identity import access, pool_lists
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.objects import xml
from koinon.objects.acl import ALL, GROUP, INDIVIDUAL, Right, Rule, all_zones, resource, user
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

OWN: Final = -1
_POOL_HEAD: Final = xml.escape("<GROUP_POOL>").encode()
_TABLE: Final = "group_pool"
_MEMBERS_OBJECTS: Final = (
    Kind.VM, Kind.NET, Kind.IMAGE, Kind.TEMPLATE, Kind.DOCUMENT, Kind.SECGROUP, Kind.VROUTER, Kind.VMGROUP, Kind.BACKUPJOB,
)  # fmt: skip


class Group(msgspec.Struct):
    """One group. ``admins`` is ascending."""

    oid: int
    name: str
    template: Template
    admins: list[int]

    @classmethod
    def from_row(cls, row: PoolRow) -> Group:
        """Read a stored row. Raises DefectError if its body is not one of a group."""
        try:
            root = xml.parse(row.body)
            template = root.find("TEMPLATE")
            return cls(
                row.oid,
                row.name,
                Template() if template is None else Template.from_element(template),
                sorted(set(xml.ids_of(root, "ADMINS"))),
            )
        except ValueError as error:
            raise DefectError(f"The stored body of group {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> PoolRow:
        """The row to store."""
        return PoolRow(self.oid, self.name, self._xml(""), uid=0, gid=self.oid, owner_u=1, group_u=1, other_u=0)

    def shown(self, users: list[int]) -> str:
        """The body with its members, as OpenNebula prints it."""
        return self._xml(xml.ids_xml("USERS", users))

    def _xml(self, users: str) -> str:
        return (
            f"<GROUP><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>{self.template.to_xml()}{users}"
            f"{xml.ids_xml('ADMINS', self.admins)}</GROUP>"
        )


def rules_of_admin(gid: int, uid: int) -> list[Rule]:
    """The four rules that make a user the administrator of a group; the third is the same for all of the user's groups."""
    who, everywhere = user(uid), all_zones()
    all_rights = Right.USE | Right.MANAGE | Right.ADMIN | Right.CREATE
    return [
        Rule(who, resource([Kind.USER], GROUP, gid), int(all_rights), everywhere),
        Rule(who, resource(_MEMBERS_OBJECTS, GROUP, gid), int(Right.USE | Right.MANAGE), everywhere),
        Rule(who, resource([Kind.VROUTER], ALL), int(Right.CREATE), everywhere),
        Rule(who, resource([Kind.GROUP], INDIVIDUAL, gid), int(Right.MANAGE), everywhere),
    ]


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One group, if the caller may USE it; -1 is the session's primary group.

    Raises:
        NotFoundError, AuthorizationError.
    """
    oid = caller.gid if oid == OWN else oid
    access.require(tx, caller, Right.USE, access.target_of(tx, Kind.GROUP, oid))
    return document(tx, oid)


def document(tx: ReadTx, oid: int) -> bytes:
    """One group, escaped for the reply, whoever asks. Raises NotFoundError."""
    made = tx.memo(_TABLE, oid, "document", lambda row: _document(tx, row))
    if made is None:
        raise NotFoundError(Kind.GROUP.label, oid)
    return made


def pool_document(tx: ReadTx, caller: Caller, *, ascending: bool = False, selection: Selection = EVERYTHING) -> list[bytes]:
    """All groups that the caller may see, as chunks to be sent one after another; see ``pool_lists.listing`` for their order."""
    tail = tx.table_memo(_TABLE, "pool tail", lambda: xml.escape(f"{quota_rows.default(tx, quota_rows.GROUPS)}</GROUP_POOL>").encode())
    return [
        _POOL_HEAD,
        *pool_lists.listing(tx, caller, Kind.GROUP, lambda row: _listed(tx, row), ascending=ascending, selection=selection),
        tail,
    ]


def _document(tx: ReadTx, row: PoolRow) -> bytes:
    open_body = Group.from_row(row).shown(tx.members(row.oid)).removesuffix("</GROUP>")
    quotas = quota_rows.inside(tx, quota_rows.GROUPS, row.oid)
    default = quota_rows.default(tx, quota_rows.GROUPS)
    return xml.escape(f"{open_body}{quotas}{quota_rows.vlan_rules(tx, row.oid)}{default}</GROUP>").encode()


def _listed(tx: ReadTx, row: PoolRow) -> bytes:
    body = Group.from_row(row).shown(tx.members(row.oid))
    return xml.escape(f"{body}{quota_rows.beside(tx, quota_rows.GROUPS, row.oid)}{quota_rows.vlan_rules(tx, row.oid)}").encode()

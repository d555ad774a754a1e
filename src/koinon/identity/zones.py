"""Zones as records that the whole federation shares: where each one is reached, and whether it is trusted.

Holds:    what federation needs to know of a zone (``PROTECTED``) is changed by federation alone, never by one.zone.update.
          A zone is enabled and disabled by itself: api/dispatch.py refuses such a call for another zone than the one that was asked.
Not here: how a zone comes into the federation (federation/); its servers (zone_servers.py).
Source:   OpenNebula src/zone/Zone.cc, src/zone/ZonePool.cc, src/rm/api/ZoneAPI.cc (effects and texts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import ActionError, AllocationError, DefectError, InvalidChangeError, InvalidError, NotFoundError, TakenError
from koinon.identity import access, acl, pool_lists, template_updates
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.objects import xml
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

FIRST_ID: Final = 100
ENABLED: Final = 0
DISABLED: Final = 1
#: Attributes of a zone's template that only federation writes.
PROTECTED: Final = ("FEDERATION_ENDPOINT", "PUBLIC_KEY", "TRUST", "INSTANCE")
#: Says ``YES`` if the zone's servers may make shared changes for its users.
ACT_FOR: Final = "ACT_FOR"
#: Attributes that only administrators change: they make a zone more powerful, and who manages a zone could be given more than they have.
RESTRICTED: Final = (ACT_FOR,)

_TABLE: Final = "zone_pool"
_POOL_HEAD: Final = xml.escape("<ZONE_POOL>").encode()
_POOL_TAIL: Final = xml.escape("</ZONE_POOL>").encode()


class Zone(msgspec.Struct):
    """One zone. ``servers`` are the vectors of its SERVER_POOL."""

    oid: int
    name: str
    state: int
    template: Template
    servers: list[dict[str, str]] = []

    @classmethod
    def from_row(cls, row: PoolRow) -> Zone:
        """Read a stored row. Raises DefectError if its body is not one of a zone."""
        try:
            root = xml.parse(row.body)
            template, servers = root.find("TEMPLATE"), root.find("SERVER_POOL")
            return cls(
                row.oid,
                row.name,
                xml.int_of(root, "STATE", ENABLED),
                Template() if template is None else Template.from_element(template),
                [] if servers is None else Template.from_element(servers).vectors("SERVER"),
            )
        except ValueError as error:
            raise DefectError(f"The stored body of zone {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> PoolRow:
        """The row to store."""
        servers = Template()
        for server in self.servers:
            servers.add("SERVER", server)
        body = (
            f"<ZONE><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME><STATE>{self.state}</STATE>"
            f"{self.template.to_xml()}{servers.to_xml('SERVER_POOL')}</ZONE>"
        )
        return PoolRow(self.oid, self.name, body, uid=0, gid=0, owner_u=1, group_u=0, other_u=0)

    @property
    def endpoint(self) -> str:
        """Where people and clients reach it."""
        return self.template.get("ENDPOINT") or ""


def find(tx: ReadTx, oid: int) -> Zone | None:
    """One zone, if it is known; the record is computed once per version and must not be changed."""
    return tx.memo(_TABLE, oid, "record", Zone.from_row)


def named(tx: ReadTx, name: str) -> Zone | None:
    """The zone with this name."""
    row = tx.named(_TABLE, name)
    return None if row is None else Zone.from_row(row)


def all_zones(tx: ReadTx) -> list[Zone]:
    """Every known zone, ascending by id."""
    return [Zone.from_row(row) for row in tx.rows(_TABLE)]


def create(tx: SharedTx, caller: Caller, text: str) -> int:
    """Add a zone's record from a template with NAME and ENDPOINT; its id.

    Raises:
        AllocationError: this zone is no master.
        AuthorizationError: the caller lacks ZONE:CREATE.
        InvalidError, TakenError: the template can't be read, or has no ENDPOINT; the name is not allowed, or taken.
    """
    if tx.state.role != "master":
        raise AllocationError(Kind.ZONE.label, "New zones can only be created at federation master")
    try:
        template = Template.parse(text)
    except ValueError as error:
        raise InvalidError(str(error)) from error
    access.require(tx, caller, Right.CREATE, access.new_object(caller, Kind.ZONE))
    name = template.get("NAME") or ""
    for attribute in ("NAME", "SERVER", *PROTECTED, *(() if caller.is_admin else RESTRICTED)):
        template.remove(attribute)
    if not template.get("ENDPOINT"):
        raise InvalidError("ENDPOINT not present in template.")
    return add(tx, name, template)


def add(tx: SharedTx, name: str, template: Template) -> int:
    """Add a zone's record, whoever asks; its id.

    Raises:
        InvalidError, TakenError: the name is not allowed, or taken.
    """
    require_name(name, Kind.ZONE)
    taken = tx.named(_TABLE, name)
    if taken is not None:
        raise TakenError(Kind.ZONE.acl_name, taken.oid)
    oid = tx.next_id(_TABLE, at_least=FIRST_ID)
    tx.insert(_TABLE, Zone(oid, name, ENABLED, template).as_row())
    return oid


def update(tx: SharedTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a zone's template; what federation keeps there stays. Needs ZONE:MANAGE.

    Raises:
        NotFoundError, AuthorizationError; BadArgumentError, InvalidError, RestrictedError as ``template_updates.updated``.
    """
    access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.ZONE, oid))
    zone = get(tx, oid)
    before = zone.template
    zone.template = template_updates.updated(before, text, update_type, restricted=() if caller.is_admin else RESTRICTED)
    zone.template.remove("SERVER")
    for name in PROTECTED:
        zone.template.remove(name)
        for value in before.values(name):
            zone.template.add(name, value)
    if not zone.template.get("ENDPOINT"):
        zone.template.set("ENDPOINT", "-")
    store(tx, zone)
    return oid


def set_attributes(tx: SharedTx, oid: int, values: Mapping[str, str | None]) -> None:
    """Change single attributes, whoever asks; None removes one. Raises NotFoundError."""
    zone = get(tx, oid)
    for name, value in values.items():
        if value is None:
            zone.template.remove(name)
        else:
            zone.template.set(name, value)
    store(tx, zone)


def rename(tx: SharedTx, caller: Caller, oid: int, name: str) -> int:
    """Give a zone another name. Needs ZONE:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: the name is not allowed.
        ActionError: it belongs to another zone.
    """
    target = access.target_of(tx, Kind.ZONE, oid)
    zone = get(tx, oid)
    if zone.name == name:
        return oid
    access.require(tx, caller, Right.MANAGE, target)
    taken = tx.named(_TABLE, name)
    if taken is not None:
        raise ActionError(f"zone cannot be renamed to {name} because it collides with zone {taken.oid}", object_id=oid)
    try:
        zone.name = require_name(name, Kind.ZONE)
    except InvalidError as error:
        raise InvalidChangeError(error.text, object_id=oid) from error
    store(tx, zone)
    return oid


def delete(tx: SharedTx, caller: Caller, oid: int) -> int:
    """Remove a zone's record and the rules that count in it alone. Needs ZONE:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: a system zone, or the zone that runs this.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.ZONE, oid))
    if oid < FIRST_ID:
        raise ActionError("Cannot delete zone. System Zones (ID < 100) cannot be deleted.", object_id=oid)
    if oid == tx.state.zone_id:
        raise ActionError("Cannot delete zone. It is the one that answers: promote another zone first.", object_id=oid)
    tx.delete(_TABLE, oid)
    acl.drop_of_zone(tx, oid)
    return oid


def set_enabled(tx: SharedTx, caller: Caller, oid: int, enabled: bool) -> int:
    """Enable or disable a zone, asked for in that zone. Needs ZONE:ADMIN. Raises NotFoundError, AuthorizationError."""
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.ZONE, oid))
    zone = get(tx, oid)
    zone.state = ENABLED if enabled else DISABLED
    store(tx, zone)
    return oid


def is_enabled(tx: ReadTx, oid: int) -> bool:
    """Whether a zone takes calls; an unknown one does."""
    zone = find(tx, oid)
    return zone is None or zone.state == ENABLED


def acts_for_users(tx: ReadTx, oid: int) -> bool:
    """Whether a zone's servers may make shared changes for its users; an unknown zone's may not."""
    return bool(tx.memo(_TABLE, oid, "acts for users", lambda row: Zone.from_row(row).template.get(ACT_FOR) == "YES"))


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One zone, if the caller may USE it. Raises NotFoundError, AuthorizationError."""
    access.require(tx, caller, Right.USE, access.target_of(tx, Kind.ZONE, oid))
    return document(tx, oid)


def document(tx: ReadTx, oid: int) -> bytes:
    """One zone, escaped for the reply, whoever asks. Raises NotFoundError."""
    made = tx.memo(_TABLE, oid, "listed", _escaped)
    if made is None:
        raise NotFoundError(Kind.ZONE.label, oid)
    return made


def pool_document(tx: ReadTx, caller: Caller, *, ascending: bool = False, selection: Selection = EVERYTHING) -> list[bytes]:
    """All zones that the caller may see, as chunks to be sent one after another; see ``pool_lists.listing`` for their order."""
    return [_POOL_HEAD, *pool_lists.listing(tx, caller, Kind.ZONE, _escaped, ascending=ascending, selection=selection), _POOL_TAIL]


def _escaped(row: PoolRow) -> bytes:
    return xml.escape(row.body).encode()


def get(tx: ReadTx, oid: int) -> Zone:
    """One zone, free to be changed. Raises NotFoundError."""
    row = tx.row(_TABLE, oid)
    if row is None:
        raise NotFoundError(Kind.ZONE.label, oid)
    return Zone.from_row(row)


def store(tx: SharedTx, zone: Zone) -> None:
    """Write a changed zone."""
    tx.update(_TABLE, zone.as_row())

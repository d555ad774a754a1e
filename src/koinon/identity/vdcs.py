"""VDCs: groups tied to the resources of zones, and the ACL rules that follow.

Path:     api/vdcs.py, groups.py -> an operation -> vdc_rules.store()
Holds:    every rule of a VDC names its zone; ids below 100 can't be deleted.
Not here: the record and what it grants (vdc_record.py); the rules that are stored for it (vdc_rules.py).
Source:   OpenNebula src/rm/api/VdcAPI.cc, src/vdc/VdcPool.cc (effects and texts).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import ActionError, InvalidChangeError, InvalidError, NotFoundError, TakenError
from koinon.identity import access, template_updates, vdc_rules
from koinon.identity.vdc_record import ALL_RESOURCES, TABLE, Member, Vdc, document, get, pool_document, show
from koinon.identity.vdc_rules import drop_group, drop_resource
from koinon.objects.acl import INDIVIDUAL, Right, resource
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.policy.decide import Target

__all__ = [
    "ALL_RESOURCES", "DEFAULT_VDC", "FIRST_ID", "Member", "Vdc", "add_group", "add_resource", "create", "default", "delete", "document",
    "drop_group", "drop_resource", "find", "get", "give_to_group", "pool_document", "remove_resource", "rename",
    "require_addition", "show", "take_from_group", "update",
]  # fmt: skip

DEFAULT_VDC: Final = 0
FIRST_ID: Final = 100

#: Finds a resource of this zone; None if the zone keeps none of the kind. Raises NotFoundError if it does, and not this one.
LocalTarget = Callable[[ReadTx, Kind, int], Target | None]

_DESCRIPTION: Final = (
    "Every new group joins this VDC, so its resources are open to all groups. Take a group out before you give it a VDC of its own."
)


def default(zone_id: int) -> Vdc:
    """The VDC that a new zone begins with: all clusters of the zone, no group yet."""
    template = Template()
    template.set("DESCRIPTION", _DESCRIPTION)
    return Vdc(DEFAULT_VDC, "default", [], [(zone_id, ALL_RESOURCES)], [], [], [], template)


def find(tx: ReadTx, oid: int) -> Vdc | None:
    """One VDC, if it exists."""
    row = tx.row(TABLE, oid)
    return None if row is None else Vdc.from_row(row)


def create(tx: SharedTx, caller: Caller, text: str) -> int:
    """Add a VDC from a template with NAME; it has no groups and no resources yet.

    Returns:
        Its id.

    Raises:
        AuthorizationError: the caller lacks VDC:CREATE.
        InvalidError, TakenError: the template can't be read; the name is missing, not allowed, or taken.
    """
    try:
        template = Template.parse(text)
    except ValueError as error:
        raise InvalidError(str(error)) from error
    access.require(tx, caller, Right.CREATE, access.new_object(caller, Kind.VDC))
    name = require_name(template.get("NAME") or "", Kind.VDC)
    template.remove("NAME")
    taken = tx.named(TABLE, name)
    if taken is not None:
        raise TakenError("Vdc", taken.oid)
    oid = tx.next_id(TABLE, at_least=FIRST_ID)
    vdc_rules.store(tx, oid, None, Vdc(oid, name, [], [], [], [], [], template))
    return oid


def update(tx: SharedTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a VDC's template; see ``template_updates.updated`` for the types and failures. Needs VDC:MANAGE."""
    access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.VDC, oid))
    vdc = get(tx, oid)
    vdc.template = template_updates.updated(vdc.template, text, update_type, restricted=())
    tx.update(TABLE, vdc.as_row())
    return oid


def rename(tx: SharedTx, caller: Caller, oid: int, name: str) -> int:
    """Give a VDC another name. Needs VDC:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: the name is not allowed.
        ActionError: it belongs to another VDC.
    """
    access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.VDC, oid))
    vdc = get(tx, oid)
    if vdc.name == name:
        return oid
    taken = tx.named(TABLE, name)
    if taken is not None:
        raise ActionError(f"VDC cannot be renamed to {name} because it collides with VDC {taken.oid}", object_id=oid)
    try:
        vdc.name = require_name(name, Kind.VDC)
    except InvalidError as error:
        raise InvalidChangeError(error.text, object_id=oid) from error
    tx.update(TABLE, vdc.as_row())
    return oid


def delete(tx: SharedTx, caller: Caller, oid: int) -> int:
    """Remove a VDC, the rules that it alone gives, and the rules about it. Needs VDC:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: a system VDC.
    """
    access.require(tx, caller, Right.ADMIN, access.target_of(tx, Kind.VDC, oid))
    if oid < FIRST_ID:
        raise ActionError("Cannot delete VDC. System VDCs (ID < 100) cannot be deleted.", object_id=oid)
    vdc_rules.store(tx, oid, get(tx, oid), None)
    about = resource([Kind.VDC], INDIVIDUAL, oid)
    for rule in tx.acl():
        if rule.resource == about:
            tx.delete("acl", rule.oid)
    return oid


def give_to_group(tx: SharedTx, caller: Caller, oid: int, gid: int) -> int:
    """Give a group the resources of a VDC. Needs VDC:ADMIN and GROUP:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ConflictError: the VDC has the group already.
    """
    needs = [(Right.ADMIN, access.target_of(tx, Kind.VDC, oid)), (Right.ADMIN, access.target_of(tx, Kind.GROUP, gid))]
    access.require_all(tx, caller, needs)
    before = get(tx, oid)
    vdc_rules.store(tx, oid, before, before.with_group(gid))
    return oid


def take_from_group(tx: SharedTx, caller: Caller, oid: int, gid: int) -> int:
    """Take the resources of a VDC from a group, which may be gone itself. Needs VDC:ADMIN and GROUP:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ConflictError: the VDC does not have the group.
    """
    vdc, group = access.target_of(tx, Kind.VDC, oid), access.the_whole(Kind.GROUP)
    if tx.row(Kind.GROUP.table, gid) is not None:
        group = access.target_of(tx, Kind.GROUP, gid)
    access.require_all(tx, caller, [(Right.ADMIN, vdc), (Right.ADMIN, group)])
    before = get(tx, oid)
    vdc_rules.store(tx, oid, before, before.without_group(gid))
    return oid


def add_resource(tx: SharedTx, caller: Caller, oid: int, zone_id: int, resource_id: int, *, kind: Kind, local_target: LocalTarget) -> int:
    """Open a resource of a zone to the groups of a VDC. Needs VDC:ADMIN, ZONE:ADMIN, and ADMIN on a single resource of this zone.

    The zone must be one of the federation. Whether another zone has such a resource can't be asked inside a write; a rule for what is
    not there opens nothing.

    Args:
        tx: the write.
        caller: who asks.
        oid: the VDC.
        zone_id: where the resource is.
        resource_id: which one; ALL_RESOURCES takes the place of the zone's single ones.
        kind: CLUSTER, HOST, DATASTORE or NET.
        local_target: finds what this zone keeps for itself.

    Raises:
        NotFoundError: no such VDC, zone or resource of this zone, or an id that no resource can have.
        AuthorizationError: a right is missing.
        ConflictError: the VDC has the resource already.
    """
    after = require_addition(tx, caller, oid, zone_id, resource_id, kind=kind, local_target=local_target)
    vdc_rules.store(tx, oid, get(tx, oid), after)
    return oid


def require_addition(tx: ReadTx, caller: Caller, oid: int, zone_id: int, resource_id: int, *, kind: Kind, local_target: LocalTarget) -> Vdc:
    """The VDC as ``add_resource`` with the same arguments would leave it; raises what it would raise."""
    needs = [(Right.ADMIN, access.target_of(tx, Kind.VDC, oid)), (Right.ADMIN, access.target_of(tx, Kind.ZONE, zone_id))]
    if resource_id != ALL_RESOURCES:
        if resource_id < 0:
            raise NotFoundError(kind.label, resource_id)
        found = local_target(tx, kind, resource_id) if zone_id == tx.state.zone_id else None
        if found is not None:
            needs.append((Right.ADMIN, found))
    access.require_all(tx, caller, needs)
    return get(tx, oid).with_member(kind, (zone_id, resource_id))


def remove_resource(
    tx: SharedTx, caller: Caller, oid: int, zone_id: int, resource_id: int, *, kind: Kind, local_target: LocalTarget
) -> int:
    """Take a resource of a zone from a VDC. Needs the same rights as ``add_resource`` on what of it still exists.

    Raises:
        NotFoundError: no such VDC.
        AuthorizationError: a right is missing.
        ConflictError: the VDC does not have the resource.
    """
    needs = [(Right.ADMIN, access.target_of(tx, Kind.VDC, oid))]
    if tx.row(Kind.ZONE.table, zone_id) is not None:
        needs.append((Right.ADMIN, access.target_of(tx, Kind.ZONE, zone_id)))
    if resource_id != ALL_RESOURCES and zone_id == tx.state.zone_id:
        with suppress(NotFoundError):
            found = local_target(tx, kind, resource_id)
            if found is not None:
                needs.append((Right.ADMIN, found))
    access.require_all(tx, caller, needs)
    before = get(tx, oid)
    vdc_rules.store(tx, oid, before, before.without_member(kind, (zone_id, resource_id)))
    return oid


def add_group(tx: SharedTx, oid: int, gid: int) -> None:
    """Put a group into a VDC, whoever asks; nothing if the VDC is gone or has the group."""
    vdc = find(tx, oid)
    if vdc is not None and gid not in vdc.groups:
        vdc_rules.store(tx, oid, vdc, vdc.with_group(gid))

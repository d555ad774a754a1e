"""What a change of rules would grant and remove, before it is made: read from one snapshot, told with names, in a bounded answer.

Path:     `koinon policy diff` -> koinon.acl.diff -> difference() -> policy/diff.py, diff_summary.py
Holds:    nothing is changed. Objects that this zone does not keep are told in general (``HOST/%5``), as rules write them.
Not here: how differences are found (policy/diff.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import BadArgumentError, ConflictError, InvalidError, MissingError
from koinon.identity import access, zones
from koinon.identity.user_record import Account
from koinon.identity.vdc_plans import Id, VdcChange, planned
from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import SHARED_TABLE_OF, Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target
from koinon.policy.diff import differences
from koinon.policy.diff_summary import Line, Party, summarise

#: All objects of a kind that this zone alone keeps; None for kinds that it doesn't keep.
LocalTargets = Callable[[ReadTx, Kind], Sequence[Target] | None]

_LINES: Final = 200
_NAMES: Final = 10
_MOST_CHANGES: Final = 100
_FORM: Final = 'They are written {"add": ["RULE"], "remove": [ID], "vdc": {"id": ID, "add_groups": [ID]}}, each part if needed.'


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    """What would be done.

    Attributes:
        add: rules to add, as text; one without a zone counts in the zone that is asked.
        remove: ids of rules to remove.
        vdc: what to change of a VDC.
    """

    add: list[str] = []
    remove: list[Id] = []
    vdc: VdcChange | None = None


def difference(tx: ReadTx, caller: Caller, wanted: str, *, local_targets: LocalTargets) -> str:
    """What would change, as JSON text.

    Args:
        tx: a read; everything is taken from its one snapshot.
        caller: who asks, with ACL:MANAGE.
        wanted: ``Changes`` as JSON.
        local_targets: finds what zones keep for themselves.

    Raises:
        AuthorizationError: the caller lacks ACL:MANAGE.
        BadArgumentError: the changes can't be read, or there are none, or too many.
        NotFoundError: no such VDC, or no group or zone that it could have.
        InvalidError, ConflictError, MissingError: a rule is malformed, there already, or not there: the texts of the changes themselves.
    """
    access.require(tx, caller, Right.MANAGE, access.the_whole(Kind.ACL))
    stored = {row.oid: Rule(row.userset, row.resource, row.rights, row.zone) for row in tx.acl()}
    changes = _read(wanted)
    added, removed = _added(changes.add, set(stored.values()), tx.state.zone_id), _removed(changes.remove, stored)
    if changes.vdc is not None:
        plan = planned(tx, changes.vdc)
        known = {*stored.values(), *added}
        added += [rule for rule in plan.given if rule not in known]
        removed |= {oid: rule for oid, rule in stored.items() if rule in set(plan.surplus)}
    before = list(stored.values())
    gone = set(removed.values())
    after = [rule for rule in before if rule not in gone] + added
    return _told(tx, before, after, added, removed, local_targets)


def _told(
    tx: ReadTx, before: list[Rule], after: list[Rule], added: list[Rule], removed: dict[int, Rule], local_targets: LocalTargets
) -> str:
    accounts = {account.uid: account for account in tx.memos("user_pool", "account", Account.from_row)}
    here = tx.state.zone_id
    people = [Caller(one.uid, one.gid, one.groups, one.name, here) for one in accounts.values()]
    known: dict[tuple[int, Kind], Sequence[Target] | None] = {}

    def objects(zone_id: int, kind: Kind) -> Sequence[Target] | None:
        # What all zones share is read once; what zones keep for themselves is known of this one only.
        place = here if kind in SHARED_TABLE_OF else zone_id
        if (place, kind) not in known:
            known[place, kind] = _objects(tx, place, kind, local_targets)
        return known[place, kind]

    zone_names = {zone.oid: zone.name for zone in zones.all_zones(tx)}
    found = differences(before, after, people, sorted(zone_names), objects)
    changed = set(before) ^ set(after)
    lines = summarise(found, changed, people, lambda zone_id, kind: objects(zone_id, kind) is not None)
    sizes = _sizes(accounts.values())
    return msgspec.json.encode(
        {
            "add": [rule.text() for rule in added],
            "remove": [{"id": oid, "rule": rule.text()} for oid, rule in removed.items()],
            "answered_by": here,
            "lines": [_line(tx, line, accounts, sizes, zone_names) for line in lines[:_LINES]],
            "left_off": max(0, len(lines) - _LINES),
            "notes": _notes(changed, set(accounts), sizes, set(zone_names)),
        }
    ).decode()


def _read(wanted: str) -> Changes:
    try:
        changes = msgspec.json.decode(wanted, type=Changes)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadArgumentError(f"The changes can't be read: {error}. {_FORM}") from error
    count = len(changes.add) + len(changes.remove) + (0 if changes.vdc is None else changes.vdc.count())
    if not 0 < count <= _MOST_CHANGES:
        raise BadArgumentError(f"There are {count} changes; 1 to {_MOST_CHANGES} can be looked at together.")
    return changes


def _added(texts: list[str], stored: set[Rule], default_zone: int) -> list[Rule]:
    found: list[Rule] = []
    for text in texts:
        try:
            rule = Rule.parse(text, default_zone)
        except ValueError as error:
            raise InvalidError(f"Rule is malformed: {error}") from error
        mistakes = acl.problems(rule)
        if mistakes:
            raise InvalidError(f"Rule {rule.text()} is malformed: {'; '.join(mistakes)}")
        if rule in stored or rule in found:
            raise ConflictError(f"Rule {rule.text()} already exists")
        found.append(rule)
    return found


def _removed(oids: list[int], stored: dict[int, Rule]) -> dict[int, Rule]:
    for oid in oids:
        if oid not in stored:
            raise MissingError(f"Rule {oid} does not exist")
    return {oid: stored[oid] for oid in oids}


def _objects(tx: ReadTx, zone_id: int, kind: Kind, local_targets: LocalTargets) -> Sequence[Target] | None:
    if kind is Kind.ACL:
        return None  # rules are no objects with rights of their own
    if kind in SHARED_TABLE_OF:
        return access.targets_of(tx, kind)
    return local_targets(tx, kind) if zone_id == tx.state.zone_id else None


def _sizes(accounts: Any) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for account in accounts:
        for gid in account.groups:
            sizes[gid] = sizes.get(gid, 0) + 1
    return sizes


def _line(tx: ReadTx, line: Line, accounts: dict[int, Account], sizes: dict[int, int], zone_names: dict[int, str]) -> dict[str, Any]:
    party: dict[str, Any] = {"kind": "user" if line.party.is_user else "group", "id": line.party.oid, "name": _name(tx, line.party)}
    objects = None
    if line.oids is not None:
        objects = {"count": len(line.oids), "some": line.oids[:_NAMES], "pairs": line.pairs}
    return {
        "change": "grant" if line.granted else "remove",
        "right": line.right.name,
        "kind": line.kind.acl_name,
        "for": party,
        "users": {
            "count": len(line.uids),
            "of": 1 if line.party.is_user else sizes.get(line.party.oid, 0),
            "some": [{"id": uid, "name": accounts[uid].name} for uid in line.uids[:_NAMES]],
        },
        "zones": [{"id": zone_id, "name": zone_names[zone_id]} for zone_id in line.zones],
        "every_zone": len(line.zones) == len(zone_names),
        "places": line.places,
        "objects": objects,
    }


def _name(tx: ReadTx, party: Party) -> str:
    row = tx.row("user_pool" if party.is_user else "group_pool", party.oid)
    return "" if row is None else row.name


def _notes(changed: set[Rule], uids: set[int], sizes: dict[int, int], zone_ids: set[int]) -> list[str]:
    """Why a rule may do less than its writer thinks."""
    notes = []
    for rule in sorted(changed, key=msgspec.structs.astuple):
        who, where = rule.user & acl.ID_MASK, rule.zone & acl.ID_MASK
        if rule.user & acl.INDIVIDUAL and who not in uids:
            notes.append(f"{rule.text()}: there is no user {who}.")
        if rule.user & acl.GROUP and not sizes.get(who):
            notes.append(f"{rule.text()}: group {who} has no members.")
        if rule.zone & acl.INDIVIDUAL and where not in zone_ids:
            notes.append(f"{rule.text()}: there is no zone {where}.")
    return notes[:_LINES]

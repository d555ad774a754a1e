"""What another set of rules would change: who could then, or could no longer, do what, to which objects, in which zones.

Path:     rules before, rules after, people, objects -> differences() -> diff_summary.py
Holds:    what is told of objects that are there is exactly what decide() would answer before and after. For others, such as those that
          only another zone knows and those still to come, one object stands for all that a changed rule is about: it has the one trait
          that the rule asks for (a cluster, a group, an id) and no permissions. Whoever gains or loses an object by the change gains or
          loses that one.
          Each right is looked at by itself, as calls ask for them.
Not here: where rules, people and objects are read (identity/rule_changes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, decide
from koinon.policy.rules import RuleSet

#: The objects of a kind in a zone; None if they are not known.
Objects = Callable[[int, Kind], Sequence[Target] | None]

_NOBODY: Final = -2  # no object is owned by it, no rule is for it
_TO_OBJECTS: Final = (Right.USE, Right.MANAGE, Right.ADMIN)


class Difference(msgspec.Struct, frozen=True):
    """One right to one object in one zone.

    Attributes:
        granted: whether it is gained; else it is lost.
        zone_id: where.
        right: USE, MANAGE, ADMIN or CREATE.
        target: the object. If ``is_known`` is off: any that has just these traits; for CREATE a new one, of this group.
        is_known: whether the object is there.
        uids: who gains or loses.
    """

    granted: bool
    zone_id: int
    right: Right
    target: Target
    is_known: bool
    uids: frozenset[int]


class _Class(msgspec.Struct):
    """People whom rules can't tell apart: one answer holds for all of them but for the owner of an object."""

    caller: Caller
    uids: set[int]


def differences(
    before: Iterable[Rule], after: Iterable[Rule], people: Sequence[Caller], zones: Sequence[int], objects: Objects
) -> Iterator[Difference]:
    """All that the change does.

    Args:
        before: the rules there are.
        after: the rules there would be.
        people: whose rights are looked at, with all their groups.
        zones: the zones to look at.
        objects: what there is.
    """
    old, new = frozenset(before), frozenset(after)
    changed = old ^ new
    for zone_id in zones:
        here = [rule for rule in changed if rule.zone in (acl.all_zones(), acl.zone(zone_id))]
        if not here:
            continue
        rules = (RuleSet.compile(old, zone_id), RuleSet.compile(new, zone_id))
        for kind in Kind:
            about = [rule for rule in here if rule.resource & kind.bit]
            classes = _classes(people, about, kind, rules)
            if about and classes:
                yield from _of_kind(zone_id, kind, about, classes, rules, objects(zone_id, kind))


def _of_kind(
    zone_id: int, kind: Kind, about: list[Rule], classes: list[_Class], rules: tuple[RuleSet, RuleSet], known: Sequence[Target] | None
) -> Iterator[Difference]:
    rights = 0
    for rule in about:
        rights |= rule.rights
    there = known or ()
    samples = _samples(kind, about, {target.oid for target in there})
    for right in _TO_OBJECTS:
        if not rights & right:
            continue
        for target in there:
            if any(_covers(rule, target) for rule in about):
                yield from _compare(zone_id, right, target, True, classes, rules)
        for target in samples:
            yield from _compare(zone_id, right, target, False, classes, rules)
    if rights & Right.CREATE:
        for gid in sorted({one.caller.gid for one in classes}):
            makers = [one for one in classes if one.caller.gid == gid]
            yield from _compare(zone_id, Right.CREATE, Target(kind, gid=gid), False, makers, rules)


def _compare(
    zone_id: int, right: Right, target: Target, is_known: bool, classes: list[_Class], rules: tuple[RuleSet, RuleSet]
) -> Iterator[Difference]:
    gained: set[int] = set()
    lost: set[int] = set()
    for one in classes:
        was, will = (decide(one.caller, right, target, side) for side in rules)
        owner = {target.uid} & one.uids
        if was != will:
            (gained if will else lost).update(one.uids - owner)
        for uid in owner:
            was, will = (decide(msgspec.structs.replace(one.caller, uid=uid), right, target, side) for side in rules)
            if was != will:
                (gained if will else lost).add(uid)
    if gained:
        yield Difference(True, zone_id, right, target, is_known, frozenset(gained))
    if lost:
        yield Difference(False, zone_id, right, target, is_known, frozenset(lost))


def _classes(people: Sequence[Caller], about: list[Rule], kind: Kind, rules: tuple[RuleSet, RuleSet]) -> list[_Class]:
    whose = {rule.user for rule in about}
    found: dict[tuple[int, int, tuple[int, ...]], _Class] = {}
    for caller in people:
        if caller.is_admin or whose.isdisjoint((acl.everyone(), acl.user(caller.uid), *map(acl.group, caller.groups))):
            continue
        own = acl.user(caller.uid) | kind.bit
        uid = caller.uid if any(own in side.grants for side in rules) else _NOBODY
        key = (uid, caller.gid, caller.groups)
        if key not in found:
            found[key] = _Class(msgspec.structs.replace(caller, uid=uid), set())
        found[key].uids.add(caller.uid)
    return list(found.values())


def _samples(kind: Kind, about: list[Rule], known: set[int]) -> list[Target]:
    found: dict[Target, None] = {}
    for rule in about:
        selector, oid = rule.resource & acl.SELECTOR_MASK, rule.resource & acl.ID_MASK
        if selector == acl.ALL:
            found[Target(kind)] = None
        elif selector == acl.GROUP:
            found[Target(kind, gid=oid)] = None
        elif selector == acl.CLUSTER:
            found[Target(kind, clusters=(oid,))] = None
        elif selector == acl.INDIVIDUAL and oid not in known:
            found[Target(kind, oid)] = None
    return list(found)


def _covers(rule: Rule, target: Target) -> bool:
    selector, oid = rule.resource & acl.SELECTOR_MASK, rule.resource & acl.ID_MASK
    if selector == acl.INDIVIDUAL:
        return oid == target.oid
    if selector == acl.GROUP:
        return oid == target.gid
    return selector == acl.ALL or oid in target.clusters

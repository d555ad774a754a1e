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

#: What decides about a kind in a zone: its objects, and the rules before and after.
_Question = tuple[Kind, int, frozenset[tuple[int, int, int]], frozenset[tuple[int, int, int]]]

_NOBODY: Final = -2  # no object is owned by it, no rule is for it
_TO_OBJECTS: Final = (Right.USE, Right.MANAGE, Right.ADMIN)


class Difference(msgspec.Struct, frozen=True):
    """One right to objects of one kind in one zone.

    Attributes:
        granted: whether it is gained; else it is lost.
        zone_id: where.
        right: USE, MANAGE, ADMIN or CREATE.
        targets: the objects. If ``is_known`` is off it is one, and stands for all that have just its traits; for CREATE for new ones of
            its group.
        is_known: whether the objects are there.
        uids: who gains or loses.
        own: off, each of them does so for each of the objects but those they own; on, each for those they own.
    """

    granted: bool
    zone_id: int
    right: Right
    targets: tuple[Target, ...]
    is_known: bool
    uids: frozenset[int]
    own: bool = False

    @property
    def kind(self) -> Kind:
        """What they are."""
        return self.targets[0].kind


class _Class(msgspec.Struct):
    """People whom rules can't tell apart: one answer holds for all of them, but for what they own."""

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
    found: dict[_Question, tuple[Sequence[Target] | None, list[Difference]]] = {}  # holds the objects: their identity must stay theirs
    for zone_id in zones:
        here = (acl.all_zones(), acl.zone(zone_id))
        if all(rule.zone not in here for rule in changed):
            continue
        rules = (RuleSet.compile(old, zone_id), RuleSet.compile(new, zone_id))
        for kind in Kind:
            about = [rule for rule in changed if rule.zone in here and rule.resource & kind.bit]
            if not about:
                continue
            known = objects(zone_id, kind)
            # Where the same rules count for the same objects, the answer is the same: most zones differ in few rules.
            question = (kind, id(known), _bare(rules[0], kind), _bare(rules[1], kind))
            if question not in found:
                classes = _classes(people, about, kind, rules)
                found[question] = known, list(_of_kind(zone_id, kind, about, classes, rules, known)) if classes else []
            yield from (msgspec.structs.replace(one, zone_id=zone_id) for one in found[question][1])


def _bare(rules: RuleSet, kind: Kind) -> frozenset[tuple[int, int, int]]:
    return frozenset((rule.user, rule.resource, rule.rights) for rule in rules.rules if rule.resource & kind.bit)


def _of_kind(
    zone_id: int, kind: Kind, about: list[Rule], classes: list[_Class], rules: tuple[RuleSet, RuleSet], known: Sequence[Target] | None
) -> Iterator[Difference]:
    rights = 0
    for rule in about:
        rights |= rule.rights
    there = known or ()
    alike = _alike([target for target in there if any(_covers(rule, target) for rule in about)], kind, rules)
    samples = _samples(kind, about, {target.oid for target in there})
    callers = {uid: msgspec.structs.replace(one.caller, uid=uid) for one in classes for uid in one.uids}
    for right in _TO_OBJECTS:
        if not rights & right:
            continue
        for targets in alike:
            nobodys = msgspec.structs.replace(targets[0], uid=-1)
            yield from _sides(zone_id, right, targets, True, _compare(right, nobodys, classes, rules))
            yield from _of_owners(zone_id, right, targets, callers, rules)
        for target in samples:
            yield from _sides(zone_id, right, (target,), False, _compare(right, target, classes, rules))
    if rights & Right.CREATE:
        for gid in sorted({one.caller.gid for one in classes}):
            new = Target(kind, gid=gid)
            makers = [one for one in classes if one.caller.gid == gid]
            yield from _sides(zone_id, Right.CREATE, (new,), False, _compare(Right.CREATE, new, makers, rules))


def _compare(right: Right, target: Target, classes: list[_Class], rules: tuple[RuleSet, RuleSet]) -> tuple[set[int], set[int]]:
    """Who gains and who loses an object that is nobody's own."""
    gained: set[int] = set()
    lost: set[int] = set()
    for one in classes:
        was, will = (decide(one.caller, right, target, side) for side in rules)
        if was != will:
            (gained if will else lost).update(one.uids)
    return gained, lost


def _of_owners(
    zone_id: int, right: Right, targets: tuple[Target, ...], callers: dict[int, Caller], rules: tuple[RuleSet, RuleSet]
) -> Iterator[Difference]:
    changes: dict[bool, list[Target]] = {True: [], False: []}
    for target in targets:
        owner = callers.get(target.uid)
        if owner is not None:
            was, will = (decide(owner, right, target, side) for side in rules)
            if was != will:
                changes[will].append(target)
    for granted, own in changes.items():
        if own:
            yield Difference(granted, zone_id, right, tuple(own), True, frozenset(target.uid for target in own), own=True)


def _sides(
    zone_id: int, right: Right, targets: tuple[Target, ...], is_known: bool, changes: tuple[set[int], set[int]]
) -> Iterator[Difference]:
    for granted, uids in zip((True, False), changes, strict=True):
        if uids:
            yield Difference(granted, zone_id, right, targets, is_known, frozenset(uids))


def _alike(targets: list[Target], kind: Kind, rules: tuple[RuleSet, RuleSet]) -> list[tuple[Target, ...]]:
    """Objects that rules and permissions can't tell apart, but for who owns them."""
    single = {
        rule.resource & acl.ID_MASK for side in rules for rule in side.rules if rule.resource & kind.bit and rule.resource & acl.INDIVIDUAL
    }
    found: dict[Target, list[Target]] = {}
    for target in targets:
        traits = msgspec.structs.replace(target, uid=-1, oid=target.oid if target.oid in single else -1)
        found.setdefault(traits, []).append(target)
    return [tuple(same) for same in found.values()]


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

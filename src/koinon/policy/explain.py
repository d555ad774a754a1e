"""Why a decision is what it is: the rule, permission or membership that allows, or the rules that came nearest to it.

Holds:    the same answer as decide(), always; slow, for people who ask.
Not here: the decision itself (decide.py); the names of users, groups and zones (identity/explanation.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, decide
from koinon.policy.rules import RuleSet

_SHOWN: Final = 5

#: The part of a rule that does not suit.
Part = Literal["user", "right", "object", "zone"]
#: A stored rule, or the object's permissions for its owner, its group, everybody.
Source = Literal["rule", "owner bits", "group bits", "other bits"]


class Miss(msgspec.Struct, frozen=True):
    """One thing about a rule that would have to be different."""

    part: Part
    text: str


class NearMiss(msgspec.Struct, frozen=True):
    """A rule that did not match, and all that about it did not. Permissions of the object are told as the rule that they stand for."""

    rule: Rule
    source: Source
    misses: tuple[Miss, ...]


class Explanation(msgspec.Struct, frozen=True):
    """An answer with its reason.

    Attributes:
        allowed: the answer.
        reason: one line for people.
        rule: what allowed it; None for an administrator and for a refusal.
        source: where ``rule`` is from; None if there is none.
        nearest: for a refusal, at most five rules, those with the least misses first.
    """

    allowed: bool
    reason: str
    rule: Rule | None = None
    source: Source | None = None
    nearest: tuple[NearMiss, ...] = ()


def explain(caller: Caller, right: Right, target: Target, rules: RuleSet, *, others: bool = True) -> Explanation:
    """Decide as ``decide`` does, and say why.

    Args:
        caller: whose request it would be.
        right: what they ask for.
        target: what is to be used.
        rules: the rules of the zone that evaluates.
        others: whether rules for other users may be shown.
    """
    asked = int(right)
    if 0 < target.locked <= asked:
        return Explanation(False, f"the object is locked for {names(target.locked)} and everything above, for administrators too")
    if caller.is_admin:
        who = "user 0" if caller.uid == 0 else "a member of group 0"
        return Explanation(True, f"{who} may do everything, whatever the rules say")
    allowed = decide(caller, right, target, rules)
    near: list[NearMiss] = []
    for source, rule in _candidates(target, rules):
        misses = tuple(_misses(caller, asked, target, rules.zone_id, source, rule))
        if not misses and allowed:
            return Explanation(True, _grounds(source, rule), rule, source)
        if others or all(miss.part != "user" for miss in misses):
            near.append(NearMiss(rule, source, misses))
    nearest = _nearest(near)
    single = [one for one in Right if asked & one]
    if len(single) > 1 and all(decide(caller, one, target, rules) for one in single):
        return Explanation(False, "each of these rights is allowed by itself, but no one rule has them all", nearest=nearest)
    return Explanation(False, "neither a permission of the object nor a rule allows it", nearest=nearest)


def names(rights: int) -> str:
    """Rights as rules write them, ``USE+MANAGE``."""
    return "+".join(right.name or "" for right in Right if rights & right)


def _grounds(source: Source, rule: Rule) -> str:
    if source == "rule":
        return f"rule: {rule.text()}"
    whose = {"owner bits": "its owner", "group bits": "its group", "other bits": "everybody"}[source]
    return f"the permissions of the object give {whose} {names(rule.rights)}"


def _nearest(near: list[NearMiss]) -> tuple[NearMiss, ...]:
    """The few to show. A rule for somebody else is near only if all the rest of it suits, unless there is nothing nearer."""
    suiting = [one for one in near if len(one.misses) == 1 or all(miss.part != "user" for miss in one.misses)]
    return tuple(heapq.nsmallest(_SHOWN, suiting or near, key=_distance))


def _distance(near: NearMiss) -> tuple[int, bool]:
    """Few misses are near; among equals, a rule for this very user is nearer than one for somebody else."""
    return len(near.misses), any(miss.part == "user" for miss in near.misses)


def _candidates(target: Target, rules: RuleSet) -> Iterator[tuple[Source, Rule]]:
    """The permission bits as rules, then the stored rules about this kind."""
    kind = target.kind.bit
    if target.oid >= 0:
        owners: tuple[tuple[Source, int, int], ...] = (
            ("owner bits", acl.user(target.uid), 6),
            ("group bits", acl.group(target.gid), 3),
            ("other bits", acl.everyone(), 0),
        )
        for source, who, shift in owners:
            bits = target.bits >> shift & 7
            rights = (bits >> 2 & 1) * acl.USE | (bits >> 1 & 1) * acl.MANAGE | (bits & 1) * acl.ADMIN
            if rights and who >= 0:
                yield source, Rule(who, kind | acl.INDIVIDUAL | target.oid, int(rights), acl.zone(rules.zone_id))
    for rule in (*rules.rules, *rules.elsewhere):
        if rule.resource & kind:
            yield "rule", rule


def _misses(caller: Caller, asked: int, target: Target, zone_id: int, source: Source, rule: Rule) -> Iterator[Miss]:
    whose = (acl.everyone(), acl.user(caller.uid), *map(acl.group, caller.groups))
    if rule.user not in whose:
        who = f"user {rule.user & acl.ID_MASK}" if rule.user & acl.INDIVIDUAL else f"members of group {rule.user & acl.ID_MASK}"
        yield Miss("user", f"is for {who}")
    if asked & ~rule.rights:
        yield Miss("right", f"grants {names(rule.rights)}, not {names(asked & ~rule.rights)}")
    if not _covers(rule, target, is_bits=source != "rule"):
        yield Miss("object", f"is about {_about(rule)}")
    if rule.zone not in (acl.all_zones(), acl.zone(zone_id)):
        yield Miss("zone", f"counts in zone {rule.zone & acl.ID_MASK} only, not in zone {zone_id}")


def _covers(rule: Rule, target: Target, *, is_bits: bool) -> bool:
    selector, oid = rule.resource & acl.SELECTOR_MASK, rule.resource & acl.ID_MASK
    if selector == acl.INDIVIDUAL:
        return is_bits or oid == target.oid
    if selector == acl.GROUP:
        return target.group_rules and oid == target.gid
    if selector == acl.CLUSTER:
        return target.cluster_rules and oid in target.clusters
    return selector == acl.ALL and target.all_rules


def _about(rule: Rule) -> str:
    oid = rule.resource & acl.ID_MASK
    if rule.resource & acl.INDIVIDUAL:
        return f"#{oid} alone"
    if rule.resource & acl.GROUP:
        return f"objects of group {oid}"
    if rule.resource & acl.CLUSTER:
        return f"what is in cluster {oid}"
    return "all objects, which an address reservation minds not"

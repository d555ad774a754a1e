"""Why a decision is what it is: the rule that allows, or those that came nearest to it.

Holds:    the same answer as decide(), always; slow, for people who ask.
Not here: the decision itself (decide.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

import msgspec

from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, decide
from koinon.policy.rules import RuleSet

_SHOWN: Final = 5


class NearMiss(msgspec.Struct, frozen=True):
    """A rule that did not match, and what about it did not, in words.

    Attributes:
        rule: the rule.
        source: ``rule`` for a stored one, ``owner bits``, ``group bits`` or ``other bits`` for the object's permissions.
        misses: each thing that would have to be different.
    """

    rule: Rule
    source: str
    misses: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """An answer with its reason.

    Attributes:
        allowed: the answer.
        reason: one line for people.
        rule: what allowed it; None for an administrator and for a refusal.
        source: where ``rule`` is from, as in NearMiss; empty if there is none.
        nearest: for a refusal, at most five rules, those with the least misses first.
    """

    allowed: bool
    reason: str
    rule: Rule | None = None
    source: str = ""
    nearest: tuple[NearMiss, ...] = ()


def explain(caller: Caller, right: Right, target: Target, rules: RuleSet) -> Explanation:
    """Decide as ``decide`` does, and say why.

    Args:
        caller: who asks.
        right: what they ask for.
        target: what is to be used.
        rules: the rules of the zone that evaluates.
    """
    asked = int(right)
    if 0 < target.locked <= asked:
        return Explanation(False, f"the object is locked for {_names(target.locked)} and everything above, for administrators too")
    if caller.is_admin:
        return Explanation(True, "user 0 and the members of group 0 may do everything")
    allowed = decide(caller, right, target, rules)
    near: list[NearMiss] = []
    for source, rule in _candidates(target, rules):
        misses = tuple(_misses(caller, asked, target, rules.zone_id, source, rule))
        if not misses and allowed:
            return Explanation(True, f"{source}: {rule.text()}", rule, source)
        near.append(NearMiss(rule, source, misses))
    nearest = tuple(heapq.nsmallest(_SHOWN, near, key=lambda miss: len(miss.misses)))
    return Explanation(False, "neither the permissions of the object nor a rule allows it", nearest=nearest)


def _candidates(target: Target, rules: RuleSet) -> Iterator[tuple[str, Rule]]:
    """The permission bits as rules, then the stored rules about this kind."""
    kind = target.kind.bit
    if target.oid >= 0:
        owners = (("owner bits", acl.user(target.uid), 6), ("group bits", acl.group(target.gid), 3), ("other bits", acl.everyone(), 0))
        for source, who, shift in owners:
            bits = target.bits >> shift & 7
            rights = (bits >> 2 & 1) * acl.USE | (bits >> 1 & 1) * acl.MANAGE | (bits & 1) * acl.ADMIN
            if rights and who >= 0:
                yield source, Rule(who, kind | acl.INDIVIDUAL | target.oid, int(rights), acl.zone(rules.zone_id))
    for rule in (*rules.rules, *rules.elsewhere):
        if rule.resource & kind:
            yield "rule", rule


def _misses(caller: Caller, asked: int, target: Target, zone_id: int, source: str, rule: Rule) -> Iterator[str]:
    whose = (acl.everyone(), acl.user(caller.uid), *map(acl.group, caller.groups))
    if rule.user not in whose:
        yield "it is for other users"
    if asked & ~rule.rights:
        yield f"it does not grant {_names(asked & ~rule.rights)}"
    if not _covers(rule, target, is_bits=source != "rule"):
        yield "it is for other objects"
    if rule.zone not in (acl.all_zones(), acl.zone(zone_id)):
        yield "it is for another zone"


def _covers(rule: Rule, target: Target, *, is_bits: bool) -> bool:
    selector, oid = rule.resource & acl.SELECTOR_MASK, rule.resource & acl.ID_MASK
    if selector == acl.INDIVIDUAL:
        return is_bits or oid == target.oid
    if selector == acl.GROUP:
        return target.group_rules and oid == target.gid
    if selector == acl.CLUSTER:
        return target.cluster_rules and oid in target.clusters
    return selector == acl.ALL and target.all_rules


def _names(rights: int) -> str:
    return "+".join(right.name or "" for right in Right if rights & right)

"""The ACL rules that count in one zone, laid out so that a decision needs a few dictionary look-ups.

Path:     rows of ``acl`` -> RuleSet.compile() -> decide(), visible(), explain()
Holds:    a grant is a set of requests: bit N is set if one single rule has all the rights in N. Rights of several rules don't add
          up, as in OpenNebula, where one rule must have all that is asked for.
Not here: permission bits of the object itself (decide.py).
Source:   OpenNebula src/acl/AclManager.cc; reference page "ACL rules and VDCs", sections 4, 5 and 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from koinon.objects import acl
from koinon.objects.acl import Rule

#: ``REQUESTS[rights]``: every request that a rule with these rights satisfies, as a set of bits.
REQUESTS: Final = tuple(sum(1 << asked for asked in range(16) if asked & ~rights == 0) for rights in range(16))

_USE: Final = 1 << acl.USE


class Grants(msgspec.Struct):
    """What one user selector may do with one kind: sets of requests, for all objects and by group, object and cluster."""

    all: int = 0
    groups: dict[int, int] = {}
    objects: dict[int, int] = {}
    clusters: dict[int, int] = {}
    # What one may list, found once: a list asks for it on every call.
    usable_groups: frozenset[int] = frozenset()
    usable_objects: frozenset[int] = frozenset()
    usable_clusters: frozenset[int] = frozenset()

    @property
    def usable(self) -> bool:
        """Whether every object may be listed."""
        return bool(self.all & _USE)

    def _take(self, selector: int, oid: int, requests: int) -> None:
        if selector == acl.ALL:
            self.all |= requests
        elif selector in (acl.GROUP, acl.INDIVIDUAL, acl.CLUSTER):
            known = {acl.GROUP: self.groups, acl.INDIVIDUAL: self.objects, acl.CLUSTER: self.clusters}[selector]
            known[oid] = known.get(oid, 0) | requests

    def _settle(self) -> None:
        self.usable_groups = frozenset(gid for gid, requests in self.groups.items() if requests & _USE)
        self.usable_objects = frozenset(oid for oid, requests in self.objects.items() if requests & _USE)
        self.usable_clusters = frozenset(cid for cid, requests in self.clusters.items() if requests & _USE)


class RuleSet:
    """Rules as one zone evaluates them. Made by ``compile``, never changed; new rules make a new set.

    Attributes:
        zone_id: the zone that evaluates.
        rules: the rules that count here, in the order given.
        elsewhere: the rules of other zones: they never match, and ``explain`` shows them.
        grants: by user field | kind bit (they share no bits).
    """

    __slots__ = ("elsewhere", "grants", "rules", "zone_id")

    def __init__(self, zone_id: int, rules: tuple[Rule, ...], elsewhere: tuple[Rule, ...], grants: dict[int, Grants]) -> None:
        self.zone_id = zone_id
        self.rules = rules
        self.elsewhere = elsewhere
        self.grants = grants

    @classmethod
    def compile(cls, rules: Iterable[Rule], zone_id: int) -> RuleSet:
        """Lay out ``rules`` for decisions in the zone ``zone_id``.

        Args:
            rules: any rules; those that could never match (of other zones, malformed) take no room in ``grants``.
            zone_id: whose rules count, beside those for all zones.
        """
        zones = (acl.all_zones(), acl.zone(zone_id))
        here: list[Rule] = []
        elsewhere: list[Rule] = []
        grants: dict[int, Grants] = {}
        for rule in rules:
            if rule.zone not in zones:
                elsewhere.append(rule)
                continue
            here.append(rule)
            if rule.user & ~(acl.SELECTOR_MASK | acl.ID_MASK):
                continue  # malformed: its bits would look like those of a kind
            requests = REQUESTS[rule.rights & acl.ALL_RIGHTS]
            selector, oid = rule.resource & acl.SELECTOR_MASK, rule.resource & acl.ID_MASK
            kinds = rule.resource & acl.KIND_MASK
            while kinds:
                bit = kinds & -kinds
                kinds ^= bit
                key = rule.user | bit
                found = grants.get(key)
                if found is None:
                    found = grants[key] = Grants()
                found._take(selector, oid, requests)
        for found in grants.values():
            found._settle()
        return cls(zone_id, tuple(here), tuple(elsewhere), grants)

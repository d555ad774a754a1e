"""Differences told shortly: by kind, right and group of people; zones where the same happens are told together.

Not here: what differs (diff.py); names, and how much is shown (identity/rule_changes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target
from koinon.policy.diff import Difference


class Party(msgspec.Struct, frozen=True, order=True):
    """Whom a line is about: the members of a group, or one user whom a rule names."""

    is_user: bool
    oid: int


class Line(msgspec.Struct, frozen=True):
    """One line.

    Attributes:
        granted: whether the right is gained; else it is lost.
        kind: to objects of which kind.
        right: which right.
        party: whom the line is about. A user is in one line only: that of a group that a changed rule names, else of the primary group.
        zones: where, ascending.
        uids: who of the party gains or loses, ascending.
        places: objects in general, as rules write them: ``HOST/*``, ``HOST/%5``. Without any, only objects that are there change hands.
        oids: which objects that are there, ascending; None if the zones' objects are not known.
        pairs: how many pairs of a user and an object that is there.
    """

    granted: bool
    kind: Kind
    right: Right
    party: Party
    zones: tuple[int, ...]
    uids: tuple[int, ...]
    places: tuple[str, ...]
    oids: tuple[int, ...] | None
    pairs: int


class _Sum(msgspec.Struct):
    uids: set[int] = msgspec.field(default_factory=set)
    places: dict[str, None] = msgspec.field(default_factory=dict)
    oids: set[int] = msgspec.field(default_factory=set)
    pairs: int = 0


def summarise(
    found: Iterable[Difference], changed: Iterable[Rule], people: Sequence[Caller], is_known: Callable[[int, Kind], bool]
) -> list[Line]:
    """The lines for these differences.

    Args:
        found: what differs.
        changed: the rules that only one side has: they say under which group a user is told.
        people: as given to ``differences``.
        is_known: whether the objects of a kind in a zone were known.
    """
    parties = _parties(changed, people)
    sums: dict[tuple[bool, Kind, Right, Party, int], _Sum] = {}
    for one in found:
        divided: dict[Party, set[int]] = {}
        for uid in one.uids:
            divided.setdefault(parties[uid], set()).add(uid)
        for party, uids in divided.items():
            total = sums.setdefault((one.granted, one.kind, one.right, party, one.zone_id), _Sum())
            if one.is_known:
                _count(total, one, uids)
            else:
                total.uids |= uids
                total.places[_place(one.right, one.targets[0])] = None
    lines: dict[Line, list[int]] = {}
    for (granted, kind, right, party, zone_id), total in sums.items():
        if not total.uids:
            continue  # the only objects were the users' own, which are told apart
        oids = tuple(sorted(total.oids)) if right is not Right.CREATE and is_known(zone_id, kind) else None
        line = Line(granted, kind, right, party, (), tuple(sorted(total.uids)), tuple(sorted(total.places)), oids, total.pairs)
        lines.setdefault(line, []).append(zone_id)
    told = [msgspec.structs.replace(line, zones=tuple(sorted(zones))) for line, zones in lines.items()]
    return sorted(told, key=lambda line: (line.party, line.kind.bit, line.right, line.zones, not line.granted))


def _count(total: _Sum, one: Difference, uids: set[int]) -> None:
    """Add the pairs of these users and the objects that are there."""
    if one.own:
        pairs = [target for target in one.targets if target.uid in uids]
        total.uids |= uids
        total.oids.update(target.oid for target in pairs)
        total.pairs += len(pairs)
        return
    owners = {target.uid for target in one.targets}
    total.uids |= uids - owners if len(owners) == 1 else uids
    total.oids.update(target.oid for target in one.targets if len(uids) > 1 or target.uid not in uids)
    total.pairs += len(uids) * len(one.targets) - sum(target.uid in uids for target in one.targets)


def _parties(changed: Iterable[Rule], people: Sequence[Caller]) -> dict[int, Party]:
    named = {rule.user for rule in changed}
    found = {}
    for caller in people:
        by_rule = [gid for gid in caller.groups if acl.group(gid) in named]
        if acl.user(caller.uid) in named:
            found[caller.uid] = Party(True, caller.uid)
        else:
            found[caller.uid] = Party(False, by_rule[0] if by_rule else caller.gid)
    return found


def _place(right: Right, target: Target) -> str:
    name = target.kind.acl_name
    if right is Right.CREATE:
        return f"new {name}"
    if target.oid >= 0:
        return f"{name}/#{target.oid}"
    if target.gid >= 0:
        return f"{name}/@{target.gid}"
    return f"{name}/%{target.clusters[0]}" if target.clusters else f"{name}/*"

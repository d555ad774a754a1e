"""What a change of rules does, against asking decide() about everybody and everything before and after."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, decide
from koinon.policy.diff import Difference, differences
from koinon.policy.diff_summary import summarise
from koinon.policy.rules import RuleSet

ZONES = (0, 7)
KINDS = (Kind.NET, Kind.HOST)
TO_OBJECTS = (Right.USE, Right.MANAGE, Right.ADMIN)
IDS = st.integers(1, 2)  # few, so that rules, people and objects meet often

RULES = st.builds(
    Rule,
    user=st.builds(acl.user, IDS) | st.builds(acl.group, IDS) | st.just(acl.everyone()),
    resource=st.builds(
        acl.resource, st.sets(st.sampled_from(KINDS), min_size=1), st.sampled_from([acl.INDIVIDUAL, acl.GROUP, acl.CLUSTER]), IDS
    )
    | st.builds(acl.resource, st.sets(st.sampled_from(KINDS), min_size=1), st.just(acl.ALL)),
    rights=st.integers(1, 15),
    zone=st.sampled_from([acl.all_zones(), acl.zone(0), acl.zone(7), acl.zone(9)]),
)
GROUPS = st.sets(st.integers(1, 3), min_size=1) | st.sets(st.integers(0, 3), min_size=1)
PEOPLE = st.lists(
    st.builds(lambda uid, groups: Caller(uid, min(groups), tuple(sorted(groups)), f"u{uid}", 0), st.integers(1, 4), GROUPS),
    unique_by=lambda who: who.uid,
    max_size=5,
)
MOSTLY = st.sampled_from([True, True, True, False])
OBJECTS = st.lists(
    st.builds(
        Target,
        kind=st.sampled_from(KINDS),
        oid=st.integers(0, 3),
        uid=st.integers(1, 4),
        gid=st.integers(-1, 2),
        bits=st.integers(0, 0o777),
        clusters=st.lists(IDS, max_size=2, unique=True).map(tuple),
        locked=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3]),
        group_rules=MOSTLY,
        cluster_rules=MOSTLY,
        all_rules=MOSTLY,
    ),
    unique_by=lambda target: (target.kind, target.oid),
    max_size=5,
)

Fact = tuple[bool, int, Right, Target, int]


def computed(before: Sequence[Rule], after: Sequence[Rule], people: Sequence[Caller], there: Sequence[Target], *, known: bool) -> set[Fact]:
    """Single facts of those about known, or about unknown, objects. Each must be told once."""
    by_kind = {kind: [target for target in there if target.kind is kind] for kind in Kind}
    found = list(differences(before, after, people, ZONES, lambda _zone, kind: by_kind[kind]))
    facts = [
        (one.granted, one.zone_id, one.right, target, uid)
        for one in found
        if one.is_known is known
        for uid, target in product(one.uids, one.targets)
        if (uid == target.uid) is one.own
    ]
    assert len(facts) == len(set(facts))
    assert all(one.uids for one in found)
    return set(facts)


def asked(
    before: Sequence[Rule], after: Sequence[Rule], people: Sequence[Caller], targets: Sequence[Target], rights: Sequence[Right]
) -> set[Fact]:
    """The same by asking about each person, object, right and zone twice."""
    facts = set()
    for zone_id, who, target, right in product(ZONES, people, targets, rights):
        was, will = (decide(who, right, target, RuleSet.compile(rules, zone_id)) for rules in (before, after))
        if was != will:
            facts.add((will, zone_id, right, target, who.uid))
    return facts


RULE_LISTS = st.lists(RULES, max_size=5)


@given(RULE_LISTS, RULE_LISTS, RULE_LISTS, PEOPLE, OBJECTS)
def test_tells_of_each_object_what_asking_would(
    kept: list[Rule], dropped: list[Rule], added: list[Rule], people: list[Caller], there: list[Target]
) -> None:
    before, after = kept + dropped, kept + added
    assert computed(before, after, people, there, known=True) == asked(before, after, people, there, TO_OBJECTS)


@given(RULE_LISTS, RULE_LISTS, RULE_LISTS, PEOPLE)
def test_tells_who_may_create_as_asking_would(kept: list[Rule], dropped: list[Rule], added: list[Rule], people: list[Caller]) -> None:
    before, after = kept + dropped, kept + added
    told = {fact for fact in computed(before, after, people, [], known=False) if fact[2] is Right.CREATE}
    expected = set()
    for who, kind in product(people, KINDS):
        expected |= asked(before, after, [who], [Target(kind, gid=who.gid)], [Right.CREATE])
    assert told == expected


@given(RULE_LISTS, RULE_LISTS, RULE_LISTS, PEOPLE, OBJECTS)
def test_whoever_gains_or_loses_an_unknown_object_is_told_of(
    kept: list[Rule], dropped: list[Rule], added: list[Rule], people: list[Caller], unknown: list[Target]
) -> None:
    """For an object that nobody told us of, one with a trait of it stands in the answer."""
    before, after = kept + dropped, kept + added
    told = computed(before, after, people, [], known=False)
    for granted, zone_id, right, target, uid in asked(before, after, people, unknown, TO_OBJECTS):
        stands_for = {Target(target.kind), Target(target.kind, target.oid), Target(target.kind, gid=target.gid)}
        stands_for |= {Target(target.kind, clusters=(cid,)) for cid in target.clusters}
        assert any((granted, zone_id, right, sample, uid) in told for sample in stands_for)


@given(RULE_LISTS, RULE_LISTS, RULE_LISTS, PEOPLE)
def test_what_is_told_of_unknown_objects_is_true_of_them(
    kept: list[Rule], dropped: list[Rule], added: list[Rule], people: list[Caller]
) -> None:
    before, after = kept + dropped, kept + added
    people_of = {who.uid: who for who in people}
    for granted, zone_id, right, target, uid in computed(before, after, people, [], known=False):
        assert (granted, zone_id, right, target, uid) in asked(before, after, [people_of[uid]], [target], [right])


@given(RULE_LISTS, RULE_LISTS, RULE_LISTS, PEOPLE, OBJECTS)
def test_lines_add_up_to_what_asking_would_give(
    kept: list[Rule], dropped: list[Rule], added: list[Rule], people: list[Caller], there: list[Target]
) -> None:
    """Each user is in lines of one party only; users, objects and pairs are those of the single facts."""
    before, after = kept + dropped, kept + added
    by_kind = {kind: [target for target in there if target.kind is kind] for kind in Kind}
    found = list(differences(before, after, people, ZONES, lambda _zone, kind: by_kind[kind]))
    lines = summarise(found, set(before) ^ set(after), people, lambda _zone, _kind: True)
    facts = asked(before, after, people, there, TO_OBJECTS)
    assert sum(line.pairs * len(line.zones) for line in lines) == len(facts)
    party_of = {uid: line.party for line in lines for uid in line.uids}
    for line in lines:
        assert line.uids
        assert all(party_of[uid] == line.party for uid in line.uids)
        mine = [
            (target.oid, uid)
            for granted, zone_id, right, target, uid in facts
            if (granted, right, target.kind) == (line.granted, line.right, line.kind) and zone_id == line.zones[0] and uid in line.uids
        ]
        assert len(mine) == line.pairs
        assert line.oids is None or list(line.oids) == sorted({oid for oid, _ in mine})
        assert line.places or {uid for _, uid in mine} == set(line.uids)


def test_a_rule_that_adds_nothing_changes_nothing() -> None:
    broad, narrow = Rule.parse("@1 HOST/* USE *", 0), Rule.parse("@1 HOST/%3 USE #0", 0)
    ada = Caller(5, 1, (1,), "ada", 0)
    host = Target(Kind.HOST, 1, bits=0o004, clusters=(3,))
    assert list(differences([broad], [broad, narrow], [ada], ZONES, lambda _zone, _kind: [host])) == []
    assert [one.zone_id for one in differences([broad], [narrow], [ada], ZONES, lambda _zone, _kind: None)] == [0, 7]
    gained = list(differences([], [narrow], [ada], ZONES, lambda _zone, _kind: [msgspec.structs.replace(host, bits=0)]))
    assert [(one.granted, one.zone_id, one.is_known, one.targets[0].oid) for one in gained] == [(True, 0, True, 1), (True, 0, False, -1)]
    assert isinstance(gained[0], Difference)


def test_what_one_owns_is_told_apart_from_its_like() -> None:
    """Two networks that differ in their owner only: the owner keeps one and loses the other."""
    rule = Rule.parse("#5 NET/* USE *", 0)
    ada = Caller(5, 1, (1,), "ada", 0)
    nets = [Target(Kind.NET, oid, uid=uid, gid=2, bits=0o400) for oid, uid in ((1, 5), (2, 6))]
    facts = computed([rule], [], [ada], nets, known=True)
    assert facts == {(False, zone_id, Right.USE, nets[1], 5) for zone_id in ZONES}

"""Decisions, against a slow and literal reading of the reference and by its examples."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, Visible, decide, visible
from koinon.policy.explain import Miss, explain
from koinon.policy.rules import RuleSet

ZONE = 3
KINDS = (Kind.NET, Kind.HOST, Kind.VM)


def caller(uid: int, *groups: int) -> Caller:
    return Caller(uid, groups[0], groups, "someone", ZONE)


def ruleset(*texts: str, zone_id: int = ZONE) -> RuleSet:
    return RuleSet.compile((Rule.parse(text, zone_id) for text in texts), zone_id)


# --- the text of the reference, word by word ---


@dataclass
class Words:
    """A rule as its words, so that the model shares no bit arithmetic with what it checks."""

    user: str
    kinds: set[Kind]
    which: str
    rights: set[str]
    zone: str

    def text(self) -> str:
        return f"{self.user} {'+'.join(kind.acl_name for kind in self.kinds)}/{self.which} {'+'.join(self.rights)} {self.zone}"


LEVELS = {"USE": 1, "MANAGE": 2, "ADMIN": 4, "CREATE": 8}


def literal(who: Caller, rights: set[str], target: Target, rules: list[Words]) -> bool:
    if 0 < target.locked <= sum(LEVELS[right] for right in rights):
        return False
    if who.uid == 0 or 0 in who.groups:
        return True
    shown = f"{target.bits:09b}"
    temporary = []
    for user, bits in ((f"#{target.uid}", shown[0:3]), (f"@{target.gid}", shown[3:6]), ("*", shown[6:9])):
        granted = {right for right, bit in zip(("USE", "MANAGE", "ADMIN"), bits, strict=True) if bit == "1"}
        temporary.append(Words(user, {target.kind}, f"#{target.oid}", granted, f"#{ZONE}"))
    matching = set()
    if target.oid >= 0:
        matching.add(f"#{target.oid}")
    if target.gid >= 0 and target.group_rules:
        matching.add(f"@{target.gid}")
    if target.cluster_rules:
        matching |= {f"%{cid}" for cid in target.clusters}
    if target.all_rules:
        matching.add("*")
    for user in ("*", f"#{who.uid}", *(f"@{gid}" for gid in who.groups)):
        for rule in (*temporary, *rules):
            if (
                rule.user == user
                and rule.zone in ("*", f"#{ZONE}")
                and rights <= rule.rights
                and target.kind in rule.kinds
                and rule.which in matching
            ):
                return True
    return False


IDS = st.integers(0, 3)
RIGHTS = st.sets(st.sampled_from(sorted(LEVELS)), min_size=1, max_size=3)
WORDS = st.builds(
    Words,
    st.sampled_from("#@").flatmap(lambda sign: IDS.map(lambda oid: f"{sign}{oid}")) | st.just("*"),
    st.sets(st.sampled_from(KINDS), min_size=1),
    st.sampled_from("#@%").flatmap(lambda sign: IDS.map(lambda oid: f"{sign}{oid}")) | st.just("*"),
    RIGHTS,
    st.sampled_from(["*", "#3", "#0"]),
)
CALLERS = st.builds(
    lambda uid, groups: caller(uid, *sorted(groups)), IDS, st.sets(st.integers(0, 4), min_size=1) | st.sets(st.integers(1, 4), min_size=1)
)
TARGETS = st.builds(
    Target,
    kind=st.sampled_from(KINDS),
    oid=st.integers(-1, 3),
    uid=st.integers(-1, 3),
    gid=st.integers(-1, 3),
    bits=st.integers(0, 0o777),
    clusters=st.lists(IDS, max_size=2).map(tuple),
    locked=st.sampled_from([0, 0, 0, 1, 2, 3]),
    group_rules=st.booleans(),
    cluster_rules=st.booleans(),
    all_rules=st.booleans(),
)


@given(CALLERS, RIGHTS, TARGETS, st.lists(WORDS, max_size=6))
def test_decides_as_the_reference_reads(who: Caller, rights: set[str], target: Target, words: list[Words]) -> None:
    right = Right(sum(LEVELS[one] for one in rights))
    rules = ruleset(*(one.text() for one in words))
    expected = literal(who, rights, target, words)
    assert decide(who, right, target, rules) is expected
    explained = explain(who, right, target, rules)
    assert explained.allowed is expected
    if explained.rule is not None and explained.source == "rule":
        assert decide(who, right, msgspec.structs.replace(target, bits=0), RuleSet.compile([explained.rule], ZONE))
    for miss in explained.nearest:
        assert miss.misses


@given(CALLERS, st.sampled_from(KINDS), st.lists(WORDS, max_size=6), st.booleans(), st.booleans(), TARGETS)
def test_lists_what_it_would_let_use(
    who: Caller, kind: Kind, words: list[Words], cluster_rules: bool, all_rules: bool, target: Target
) -> None:
    rules = ruleset(*(one.text() for one in words))
    seen = visible(who, kind, rules, cluster_rules=cluster_rules, all_rules=all_rules)
    bare = Target(kind, target.oid, gid=target.gid, clusters=target.clusters, cluster_rules=cluster_rules, all_rules=all_rules)
    listed = seen.all or target.oid in seen.oids or target.gid in seen.gids or not seen.cids.isdisjoint(target.clusters)
    assert listed is decide(who, Right.USE, bare, rules)


# --- by example ---


def test_rights_are_independent_and_do_not_add_up() -> None:
    rules = ruleset("#5 HOST/* MANAGE", "#5 HOST/* USE")
    host = Target(Kind.HOST, 1)
    assert decide(caller(5, 1), Right.MANAGE, host, rules)
    assert not decide(caller(5, 1), Right.ADMIN, host, rules)
    assert not decide(caller(5, 1), Right.USE | Right.MANAGE, host, rules)
    assert not decide(caller(5, 1), Right.USE, host, ruleset("#5 HOST/* MANAGE+ADMIN+CREATE"))


def test_a_cluster_rule_covers_what_is_in_the_cluster() -> None:
    rules = ruleset("@1 NET/%100 USE", "@1 HOST/%0 MANAGE")
    assert decide(caller(5, 1), Right.USE, Target(Kind.NET, 1, clusters=(0, 100)), rules)
    assert not decide(caller(5, 1), Right.USE, Target(Kind.NET, 1, clusters=(0,)), rules)
    assert not decide(caller(5, 1), Right.USE, Target(Kind.NET, 1, clusters=(100,), cluster_rules=False), rules)
    assert decide(caller(5, 1), Right.MANAGE, Target(Kind.HOST, 1, clusters=(0,)), rules)
    assert visible(caller(5, 1), Kind.NET, rules) == Visible(False, cids=frozenset({100}))
    assert visible(caller(5, 1), Kind.HOST, rules) == Visible(False)


def test_rules_of_other_zones_never_match() -> None:
    texts = ("@100 MARKETPLACE/* MANAGE #101", "* ZONE/* USE *")
    here, there = ruleset(*texts, zone_id=0), ruleset(*texts, zone_id=101)
    market = Target(Kind.MARKETPLACE, 0)
    assert not decide(caller(5, 100), Right.MANAGE, market, here)
    assert decide(caller(5, 100), Right.MANAGE, market, there)
    assert decide(caller(5, 100), Right.USE, Target(Kind.ZONE, 0), here)
    explained = explain(caller(5, 100), Right.MANAGE, market, here)
    assert [miss.misses for miss in explained.nearest] == [(Miss("zone", "counts in zone 101 only, not in zone 0"),)]


def test_a_narrowed_token_has_the_rights_of_one_group() -> None:
    rules = ruleset("@7 IMAGE/* CREATE")
    image = Target(Kind.IMAGE, -1, uid=5, gid=1)
    assert decide(caller(5, 1, 7), Right.CREATE, image, rules)
    assert not decide(caller(5, 1), Right.CREATE, image, rules)
    shared = Target(Kind.IMAGE, 4, uid=9, gid=7, bits=0o040)
    assert decide(caller(5, 1, 7), Right.USE, shared, ruleset())
    assert not decide(caller(5, 1), Right.USE, shared, ruleset())
    assert decide(caller(0, 1), Right.ADMIN, image, ruleset())
    assert not decide(caller(5, 1), Right.ADMIN, image, ruleset())


@pytest.mark.parametrize("who", [caller(0, 0), caller(9, 0), caller(9, 0, 1), caller(5, 1)])
def test_a_lock_binds_everybody(who: Caller) -> None:
    rules = ruleset("* VM/* USE+MANAGE+ADMIN")
    assert decide(who, Right.USE, Target(Kind.VM, 1, locked=2), rules)
    assert not decide(who, Right.MANAGE, Target(Kind.VM, 1, locked=2), rules)
    assert not decide(who, Right.ADMIN, Target(Kind.VM, 1, locked=2), rules)
    assert decide(who, Right.ADMIN, Target(Kind.VM, 1), rules)
    assert "locked" in explain(who, Right.ADMIN, Target(Kind.VM, 1, locked=2), rules).reason


def test_bits_never_create() -> None:
    assert not decide(caller(5, 1), Right.CREATE, Target(Kind.TEMPLATE, 1, uid=5, gid=1, bits=0o777), ruleset())
    assert not decide(caller(5, 1), Right.USE, Target(Kind.TEMPLATE, -1, uid=5, gid=1, bits=0o777), ruleset())


def test_the_default_rules() -> None:
    rules = ruleset(
        "@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *",
        "* ZONE/* USE *",
        "* MARKETPLACE+MARKETPLACEAPP/* USE *",
        "@1 HOST/* MANAGE #3",
        "@1 NET/* USE #3",
        "@1 DATASTORE/* USE #3",
    )
    someone = caller(5, 1)
    assert visible(someone, Kind.ZONE, rules) == visible(someone, Kind.NET, rules) == Visible(True)
    assert visible(someone, Kind.HOST, rules) == visible(someone, Kind.USER, rules) == Visible(False)
    assert decide(someone, Right.CREATE, Target(Kind.VM, uid=5, gid=1), rules)
    assert not decide(someone, Right.CREATE, Target(Kind.NET, uid=5, gid=1), rules)
    assert not decide(caller(5, 100), Right.CREATE, Target(Kind.VM, uid=5, gid=100), rules)
    assert decide(someone, Right.USE, Target(Kind.USER, 5, uid=5, gid=1, bits=0o400), rules)
    assert not decide(someone, Right.USE, Target(Kind.USER, 0, uid=0, gid=0, bits=0o400), rules)


def test_a_reservation_minds_neither_all_nor_cluster_rules() -> None:
    rules = ruleset("@1 NET/* USE", "@1 NET/%0 USE", "@1 NET/#7 USE")
    assert visible(caller(5, 1), Kind.NET, rules, cluster_rules=False, all_rules=False) == Visible(False, frozenset({7}))
    assert visible(caller(5, 0), Kind.NET, rules, cluster_rules=False, all_rules=False) == Visible(True)


def test_a_malformed_rule_matches_nobody() -> None:
    rule = Rule.parse("* VM/* USE *", 0)
    malformed = [
        msgspec.structs.replace(rule, user=rule.user | Kind.HOST.bit),
        msgspec.structs.replace(rule, user=-1),
        msgspec.structs.replace(rule, resource=rule.resource | 0x100000000),
        msgspec.structs.replace(rule, zone=-1),
    ]
    rules = RuleSet.compile(malformed, ZONE)
    for kind in Kind:
        assert not decide(caller(5, 1), Right.USE, Target(kind, 1, gid=1), rules)
        assert visible(caller(5, 1), kind, rules) == Visible(False)


def test_explains_the_rule_that_allows_and_those_that_nearly_do() -> None:
    rules = ruleset("@2 VM/#1 MANAGE", "@1 VM/#1 USE", "#9 IMAGE/* MANAGE", "@2 VM/@8 USE")
    allowed = explain(caller(5, 1), Right.USE, Target(Kind.VM, 1, uid=6), rules)
    assert (allowed.allowed, allowed.reason) == (True, "rule: @1 VM/#1 USE #3")
    refused = explain(caller(5, 1), Right.MANAGE, Target(Kind.VM, 1, uid=6, gid=1, bits=0o740), rules)
    assert [(near.source, near.rule.text(), tuple(miss.text for miss in near.misses)) for near in refused.nearest] == [
        ("group bits", "@1 VM/#1 USE #3", ("grants USE, not MANAGE",)),
        ("rule", "@1 VM/#1 USE #3", ("grants USE, not MANAGE",)),
        ("owner bits", "#6 VM/#1 USE+MANAGE+ADMIN #3", ("is for user 6",)),
        ("rule", "@2 VM/#1 MANAGE #3", ("is for members of group 2",)),
    ]
    far = explain(caller(5, 1), Right.MANAGE, Target(Kind.VM, 1, uid=6), ruleset("@2 VM/@8 USE"))
    assert [miss.text for near in far.nearest for miss in near.misses] == [
        "is for members of group 2",
        "grants USE, not MANAGE",
        "is about objects of group 8",
    ]
    own = explain(caller(5, 1), Right.MANAGE, Target(Kind.VM, 1, uid=6, gid=1, bits=0o740), rules, others=False)
    assert [near.rule.text() for near in own.nearest] == ["@1 VM/#1 USE #3", "@1 VM/#1 USE #3"]
    bits = explain(caller(6, 2), Right.ADMIN, Target(Kind.VM, 1, uid=6, bits=0o100), rules)
    assert (bits.allowed, bits.source) == (True, "owner bits")
    assert bits.reason == "the permissions of the object give its owner ADMIN"


def test_explains_rights_that_do_not_add_up() -> None:
    rules = ruleset("#5 HOST/* MANAGE", "#5 HOST/* USE", "#5 HOST/%9 USE+MANAGE")
    refused = explain(caller(5, 1), Right.USE | Right.MANAGE, Target(Kind.HOST, 1), rules)
    assert refused.reason == "each of these rights is allowed by itself, but no one rule has them all"
    assert Miss("object", "is about what is in cluster 9") in [miss for near in refused.nearest for miss in near.misses]
    assert explain(caller(8, 0, 1), Right.ADMIN, Target(Kind.HOST, 1), rules).reason.startswith("a member of group 0 ")

"""ACL rules: text and numbers, and what makes one malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.objects import acl
from koinon.objects.acl import ALL, CLUSTER, GROUP, INDIVIDUAL, Rule, problems, resource
from koinon.objects.kinds import Kind


def test_the_example_of_the_reference() -> None:
    rule = Rule.parse("#5 image+vm/@12 create+USE #0", default_zone=7)
    assert rule == Rule(0x100000005, 0x920000000C, 9, 0x100000000)
    assert rule == Rule.from_hex("100000005", "920000000c", "9", "0x100000000")
    assert rule.text() == "#5 VM+IMAGE/@12 USE+CREATE #0"
    assert problems(rule) == []


def test_a_missing_zone_is_the_given_one() -> None:
    assert Rule.parse("* ZONE/* USE", default_zone=3).zone == acl.zone(3)


def test_types_are_printed_in_the_order_of_their_bits() -> None:
    kinds = [kind for kind in Kind if kind is not Kind.HOOK]
    text = Rule(acl.everyone(), resource(kinds, ALL), 15, acl.all_zones()).text()
    assert text == (
        "* VM+HOST+NET+IMAGE+USER+TEMPLATE+GROUP+DATASTORE+CLUSTER+DOCUMENT+ZONE+SECGROUP+VDC+VROUTER+MARKETPLACE"
        "+MARKETPLACEAPP+VMGROUP+VNTEMPLATE+BACKUPJOB/* USE+MANAGE+ADMIN+CREATE *"
    )


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("* HOST/@1 USE *", ["[resource] GROUP(@) selector cannot be applied to HOST, GROUP, CLUSTER, ZONE or VDC types"]),
        ("* VM/%1 USE *", ["[resource] CLUSTER(%) selector can be applied only to DATASTORE, HOST and NET types"]),
        ("* BACKUPJOB+NET/%1 USE #0", []),
        ("* MARKETPLACE/#1 USE #0", []),
        (
            "* MARKETPLACE/#1 USE *",
            ["[resource] INDIVIDUAL(#) selector cannot be applied to ALL zones, except for USER, GROUP, ZONE, ACL and VDC types"],
        ),
        ("@1 USER+GROUP+ZONE+ACL+VDC/#1 USE *", []),
    ],
)
def test_problems_of_rules_that_can_be_written(rule: str, found: list[str]) -> None:
    assert problems(Rule.parse(rule, 0)) == found


GOOD = Rule.parse("#1 VM/* USE #0", 0)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (Rule(0, 0, 0, 0), 5),
        (Rule(INDIVIDUAL | GROUP | ALL, GOOD.resource, 1, GOOD.zone), 3),
        (Rule(ALL | 1, GOOD.resource, 1, GOOD.zone), 1),
        (Rule(INDIVIDUAL | 2**31, GOOD.resource, 1, GOOD.zone), 1),
        (Rule(INDIVIDUAL | CLUSTER, GOOD.resource, 1, GOOD.zone), 1),
        (Rule(GOOD.user, Kind.VM.bit | ALL | INDIVIDUAL, 1, GOOD.zone), 1),
        (Rule(GOOD.user, Kind.VM.bit | ALL | 3, 1, GOOD.zone), 1),
        (Rule(GOOD.user, Kind.HOOK.bit | ALL, 1, GOOD.zone), 1),
        (Rule(GOOD.user, Kind.VM.bit, 1, GOOD.zone), 1),
        (Rule(GOOD.user, GOOD.resource, 16, GOOD.zone), 1),
        (Rule(GOOD.user, GOOD.resource, -1, GOOD.zone), 1),
        (Rule(GOOD.user, GOOD.resource, 1, GROUP | 1), 2),
        (Rule(GOOD.user, GOOD.resource, 1, INDIVIDUAL | ALL), 1),
        (Rule(GOOD.user, GOOD.resource, 1, ALL | 1), 1),
    ],
)
def test_every_problem_is_named(rule: Rule, found: int) -> None:
    assert len(problems(rule)) == found
    rule.text()


@pytest.mark.parametrize(
    "text",
    ["", "*", "* VM/*", "* VM USE", "x VM/* USE", "#x VM/* USE", "#-1 VM/* USE", "#2147483648 VM/* USE", "%1 VM/* USE", "* XX/* USE",
     "* HOOK/* USE", "* VM/ USE", "* VM/#1x USE", "* VM/* READ", "* VM/* USE @1", "* VM/* USE * *", "#١ VM/* USE", "*1 VM/* USE"],
)  # fmt: skip
def test_refuses_text_that_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|there is no|lack|has the parts"):
        Rule.parse(text, 0)


@pytest.mark.parametrize("number", ["", "x", "-1", "1_0", "8" * 17, "ffffffffffffffff"])
def test_refuses_numbers_that_are_not_hexadecimal(number: str) -> None:
    with pytest.raises(ValueError, match="resource"):
        Rule.from_hex("100000001", number, "1", "100000000")


SELECTED = st.sampled_from([INDIVIDUAL, GROUP]).flatmap(lambda bit: st.integers(0, acl.MAX_ID).map(lambda oid: bit | oid)) | st.just(ALL)
KINDS = st.sets(st.sampled_from([kind for kind in Kind if kind not in (Kind.HOOK, Kind.ACL)]), min_size=1)
RULES = st.builds(
    Rule,
    SELECTED,
    st.builds(
        lambda kinds, selected: resource(kinds, selected), KINDS, SELECTED | st.integers(0, acl.MAX_ID).map(lambda cid: CLUSTER | cid)
    ),
    st.integers(1, 15),
    SELECTED.filter(lambda field: not field & GROUP),
)


@given(RULES)
def test_text_and_numbers_are_one_to_one(rule: Rule) -> None:
    assert Rule.parse(rule.text(), 0) == rule
    assert Rule.from_hex(*(f"{number:x}" for number in (rule.user, rule.resource, rule.rights, rule.zone))) == rule


@given(st.text() | st.text(st.sampled_from("#@*%/+ VMNETUSE019")))
def test_any_text_is_a_rule_or_a_value_error(text: str) -> None:
    try:
        rule = Rule.parse(text, 0)
    except ValueError:
        return
    assert rule.rights

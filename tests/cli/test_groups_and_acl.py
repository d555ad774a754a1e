"""``koinon group`` and ``koinon acl``."""

from __future__ import annotations

import json

import pytest

from koinon.cli.documents import read, to_plain
from koinon.objects.acl import Rule
from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn


def test_a_new_group_gets_its_create_rule_in_the_zone_that_answers(koinon: Koinon, zone: StandIn) -> None:
    zone.zone_id = 7
    outcome = koinon("group", "create", "dev")
    assert (outcome.code, outcome.out) == (0, "ID: 100\n")
    assert [rule.text() for rule in zone.rules.values()] == [
        "@100 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB/* CREATE #7",
    ]
    assert koinon("group", "create", "--name", "ops", "--no-create-rule").code == 0
    assert len(zone.rules) == 1


def test_a_group_whose_rule_is_refused_says_that_the_group_is_there(koinon: Koinon, zone: StandIn) -> None:
    zone.rules[0] = Rule.parse("@100 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB/* CREATE #0", 0)
    outcome = koinon("group", "create", "dev")
    assert outcome.code == 1
    assert outcome.out == "ID: 100\n"
    assert "The group was made, but not the rule" in outcome.err
    assert 'oneacl create "@100 VM+IMAGE' in outcome.err


@pytest.mark.parametrize("arguments", [(), ("a", "--name", "b")])
def test_a_group_needs_exactly_one_name(koinon: Koinon, zone: StandIn, arguments: tuple[str, ...]) -> None:
    assert koinon("group", "create", *arguments).code == 2
    assert zone.calls == []


def test_group_list_and_show(koinon: Koinon, zone: StandIn) -> None:
    koinon("group", "addadmin", "oneadmin", "serveradmin")
    assert koinon("group", "list").lines == [["ID", "NAME", "USERS", "ADMINS"], ["0", "oneadmin", "2", "1"], ["1", "users", "0"]]
    assert ["USERS", ":", "0,1"] in koinon("group", "show").lines
    assert json.loads(koinon("group", "show", "users", "--json").out)["GROUP"]["USERS"] == {"ID": []}


def test_admins_of_several_groups(koinon: Koinon, zone: StandIn) -> None:
    assert koinon("group", "addadmin", "0,users", "0..1").code == 0
    assert zone.admins == {0: {0, 1}, 1: {0, 1}}
    outcome = koinon("group", "deladmin", "0,1", "9,1")
    assert outcome.code == 1
    assert zone.admins == {0: {0}, 1: {0}}  # refused for user 9, done for user 1 in both groups


def test_group_update_and_delete(koinon: Koinon, zone: StandIn) -> None:
    assert koinon("group", "update", "users", "-", stdin="A = 1").code == 0
    assert zone.templates["group", 1] == "A = 1"
    outcome = koinon("group", "delete", "users")
    assert (outcome.code, outcome.err) == (1, "[one.group.delete] Cannot delete group. System Groups (ID < 100) cannot be deleted.\n")


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        (("@100 VM+NET/* use #3",), "@100 VM+NET/* USE #3"),
        (("#5", "IMAGE+VM/@12", "CREATE+USE", "*"), "#5 VM+IMAGE/@12 USE+CREATE *"),
    ],
)
def test_a_rule_is_sent_as_four_numbers_and_told_as_text(koinon: Koinon, zone: StandIn, words: tuple[str, ...], stored: str) -> None:
    outcome = koinon("acl", "create", *words)
    assert (outcome.code, outcome.out, outcome.err) == (0, f"ID: 0\nRULE: {stored}\n", "")
    assert zone.rules[0] == Rule.parse(stored, 0)
    assert "one.system.config" not in dict(zone.calls)


def test_a_rule_without_a_zone_holds_where_it_was_made_and_says_so(koinon: Koinon, zone: StandIn) -> None:
    zone.zone_id = 3
    zone.zones[3] = ("branch", 0, "http://branch:2633/RPC2")
    outcome = koinon("acl", "create", "#5 VM/* USE")
    assert outcome.out == "ID: 0\nRULE: #5 VM/* USE #3\n"
    assert "holds in zone 3 (branch)" in outcome.err


@pytest.mark.parametrize(
    "rule", ["#5 VM/*", "#5 VM USE", "#5 THING/* USE", "5 VM/* USE", "#5 HOST/@1 USE #0", "#5 VM/#1 USE *", "a b c d e"]
)
def test_a_rule_that_no_zone_takes_is_refused_here(koinon: Koinon, zone: StandIn, rule: str) -> None:
    outcome = koinon("acl", "create", rule)
    assert outcome.code == 2
    assert outcome.err
    assert zone.calls == []


def test_acl_list_and_delete(koinon: Koinon, zone: StandIn) -> None:
    for rule in ("* ZONE/* USE *", "#5 VM/* USE #0", "@1 HOST/* MANAGE #0"):
        koinon("acl", "create", rule)
    assert koinon("acl", "list").lines[:2] == [["ID", "USER", "RESOURCES", "RIGHTS", "ZONE"], ["0", "*", "ZONE/*", "USE", "*"]]
    assert koinon("acl", "delete", "0..1").code == 0
    assert list(zone.rules) == [2]
    assert koinon("acl", "delete", "9").err == "[one.acl.delrule] Rule 9 does not exist\n"
    assert koinon("acl", "delete", "alice").code == 2


def test_an_empty_pool_is_a_title_line_and_an_empty_array(koinon: Koinon, zone: StandIn) -> None:
    assert koinon("acl", "list").lines == [["ID", "USER", "RESOURCES", "RIGHTS", "ZONE"]]
    assert json.loads(koinon("acl", "list", "--json").out) == {"ACL_POOL": {"ACL": []}}
    assert to_plain(read("<ACL_POOL/>")) == {"ACL": []}

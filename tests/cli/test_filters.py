"""Conditions on rows, in lists of every form."""

from __future__ import annotations

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.cli.filters import Condition, parse_conditions
from koinon.cli.main import NOUNS, root
from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("NAME=alice", ["alice"]),
        ("name!=alice", ["oneadmin", "serveradmin"]),
        ("NAME~ADMIN", ["oneadmin", "serveradmin"]),
        ("NAME~admin,AUTH=core", ["oneadmin"]),
        ("GROUPS=1,100", ["alice"]),  # the comma is the cell's
        ("GROUPS=1,100, NAME~ce", ["alice"]),
        ("NAME=", []),
    ],
)
def test_only_rows_that_meet_it_are_shown(zone: StandIn, koinon: Koinon, condition: str, names: list[str]) -> None:
    koinon("group", "create", "physics")
    koinon("user", "create", "alice", "x", "--group", "users,physics")
    assert [line[0] for line in koinon("user", "list", "--list", "name", "--filter", condition).lines[1:]] == names
    told = json.loads(koinon("user", "list", "--json", "-f", condition).out)["USER_POOL"].get("USER", [])
    assert sorted(user["NAME"] for user in told) == names


def test_several_filters_must_all_hold(zone: StandIn, koinon: Koinon) -> None:
    assert len(koinon("user", "list", "-f", "NAME~admin", "-f", "ID!=0").lines) == 2


@pytest.mark.parametrize(
    "arguments", [("-f", "NAME"), ("-f", "COLOUR=red"), ("-f", ""), ("-f", "NAME=x", "--xml"), ("--all-zones", "--xml")]
)
def test_what_makes_no_sense_is_refused_before_a_zone_is_asked(zone: StandIn, koinon: Koinon, arguments: tuple[str, ...]) -> None:
    assert koinon("user", "list", *arguments).code == 2
    assert zone.calls == []


@given(st.text())
def test_any_text_is_conditions_or_a_usage_error(text: str) -> None:
    try:
        found = parse_conditions([text], ["NAME"])
    except click.UsageError:
        return
    assert found


@given(st.text(), st.text())
def test_unlike_is_what_like_is_not(cell: str, wanted: str) -> None:
    assert Condition("A", "=", wanted).holds(cell) != Condition("A", "!=", wanted).holds(cell)
    assert Condition("A", "~", "").holds(cell)


LISTS = [(noun, row.verb) for noun, one in NOUNS.items() for row in one.rows() if any(one.name == "filters" for one in row.parameters)]


@pytest.mark.parametrize(("noun", "verb"), LISTS)
def test_describe_tells_of_every_column_and_asks_no_zone(koinon: Koinon, noun: str, verb: str) -> None:
    outcome = koinon(noun, verb, "--describe")
    assert outcome.code == 0
    assert outcome.lines[0] == ["COLUMN", "DEFAULT", "DESCRIPTION"]
    assert len(outcome.lines) > 3
    assert all(len(line) > 2 and line[1] in ("yes", "no") for line in outcome.lines[1:])


def test_every_noun_with_a_pool_lists_alike() -> None:
    lists = {noun for noun, verb in LISTS if verb == "list"}
    assert lists == {"zone", "user", "group", "vdc", "cluster", "host", "document", "acl"}
    for noun in lists:
        command = root(lambda config, workers: 0).commands[noun]
        assert isinstance(command, click.Group)
        verb = command.get_command(click.Context(command), "list")
        assert verb is not None
        names = {name for parameter in verb.params for name in parameter.opts}
        assert {"--list", "--filter", "--describe", "--json", "--yaml", "--xml", "--csv", "--all-zones"} <= names

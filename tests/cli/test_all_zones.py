"""``list --all-zones``: every zone is asked, and one that is silent has a row that says so."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn, User


@pytest.fixture
def branch(zone: StandIn) -> Iterator[StandIn]:
    """Zone 100, in zone 0's list."""
    with StandIn(100) as branch:
        zone.zones[100] = ("branch", 0, branch.url)
        branch.users[7] = User(7, "local", "x")
        yield branch


@pytest.fixture
def gone(branch: StandIn, zone: StandIn) -> None:
    """Zone 101, whose address nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        zone.zones[101] = ("gone", 0, f"http://127.0.0.1:{free.getsockname()[1]}/RPC2")


def test_rows_of_all_zones_with_their_zone(koinon: Koinon, branch: StandIn) -> None:
    outcome = koinon("user", "list", "--all-zones", "--list", "id,name")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.lines == [
        ["ZONE", "ID", "NAME", "ANSWER"],
        ["OpenNebula", "0", "oneadmin", "ok"],
        ["OpenNebula", "1", "serveradmin", "ok"],
        ["branch", "0", "oneadmin", "ok"],
        ["branch", "1", "serveradmin", "ok"],
        ["branch", "7", "local", "ok"],
    ]


@pytest.mark.usefixtures("gone")
def test_a_zone_that_does_not_answer_has_a_row_and_the_exit_code_tells(koinon: Koinon) -> None:
    outcome = koinon("user", "list", "--all-zones", "--list", "name", "--filter", "NAME=local")
    assert outcome.code == 3
    assert outcome.lines[1] == ["branch", "local", "ok"]
    assert outcome.lines[2][:3] == ["gone", "-", "no:"]
    assert len(outcome.lines) == 3  # a condition on names does not hide the zone whose names nobody knows
    assert outcome.err == "1 of 3 zones did not answer: this list is not complete.\n"
    assert len(koinon("user", "list", "--all-zones", "--filter", "ZONE=branch").lines) == 4
    (missing,) = csv.DictReader(io.StringIO(koinon("user", "list", "--all-zones", "--csv", "--filter", "ANSWER!=ok").out))
    assert (missing["ZONE"], missing["ID"]) == ("gone", "-")


@pytest.mark.usefixtures("gone")
def test_programs_get_one_entry_for_each_zone(koinon: Koinon) -> None:
    outcome = koinon("user", "list", "--all-zones", "--json", "--filter", "NAME=local")
    assert outcome.code == 3
    first, second, third = json.loads(outcome.out)["ZONES"]
    assert first == {"ID": "0", "NAME": "OpenNebula", "ANSWER": "ok", "USER_POOL": {"DEFAULT_USER_QUOTAS": ""}}
    assert [user["ID"] for user in second["USER_POOL"]["USER"]] == ["7"]
    assert third["ANSWER"].startswith("no: ")
    assert "USER_POOL" not in third
    assert 'ANSWER: "no: ' in koinon("user", "list", "--all-zones", "--yaml").out


def test_a_refusal_is_told_as_one(koinon: Koinon, branch: StandIn) -> None:
    branch.users[0].password = "other"
    outcome = koinon("group", "list", "--all-zones")
    assert outcome.code == 1
    assert outcome.lines[-1][:2] == ["branch", "-"]
    assert "refused: [one.grouppool.info]" in outcome.out
    assert "1 of 2 zones refused" in outcome.err


def test_zones_are_asked_at_once_and_none_is_waited_for_longer_than_its_limit(koinon: Koinon, zone: StandIn, branch: StandIn) -> None:
    """The first zone answers only after the second was asked; the third accepts connections and is silent."""
    zone.hold, zone.held = branch.asked, "one.userpool.info"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        zone.zones[103] = ("silent", 0, f"http://127.0.0.1:{silent.getsockname()[1]}/RPC2")
        outcome = koinon("user", "list", "--all-zones", "--timeout", "5", "--list", "zone,id")
    assert outcome.code == 3
    assert [line[0] for line in outcome.lines[1:]] == ["OpenNebula"] * 2 + ["branch"] * 3 + ["silent"]
    assert "no answer within 5 s" in outcome.out


def test_the_zone_of_a_rule_is_not_the_zone_that_tells_it(koinon: Koinon, zone: StandIn, branch: StandIn) -> None:
    koinon("acl", "create", "@1 HOST/* USE *")
    assert koinon("acl", "list", "--all-zones").lines == [
        ["FROM", "ID", "USER", "RESOURCES", "RIGHTS", "ZONE", "ANSWER"],
        ["OpenNebula", "0", "@1", "HOST/*", "USE", "*", "ok"],
    ]


@pytest.mark.parametrize("noun", ["zone", "vdc", "cluster", "host", "document"])
def test_every_noun_can_be_listed_so(koinon: Koinon, branch: StandIn, noun: str) -> None:
    outcome = koinon(noun, "list", "--all-zones", *(["--type", "1"] if noun == "document" else []))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.lines[0][0] == "ZONE"
    assert outcome.lines[0][-1] == "ANSWER"
    assert {name for name, _ in branch.calls} == {"one.system.config", f"one.{noun}pool.info"}
    assert koinon("zone", "list", "--status", "--all-zones").code == 2


def test_an_address_that_is_none_is_said_to_be(koinon: Koinon, zone: StandIn) -> None:
    zone.zones[102] = ("odd", 0, "-")
    outcome = koinon("user", "list", "--all-zones")
    assert outcome.code == 3
    assert "its record holds no valid address" in outcome.out


def test_what_one_zone_says_is_not_told_as_anothers(koinon: Koinon, zone: StandIn) -> None:
    zone.zones[100] = ("branch", 0, zone.url)  # as if both records said localhost
    outcome = koinon("user", "list", "--all-zones", "--list", "id")
    assert outcome.code == 3
    assert [line[0] for line in outcome.lines[1:]] == ["OpenNebula", "OpenNebula", "branch"]
    assert "no: zone 0 answers at the address in its record" in outcome.out
    assert "no: zone 0 answers" in koinon("zone", "list", "--status").out

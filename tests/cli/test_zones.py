"""``koinon zone``, and ``--zone`` on every command."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn

yaml: Any = import_module("yaml")  # ships no types


@pytest.fixture
def branch(zone: StandIn) -> Iterator[StandIn]:
    """Zone 100, known to zone 0, with one user more."""
    with StandIn(100, position=40) as branch:
        zone.zones[100] = ("branch", 0, branch.url)
        branch.users[5] = branch.user(1).__class__(5, "local", "x")
        yield branch


@pytest.fixture
def nobody(zone: StandIn) -> Iterator[str]:
    """The address of a port that is taken and not listened on, in the record of zone 101."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/RPC2"
        zone.zones[101] = ("gone", 1, url)
        yield url


@pytest.mark.parametrize("named", ["100", "branch"])
def test_zone_sends_one_call_to_another_zone(koinon: Koinon, branch: StandIn, named: str) -> None:
    assert ["5", "local"] in koinon("user", "list", "--zone", named, "--list", "id,name").lines
    assert [name for name, _ in branch.calls] == ["one.userpool.info"]


def test_names_are_looked_up_in_the_zone_that_was_chosen(koinon: Koinon, branch: StandIn) -> None:
    assert koinon("user", "delete", "local", "--zone", "branch").code == 0
    assert 5 not in branch.users


def test_an_unknown_zone_is_refused(koinon: Koinon, zone: StandIn) -> None:
    outcome = koinon("user", "list", "--zone", "nowhere")
    assert outcome.code == 1
    assert "No zone 'nowhere'" in outcome.err


def test_list_marks_the_zone_that_answers(koinon: Koinon, zone: StandIn, branch: StandIn, nobody: str) -> None:
    assert koinon("zone", "list").lines == [
        ["C", "ID", "NAME", "STATE", "ENDPOINT"],
        ["*", "0", "OpenNebula", "enabled", zone.url],
        ["100", "branch", "enabled", branch.url],
        ["101", "gone", "disabled", nobody],
    ]
    zone.zones[0] = ("OpenNebula", 0, "http://another.example:2633/RPC2")  # it is known by its id, whatever its record says
    assert koinon("zone", "list", "-l", "c,id").lines[1:] == [["*", "0"], ["100"], ["101"]]
    zone.unserved = {"one.system.config"}  # or, if it does not tell that, by its address
    assert koinon("zone", "list", "-l", "c,id").lines[1:] == [["0"], ["100"], ["101"]]
    zone.zones[0] = ("OpenNebula", 0, zone.url)
    assert koinon("zone", "list", "-l", "c,id").lines[1:] == [["*", "0"], ["100"], ["101"]]


def test_status_has_an_honest_row_for_each_zone(koinon: Koinon, zone: StandIn, branch: StandIn, nobody: str) -> None:
    zone.zones[102] = ("odd", 0, "-")
    zone.position = -1
    branch.users[0].password = "other"
    rows = koinon("zone", "list", "--status", "--list", "id,fedlog,answer").lines
    assert rows[:3] == [
        ["ID", "FEDLOG", "ANSWER"],
        ["0", "-", "ok"],
        ["100", "-", "refused:", "[one.zone.raftstatus]", "User", "couldn't", "be", "authenticated,", "aborting", "call."],
    ]
    assert rows[3][:3] == ["101", "-", "no:"]
    assert "refused" in " ".join(rows[3])
    assert rows[4] == ["102", "-", "no:", "its", "record", "holds", "no", "valid", "address"]
    assert koinon("zone", "list", "--status", "--xml").code == 2


def test_status_shows_positions(koinon: Koinon, branch: StandIn) -> None:
    assert koinon("zone", "list", "--status", "--list", "fedlog,id").lines == [["FEDLOG", "ID"], ["41", "0"], ["40", "100"]]
    answer = {"ZONES": [{"ID": "100", "NAME": "branch", "FEDLOG": "40", "ANSWER": "ok"}]}
    assert json.loads(koinon("zone", "list", "--status", "--json", "--filter", "ID=100").out) == answer
    assert yaml.safe_load(koinon("zone", "list", "--status", "--yaml", "--filter", "ID=100").out) == answer


def test_status_does_not_wait_for_ever(koinon: Koinon, zone: StandIn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        zone.zones[103] = ("silent", 0, f"http://127.0.0.1:{silent.getsockname()[1]}/RPC2")
        outcome = koinon("zone", "list", "--status", "--timeout", "3")
    assert outcome.code == 0
    assert "gave no answer within 3 s" in outcome.out


def test_set_asks_the_target_and_then_keeps_it(koinon: Koinon, home: Path, branch: StandIn) -> None:
    outcome = koinon("zone", "set", "branch")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Zone 100 (branch) answers at {branch.url}")
    assert (home / ".one" / "one_endpoint").read_text() == branch.url + "\n"
    assert koinon("user", "list", "--list", "name").lines[-1] == ["local"]


def test_set_prints_the_line_for_one_shell(koinon: Koinon, home: Path, zone: StandIn, branch: StandIn) -> None:
    assert koinon("zone", "set", "100", "-k").out == koinon("zone", "set", "100", "--print").out
    assert koinon("zone", "set", "100", "--print").out == f"export ONE_XMLRPC={branch.url}\n"
    assert (home / ".one" / "one_endpoint").read_text() == zone.url + "\n"


def test_set_saves_nothing_unless_the_target_answers_knows_us_and_is_itself(
    koinon: Koinon, home: Path, zone: StandIn, branch: StandIn, nobody: str
) -> None:
    outcome = koinon("zone", "set", "gone")
    assert outcome.code == 3
    assert "Nothing was saved" in outcome.err
    branch.zone_id = 5
    outcome = koinon("zone", "set", "branch")
    assert outcome.code == 1
    assert "zone 5 answers. Nothing was saved" in outcome.err
    branch.users[0].password = "other"
    outcome = koinon("zone", "set", "branch")
    assert outcome.code == 1
    assert "refuses you" in outcome.err
    assert (home / ".one" / "one_endpoint").read_text() == zone.url + "\n"


def test_set_tells_of_an_environment_that_goes_first(
    koinon: Koinon, zone: StandIn, branch: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE_XMLRPC", zone.url)
    assert "unset ONE_XMLRPC" in koinon("zone", "set", "branch").err


def test_create_from_options_or_a_file(koinon: Koinon, zone: StandIn) -> None:
    assert koinon("zone", "create", "--name", 'b"1', "--zone-endpoint", "http://b:2633/RPC2").out == "ID: 100\n"
    assert koinon("zone", "create", "-", stdin="NAME = x").code == 0
    assert zone.made("one.zone.allocate") == [['NAME = "b\\"1"\nENDPOINT = "http://b:2633/RPC2"\n'], ["NAME = x"]]
    assert koinon("zone", "create", "--name", "x").code == 2
    assert koinon("zone", "create", "--name", "x", "--zone-endpoint", "ftp://b").code == 2
    assert koinon("zone", "create", "-", "--name", "x").code == 2


def test_servers_of_a_zone(koinon: Koinon, zone: StandIn, branch: StandIn) -> None:
    assert koinon("zone", "server-add", "OpenNebula", "-n", "one", "-r", "http://one:2633/RPC2").code == 0
    assert koinon("zone", "server-add", "0", "--name", 'the "other"', "--rpc", "https://two/RPC2").code == 0
    shown = koinon("zone", "show", "0").lines
    assert ["SERVER", "0", ":", "one", "at", "http://one:2633/RPC2"] in shown
    assert ["SERVER", "1", ":", "the", '"other"', "at", "https://two/RPC2"] in shown
    assert koinon("zone", "server-reset", "0", "1").code == 0
    assert koinon("zone", "server-del", "0", "0").code == 0
    assert "SERVER not found in zone" in koinon("zone", "server-del", "OpenNebula", "0").err
    assert list(zone.servers) == [1]
    assert "through the target zone endpoints" in koinon("zone", "server-add", "branch", "-n", "x", "-r", "http://x").err
    assert koinon("zone", "server-add", "100", "-n", "x", "-r", "http://x", "--zone", "branch").code == 0
    assert list(branch.servers) == [0]
    for wrong in (
        ("server-add", "0", "-n", "x"),
        ("server-add", "0", "-n", "x", "-r", "x:1"),
        ("server-del", "0", "one"),
        ("server-del", "0", "-1"),
    ):
        assert koinon("zone", *wrong).code == 2


def test_other_verbs(koinon: Koinon, zone: StandIn, branch: StandIn) -> None:
    assert koinon("zone", "rename", "branch", "north").code == 0
    assert koinon("zone", "disable", "north").code == 0
    assert zone.zones[100][:2] == ("north", 1)
    assert ["STATE", ":", "disabled"] in koinon("zone", "show", "north").lines
    assert koinon("zone", "enable", "0,100").code == 0
    assert [call[0] for call in zone.made("one.zone.enable")[-2:]] == [0, 100]
    assert koinon("zone", "update", "100", "-", "-a", stdin="A = 1").code == 0
    assert zone.made("one.zone.update") == [[100, "A = 1", 1]]
    assert koinon("zone", "delete", "100").code == 0
    assert list(zone.zones) == [0]

"""What ``koinon policy diff`` sends, what it refuses before any zone is asked, and how it tells a long answer."""

from __future__ import annotations

import json
import re
from importlib import import_module
from typing import Any

import pytest

from tests.cli import stand_in
from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn

yaml: Any = import_module("yaml")  # ships no types

LINE: dict[str, Any] = {
    "change": "grant",
    "right": "USE",
    "kind": "HOST",
    "for": {"kind": "group", "id": 100, "name": "dev"},
    "users": {"count": 12, "of": 20, "some": [{"id": oid, "name": f"u{oid}"} for oid in range(2)]},
    "zones": [{"id": 0, "name": "north"}, {"id": 100, "name": "south"}],
    "every_zone": False,
    "places": [],
    "objects": {"count": 3, "some": [4, 5], "pairs": 7},
}


def answer(monkeypatch: pytest.MonkeyPatch, told: object) -> None:
    """Let the zone answer every diff with this."""
    monkeypatch.setitem(stand_in._METHODS, "koinon.acl.diff", lambda _zone, _caller, _changes: json.dumps(told))


def sent(zone: StandIn) -> Any:
    ((changes,),) = zone.made("koinon.acl.diff")
    return json.loads(changes)


def test_sends_what_would_be_changed(koinon: Koinon, zone: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"lines": [], "left_off": 0, "notes": ["something"]})
    outcome = koinon(
        *("policy", "diff", "--add-rule", "@1 VM/* USE #0", "--add-rule", "@1 NET/* USE", "--remove-rule", "3,5..6"),
        *("--vdc", "7", "--add-group", "users", "--del-group", "0", "--add-resource", "cluster/100:all", "--del-resource", "HOST/0:4"),
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "Nothing would change for any user.\n", "Note: something\n")
    assert sent(zone) == {
        "add": ["@1 VM/* USE #0", "@1 NET/* USE"],
        "remove": [3, 5, 6],
        "vdc": {"id": 7, "add_groups": [1], "del_groups": [0], "add": [["cluster", 100, -10]], "remove": [["HOST", 0, 4]]},
    }


def test_tells_long_answers_shortly(koinon: Koinon, zone: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {"for": {"kind": "user", "id": 9, "name": "ada\x1b[2J"}, "objects": None, "places": ["HOST/%5", "HOST/@2"], "every_zone": True}
    gone = {"objects": {"count": 0, "some": [], "pairs": 0}, "change": "remove", "places": ["HOST/*"]}
    answer(monkeypatch, {"lines": [LINE, LINE | user, LINE | gone], "left_off": 4, "notes": []})
    outcome = koinon("policy", "diff", "--remove-rule", "1")
    _, first, second, third = outcome.out.splitlines()
    assert re.split("  +", first) == [
        *("grant", "group 100 (dev)", "12 of 20: u0, u1 and 10 more", "USE", "HOST", "3: #4, #5 and 1 more", "0 (north), 100 (south)")
    ]
    assert "user 9 (ada\\x1b[2J)" in second
    assert second.split()[-4:] == ["HOST/%5,", "HOST/@2", "-", "all"]
    assert "none" in third
    assert outcome.err == "4 more lines are not shown.\n"
    assert json.loads(koinon("policy", "diff", "--remove-rule", "1", "--json").out)["lines"][0] == LINE
    assert yaml.safe_load(koinon("policy", "diff", "--remove-rule", "1", "--yaml").out)["lines"][0] == LINE


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--add-rule", "nonsense"),
        ("--add-rule", "* HOST/@1 USE #0"),
        ("--remove-rule", "name"),
        ("--vdc", "7"),
        ("--add-group", "1"),
        ("--vdc", "7", "--add-resource", "HOST"),
        ("--vdc", "7", "--add-resource", "HOST/0:x"),
        ("--vdc", "7", "--add-resource", "HOST/south:1"),
        ("--vdc", "7", "--add-resource", "/0:1"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_zone_is_asked(koinon: Koinon, zone: StandIn, arguments: tuple[str, ...]) -> None:
    outcome = koinon("policy", "diff", *arguments)
    assert outcome.code == 2
    assert outcome.err
    assert zone.calls == []


@pytest.mark.parametrize("told", ["no JSON", "[]"])
def test_an_answer_that_is_no_answer_is_said_to_be_none(koinon: Koinon, zone: StandIn, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setitem(stand_in._METHODS, "koinon.acl.diff", lambda *_: told)
    assert koinon("policy", "diff", "--remove-rule", "1").code == 3

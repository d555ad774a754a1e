"""The rows of the API against the facts they must match."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.calls import CALLS, REQUIRED, THIS_ZONE, Call, Need, Param, Runs, call
from koinon.wire.calls.rows import create

FACTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "methods.json").read_text())["methods"]


def auth_text(need: Need) -> str:
    """The need as the file of facts words it."""
    text = f"{need.kind.acl_name}:{need.right.name}"
    if need.filters:
        return f"{text} (rows filtered by the WHERE clause, never an error)"
    if need.param == THIS_ZONE:
        return f"{text} (local zone)"
    if need.but_oneself:
        return f"{text} (not for oneself)"
    if need.but_own_group:
        return f"{text} (each listed group other than the primary group of the caller)"
    if need.condition:
        return f"{text} ({need.condition})"
    return text


def as_fact(param: Param) -> dict[str, Any]:
    """The parameter as the file of facts holds it."""
    fact: dict[str, Any] = {"name": param.name, "type": param.type}
    if param.default is not REQUIRED:
        fact["default"] = list(param.default) if isinstance(param.default, tuple) else param.default
    return fact


def test_every_call_of_opennebula_that_we_know_facts_of_has_a_row_and_no_other() -> None:
    assert {name for name in CALLS if name.startswith("one.")} == {fact["name"] for fact in FACTS}


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_a_row_says_what_the_facts_say(fact: dict[str, Any]) -> None:
    row = CALLS[fact["name"]]
    assert [as_fact(param) for param in row.signature] == fact["params"]
    assert row.returns == fact["returns"]
    assert [auth_text(need) for need in row.needs] + ["primary group 0"] * row.group_0_only + ["uid 0"] * row.user_0_only == fact["auth"]
    assert (row.runs is Runs.MASTER) == fact["federated"]
    assert (row.runs is Runs.HOME) == fact["federated_indirect"]
    assert row.when_disabled == fact["allowed_when_zone_disabled"]
    assert list(row.hidden) == fact["hidden_in_log"]


@pytest.mark.parametrize("row", CALLS.values(), ids=lambda row: row.name)
def test_a_row_is_consistent(row: Call) -> None:
    assert row.writes or row.runs is Runs.LOCAL
    assert not (row.writes and row.name.endswith((".info", ".monitoring", ".raftstatus", ".version", ".config")))
    assert row.runs is not Runs.HOME or (row.elsewhere and row.params[0].type == "int")
    assert row.authenticates == (not row.name.startswith("system."))
    assert row.summary.endswith(".")
    assert all(param.doc for param in row.params)


def test_only_the_log_in_returns_a_secret() -> None:
    assert [row.name for row in CALLS.values() if row.secret_result] == ["one.user.login"]


def test_introspection_asks_for_no_session() -> None:
    assert CALLS["system.methodHelp"].signature == CALLS["system.methodHelp"].params
    assert CALLS["system.methodHelp"].hidden == ()


@pytest.mark.parametrize(
    ("name", "params", "needs", "why"),
    [
        ("one.user.info", (), (), "two rows"),
        ("one.user.new", (Param("a", "int", 0), Param("b", "int")), (), "left out"),
        ("one.user.new", (Param("a", "int"),), (Need(Right.USE, Kind.USER, "b"),), "unknown parameter b"),
    ],
)
def test_a_wrong_row_is_refused_and_leaves_the_table_alone(name: str, params: tuple[Param, ...], needs: tuple[Need, ...], why: str) -> None:
    before = dict(CALLS)
    with pytest.raises(ValueError, match=why):
        call(name, params, needs, Runs.LOCAL, "int", "A row.")
    assert before == CALLS


def test_a_right_to_create_names_no_object() -> None:
    assert create(Kind.ZONE) == Need(Right.CREATE, Kind.ZONE, None)

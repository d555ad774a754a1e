"""The generated reference pages: complete, in order, and as their generators make them now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koinon.wire.calls import CALLS, Runs
from tests.identity.site import Site
from tests.wire import calls_page, compatibility
from tests.wire.compatibility import DEFAULTS, DIFFERS, EVERY_METHOD, TOTAL, UNTIL, Default, Method, methods, state_of

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def test_the_page_of_calls_is_the_table_of_calls() -> None:
    """Make it anew with ``python -m tests.wire.calls_page > docs/reference/calls.md``."""
    assert (REFERENCE / "calls.md").read_text() == calls_page.page()


def test_the_page_of_compatibility_is_what_the_tables_say() -> None:
    """Make it anew with ``python -m tests.wire.compatibility > docs/reference/compatibility.md``."""
    assert (REFERENCE / "compatibility.md").read_text() == compatibility.page()


def test_every_call_of_opennebula_stands_on_the_page_once() -> None:
    listed = [method.name for method in methods()]
    assert len(listed) == len(set(listed)) == TOTAL
    page = compatibility.page()
    assert all(page.count(f"| `{name}` |") == 1 for name in listed)
    assert json.loads(EVERY_METHOD.read_text())["origin"].startswith("Every XML-RPC call that OpenNebula registers")


def test_reasons_are_given_for_calls_that_exist() -> None:
    assert DIFFERS.keys() <= {method.name for method in methods()}


def test_every_call_that_is_offered_is_opennebulas_or_plainly_ours() -> None:
    known = {method.name for method in methods()}
    assert not {name for name in CALLS if name not in known and not name.startswith(("koinon.", "system."))}


def test_a_call_without_a_row_says_so() -> None:
    """What differs and has no row must not read as if it were offered in another form."""
    assert all(("Not offered" in reason) == (name not in CALLS) for name, reason in DIFFERS.items())
    assert {state_of(method) for method in methods()} == {"done", "differs", "planned"}


def test_what_is_planned_and_offered_says_so() -> None:
    assert UNTIL.keys() <= CALLS.keys()
    assert not UNTIL.keys() & DIFFERS.keys()
    assert all(reason.startswith("Offered. ") for reason in UNTIL.values())


@pytest.mark.parametrize("default", [default for default in DEFAULTS if default.table], ids=lambda default: default.kind)
def test_a_new_zone_has_the_default_objects_that_are_called_done(default: Default, tmp_path: Path) -> None:
    site = Site(tmp_path)
    found = site.read(lambda tx: tx.fetch(f"SELECT oid, name FROM {default.table}"))
    site.close()
    assert dict(found) == default.names


@pytest.mark.parametrize("method", [method for method in methods() if method.name in CALLS], ids=lambda method: method.name)
def test_an_offered_call_runs_where_opennebula_runs_it(method: Method) -> None:
    assert CALLS[method.name].runs is {"master": Runs.MASTER, "home": Runs.HOME, "local": Runs.LOCAL}[method.runs]

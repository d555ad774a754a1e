"""The tables of commands against the table of calls and against the guide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from koinon.cli.commands import Command
from koinon.cli.main import NOUNS
from koinon.wire.calls import CALLS

ROWS = [pytest.param(noun, row, id=f"{noun} {row.verb}") for noun, one in NOUNS.items() for row in one.rows()]
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "command-line.md"


@pytest.mark.parametrize(("noun", "row"), ROWS)
def test_every_call_that_a_row_names_exists(noun: str, row: Command) -> None:
    assert set(row.calls) <= set(CALLS)
    assert (row.calls == ()) == (noun == "federation" or row.verb == "encode")


@pytest.mark.parametrize(("noun", "row"), ROWS)
def test_the_guide_tells_of_every_verb(noun: str, row: Command) -> None:
    section = re.search(rf"^\| `{noun}` \|(.*)$", GUIDE.read_text(), re.MULTILINE)
    assert section is not None
    assert f"`{row.verb}" in section[1]


def test_every_change_that_the_api_allows_has_a_command() -> None:
    nouns = ("one.user.", "one.group.", "one.vdc.", "one.acl.", "one.zone.", "one.cluster.", "one.host.", "one.document.")
    used = {call for one in NOUNS.values() for row in one.rows() for call in row.calls}
    assert {name for name in CALLS if name.startswith(nouns)} - used == set()

"""The page of commands is what the tables say; each verb and option of OpenNebula's commands is here, or left out for a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from koinon.cli.commands import SHARED, Command
from koinon.cli.main import NOUNS
from tests.cli import commands_page
from tests.cli.opennebula import CLIENT, LEFT_OUT, VERBS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
OF_PROGRAMS = {"--help", "--version"}


def _rows(noun: str) -> dict[str, Command]:
    return {row.verb: row for row in NOUNS[noun].rows()}


def _options(row: Command) -> set[str]:
    return {name for parameter in (*row.parameters, *SHARED) for name in parameter.opts} | OF_PROGRAMS


def _reasons(noun: str, verb: str, option: str) -> list[str]:
    return [key for key in (f"{noun} {verb} {option}", f"* {verb} {option}", f"* * {option}") if key in LEFT_OUT]


def test_the_page_of_commands_is_what_the_tables_say() -> None:
    """Make it anew with ``python -m tests.cli.commands_page > docs/reference/commands.md``."""
    assert PAGE.read_text() == commands_page.page()


@pytest.mark.parametrize(("noun", "verb"), [(noun, verb) for noun, verbs in VERBS.items() for verb in verbs])
def test_each_verb_and_option_of_opennebula_is_here_or_left_out_for_a_reason(noun: str, verb: str) -> None:
    row = _rows(noun).get(verb)
    assert (row is None) == (f"{noun} {verb}" in LEFT_OUT)
    if row is not None:
        here = _options(row)
        for option in f"{VERBS[noun][verb]} {CLIENT}".split():
            assert (option not in here) == bool(_reasons(noun, verb, option)), option


def test_nothing_is_left_out_that_opennebula_does_not_have() -> None:
    used = {
        key
        for noun, verbs in VERBS.items()
        for verb, options in verbs.items()
        for key in (f"{noun} {verb}", *(reason for option in f"{options} {CLIENT}".split() for reason in _reasons(noun, verb, option)))
    }
    assert set(LEFT_OUT) <= used

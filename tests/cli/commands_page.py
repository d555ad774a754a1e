"""The reference page of commands, made from the tables of commands, with what OpenNebula's have and these do not.

Path:     main.NOUNS, opennebula.LEFT_OUT -> page() -> docs/reference/commands.md, by ``python -m tests.cli.commands_page``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import click

from koinon.cli.commands import SHARED, Command
from koinon.cli.main import NOUNS, OF_KOINON
from koinon.cli.pools import list_options
from tests.cli.opennebula import LEFT_OUT

_HEAD: Final = """\
# Commands

Every verb of every noun: `koinon NOUN VERB`, or `oneNOUN VERB` for the nouns that OpenNebula has too, and for `document`. What is
in square brackets may be left out. How commands find their zone, read templates and print lists is on the page
[the command line](../guide/command-line.md); the calls that they make are on the [page of calls](calls.md).

<!-- Made by `python -m tests.cli.commands_page` from src/koinon/cli and tests/cli/opennebula.py; a test compares them. -->"""

_LISTS: Final = """\
`list` and the other verbs that print tables take these. FILE is a file with template text, `-` is standard input; where FILE is left out,
what is piped in counts, and an editor opens if nothing is."""

_LEFT_OUT: Final = """\
Verbs and options that OpenNebula's commands of the same names have, and these have not."""

_CONTEXT: Final = click.Context(click.Command("any"))


def page() -> str:
    """The page, with a newline at its end."""
    lists = [option for option in list_options(()) if isinstance(option, click.Option)]
    lines = [_HEAD, "", "## Options of all commands that talk to a zone", "", *_options(SHARED)]
    lines += ["", "## Options of lists", "", _LISTS, "", *_options(lists)]
    for noun, one in NOUNS.items():
        names = f"`koinon {noun}`" if noun in OF_KOINON else f"`one{noun}`, `koinon {noun}`"
        lines += ["", f"## {noun}", "", f"{names}. {one.help}", "", "| Command | Options of its own | What it does |", "|---|---|---|"]
        of_lists = {name for option in lists for name in option.opts}
        lines += [f"| {_usage(row)} | {_own(row, of_lists)} | {_cell(row.help)} |" for row in one.rows()]
    lines += [
        "",
        "## What OpenNebula's commands have beside",
        "",
        _LEFT_OUT,
        "",
        "| Command | Verb | Not here | Why |",
        "|---|---|---|---|",
    ]
    for (noun, verb, why), entries in groupby(LEFT_OUT.items(), key=lambda entry: (*entry[0].split()[:2], entry[1])):
        options = [f"`{option}`" for key, _ in entries for option in key.split()[2:]]
        where = "all" if noun == "*" else f"`one{noun}`", "all" if verb == "*" else f"`{verb}`"
        lines.append(f"| {' | '.join(where)} | {', '.join(options) or 'the verb'} | {why} |")
    return "\n".join(lines) + "\n"


def _options(options: Sequence[click.Option]) -> list[str]:
    return ["| Option | |", "|---|---|", *(f"| {_spelling(option)} | {_cell(option.help or '')} |" for option in options)]


def _usage(row: Command) -> str:
    arguments = [parameter.make_metavar(_CONTEXT) for parameter in row.parameters if isinstance(parameter, click.Argument)]
    return _cell(f"`{' '.join([row.verb, *arguments])}`")


def _own(row: Command, of_lists: set[str]) -> str:
    options = [parameter for parameter in row.parameters if isinstance(parameter, click.Option)]
    lists = any(option.name == "filters" for option in options)
    own = [_spelling(option) for option in options if not (lists and of_lists & set(option.opts))]
    return ", ".join([*own, *(["those of lists"] if lists else [])])


def _spelling(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(_CONTEXT)}"
    return _cell(f"`{', '.join(option.opts)}{value}`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())

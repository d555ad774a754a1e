"""Conditions on rows of a list: ``NAME=alice``, ``STATE!=enabled``, ``ENDPOINT~example.org``.

Source: OpenNebula's `--filter`: conditions on columns, separated by commas, all of which must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

_CONDITION = re.compile(r"\s*([A-Za-z_]+)\s*(!=|=|~)(.*)", re.DOTALL)
# A comma ends a condition only if another one follows: cells hold commas too.
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_]+\s*(?:!=|=|~))")


@dataclass(frozen=True)
class Condition:
    """One condition on one column."""

    title: str
    operator: str
    wanted: str

    def holds(self, cell: str) -> bool:
        """Whether a cell of the column meets it."""
        if self.operator == "~":
            return self.wanted.casefold() in cell.casefold()
        return (cell == self.wanted) == (self.operator == "=")


def parse_conditions(written: Iterable[str], titles: Sequence[str]) -> list[Condition]:
    """The conditions that the person wrote, on columns with these titles.

    Raises:
        click.UsageError: a text is no condition, or there is no such column.
    """
    found = []
    for text in written:
        for part in _BETWEEN.split(text):
            match = _CONDITION.fullmatch(part)
            if match is None:
                raise click.UsageError(f"{part!r} is not a condition. Write COLUMN=VALUE, COLUMN!=VALUE, or COLUMN~PART of the value.")
            title = match[1].upper()
            if title not in titles:
                raise click.UsageError(f"There is no column {title!r} to filter by. There are {', '.join(titles)}.")
            found.append(Condition(title, match[2], match[3].strip()))
    return found

"""Conditions on rows of a list: ``NAME=alice``, ``STATE!=enabled``, ``ENDPOINT~example.org``, ``ID>=100``.

Source: OpenNebula's `--filter`: conditions on columns, separated by commas. It compares all cells as texts; here numbers are numbers.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

_CONDITION = re.compile(r"\s*([A-Za-z_]+)\s*(!=|<=|>=|=|<|>|~)(.*)", re.DOTALL)
# A comma ends a condition only if another one follows: cells hold commas too.
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_]+\s*(?:!=|=|~|<|>))")

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


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
        if self.operator in ("=", "!="):
            return (cell == self.wanted) == (self.operator == "=")
        left, right = _number(cell), _number(self.wanted)
        if left is not None and right is not None:
            return _COMPARE[self.operator](left, right)
        return _COMPARE[self.operator](cell, self.wanted)


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
                raise click.UsageError(f"{part!r} is not a condition. Write COLUMN, one of = != ~ < <= > >=, and a value.")
            title = match[1].upper()
            if title not in titles:
                raise click.UsageError(f"There is no column {title!r} to filter by. There are {', '.join(titles)}.")
            found.append(Condition(title, match[2], match[3].strip()))
    return found


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None

"""Which rows and columns of a list are shown, and how wide: the options of all lists, and what they mean.

Path:     list_forms() -> click -> View -> View.of(columns) -> Rows, which keeps rows and prints them
Holds:    a wrong column, condition or width is refused before a zone is asked.
Not here: JSON, YAML and XML, which show whole documents (listing.py).
Source:   OpenNebula's commands: the same options of lists, but for those about files of columns and about filling the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import click

from koinon.cli.filters import Condition, parse_conditions
from koinon.cli.listing import CSV, JSON, XML, YAML
from koinon.cli.tables import Column, print_csv, print_table

T = TypeVar("T")

MAX_WIDTH = 10_000

COLUMNS = click.Option(["-l", "--list", "titles"], metavar="COLUMNS", help="Only these columns, separated by commas, in this order.")
FILTER = click.Option(
    ["-f", "--filter", "filters"],
    metavar="CONDITION",
    multiple=True,
    help="Only rows where COLUMN=VALUE, COLUMN!=VALUE, COLUMN~PART, or by <, <=, >, >=; separated by commas or repeated.",
)
OPERATOR = click.Option(
    ["--operator"],
    type=click.Choice(["AND", "OR"], case_sensitive=False),
    default="AND",
    show_default=True,
    help="Whether all conditions must hold, or one.",
)
DELIMITER = click.Option(["--csv-del", "delimiter"], metavar="CHARACTER", help="What stands between the values of --csv instead of commas.")
NO_HEADER = click.Option(["--no-header"], is_flag=True, help="Leave out the line of titles.")
SIZES = click.Option(["-s", "--size", "sizes"], metavar="COLUMN=WIDTH,...", help="Cut or fill these columns to this width.")
ADJUST = click.Option(["--adjust"], metavar="COLUMNS", help="Show these columns whole, whatever --size says; others are whole anyway.")
NUMERIC = click.Option(["-n", "--numeric"], is_flag=True, help="Show ids of users and groups instead of their names.")
NO_PAGER = click.Option(["--no-pager"], is_flag=True, expose_value=False, help="Accepted for the sake of scripts: no list is paged.")


def list_forms(columns: Sequence[Column[Any]]) -> tuple[click.Parameter, ...]:
    """The options of a list with these columns; their values make a :class:`View`."""
    shown = (COLUMNS, FILTER, OPERATOR, SIZES, ADJUST, NUMERIC, NO_HEADER, NO_PAGER, _describing(columns))
    return (*shown, JSON, YAML, XML, CSV, DELIMITER)


@dataclass(frozen=True)
class View:
    """How the person wants to see a list: the values of :func:`list_forms`, by their names."""

    titles: str | None = None
    form: str | None = None
    filters: Sequence[str] = ()
    operator: str = "AND"
    delimiter: str | None = None
    no_header: bool = False
    sizes: str | None = None
    adjust: str | None = None
    numeric: bool = False

    def of(self, columns: Sequence[Column[T]]) -> Rows[T]:
        """What that means for rows with these columns.

        Raises:
            click.UsageError: there is no such column, or a text is no condition, width or delimiter.
        """
        known = {
            column.title: replace(column, pick=column.numeric) if self.numeric and column.numeric is not None else column
            for column in columns
        }
        widths = _widths(self.sizes, known)
        for title in _titles(self.adjust, known):
            widths.pop(title, None)
        chosen = _titles(self.titles, known) if self.titles is not None else [column.title for column in columns if not column.extra]
        return Rows(
            [replace(known[title], width=widths.get(title)) for title in chosen],
            {title: column.pick for title, column in known.items()},
            parse_conditions(self.filters, list(known)),
            self.operator.upper() == "OR",
            not self.no_header,
            _delimiter(self.delimiter, self.form) if self.form == "csv" or self.delimiter is not None else None,
        )


@dataclass(frozen=True)
class Rows(Generic[T]):
    """The rows that meet the conditions, and the columns in which they are shown; as CSV if there is a delimiter."""

    columns: Sequence[Column[T]]
    picks: dict[str, Callable[[T], str]]
    conditions: Sequence[Condition]
    any_condition: bool
    header: bool
    delimiter: str | None

    def keep(self, row: T) -> bool:
        """Whether a row meets the conditions."""
        met = (condition.holds(self.picks[condition.title](row)) for condition in self.conditions)
        return any(met) if self.any_condition and self.conditions else all(met)

    def show(self, rows: Iterable[T]) -> None:
        """Print rows."""
        if self.delimiter is not None:
            print_csv(self.columns, rows, header=self.header, delimiter=self.delimiter)
        else:
            print_table(self.columns, rows, header=self.header)


def _titles(written: str | None, known: dict[str, Column[T]]) -> list[str]:
    titles = [] if written is None else [title.strip().upper() for title in written.split(",")]
    for title in titles:
        if title not in known:
            raise click.UsageError(f"There is no column {title!r}. There are {', '.join(known)}.")
    return titles


def _widths(written: str | None, known: dict[str, Column[T]]) -> dict[str, int]:
    found = {}
    for part in [] if written is None else written.split(","):
        title, _, width = part.partition("=")
        if not (width.isascii() and width.isdigit() and 0 < int(width[:6]) <= MAX_WIDTH):
            raise click.UsageError(f"{part!r} is no width of a column. Write COLUMN=WIDTH, a number from 1 to {MAX_WIDTH}.")
        found[_titles(title, known)[0]] = int(width)
    return found


def _delimiter(written: str | None, form: str | None) -> str:
    if form != "csv":
        raise click.UsageError("--csv-del goes with --csv.")
    if written is not None and (len(written) != 1 or not (written.isprintable() or written == "\t") or written == '"'):
        raise click.UsageError(f"{written!r} can't stand between values. Give one character, such as ; or a tab.")
    return written or ","


def _describing(columns: Sequence[Column[Any]]) -> click.Option:
    """``--describe``: eager, so that it needs neither a zone nor what else the command asks for."""

    def describe(context: click.Context, option: click.Parameter, wanted: bool) -> None:
        if wanted:
            print_table(
                [
                    Column[Column[Any]]("COLUMN", lambda column: column.title),
                    Column[Column[Any]]("DEFAULT", lambda column: "no" if column.extra else "yes"),
                    Column[Column[Any]]("DESCRIPTION", lambda column: column.about),
                ],
                columns,
            )
            context.exit()

    return click.Option(
        ["--describe"], is_flag=True, is_eager=True, expose_value=False, callback=describe, help="Tell what the columns are, and end."
    )

"""Rows for people, for spreadsheets and for programs: one description of columns, printed in each form.

Holds:    text from a server can't steer the terminal: control characters are shown as escapes.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import click

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: its title, how to get its text from a row, and how to show it.

    Attributes:
        title: upper case, as OpenNebula's commands write them.
        pick: the cell's text.
        right: align to the right (numbers).
        colour: colour for a cell on a terminal, by its text; None leaves it plain.
        extra: shown only when asked for by title.
        about: what it tells, for ``--describe``.
        numeric: how to get an id where the text is a name; None if it is none.
        width: cut or fill to this; None is as wide as the widest cell.
    """

    title: str
    pick: Callable[[T], str]
    right: bool = False
    colour: Callable[[str], str | None] | None = None
    extra: bool = False
    about: str = ""
    numeric: Callable[[T], str] | None = None
    width: int | None = None


def state_colour(text: str) -> str | None:
    """Green for what works, red for what does not."""
    return {"enabled": "green", "yes": "green", "ok": "green", "disabled": "red", "no": "red"}.get(text)


def visible(text: str) -> str:
    """``text`` on one line, its control and direction characters as escapes."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") else character for character in text
    )


def visible_lines(text: str) -> str:
    """As :func:`visible`, keeping line ends."""
    return "\n".join(visible(line) for line in text.split("\n"))


def print_table(columns: Sequence[Column[T]], rows: Iterable[T], *, header: bool = True) -> None:
    """Aligned columns under their titles; colours only where a terminal is that takes them (click strips them elsewhere)."""
    cells = [[_cut(visible(column.pick(row)), column.width) for column in columns] for row in rows]
    titles = [_cut(column.title, column.width) for column in columns] if header else [""] * len(columns)
    widths = [column.width or max(map(_width, [titles[at], *(line[at] for line in cells)])) for at, column in enumerate(columns)]
    if not columns[-1].right:
        widths[-1] = 0  # nothing follows: blanks there would only make lines longer
    if header:
        click.echo(
            "  ".join(_padded(title, width, column.right) for title, width, column in zip(titles, widths, columns, strict=True)).rstrip()
        )
    for line in cells:
        click.echo("  ".join(_cell(text, width, column) for text, width, column in zip(line, widths, columns, strict=True)).rstrip())


def print_csv(columns: Sequence[Column[T]], rows: Iterable[T], *, header: bool = True, delimiter: str = ",") -> None:
    """Comma separated values (RFC 4180 but for the line ends of this system), titles first."""
    import csv  # here and below: most commands print tables without times
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow([column.title for column in columns])
    writer.writerows([visible(column.pick(row)) for column in columns] for row in rows)
    click.echo(buffer.getvalue(), nl=False)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """``NAME : value`` lines."""
    pairs = [(name, visible(value)) for name, value in facts]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)} : {value}".rstrip())


def moment(seconds: float) -> str:
    """A time in seconds since 1970, for people; the number itself if no calendar has it."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cells(character: str) -> int:
    return 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _width(text: str) -> int:
    return sum(map(_cells, text))


def _cut(text: str, width: int | None) -> str:
    """As much of ``text`` as fits."""
    if width is None:
        return text
    taken = 0
    for position, character in enumerate(text):
        taken += _cells(character)
        if taken > width:
            return text[:position]
    return text


def _padded(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _takes_colours() -> bool:
    """Whether a terminal, if there is one, is to get colours. Source: no-color.org."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _cell(text: str, width: int, column: Column[T]) -> str:
    padded = _padded(text, width, column.right)
    colour = column.colour(text) if column.colour is not None and _takes_colours() else None
    return click.style(padded, fg=colour) if colour is not None else padded

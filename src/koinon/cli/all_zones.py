"""A list of what all zones hold.

Path:     pools.lister() -> list_all() -> one call to each zone (zone_answers.py) -> rows that meet the filters -> listing.py
Holds:    each zone that did not answer has a row that says why, and the exit code says that one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from koinon.cli import documents
from koinon.cli.connection import Connection
from koinon.cli.documents import ascending, text
from koinon.cli.filters import parse_conditions
from koinon.cli.listing import choose, kept, print_plain, print_rows
from koinon.cli.tables import Column
from koinon.cli.zone_answers import ask_zones, why
from koinon.client.errors import ClientError, RefusedError, UnreachableError
from koinon.client.xmlrpc import Client


@dataclass(frozen=True)
class Line:
    """One object of one zone; without an object the zone's missing answer."""

    zone: Element
    element: Element | None
    answer: str


def list_all(
    connection: Connection,
    ask: Callable[[Client], str | int],
    limit_s: float,
    tag: str,
    columns: Sequence[Column[Element]],
    titles: str | None,
    form: str | None,
    filters: Sequence[str],
) -> None:
    """Ask each zone, for at most ``limit_s``, and print what all of them hold.

    Raises:
        UnreachableError: zones are missing since they did not answer; what the others said has been printed.
        RefusedError: all answered, and some refused.
    """
    every = _with_zones(columns)
    titles = _naming_zones(titles, every)
    choose(every, titles)
    conditions = parse_conditions(filters, [column.title for column in every])
    of_zones = [condition for condition in conditions if condition.title in (every[0].title, every[-1].title)]

    zones = connection.pool("zone")
    answers = ask_zones(connection, zones, limit_s, lambda client: documents.read(ask(client)))
    lines: list[Line] = []
    told: list[dict[str, object]] = []
    for zone, answer in zip(zones, answers, strict=True):
        found: dict[str, object] = {"ID": text(zone, "ID"), "NAME": text(zone, "NAME")}
        told.append(found)
        if isinstance(answer, ClientError):
            found["ANSWER"] = why(answer)
            # Conditions on objects say nothing of a zone whose objects are not known.
            lines += [line for line in (Line(zone, None, why(answer)),) if kept(every, of_zones, line)]
            continue
        found["ANSWER"] = "ok"
        for element in ascending(answer, tag):
            line = Line(zone, element, "ok")
            if kept(every, conditions, line):
                lines.append(line)
            else:
                answer.remove(element)
        found[answer.tag] = documents.to_plain(answer)
    if form in ("json", "yaml"):
        print_plain({"ZONES": told}, form)
    else:
        print_rows(every, lines, titles, form)
    _tell_missing([answer for answer in answers if isinstance(answer, ClientError)], len(zones))


def _tell_missing(missing: Sequence[ClientError], zones: int) -> None:
    """Raise for zones that are missing: no answer weighs more than a no."""
    silent = [error for error in missing if not isinstance(error, RefusedError)]
    if silent:
        raise UnreachableError(f"{len(silent)} of {zones} zones did not answer: this list is not complete.")
    if missing:
        raise RefusedError(f"{len(missing)} of {zones} zones refused to answer: this list is not complete.", code=0x100)


def _with_zones(columns: Sequence[Column[Element]]) -> list[Column[Line]]:
    """The zone first, then the object's columns, then how the zone answered."""
    # The zone of a rule is another thing than the zone that tells of the rule.
    title = "FROM" if any(column.title == "ZONE" for column in columns) else "ZONE"
    return [
        Column(title, lambda line: text(line.zone, "NAME")),
        *map(_of_object, columns),
        Column("ANSWER", lambda line: line.answer, colour=lambda cell: "green" if cell == "ok" else "red"),
    ]


def _of_object(column: Column[Element]) -> Column[Line]:
    def pick(line: Line) -> str:
        return "-" if line.element is None else column.pick(line.element)

    return Column(column.title, pick, column.right, column.colour, column.extra)


def _naming_zones(titles: str | None, columns: Sequence[Column[Line]]) -> str | None:
    """The titles asked for, with those that say which zone a row is of and whether it answered."""
    if titles is None:
        return None
    asked = [title.strip().upper() for title in titles.split(",")]
    first = [columns[0].title] if columns[0].title not in asked else []
    last = [columns[-1].title] if columns[-1].title not in asked else []
    return ",".join((*first, *asked, *last))

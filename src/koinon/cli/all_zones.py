"""A list of what all zones hold.

Path:     pools.lister() -> list_all() -> one call to each zone (zone_answers.py) -> rows that meet the filters -> views.py
Holds:    each zone that did not answer has a row that says why, and the exit code says that one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from koinon.cli import documents
from koinon.cli.connection import Connection
from koinon.cli.documents import ascending, text
from koinon.cli.listing import print_plain
from koinon.cli.tables import Column
from koinon.cli.views import View
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
    view: View,
) -> None:
    """Ask each zone, for at most ``limit_s``, and print what all of them hold.

    Raises:
        UnreachableError: zones are missing since they did not answer; what the others said has been printed.
        RefusedError: all answered, and some refused.
    """
    every = _with_zones(columns)
    rows = replace(view, titles=_naming_zones(view.titles, every)).of(every)
    of_zones = replace(rows, conditions=[one for one in rows.conditions if one.title in (every[0].title, every[-1].title)])
    # Conditions on objects say nothing of a zone whose objects are not known: one of them may hold.
    may_hold = rows.any_condition and len(of_zones.conditions) < len(rows.conditions)

    zones = connection.pool("zone")
    answers = ask_zones(connection, zones, limit_s, lambda client: documents.read(ask(client)))
    lines: list[Line] = []
    told: list[dict[str, object]] = []
    for zone, answer in zip(zones, answers, strict=True):
        found: dict[str, object] = {"ID": text(zone, "ID"), "NAME": text(zone, "NAME")}
        told.append(found)
        if isinstance(answer, ClientError):
            found["ANSWER"] = why(answer)
            lines += [line for line in (Line(zone, None, why(answer)),) if may_hold or of_zones.keep(line)]
            continue
        found["ANSWER"] = "ok"
        for element in ascending(answer, tag):
            line = Line(zone, element, "ok")
            if rows.keep(line):
                lines.append(line)
            else:
                answer.remove(element)
        found[answer.tag] = documents.to_plain(answer)
    if view.form in ("json", "yaml"):
        print_plain({"ZONES": told}, view.form)
    else:
        rows.show(lines)
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
    def of_line(pick: Callable[[Element], str]) -> Callable[[Line], str]:
        return lambda line: "-" if line.element is None else pick(line.element)

    numeric = None if column.numeric is None else of_line(column.numeric)
    return Column(column.title, of_line(column.pick), column.right, column.colour, column.extra, numeric=numeric)


def _naming_zones(titles: str | None, columns: Sequence[Column[Line]]) -> str | None:
    """The titles asked for, with those that say which zone a row is of and whether it answered."""
    if titles is None:
        return None
    asked = [title.strip().upper() for title in titles.split(",")]
    first = [columns[0].title] if columns[0].title not in asked else []
    last = [columns[-1].title] if columns[-1].title not in asked else []
    return ",".join((*first, *asked, *last))

"""``list`` and ``show`` in every form: a table, CSV, JSON, or the zone's XML as it came."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar
from xml.etree.ElementTree import Element

import click

from koinon.cli import documents
from koinon.cli.tables import Column, print_csv, print_facts, print_table, visible_lines

T = TypeVar("T")

JSON = click.Option(["-j", "--json", "form"], flag_value="json", type=str, help="Print JSON.")
XML = click.Option(["-x", "--xml", "form"], flag_value="xml", type=str, help="Print the zone's XML document.")
CSV = click.Option(["--csv", "form"], flag_value="csv", type=str, help="Print comma separated values.")
COLUMNS = click.Option(["-l", "--list", "titles"], metavar="COLUMNS", help="Only these columns, separated by commas, in this order.")

LIST_FORMS = (COLUMNS, JSON, XML, CSV)
SHOW_FORMS = (JSON, XML, CSV)


def choose(columns: Sequence[Column[T]], titles: str | None) -> list[Column[T]]:
    """The columns that the person asked for.

    Raises:
        click.UsageError: there is no column of that title.
    """
    if titles is None:
        return [column for column in columns if not column.extra]
    known = {column.title: column for column in columns}
    wanted = [title.strip().upper() for title in titles.split(",")]
    for title in wanted:
        if title not in known:
            raise click.UsageError(f"There is no column {title!r}. There are {', '.join(known)}.")
    return [known[title] for title in wanted]


def print_rows(columns: Sequence[Column[T]], rows: Sequence[T], titles: str | None, form: str | None) -> None:
    """Print rows as a table, or as CSV."""
    chosen = choose(columns, titles)
    if form == "csv":
        print_csv(chosen, rows)
    else:
        print_table(chosen, rows)


def print_pool(raw: str | int, tag: str, columns: Sequence[Column[Element]], titles: str | None, form: str | None) -> None:
    """Print a pool document; rows ascend by id."""
    if print_document(raw, form):
        return
    rows = sorted(documents.read(raw).findall(tag), key=lambda element: documents.number(element, "ID"))
    print_rows(columns, rows, titles, form)


def print_document(raw: str | int, form: str | None) -> bool:
    """Print a document as XML or JSON if that was asked for; False otherwise."""
    if form == "xml":
        click.echo(raw)
    elif form == "json":
        root = documents.read(raw)
        print_json({root.tag: documents.to_plain(root)})
    else:
        return False
    return True


def print_object(facts: Sequence[tuple[str, str]], template: Element | None, form: str | None) -> None:
    """Print one object: its facts, then its template; as CSV only the facts."""
    if form == "csv":
        columns = [Column[Sequence[tuple[str, str]]](name, _fact(position)) for position, (name, _) in enumerate(facts)]
        print_csv(columns, [facts])
        return
    print_facts(facts)
    written = documents.template_text(template)
    if written:
        click.echo("\nTEMPLATE")
        click.echo(visible_lines(written), nl=False)


def print_json(value: object) -> None:
    """Indented JSON, text as it is."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _fact(position: int) -> Callable[[Sequence[tuple[str, str]]], str]:
    return lambda facts: facts[position][1]

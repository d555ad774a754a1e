"""``list`` and ``show`` in every form: a table, CSV, JSON, YAML, or the zone's XML as it came.

Not here: lists of what zones hold, from one zone or all (pools.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import click

from koinon.cli import documents
from koinon.cli.filters import Condition
from koinon.cli.tables import Column, print_csv, print_facts, print_table, visible_lines

T = TypeVar("T")

JSON = click.Option(["-j", "--json", "form"], flag_value="json", type=str, help="Print JSON.")
YAML = click.Option(["-y", "--yaml", "form"], flag_value="yaml", type=str, help="Print YAML.")
XML = click.Option(["-x", "--xml", "form"], flag_value="xml", type=str, help="Print the zone's XML document.")
CSV = click.Option(["--csv", "form"], flag_value="csv", type=str, help="Print comma separated values.")
COLUMNS = click.Option(["-l", "--list", "titles"], metavar="COLUMNS", help="Only these columns, separated by commas, in this order.")
FILTER = click.Option(
    ["-f", "--filter", "filters"],
    metavar="CONDITION",
    multiple=True,
    help="Only rows where COLUMN=VALUE, COLUMN!=VALUE or COLUMN~PART; all conditions must hold.",
)

SHOW_FORMS = (JSON, YAML, XML, CSV)


def list_forms(columns: Sequence[Column[Any]]) -> tuple[click.Parameter, ...]:
    """The options of a list with these columns."""
    return (COLUMNS, FILTER, _describing(columns), JSON, YAML, XML, CSV)


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


def kept(columns: Sequence[Column[T]], conditions: Sequence[Condition], row: T) -> bool:
    """Whether a row meets all conditions on its columns."""
    picks = {column.title: column.pick for column in columns}
    return all(condition.holds(picks[condition.title](row)) for condition in conditions)


def print_rows(columns: Sequence[Column[T]], rows: Sequence[T], titles: str | None, form: str | None) -> None:
    """Print rows as a table, or as CSV."""
    chosen = choose(columns, titles)
    if form == "csv":
        print_csv(chosen, rows)
    else:
        print_table(chosen, rows)


def print_document(raw: str | int, form: str | None) -> bool:
    """Print a document as XML, JSON or YAML if that was asked for; False otherwise."""
    if form == "xml":
        click.echo(raw)
        return True
    if form not in ("json", "yaml"):
        return False
    root = documents.read(raw)
    print_plain({root.tag: documents.to_plain(root)}, form)
    return True


def print_plain(value: object, form: str) -> None:
    """Print a value as ``json`` or ``yaml``."""
    if form == "yaml":
        from koinon.cli.yaml_text import to_yaml  # here and below: most commands print tables

        click.echo(to_yaml(value), nl=False)
    else:
        print_json(value)


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
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _fact(position: int) -> Callable[[Sequence[tuple[str, str]]], str]:
    return lambda facts: facts[position][1]


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

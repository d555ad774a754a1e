"""Documents in every form: for people, as CSV, JSON, YAML, or the zone's XML as it came.

Not here: which rows and columns of a list are shown (views.py); lists of what zones hold, from one zone or all (pools.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

import click

from koinon.cli import documents
from koinon.cli.tables import Column, print_csv, print_facts, visible_lines

JSON = click.Option(["-j", "--json", "form"], flag_value="json", type=str, help="Print JSON.")
YAML = click.Option(["-y", "--yaml", "form"], flag_value="yaml", type=str, help="Print YAML.")
XML = click.Option(["-x", "--xml", "form"], flag_value="xml", type=str, help="Print the zone's XML document.")
CSV = click.Option(["--csv", "form"], flag_value="csv", type=str, help="Print comma separated values.")

DECRYPT = click.Option(["--decrypt"], is_flag=True, help="Ask for encrypted attributes in the clear.")

SHOW_FORMS = (JSON, YAML, XML, CSV)
#: Of answers that are no documents of a zone, and so have no XML.
ANSWER_FORMS = (JSON, YAML)


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

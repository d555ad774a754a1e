"""Lists of what zones hold: from the zone that answers, or from all zones at once.

Path:     a noun's row "list" -> lister() -> one call, or one to each zone (all_zones.py) -> rows that meet the filters -> views.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from xml.etree.ElementTree import Element

import click

from koinon.cli import documents
from koinon.cli.commands import usage
from koinon.cli.connection import Connection
from koinon.cli.documents import ascending
from koinon.cli.listing import print_plain
from koinon.cli.tables import Column
from koinon.cli.views import View, list_forms

ONE_ZONE_S = 10.0

ALL_ZONES = click.Option(
    ["--all-zones"],
    is_flag=True,
    help=f"Ask all zones at once, each for at most {ONE_ZONE_S:g} s (or --timeout); a row says which zone did not answer.",
)


class Lister(Protocol):
    """The function of a row ``list``; ``shown`` are the values of :func:`koinon.cli.views.list_forms`."""

    def __call__(self, connection: Connection, all_zones: bool, parameters: Sequence[int] = (), **shown: Any) -> None: ...


def list_options(columns: Sequence[Column[Any]]) -> tuple[click.Parameter, ...]:
    """The options of a list of what zones hold."""
    return (*list_forms(columns), ALL_ZONES)


def lister(method: str, tag: str, columns: Sequence[Column[Element]]) -> Lister:
    """The function of a row ``list``: ``method`` answers with elements ``tag``."""

    def show_list(connection: Connection, all_zones: bool, parameters: Sequence[int] = (), **shown: Any) -> None:
        view = View(**shown)
        if view.form == "xml" and (view.filters or all_zones):
            usage("XML is printed as one zone sent it: --xml goes neither with --filter nor with --all-zones. Use --json or --yaml.")
        if all_zones:
            from koinon.cli.all_zones import list_all  # here, because asking one zone needs no threads

            limit_s = min(ONE_ZONE_S, connection.answer_s)
            list_all(connection, lambda client: client.call(method, *parameters), limit_s, tag, columns, view)
            return
        rows = view.of(columns)
        raw = connection.call(method, *parameters)
        if view.form == "xml":
            click.echo(raw)
            return
        root = documents.read(raw)
        for element in root.findall(tag):
            if not rows.keep(element):
                root.remove(element)
        if view.form in ("json", "yaml"):
            print_plain({root.tag: documents.to_plain(root)}, view.form)
        else:
            rows.show(ascending(root, tag))

    return show_list

"""``oneacl explain``: why a user may or may not do something, as the zone in question tells it.

Holds:    a zone that does not answer is no dead end: another one answers for it, as far as it can, and a message says so.
Not here: the answer itself, which zones make (koinon.acl.explain).
"""

from __future__ import annotations

from typing import Any

import click

from koinon.cli import documents, references
from koinon.cli.commands import complain
from koinon.cli.connection import Connection
from koinon.cli.listing import ANSWER_FORMS, print_plain
from koinon.cli.tables import Column, print_facts, print_table, visible_lines
from koinon.client.errors import NotAZoneError, UnreachableError

USER = click.Argument(["user"])
RIGHT = click.Argument(["right"])
OBJECT = click.Argument(["target"], metavar="OBJECT")
PARAMETERS = (USER, RIGHT, OBJECT)
OPTIONS = ANSWER_FORMS

Answer = dict[str, Any]

COLUMNS = (
    Column[Answer]("RULE", lambda near: _source(near)),
    Column[Answer]("LACKS", lambda near: "; ".join(str(lack["text"]) for lack in near["lacks"])),
    Column[Answer]("TEXT", lambda near: str(near["rule"])),
)


def explain(connection: Connection, user: str, right: str, target: str, form: str | None) -> None:
    asked = references.parse_one(user)
    try:
        raw = connection.call("koinon.acl.explain", connection.id_of("user", asked), right, target, -1)
    except UnreachableError as error:
        if connection.chosen_zone is None or isinstance(error, NotAZoneError):
            raise
        first = connection.without_zone()
        zone = first.zone_record(references.parse_one(connection.chosen_zone))
        raw = first.call("koinon.acl.explain", first.id_of("user", asked), right, target, documents.number(zone, "ID"))
        complain(f"{error.text} The zone at {first.endpoint.url} answers for it.")
        first.close()
    answer = read_json(raw)
    if form is not None:
        print_plain(answer, form)
    else:
        show(answer)


def read_json(raw: str | int) -> Answer:
    """A JSON object that a zone answered with. Raises NotAZoneError."""
    import json  # here, because a list of rules needs none

    try:
        found = json.loads(str(raw))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotAZoneError("The zone answered with something that is no JSON object. Check that it is a Koinon zone of this version.")
    return found


def show(answer: Answer) -> None:
    """Print an answer for people."""
    user, zone, by = answer["user"], answer["zone"], answer["by"]
    facts = [
        ("ALLOWED", "yes" if answer["allowed"] else "no"),
        ("USER", f"{_named(user)}, groups {', '.join(map(_named, user['groups']))}"),
        ("RIGHT", f"{answer['right']} {answer['object']}"),
        ("ZONE", _named(zone)),
        ("BECAUSE", answer["reason"] if by is None or by["rule_id"] is None else f"rule {by['rule_id']}: {by['rule']}"),
    ]
    if by is not None:
        facts.append(("THROUGH", by["through"]))
    print_facts(facts)
    if answer["nearest"]:
        click.echo("\nNEAREST")
        print_table(COLUMNS, answer["nearest"])
    for note in answer["notes"]:
        complain(visible_lines(f"Note: {note}"))


def _named(thing: Answer) -> str:
    return f"{thing['id']} ({thing['name']})"


def _source(rule: Answer) -> str:
    return str(rule["source"] if rule["rule_id"] is None else rule["rule_id"])

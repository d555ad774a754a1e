"""``koinon policy diff``: what a change would grant and remove, before it is made.

Not here: how that is found, which zones do (koinon.acl.diff).
"""

from __future__ import annotations

import json
from typing import Any

import click

from koinon.cli import explanations, references
from koinon.cli.commands import command, complain, usage
from koinon.cli.connection import Connection
from koinon.cli.listing import JSON
from koinon.cli.tables import Column, print_table, visible_lines

ADD = click.Option(["--add-rule", "added"], metavar="RULE", multiple=True, help='A rule that would be added: "@105 VM+NET/* USE #0".')
REMOVE = click.Option(["--remove-rule", "removed"], metavar="IDS", multiple=True, help="Rules that would be removed, by id: 3,5..8.")

Answer = dict[str, Any]

COLUMNS = (
    Column[Answer]("CHANGE", lambda line: str(line["change"]), colour=lambda cell: {"grant": "green", "remove": "red"}.get(cell)),
    Column[Answer]("FOR", lambda line: _party(line["for"])),
    Column[Answer]("USERS", lambda line: _users(line)),
    Column[Answer]("RIGHT", lambda line: str(line["right"])),
    Column[Answer]("TO", lambda line: ", ".join(line["places"]) or str(line["kind"])),
    Column[Answer]("THERE NOW", lambda line: _there(line["objects"])),
    Column[Answer](
        "ZONES", lambda line: "all" if line["every_zone"] else _some([_named(zone) for zone in line["zones"]], len(line["zones"]))
    ),
)


def diff(connection: Connection, added: tuple[str, ...], removed: tuple[str, ...], form: str | None) -> None:
    oids = [_rule_id(reference) for listed in removed for reference in references.parse_many(listed)]
    if not added and not oids:
        usage("Say what would be changed: --add-rule RULE, --remove-rule ID, or both.")
    raw = connection.call("koinon.acl.diff", json.dumps({"add": added, "remove": oids}))
    if form == "json":
        click.echo(raw)
        return
    answer = explanations.read_json(raw)
    if answer["lines"]:
        print_table(COLUMNS, answer["lines"])
    else:
        click.echo("Nothing would change for any user.")
    if answer["left_off"]:
        complain(f"{answer['left_off']} more lines are not shown.")
    for note in answer["notes"]:
        complain(visible_lines(f"Note: {note}"))


def _rule_id(reference: references.Reference) -> int:
    if not isinstance(reference, int):
        usage(f"{reference!r} is not the id of a rule: rules have no names. See `oneacl list`.")
    return reference


def _party(party: Answer) -> str:
    return f"{party['kind']} {_named(party)}"


def _users(line: Answer) -> str:
    users = line["users"]
    if line["for"]["kind"] == "user":
        return "-"
    names = _some([str(user["name"]) for user in users["some"]], users["count"])
    return f"{users['count']} of {users['of']}: {names}"


def _there(objects: Answer | None) -> str:
    if objects is None:
        return "-"
    if not objects["count"]:
        return "none"
    return f"{objects['count']}: {_some([f'#{oid}' for oid in objects['some']], objects['count'])}"


def _some(texts: list[str], count: int) -> str:
    return ", ".join(texts) + (f" and {count - len(texts)} more" if count > len(texts) else "")


def _named(thing: Answer) -> str:
    return f"{thing['id']} ({thing['name']})"


# fmt: off
POLICY_COMMANDS = (
    #       verb    calls              arguments  options              help
    command("diff", "koinon.acl.diff", (),        (ADD, REMOVE, JSON), "Show what a change of rules would grant and remove.", diff),
)
# fmt: on

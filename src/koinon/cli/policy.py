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
from koinon.cli.listing import ANSWER_FORMS, print_plain
from koinon.cli.rules import parse_rule
from koinon.cli.tables import Column, print_table, visible_lines

ADD = click.Option(["--add-rule", "added"], metavar="RULE", multiple=True, help='A rule that would be added: "@105 VM+NET/* USE #0".')
REMOVE = click.Option(["--remove-rule", "removed"], metavar="IDS", multiple=True, help="Rules that would be removed, by id: 3,5..8.")
VDC = click.Option(["--vdc"], metavar="ID|NAME", help="A VDC that would be changed by the options that follow.")
ADD_GROUP = click.Option(["--add-group", "groups_in"], metavar="ID|NAME", multiple=True, help="A group that would come into the VDC.")
DEL_GROUP = click.Option(["--del-group", "groups_out"], metavar="ID|NAME", multiple=True, help="A group that would leave it.")
_RESOURCE = "KIND/ZONE:ID"
ADD_RESOURCE = click.Option(
    ["--add-resource", "resources_in"], metavar=_RESOURCE, multiple=True, help="A resource that would come in: HOST/100:7, CLUSTER/0:ALL."
)
DEL_RESOURCE = click.Option(["--del-resource", "resources_out"], metavar=_RESOURCE, multiple=True, help="A resource that would leave it.")
OPTIONS = (ADD, REMOVE, VDC, ADD_GROUP, DEL_GROUP, ADD_RESOURCE, DEL_RESOURCE, *ANSWER_FORMS)

_ALL_RESOURCES = -10

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


def diff(
    connection: Connection,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    vdc: str | None,
    groups_in: tuple[str, ...],
    groups_out: tuple[str, ...],
    resources_in: tuple[str, ...],
    resources_out: tuple[str, ...],
    form: str | None,
) -> None:
    for rule in added:
        parse_rule(rule, 0)  # mistakes in the text are found before a zone is asked anything
    changes: Answer = {"add": added, "remove": [_rule_id(one) for listed in removed for one in references.parse_many(listed)]}
    of_vdc = {"add": [_resource(one) for one in resources_in], "remove": [_resource(one) for one in resources_out]}
    if (vdc is None) == bool(groups_in or groups_out or resources_in or resources_out):
        usage("--vdc goes with --add-group, --del-group, --add-resource or --del-resource, and they with it.")
    if vdc is not None:
        changes["vdc"] = of_vdc | {
            "id": connection.id_of("vdc", references.parse_one(vdc)),
            "add_groups": [connection.id_of("group", references.parse_one(group)) for group in groups_in],
            "del_groups": [connection.id_of("group", references.parse_one(group)) for group in groups_out],
        }
    if not any(changes.values()):
        usage("Say what would be changed: --add-rule RULE, --remove-rule ID, --vdc VDC.")
    answer = explanations.read_json(connection.call("koinon.acl.diff", json.dumps(changes)))
    if form is not None:
        print_plain(answer, form)
        return
    if answer["lines"]:
        print_table(COLUMNS, answer["lines"])
    else:
        click.echo("Nothing would change for any user.")
    if answer["left_off"]:
        complain(f"{answer['left_off']} more lines are not shown.")
    for note in answer["notes"]:
        complain(visible_lines(f"Note: {note}"))


def _resource(written: str) -> tuple[str, int, int]:
    kind, _, place = written.partition("/")
    zone, _, oid = place.partition(":")
    numbers = [references.parse_one(number) if number else "" for number in (zone, oid)]
    if not kind or not isinstance(numbers[0], int) or not (isinstance(numbers[1], int) or numbers[1].upper() == "ALL"):
        usage(f"{written!r} is no resource. Write KIND/ZONE:ID, as in HOST/100:7, or KIND/ZONE:ALL.")
    return kind, numbers[0], numbers[1] if isinstance(numbers[1], int) else _ALL_RESOURCES


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
    #       verb    calls                                                  args options  help
    command("diff", "koinon.acl.diff one.vdcpool.info one.grouppool.info", (), OPTIONS,
            "Show what a change of rules, or of a VDC, would grant and remove.", diff),
)
# fmt: on

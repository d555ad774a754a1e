"""The commands of access rules: ``koinon acl`` and ``oneacl``.

Not here: the text of rules (rules.py); what rules allow, which only zones decide.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import click

from koinon.cli import explanations, references
from koinon.cli.commands import command, complain, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import text, text_of
from koinon.cli.pools import list_options, lister
from koinon.cli.tables import Column

RULE = click.Argument(["words"], nargs=-1, required=True, metavar="RULE")
RULES = click.Argument(["rules"], metavar="IDS")


def _part(position: int) -> Callable[[Element], str]:
    """One of the four parts of the rule's text."""

    def pick(rule: Element) -> str:
        parts = text(rule, "STRING").split()
        return parts[position] if position < len(parts) else ""

    return pick


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the rule."),
    Column("USER", _part(0), about="Whom it is for: #user, @group, or * for all."),
    Column("RESOURCES", _part(1), about="Kinds of objects, and which of them."),
    Column("RIGHTS", _part(2), about="What they may do."),
    Column("ZONE", _part(3), about="The zone where it holds; * for all."),
    Column("RULE", text_of("STRING"), extra=True, about="The whole rule as text."),
)


def create(connection: Connection, words: tuple[str, ...]) -> None:
    from koinon.cli.rules import parse_rule, send_rule  # here, because only this verb reads rules

    written = " ".join(words)
    names_zone = len(written.split()) != 3
    rule = parse_rule(written, 0)  # mistakes in the text are found before a zone is asked anything
    zone_id = 0
    if not names_zone:
        zone_id = connection.own_zone()
        rule = parse_rule(written, zone_id)
    click.echo(f"ID: {send_rule(connection, rule)}")
    click.echo(f"RULE: {rule.text()}")
    if not names_zone:
        complain(
            f"The rule names no zone, so it holds in zone {connection.zone_with_id(zone_id)}, which answered. "
            "End it with * for all zones, or with # and a zone's id."
        )


def delete(connection: Connection, rules: str) -> None:
    for rule in references.parse_many(rules):
        if not isinstance(rule, int):
            usage(f"{rule!r} is not the id of a rule: rules have no names. See `oneacl list`.")
    each(connection, "acl", rules, lambda oid: connection.call("one.acl.delrule", oid))


# fmt: off
ACL_COMMANDS = (
    #       verb      calls                                 arguments  options     help
    command("create", "one.acl.addrule one.system.config one.zonepool.info", (RULE,), (),
            'Add a rule, such as "@105 VM+NET/* USE #0": USER RESOURCES RIGHTS ZONE.', create),
    command("delete", "one.acl.delrule",                    (RULES,),  (),
            "Remove rules, by id.", delete),
    command("list",   "one.acl.info one.zonepool.info one.system.config",     (),        list_options(COLUMNS),
            "Show the rules.", lister("one.acl.info", "ACL", COLUMNS)),
    command("explain", "koinon.acl.explain one.userpool.info one.zonepool.info", explanations.PARAMETERS, explanations.OPTIONS,
            "Say why USER may or may not do RIGHT (as USE) to OBJECT (as HOST/#3, or HOST/* for a new one).", explanations.explain),
)
# fmt: on

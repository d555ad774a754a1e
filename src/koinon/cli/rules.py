"""The text of an access rule, checked before anything is sent, and how a rule is added.

Not here: what the text means (objects/acl.py); the commands (acl.py, groups.py, policy.py).
"""

from __future__ import annotations

from koinon.cli.commands import usage
from koinon.cli.connection import Connection
from koinon.objects.acl import Rule, problems


def add_rule(connection: Connection, written: str) -> str | int:
    """Add the rule with this text, which names its zone; return its id."""
    return send_rule(connection, parse_rule(written, 0))


def send_rule(connection: Connection, rule: Rule) -> str | int:
    """Add a rule; return its id."""
    # The zone is always sent: left out, a slave's redirect would make it the master's.
    return connection.call("one.acl.addrule", f"{rule.user:x}", f"{rule.resource:x}", f"{rule.rights:x}", f"{rule.zone:x}")


def parse_rule(written: str, zone_id: int) -> Rule:
    """The rule with this text; it means zone ``zone_id`` if it names none. Refuses, as wrong usage, what no zone would take."""
    try:
        rule = Rule.parse(written, zone_id)
    except ValueError as error:
        usage(f'{str(error)[:1].upper()}{str(error)[1:]}. Write it like "@105 VM+NET/* USE #0".')
    found = problems(rule)
    if found:
        usage(f"No zone takes the rule {rule.text()}: {'; '.join(found)}.")
    return rule

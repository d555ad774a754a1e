"""The commands of groups: ``koinon group`` and ``onegroup``.

Source: OpenNebula's `onegroup`; its client, not the server, adds the rule that lets a new group create objects.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

from functools import partial
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.acl import add_rule
from koinon.cli.commands import command, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import read, text, text_of
from koinon.cli.listing import LIST_FORMS, SHOW_FORMS, print_document, print_object, print_pool
from koinon.cli.quotas import LIMITS_FILE, batch_quota_of, default_quota_of, quota_of, vlan
from koinon.cli.tables import Column
from koinon.cli.users import APPEND, FILE, GROUP, USERS, update_template
from koinon.client.errors import ClientError, RefusedError

CREATE_RULE = "VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB/* CREATE"

NAME = click.Argument(["name"], required=False)
GROUPS = click.Argument(["groups"], metavar="GROUPS")
OWN = click.Argument(["group"], required=False)
NAMED = click.Option(["-n", "--name", "named"], metavar="NAME", help="The group's name; the same as the argument.")
NO_RULE = click.Option(
    ["--no-create-rule"], is_flag=True, help="Don't add the rule that lets members create objects in the zone that answers."
)


def _ids(tag: str, group: Element) -> str:
    return ",".join(node.text or "" for node in group.findall(f"{tag}/ID"))


COLUMNS = (
    Column("ID", text_of("ID"), right=True),
    Column("NAME", text_of("NAME")),
    Column[Element]("USERS", lambda group: str(len(group.findall("USERS/ID"))), right=True),
    Column[Element]("ADMINS", lambda group: _ids("ADMINS", group)),
    Column[Element]("MEMBERS", lambda group: _ids("USERS", group), extra=True),
)


def create(connection: Connection, name: str | None, named: str | None, no_create_rule: bool) -> None:
    if (name is None) == (named is None):
        usage("Give the group's name once: as an argument or with --name.")
    zone_id = -1 if no_create_rule else connection.own_zone()  # asked before anything is made
    gid = connection.call("one.group.allocate", name or named or "")
    click.echo(f"ID: {gid}")
    if no_create_rule:
        return
    try:
        add_rule(connection, f"@{gid} {CREATE_RULE} #{zone_id}")
    except ClientError as error:
        rule = f'oneacl create "@{gid} {CREATE_RULE} #{zone_id}"'
        error.text = f"The group was made, but not the rule that lets its members create objects: {error.text}\nAdd it with: {rule}"
        raise


def update(connection: Connection, group: str, file: str | None, append: bool) -> None:
    update_template(connection, "group", connection.id_of("group", references.parse_one(group)), file, append)


def delete(connection: Connection, groups: str) -> None:
    each(connection, "group", groups, lambda gid: connection.call("one.group.delete", gid))


def addadmin(connection: Connection, groups: str, users: str) -> None:
    _change_admins(connection, "one.group.addadmin", groups, users)


def deladmin(connection: Connection, groups: str, users: str) -> None:
    _change_admins(connection, "one.group.deladmin", groups, users)


def _change_admins(connection: Connection, call: str, groups: str, users: str) -> None:
    gids = [connection.id_of("group", group) for group in references.parse_many(groups)]
    failed: RefusedError | None = None
    for gid in gids:
        change = partial(connection.call, call, gid)
        try:
            each(connection, "user", users, change)
        except RefusedError as error:
            failed = error
    if failed is not None:
        raise failed


def show_list(connection: Connection, titles: str | None, form: str | None) -> None:
    print_pool(connection.call("one.grouppool.info"), "GROUP", COLUMNS, titles, form)


def show(connection: Connection, group: str | None, form: str | None) -> None:
    gid = -1 if group is None else connection.id_of("group", references.parse_one(group))
    raw = connection.call("one.group.info", gid)
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [(tag, text(found, tag)) for tag in ("ID", "NAME")] + [(tag, _ids(tag, found)) for tag in ("USERS", "ADMINS")]
    print_object(facts, found.find("TEMPLATE"), form)


# fmt: off
GROUP_COMMANDS = (
    #       verb        calls                                    arguments        options            help
    command("create",   "one.group.allocate one.acl.addrule one.system.config", (NAME,), (NAMED, NO_RULE),
            "Add a group to the federation, and the rule that lets its members create objects.", create),
    command("update",   "one.group.update one.group.info one.grouppool.info", (GROUP, FILE), (APPEND,),
            "Change a group's template: from FILE (- for standard input), else in an editor.", update),
    command("addadmin", "one.group.addadmin one.grouppool.info one.userpool.info", (GROUPS, USERS), (),
            "Make members administrators of their groups.", addadmin),
    command("deladmin", "one.group.deladmin one.grouppool.info one.userpool.info", (GROUPS, USERS), (),
            "Make administrators plain members again.", deladmin),
    command("delete",   "one.group.delete one.grouppool.info",   (GROUPS,),       (),
            "Remove groups that have no members.", delete),
    command("quota",    "one.group.quota one.group.info one.grouppool.info", (GROUP, LIMITS_FILE), (),
            "Set a group's quotas in one zone: from FILE (- for standard input), else in an editor.", quota_of("group")),
    command("batchquota", "one.group.quota one.grouppool.info",  (GROUPS, LIMITS_FILE), (),
            "Set the same quotas for several groups in one zone.", batch_quota_of("group")),
    command("defaultquota", "one.groupquota.update one.groupquota.info", (LIMITS_FILE,), (),
            "Set the quotas of groups that have none of their own in one zone.", default_quota_of("group")),
    command("vlan",     "one.group.vlan one.group.info one.grouppool.info", (GROUP, LIMITS_FILE), (),
            "Replace a group's VLAN rules in one zone: from FILE (- for standard input), else in an editor.", vlan),
    command("list",     "one.grouppool.info",                    (),              LIST_FORMS,
            "Show the groups that you may see.", show_list),
    command("show",     "one.group.info one.grouppool.info",     (OWN,),          SHOW_FORMS,
            "Show one group; without GROUP your primary one.", show),
)
# fmt: on

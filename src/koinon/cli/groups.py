"""The commands of groups: ``koinon group`` and ``onegroup``.

Source: OpenNebula's `onegroup`; its client, not the server, adds the rule that lets a new group create objects.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import command, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import read, text, text_of
from koinon.cli.listing import SHOW_FORMS, print_document, print_object
from koinon.cli.passwords import password_from
from koinon.cli.pools import list_options, lister
from koinon.cli.quotas import LIMITS_FILE, batch_quota_of, default_quota_of, print_quotas, quota_of, vlan
from koinon.cli.tables import Column
from koinon.cli.template_changes import CHANGES, FILE, NEW, NewTemplate, Step, finish, template_steps, update_of
from koinon.cli.users import GROUP, USERS
from koinon.client.errors import RefusedError

RESOURCES = "VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB"

NAME = click.Argument(["name"], required=False)
GROUPS = click.Argument(["groups"], metavar="GROUPS")
OWN = click.Argument(["group"], required=False)
NAMED = click.Option(["-n", "--name", "named"], metavar="NAME", help="The group's name; the same as the argument.")
NO_RULE = click.Option(
    ["--no-create-rule"], is_flag=True, help="Don't add the rule that lets members create objects in the zone that answers."
)
WHICH = click.Option(["-r", "--resources"], metavar="KINDS", help="What members may create, as in VM+NET+IMAGE.")
ADMIN_USER = click.Option(["-u", "--admin_user", "--admin-user"], metavar="NAME", help="Make this user too, as the group's administrator.")
ADMIN_PASSWORD = click.Option(["-p", "--admin_password", "--admin-password"], metavar="PASSWORD", help="Its password; else asked for.")
ADMIN_DRIVER = click.Option(["-d", "--admin_driver", "--admin-driver"], default="core", show_default=True, help="How it is authenticated.")


def _ids(tag: str, group: Element) -> str:
    return ",".join(node.text or "" for node in group.findall(f"{tag}/ID"))


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the group."),
    Column("NAME", text_of("NAME"), about="Name of the group."),
    Column[Element]("USERS", lambda group: str(len(group.findall("USERS/ID"))), right=True, about="How many members it has."),
    Column[Element]("ADMINS", lambda group: _ids("ADMINS", group), about="Ids of its administrators."),
    Column[Element]("MEMBERS", lambda group: _ids("USERS", group), extra=True, about="Ids of its members."),
)


def create(
    connection: Connection,
    name: str | None,
    named: str | None,
    no_create_rule: bool,
    resources: str | None,
    admin_user: str | None,
    admin_password: str | None,
    admin_driver: str,
    **given: Any,
) -> None:
    from koinon.cli.rules import add_rule, parse_rule  # here, because only this verb reads rules

    if (name is None) == (named is None):
        usage("Give the group's name once: as an argument or with --name.")
    if resources is not None and no_create_rule:
        usage("--resources is for the rule that --no-create-rule leaves out.")
    if admin_user is None and admin_password is not None:
        usage("--admin_password goes with --admin_user.")
    right = f"{resources or RESOURCES}/* CREATE"
    parse_rule(f"@1 {right} #0", 0)
    template = NewTemplate(**given).read()
    if template is None:
        return
    secret = None if admin_user is None else password_from(admin_password, f"Password for {admin_user}", confirm=True)
    zone_id = -1 if no_create_rule else connection.own_zone()  # asked before anything is made
    gid = int(connection.call("one.group.allocate", name or named or ""))
    click.echo(f"ID: {gid}")

    def administrator() -> None:
        uid = int(connection.call("one.user.allocate", admin_user or "", secret or "", admin_driver, [gid]))
        connection.call("one.group.addadmin", gid, uid)
        click.echo(f"ADMIN ID: {uid}")

    steps: list[Step] = []
    if not no_create_rule:
        rule = f"@{gid} {right} #{zone_id}"
        missing = f'the rule that lets its members create objects. Add it with: oneacl create "{rule}"'
        steps.append((missing, partial(add_rule, connection, rule)))
    if admin_user is not None:
        steps.append((f"its administrator {admin_user}. Use `oneuser create --group {gid}` and `onegroup addadmin`.", administrator))
    finish("group", [*steps, *template_steps(connection, "group", gid, template)])


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


def show(connection: Connection, group: str | None, form: str | None) -> None:
    gid = -1 if group is None else connection.id_of("group", references.parse_one(group))
    raw = connection.call("one.group.info", gid)
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [(tag, text(found, tag)) for tag in ("ID", "NAME")] + [(tag, _ids(tag, found)) for tag in ("USERS", "ADMINS")]
    print_object(facts, found.find("TEMPLATE"), form)
    if form is None:
        print_quotas(found)


CREATE_CALLS = "one.group.allocate one.group.update one.group.addadmin one.user.allocate one.acl.addrule one.system.config"
CREATE_OPTIONS = (NAMED, NO_RULE, WHICH, ADMIN_USER, ADMIN_PASSWORD, ADMIN_DRIVER, *NEW)

# fmt: off
GROUP_COMMANDS = (
    #       verb        calls                                    arguments        options            help
    command("create",   CREATE_CALLS, (NAME,), CREATE_OPTIONS,
            "Add a group to the federation, and the rule that lets its members create objects.", create),
    command("update",   "one.group.update one.group.info one.grouppool.info", (GROUPS, FILE), CHANGES,
            "Change groups' templates: from FILE (- for standard input), with --set and --unset, else in an editor.", update_of("group")),
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
    command("list",     "one.grouppool.info one.zonepool.info one.system.config",  (),              list_options(COLUMNS),
            "Show the groups that you may see.", lister("one.grouppool.info", "GROUP", COLUMNS)),
    command("show",     "one.group.info one.grouppool.info",     (OWN,),          SHOW_FORMS,
            "Show one group; without GROUP your primary one.", show),
)
# fmt: on

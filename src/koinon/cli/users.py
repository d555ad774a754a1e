"""The commands of users: ``koinon user`` and ``oneuser``.

Source: OpenNebula's `oneuser`: the same verbs and the same order of arguments, for the calls that exist here.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, tostring

import click

from koinon.cli import references
from koinon.cli.commands import command, complain, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import ascending, number, read, text, text_of
from koinon.cli.listing import DECRYPT, SHOW_FORMS, print_document, print_object
from koinon.cli.passwords import READ_FILE, SHA256, password_from
from koinon.cli.pools import list_options, lister
from koinon.cli.quotas import LIMITS_FILE, batch_quota_of, default_quota_of, print_quotas, quota_of
from koinon.cli.tables import Column, moment, state_colour
from koinon.cli.template_changes import CHANGES, FILE, NEW, NewTemplate, change_attributes, make, update_of
from koinon.cli.views import View, list_forms
from koinon.client import contexts
from koinon.client.errors import SetupError

_MASK = re.compile(r"[0-7]{3}", re.ASCII)

TOKEN_S = 36_000  # what OpenNebula's clients ask for: ten hours

NAME = click.Argument(["name"])
PASSWORD = click.Argument(["password"], required=False)
USER = click.Argument(["user"])
USERS = click.Argument(["users"], metavar="USERS")
SELF = click.Argument(["user"], required=False)
GROUP = click.Argument(["group"])
DRIVER = click.Argument(["driver"])
NEW_DRIVER = click.Argument(["auth"], metavar="[DRIVER]", required=False)
MASK = click.Argument(["mask"], required=False)
SOUGHT = click.Argument(["password"])
TOKEN = click.Argument(["words"], nargs=-1, required=True, metavar="[USER] TOKEN")

AUTH = click.Option(["--driver"], default="core", show_default=True, help="How the user is authenticated.")
NEW_AUTH = click.Option(["--driver"], help="How the user is authenticated from now on; the same as the argument.")
SECRET = (READ_FILE, SHA256)
GROUPS = click.Option(["--group", "groups"], metavar="GROUPS", help="Ids or names of groups; the first becomes the primary one.")
TIME = click.Option(["--time", "seconds"], type=int, default=TOKEN_S, show_default=True, help="Seconds until it expires; -1 for never.")
FOR_GROUP = click.Option(["--group"], metavar="GROUP", help="Narrow the token to this one of the user's groups.")
FORCE = click.Option(["--force"], is_flag=True, help="Replace the session file that exists.")


def _state(user: Element) -> str:
    return "yes" if text(user, "ENABLED") == "1" else "no"


def _groups(user: Element) -> str:
    return ",".join(node.text or "" for node in user.findall("GROUPS/ID"))


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the user."),
    Column("NAME", text_of("NAME"), about="Name of the user."),
    Column("ENABLED", _state, colour=state_colour, about="Whether the user may log in."),
    Column("GROUP", text_of("GNAME"), about="Name of the primary group.", numeric=text_of("GID")),
    Column("AUTH", text_of("AUTH_DRIVER"), about="How the user is authenticated."),
    Column("GID", text_of("GID"), right=True, extra=True, about="Id of the primary group."),
    Column("GROUPS", _groups, extra=True, about="Ids of all groups."),
)


def create(
    connection: Connection,
    name: str,
    password: str | None,
    driver: str,
    groups: str | None,
    from_file: bool,
    hashed: bool,
    **given: Any,
) -> None:
    template = NewTemplate(**given).read()
    if template is None:
        return
    secret = password_from(password, f"Password for {name}", confirm=True, from_file=from_file, hashed=hashed)
    gids = [connection.id_of("group", group) for group in references.parse_many(groups)] if groups else []
    make(connection, "user", template, "one.user.allocate", name, secret, driver, gids)


def passwd(connection: Connection, user: str | None, password: str | None, from_file: bool, hashed: bool) -> None:
    mine = connection.document("one.user.info", -1)
    uid = connection.id_of("user", references.parse_one(user)) if user is not None else number(mine, "ID")
    secret = password_from(password, "New password", confirm=True, from_file=from_file, hashed=hashed)
    connection.call("one.user.passwd", uid, secret)
    if uid == number(mine, "ID"):
        path = contexts.session_file(connection.environment)
        complain(f"This was your own password: {path} may still hold the old one. Run `oneuser login --force`.")


def chgrp(connection: Connection, users: str, group: str) -> None:
    gid = connection.id_of("group", references.parse_one(group))
    each(connection, "user", users, lambda uid: connection.call("one.user.chgrp", uid, gid))


def addgroup(connection: Connection, users: str, group: str) -> None:
    gid = connection.id_of("group", references.parse_one(group))
    each(connection, "user", users, lambda uid: connection.call("one.user.addgroup", uid, gid))


def delgroup(connection: Connection, users: str, group: str) -> None:
    gid = connection.id_of("group", references.parse_one(group))
    each(connection, "user", users, lambda uid: connection.call("one.user.delgroup", uid, gid))


def chauth(
    connection: Connection, user: str, auth: str | None, password: str | None, driver: str | None, from_file: bool, hashed: bool
) -> None:
    if auth is None and driver is None:
        usage("Say how the user is to be authenticated: chauth USER DRIVER, or --driver.")
    uid = connection.id_of("user", references.parse_one(user))
    # Here an empty password means: keep the one there is.
    given = password is not None or from_file
    secret = password_from(password, "New password", confirm=True, from_file=from_file, hashed=hashed) if given else ""
    connection.call("one.user.chauth", uid, driver or auth or "", secret)


def delete(connection: Connection, users: str) -> None:
    each(connection, "user", users, lambda uid: connection.call("one.user.delete", uid))


def enable(connection: Connection, users: str) -> None:
    each(connection, "user", users, lambda uid: connection.call("one.user.enable", uid, True))


def disable(connection: Connection, users: str) -> None:
    each(connection, "user", users, lambda uid: connection.call("one.user.enable", uid, False))


def umask(connection: Connection, users: str, mask: str | None) -> None:
    if not mask:
        change_attributes(connection, "user", users, {}, ["UMASK"])
        return
    if _MASK.fullmatch(mask) is None:
        usage(f"{mask!r} is not three digits from 0 to 7: what new objects deny to owner, group and others, as in 177.")
    change_attributes(connection, "user", users, {"UMASK": mask}, ())


def encode(name: str, password: str | None) -> None:
    secret = password_from(password, "Password", confirm=False)
    click.echo(f"{quote(name, safe='')}:{quote(secret, safe='')}")


def passwdsearch(connection: Connection, driver: str, password: str, **shown: Any) -> None:
    if driver == "core" or driver.startswith("server_"):
        usage(f"Zones never show what they keep as password of users with the driver {driver}.")
    view = View(**shown)
    rows = view.of(COLUMNS)
    raw = connection.call("one.userpool.info")
    root = read(raw)
    for user in root.findall("USER"):
        if text(user, "AUTH_DRIVER") != driver or password not in text(user, "PASSWORD") or not rows.keep(user):
            root.remove(user)
    if not print_document(tostring(root, "unicode") if view.form else raw, view.form):
        rows.show(ascending(root, "USER"))


def show(connection: Connection, user: str | None, form: str | None, decrypt: bool) -> None:
    uid = -1 if user is None else connection.id_of("user", references.parse_one(user))
    raw = connection.call("one.user.info", uid, *([True] if decrypt else []))
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [
        ("ID", text(found, "ID")),
        ("NAME", text(found, "NAME")),
        ("GROUP", f"{text(found, 'GNAME')} ({text(found, 'GID')})"),
        ("GROUPS", _groups(found)),
        ("ENABLED", _state(found)),
        ("AUTH", text(found, "AUTH_DRIVER")),
        ("TOKENS", str(len(found.findall("LOGIN_TOKEN")))),
    ]
    print_object(facts, found.find("TEMPLATE"), form)
    if form is None:
        print_quotas(found)


def login(connection: Connection, user: str | None, password: str | None, seconds: int, group: str | None, force: bool) -> None:
    path = contexts.session_file(connection.environment)
    if path.exists() and not force:
        raise SetupError(f"{path} exists already. Use --force to replace it.")
    name = user if user is not None else connection.user_name
    _check_time(seconds)
    secret = password_from(password, f"Password of {name}", confirm=False)
    asking = connection.as_user(f"{name}:{secret}")
    try:
        token = asking.call("one.user.login", name, "", seconds, _narrowed(asking, group))
    finally:
        asking.close()
    contexts.save_session(f"{name}:{token}", connection.environment)
    complain(f"Logged in as {name}; the token is kept in {path}.")


def token_create(connection: Connection, user: str | None, seconds: int, group: str | None) -> None:
    _check_time(seconds)
    token = connection.call("one.user.login", _name_of(connection, user), "", seconds, _narrowed(connection, group))
    click.echo(token)


def token_delete(connection: Connection, words: tuple[str, ...]) -> None:
    if len(words) > 2:
        usage("Give one token, and before it the user if it is not yours: token-delete [USER] TOKEN.")
    token = password_from(words[-1], "Token", confirm=False)  # an empty one would remove them all
    connection.call("one.user.login", _name_of(connection, words[0] if len(words) == 2 else None), token, 0)


def token_set(connection: Connection, words: tuple[str, ...], force: bool) -> None:
    if len(words) > 2:
        usage("Give one token, and before it the user if it is not yours: token-set [USER] TOKEN.")
    path = contexts.session_file(connection.environment)
    if path.exists() and not force:
        raise SetupError(f"{path} exists already. Use --force to replace it.")
    token = password_from(words[-1], "Token", confirm=False)
    name = _name_of(connection, words[0] if len(words) == 2 else None)
    asking = connection.as_user(f"{name}:{token}")
    try:
        asking.call("one.user.info", -1)  # a token that is of no use must not take the place of a session that is
    finally:
        asking.close()
    contexts.save_session(f"{name}:{token}", connection.environment)
    complain(f"You are {name} now; the token is kept in {path}.")


def token_delete_all(connection: Connection, user: str | None) -> None:
    connection.call("one.user.login", _name_of(connection, user), "", 0)


def token_list(connection: Connection, user: str | None, **shown: Any) -> None:
    view = View(**shown)
    rows = view.of(TOKEN_COLUMNS)
    uid = -1 if user is None else connection.id_of("user", references.parse_one(user))
    raw = connection.call("one.user.info", uid)
    found = read(raw)
    for token in found.findall("LOGIN_TOKEN"):
        if not rows.keep(token):
            found.remove(token)
    if not print_document(tostring(found, "unicode") if view.filters else raw, view.form):
        rows.show(found.findall("LOGIN_TOKEN"))


def _expires(token: Element) -> str:
    seconds = number(token, "EXPIRATION_TIME")
    return "never" if seconds < 0 else moment(seconds)


def _egid(token: Element) -> str:
    gid = number(token, "EGID")
    return "*" if gid < 0 else str(gid)


TOKEN_COLUMNS = (
    Column("TOKEN", text_of("TOKEN"), about="What is shown of the token; token-delete takes it."),
    Column("GROUP", _egid, right=True, about="Id of the group that the token is narrowed to; * if it is not."),
    Column("EXPIRES", _expires, about="When it expires."),
)


def _name_of(connection: Connection, user: str | None) -> str:
    if user is None:
        return connection.user_name
    reference = references.parse_one(user)
    return reference if isinstance(reference, str) else text(connection.document("one.user.info", reference), "NAME")


def _narrowed(connection: Connection, group: str | None) -> int:
    return -1 if group is None else connection.id_of("group", references.parse_one(group))


def _check_time(seconds: int) -> None:
    if seconds < 1 and seconds != -1:
        usage("--time takes a number of seconds from 1 on, or -1 for a token that never expires.")


# fmt: off
USER_COMMANDS = (
    #       verb                calls                                arguments           options             help
    command("create",           "one.user.allocate one.user.update one.grouppool.info", (NAME, PASSWORD), (AUTH, GROUPS, *SECRET, *NEW),
            "Add a user to the federation.", create),
    command("update",           "one.user.update one.user.info one.userpool.info", (USERS, FILE), CHANGES,
            "Change users' templates: from FILE (- for standard input), with --set and --unset, else in an editor.", update_of("user")),
    command("umask",            "one.user.update one.user.info one.userpool.info", (USERS, MASK), (),
            "Set what new objects of users deny to owner, group and others; without MASK the zone's default.", umask),
    command("passwd",           "one.user.passwd one.user.info one.userpool.info", (SELF, PASSWORD), SECRET,
            "Change a user's password; without USER your own.", passwd),
    command("chauth",           "one.user.chauth one.userpool.info", (USER, NEW_DRIVER, PASSWORD), (NEW_AUTH, *SECRET),
            "Change how a user is authenticated; without PASSWORD the password stays.", chauth),
    command("chgrp",            "one.user.chgrp one.userpool.info one.grouppool.info", (USERS, GROUP), (),
            "Give users another primary group.", chgrp),
    command("addgroup",         "one.user.addgroup one.userpool.info one.grouppool.info", (USERS, GROUP), (),
            "Add users to a secondary group.", addgroup),
    command("delgroup",         "one.user.delgroup one.userpool.info one.grouppool.info", (USERS, GROUP), (),
            "Take users out of a secondary group.", delgroup),
    command("enable",           "one.user.enable one.userpool.info", (USERS,),           (),
            "Let users log in.", enable),
    command("disable",          "one.user.enable one.userpool.info", (USERS,),           (),
            "Let users log in no more.", disable),
    command("delete",           "one.user.delete one.userpool.info", (USERS,),           (),
            "Remove users from the federation.", delete),
    command("quota",            "one.user.quota one.user.info one.userpool.info", (USER, LIMITS_FILE), (),
            "Set a user's quotas in one zone: from FILE (- for standard input), else in an editor.", quota_of("user")),
    command("batchquota",       "one.user.quota one.userpool.info",  (USERS, LIMITS_FILE), (),
            "Set the same quotas for several users in one zone.", batch_quota_of("user")),
    command("defaultquota",     "one.userquota.update one.userquota.info", (LIMITS_FILE,), (),
            "Set the quotas of users who have none of their own in one zone.", default_quota_of("user")),
    command("list",             "one.userpool.info one.zonepool.info one.system.config", (),               list_options(COLUMNS),
            "Show the users that you may see.", lister("one.userpool.info", "USER", COLUMNS)),
    command("show",             "one.user.info one.userpool.info",   (SELF,),            (*SHOW_FORMS, DECRYPT),
            "Show one user; without USER yourself.", show),
    command("login",            "one.user.login one.grouppool.info", (SELF, PASSWORD),   (TIME, FOR_GROUP, FORCE),
            "Log in with a password and keep a token for further commands.", login),
    command("token-create",     "one.user.login one.user.info one.grouppool.info", (SELF,), (TIME, FOR_GROUP),
            "Make a log-in token and print it; it is shown only now.", token_create),
    command("token-delete",     "one.user.login one.user.info",      (TOKEN,),           (),
            "Revoke one token, given itself or as token-list shows it (- reads it from standard input).", token_delete),
    command("token-delete-all", "one.user.login one.user.info",      (SELF,),            (),
            "Revoke all tokens of a user; without USER yours.", token_delete_all),
    command("token-set",        "one.user.info",                     (TOKEN,),           (FORCE,),
            "Use a token that you have for further commands (- reads it from standard input).", token_set),
    command("encode",           "",                                  (NAME, PASSWORD),   (),
            "Print a name and a password as NAME:PASSWORD with special characters escaped, as ldap log-ins need them.", encode),
    command("passwdsearch",     "one.userpool.info",                 (DRIVER, SOUGHT),   list_forms(COLUMNS),
            "Show the users with an authentication driver whose password field holds a text, such as a certificate's name.", passwdsearch),
    command("token-list",       "one.user.info one.userpool.info",   (SELF,),            list_forms(TOKEN_COLUMNS),
            "Show a user's tokens: the part of their hashes that token-delete takes, and when they expire.", token_list),
)
# fmt: on

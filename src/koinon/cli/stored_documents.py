"""The commands of documents: ``koinon document`` and ``onedocument``. They name documents by id: names need not differ.

OpenNebula has no such command; the verbs are those of its commands for objects with permissions and locks.
Not here: the XML that zones answer with (documents.py).
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import command, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import number, quoted, read, text, text_of
from koinon.cli.listing import SHOW_FORMS, print_document, print_object
from koinon.cli.pools import list_options, lister
from koinon.cli.tables import Column, moment
from koinon.cli.template_changes import CHANGES, EDIT, FILE, compose, update_of
from koinon.cli.templates import piped, read_source

ALL = -2
MINE = -3
KEEP = -1
LEVELS = {"use": 1, "manage": 2, "admin": 3, "all": 4}

_OCTET = re.compile(r"[0-7]{3}", re.ASCII)
_LEVEL_NAMES = {"1": "use", "2": "manage", "3": "admin"}
_CLASSES = ("OWNER", "GROUP", "OTHER")

DOCUMENT = click.Argument(["document"], metavar="ID")
DOCUMENTS = click.Argument(["documents"], metavar="IDS")
NAME = click.Argument(["name"])
USER = click.Argument(["user"])
GROUP = click.Argument(["group"])
NEW_GROUP = click.Argument(["group"], required=False)
OCTET = click.Argument(["octet"], metavar="OCTET")
TYPE = click.Option(
    ["-t", "--type", "kind"], metavar="NUMBER", type=click.IntRange(0, 2**31 - 1), required=True, help="Type of the document."
)
NAMED = click.Option(["-n", "--name"], help="The document's name; without it NAME in the file says it.")
MINE_ONLY = click.Option(["-m", "--mine"], is_flag=True, help="Only those that are yours.")
LEVEL = click.Option(["--level"], type=click.Choice(sorted(LEVELS)), default="use", show_default=True, help="Least right that is stopped.")
TEST = click.Option(["--test"], is_flag=True, help="Refuse if it is locked already.")


def _permissions(document: Element) -> str:
    """As ``um-u-----``."""
    return "".join(letter if text(document, f"PERMISSIONS/{who}_{letter.upper()}") == "1" else "-" for who in _CLASSES for letter in "uma")


def _lock(document: Element) -> str:
    level = text(document, "LOCK/LOCKED")
    return _LEVEL_NAMES.get(level, level)


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the document."),
    Column("USER", text_of("UNAME"), about="Name of its owner.", numeric=text_of("UID")),
    Column("GROUP", text_of("GNAME"), about="Name of its group.", numeric=text_of("GID")),
    Column("NAME", text_of("NAME"), about="Name of the document; others may have it too."),
    Column("LOCK", _lock, about="Least right that a lock stops."),
    Column("TYPE", text_of("TYPE"), right=True, extra=True, about="Type of the document."),
    Column("PERMISSIONS", _permissions, extra=True, about="Use, manage and admin for owner, group and others."),
)


def create(connection: Connection, file: str | None, name: str | None, kind: int, in_editor: bool) -> None:
    if in_editor:
        if file is not None:
            usage("Give either a file or --edit.")
        written = compose(f"NAME = {quoted(name or '')}\n")
        if written is not None:
            click.echo(f"ID: {connection.call('one.document.allocate', written, kind)}")
        return
    given = read_source(file) if file is not None else piped() if name is None else ""
    if given is None:
        usage("Give a file with template text (- for standard input), or --name, or both; or --edit.")
    template = given
    if name is not None and template.lstrip().startswith("<"):
        usage("--name goes with template text; in XML, NAME says the name.")
    # Of two values the first one counts.
    template = template if name is None else f"NAME = {quoted(name)}\n{template}"
    click.echo(f"ID: {connection.call('one.document.allocate', template, kind)}")


def clone(connection: Connection, document: str, name: str) -> None:
    click.echo(f"ID: {connection.call('one.document.clone', _id(document), name)}")


def rename(connection: Connection, document: str, name: str) -> None:
    connection.call("one.document.rename", _id(document), name)


def chown(connection: Connection, documents: str, user: str, group: str | None) -> None:
    uid = connection.id_of("user", references.parse_one(user))
    gid = KEEP if group is None else connection.id_of("group", references.parse_one(group))
    _each(connection, documents, lambda oid: connection.call("one.document.chown", oid, uid, gid))


def chgrp(connection: Connection, documents: str, group: str) -> None:
    gid = connection.id_of("group", references.parse_one(group))
    _each(connection, documents, lambda oid: connection.call("one.document.chown", oid, KEEP, gid))


def chmod(connection: Connection, documents: str, octet: str) -> None:
    if _OCTET.fullmatch(octet) is None:
        usage(f"{octet!r} is not three digits from 0 to 7: owner, group, others, each the sum of 4 (use), 2 (manage) and 1 (admin).")
    bits = [int(digit) >> shift & 1 for digit in octet for shift in (2, 1, 0)]
    _each(connection, documents, lambda oid: connection.call("one.document.chmod", oid, *bits))


def lock(connection: Connection, documents: str, level: str, test: bool) -> None:
    _each(connection, documents, lambda oid: connection.call("one.document.lock", oid, LEVELS[level], test))


def unlock(connection: Connection, documents: str) -> None:
    _each(connection, documents, lambda oid: connection.call("one.document.unlock", oid))


def delete(connection: Connection, documents: str) -> None:
    _each(connection, documents, lambda oid: connection.call("one.document.delete", oid))


def show_list(connection: Connection, kind: int, mine: bool, **shown: Any) -> None:
    _show(connection, **shown, parameters=(MINE if mine else ALL, -1, -1, kind))


def show(connection: Connection, document: str, form: str | None) -> None:
    raw = connection.call("one.document.info", _id(document))
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [("ID", text(found, "ID")), ("NAME", text(found, "NAME")), ("TYPE", text(found, "TYPE"))]
    facts += [("USER", text(found, "UNAME")), ("GROUP", text(found, "GNAME")), ("PERMISSIONS", _permissions(found))]
    held = found.find("LOCK")
    if held is not None:
        facts.append(("LOCK", f"{_lock(found)} by user {text(held, 'OWNER')} since {moment(number(held, 'TIME', 0))}"))
    print_object(facts, found.find("TEMPLATE"), form)


def _each(connection: Connection, written: str, act: Callable[[int], object]) -> None:
    _require_ids(written)
    each(connection, "document", written, act)


def _id(written: str) -> int:
    return _require_id(references.parse_one(written))


def _require_ids(written: str) -> None:
    for reference in references.parse_many(written):
        _require_id(reference)


def _require_id(reference: references.Reference) -> int:
    if isinstance(reference, int):
        return reference
    return usage(f"{reference!r} is not the id of a document: two may have one name. See `onedocument list --type NUMBER`.")


_show = lister("one.documentpool.info", "DOCUMENT", COLUMNS)

# fmt: off
DOCUMENT_COMMANDS = (
    #       verb      calls                                       arguments           options          help
    command("create", "one.document.allocate",                    (FILE,),            (TYPE, NAMED, EDIT),
            "Add a document to the zone that answers, from FILE (- for standard input) or with a name alone.", create),
    command("clone",  "one.document.clone",                       (DOCUMENT, NAME),   (),
            "Copy a document under another name.", clone),
    command("update", "one.document.update one.document.info",    (DOCUMENTS, FILE),  CHANGES,
            "Change documents' templates: from FILE (- for standard input), with --set and --unset, else in an editor.",
            update_of("document", _require_ids)),
    command("rename", "one.document.rename",                      (DOCUMENT, NAME),   (),
            "Give a document another name.", rename),
    command("chown",  "one.document.chown one.userpool.info one.grouppool.info", (DOCUMENTS, USER, NEW_GROUP), (),
            "Hand documents to another user, and with GROUP to another group.", chown),
    command("chgrp",  "one.document.chown one.grouppool.info",    (DOCUMENTS, GROUP), (),
            "Hand documents to another group.", chgrp),
    command("chmod",  "one.document.chmod",                       (DOCUMENTS, OCTET), (),
            "Set permissions of documents, as in 640.", chmod),
    command("lock",   "one.document.lock",                        (DOCUMENTS,),       (LEVEL, TEST),
            "Lock documents against use, or against changes alone.", lock),
    command("unlock", "one.document.unlock",                      (DOCUMENTS,),       (),
            "Free locked documents.", unlock),
    command("delete", "one.document.delete",                      (DOCUMENTS,),       (),
            "Remove documents.", delete),
    command("list",   "one.documentpool.info one.zonepool.info one.system.config", (), (*list_options(COLUMNS), TYPE, MINE_ONLY),
            "Show the documents of one type that you may see.", show_list),
    command("show",   "one.document.info",                        (DOCUMENT,),        SHOW_FORMS,
            "Show one document.", show),
)
# fmt: on

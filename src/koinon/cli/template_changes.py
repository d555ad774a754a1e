"""Templates from a file, from flags, from standard input or from an editor: changes of one object or many, and those of new objects.

Path:     a noun's row "update" -> update_of() -> one.NOUN.update;   a row "create" -> NewTemplate -> one.NOUN.allocate, one.NOUN.update
Not here: reading files and starting editors (templates.py); how a zone merges what is appended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import complain, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import quoted, template_text
from koinon.cli.templates import edit, piped, read_source
from koinon.client.errors import ClientError

if TYPE_CHECKING:
    from koinon.client.xmlrpc import Value

FILE = click.Argument(["file"], required=False)
APPEND = click.Option(["-a", "--append"], is_flag=True, help="Add to the template, or change what it holds, instead of replacing it.")
SET = click.Option(
    ["--set", "values"], metavar="NAME=VALUE", multiple=True, help="Set this attribute and leave the others as they are; may be repeated."
)
UNSET = click.Option(
    ["--unset", "removed"], metavar="NAME", multiple=True, help="Remove this attribute and leave the others as they are; may be repeated."
)
EDIT = click.Option(["-e", "--edit", "in_editor"], is_flag=True, help="Write the template in an editor.")

CHANGES = (APPEND, SET, UNSET)

#: Of ``create`` where the API makes an object without its template.
TEMPLATE = click.Option(["--template", "file"], metavar="FILE", help="Give it this template too (- for standard input).")
SET_NEW = click.Option(["--set", "values"], metavar="NAME=VALUE", multiple=True, help="Give it this attribute too; may be repeated.")
EDIT_NEW = click.Option(["-e", "--edit", "in_editor"], is_flag=True, help="Write its template in an editor.")
NEW = (TEMPLATE, SET_NEW, EDIT_NEW)

#: What is missing if it fails, and what does it.
Step = tuple[str, Callable[[], object]]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def update_of(noun: str, check: Callable[[str], object] = references.parse_many) -> Callable[..., None]:
    """The function of a row ``update``, whose first argument is called ``NOUNs``; ``check`` refuses wrong lists of objects."""

    def update(connection: Connection, file: str | None, append: bool, values: Sequence[str], removed: Sequence[str], **named: str) -> None:
        wanted = named[f"{noun}s"]
        check(wanted)
        if values or removed:
            if file is not None or append:
                usage("--set and --unset say the whole change: give no file with them, and no --append.")
            change_attributes(connection, noun, wanted, _pairs(values), [_name(name) for name in removed])
            return
        written = read_source(file) if file is not None else piped() or _edited(connection, noun, wanted, append)
        if written is None:
            complain("Nothing was changed.")
            return
        each(connection, noun, wanted, lambda oid: connection.call(f"one.{noun}.update", oid, written, 1 if append else 0))

    return update


def change_attributes(connection: Connection, noun: str, wanted: str, values: Mapping[str, str], removed: Sequence[str]) -> None:
    """Set and remove single attributes of the templates of all objects that ``wanted`` names."""
    change = _text(values)

    def act(oid: int) -> None:
        if not removed:
            connection.call(f"one.{noun}.update", oid, change, 1)  # the zone merges: no other change is lost
            return
        current = connection.document(f"one.{noun}.info", oid).find("TEMPLATE")
        left = Element("TEMPLATE")
        left.extend(child for child in (() if current is None else current) if child.tag not in {*removed, *values})
        connection.call(f"one.{noun}.update", oid, template_text(left) + change, 0)

    each(connection, noun, wanted, act)


@dataclass(frozen=True)
class NewTemplate:
    """The template of an object to be made: the values of ``NEW``, by their names."""

    file: str | None = None
    values: Sequence[str] = ()
    in_editor: bool = False

    def read(self) -> str | None:
        """Its text, empty if none was asked for; None if the editor was left without one, and so nothing is to be made.

        Raises:
            click.UsageError: it is given in two ways.
            SetupError: the file can't be read.
        """
        if (self.file is not None) + bool(self.values) + self.in_editor > 1:
            usage("Give the template once: from a file, with --set, or in an editor.")
        if self.in_editor:
            return compose("")
        return read_source(self.file) if self.file is not None else _text(_pairs(self.values))


def make(connection: Connection, noun: str, template: str, method: str, *parameters: Value) -> None:
    """Make an object, print its id and give it its template.

    Raises:
        ClientError: it was not made; or it was, but without its template, as the text says.
    """
    oid = int(connection.call(method, *parameters))
    click.echo(f"ID: {oid}")
    finish(noun, template_steps(connection, noun, oid, template))


def template_steps(connection: Connection, noun: str, oid: int, template: str) -> list[Step]:
    """The step that gives a new object its template, if it is to have one."""
    if not template:
        return []
    missing = f"its template. Set it with `one{noun} update {oid}`."
    return [(missing, partial(connection.call, f"one.{noun}.update", oid, template, 1))]


def finish(noun: str, steps: Sequence[Step]) -> None:
    """Do what is left once an object is there.

    Raises:
        ClientError: a step failed, and those after it were not tried; the text says what is missing.
    """
    for at, (_, act) in enumerate(steps):
        try:
            act()
        except ClientError as error:
            error.text = "\n".join([error.text, *(f"The {noun} was made, but not {missing}" for missing, _ in steps[at:])])
            raise


def compose(skeleton: str) -> str | None:
    """A new template, written in an editor that opens on ``skeleton``; None if nothing was written."""
    written = edit(skeleton)
    if written is None:
        complain("Nothing was written, so nothing was made.")
    return written


def _edited(connection: Connection, noun: str, wanted: str, append: bool) -> str | None:
    objects = references.parse_many(wanted)
    if append:
        return edit("")
    if len(objects) > 1:
        usage("An editor opens on one template. For several objects give a file, --set NAME=VALUE, or --append.")
    oid = connection.id_of(noun, objects[0])
    return edit(template_text(connection.document(f"one.{noun}.info", oid).find("TEMPLATE")))


def _text(values: Mapping[str, str]) -> str:
    return "".join(f"{name} = {quoted(value)}\n" for name, value in values.items())


def _pairs(values: Sequence[str]) -> dict[str, str]:
    found = {}
    for written in values:
        name, equals, value = written.partition("=")
        if not equals:
            usage(f"{written!r} is not NAME=VALUE.")
        found[_name(name)] = value
    return found


def _name(written: str) -> str:
    if _NAME.fullmatch(written.strip()) is None:
        usage(f"{written!r} is not a name of an attribute: letters, digits and _, not beginning with a digit.")
    return written.strip().upper()

"""The verbs about quotas and VLAN rules that users and groups share: text from a file, standard input or an editor, sent to one zone.

Holds:    every zone has its own; what these commands change holds in the zone they talk to and in no other.
Not here: the rows (users.py, groups.py).
Source:   OpenNebula's `oneuser` and `onegroup`: quota, batchquota, defaultquota.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import complain, each
from koinon.cli.connection import Connection
from koinon.cli.documents import quoted, read, text
from koinon.cli.tables import Column, print_table
from koinon.cli.templates import edit, piped, read_source

LIMITS_FILE = click.Argument(["file"], required=False)

_HOLDERS = ("DATASTORE_QUOTA", "NETWORK_QUOTA", "VM_QUOTA", "IMAGE_QUOTA")
_KEYS = ("ID", "CLUSTER_IDS")
_NOTHING = ("", "0", "0.00")
_HELP = """\
# Limits in this zone. -1 takes the zone's default quota, -2 is no limit; a limit that an entry leaves out is -1.
# Entries that are not here stay as they are.
#   DATASTORE = [ ID = 1, IMAGES = 20, SIZE = 102400 ]     NETWORK = [ ID = 3, LEASES = 10 ]     IMAGE = [ ID = 7, RVMS = 5 ]
#   VM = [ VMS = 5, CPU = 8, MEMORY = 16384, SYSTEM_DISK_SIZE = 102400 ]
"""
_DEFAULT_HELP = _HELP.replace(
    "-1 takes the zone's default quota, -2 is no limit; a limit that an entry leaves out is -1.",
    "They hold for whoever has none of their own. -2 is no limit, as is a limit that is left out.",
)
_VLAN_HELP = """\
# VLAN rules in this zone; what stands here replaces them all.
#   RULE = [ ID = "20-30", SCOPE = "", VNTEMPLATE = "" ]
"""


def limits_text(document: Element) -> str:
    """The limits in the document of a user or a group, or in the default quotas, as text that a zone reads back."""
    return "".join(_vector(entry) for holder in _HOLDERS for entry in document.findall(f"{holder}/*"))


def print_quotas(document: Element) -> None:
    """Show what is limited or used in the zone that sent the document of a user or a group."""
    lines = [line for holder in _HOLDERS for entry in document.findall(f"{holder}/*") for line in _lines(entry)]
    if lines:
        click.echo("\nQUOTAS IN THIS ZONE")
        print_table(_COLUMNS, lines)


def quota_of(noun: str) -> Callable[..., None]:
    """``quota``: set the quotas of one user or group."""

    def quota(connection: Connection, file: str | None, **named: str) -> None:
        oid = connection.id_of(noun, references.parse_one(named[noun]))
        written = _written(file, lambda: _HELP + limits_text(connection.document(f"one.{noun}.info", oid)))
        if written is not None:
            connection.call(f"one.{noun}.quota", oid, written)

    return quota


def batch_quota_of(noun: str) -> Callable[..., None]:
    """``batchquota``: set the same quotas for several."""

    def batch_quota(connection: Connection, file: str | None, **named: str) -> None:
        written = _written(file, lambda: _HELP)
        if written is not None:
            each(connection, noun, named[f"{noun}s"], lambda oid: connection.call(f"one.{noun}.quota", oid, written))

    return batch_quota


def default_quota_of(noun: str) -> Callable[..., None]:
    """``defaultquota``: set the quotas of those who have none of their own."""

    def default_quota(connection: Connection, file: str | None) -> None:
        written = _written(file, lambda: _DEFAULT_HELP + limits_text(read(connection.call(f"one.{noun}quota.info"))))
        if written is not None:
            connection.call(f"one.{noun}quota.update", written)

    return default_quota


def vlan(connection: Connection, group: str, file: str | None) -> None:
    """``vlan``: replace a group's VLAN rules."""
    gid = connection.id_of("group", references.parse_one(group))

    def current() -> str:
        return _VLAN_HELP + "".join(map(_vector, connection.document("one.group.info", gid).findall("VLAN_RULES/RULE")))

    written = _written(file, current)
    if written is not None:
        connection.call("one.group.vlan", gid, written)


def _lines(entry: Element) -> Iterator[tuple[str, str, str, str, str]]:
    """Kind, which one, metric, used, limit: of each metric that is limited or used."""
    for pair in entry:
        used = text(entry, f"{pair.tag}_USED")
        if pair.tag in _KEYS or pair.tag.endswith("_USED") or (pair.text == "-1" and used in _NOTHING):
            continue
        limit = {"-1": "default", "-2": "none"}.get(pair.text or "", pair.text or "")
        yield entry.tag, text(entry, "ID") or text(entry, "CLUSTER_IDS") or "-", pair.tag, used or "0", limit


_COLUMNS = tuple(
    Column[tuple[str, str, str, str, str]](title, itemgetter(at), right=at > 2)
    for at, title in enumerate(("QUOTA", "OF", "METRIC", "USED", "LIMIT"))
)


def _written(file: str | None, current: Callable[[], str]) -> str | None:
    """The text of the file, else what was piped in, else of an editor; None if nothing was changed there."""
    given = read_source(file) if file is not None else piped()
    if given is not None:
        return given
    edited = edit(current())
    if edited is None:
        complain("Nothing was changed.")
    return edited


def _vector(entry: Element) -> str:
    pairs = ", ".join(f"{pair.tag} = {quoted(pair.text or '')}" for pair in entry if not pair.tag.endswith("_USED"))
    return f"{entry.tag} = [ {pairs} ]\n"

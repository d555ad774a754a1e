"""The commands of VDCs: ``koinon vdc`` and ``onevdc``.

Source: OpenNebula's `onevdc`: the same verbs and the same order of arguments; `create` also takes a file.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import Command, command, each, usage
from koinon.cli.connection import POOLS, Connection
from koinon.cli.documents import number, quoted, read, text, text_of
from koinon.cli.listing import SHOW_FORMS, print_document, print_object
from koinon.cli.pools import list_options, lister
from koinon.cli.tables import Column
from koinon.cli.template_changes import CHANGES, EDIT, FILE, compose, update_of
from koinon.cli.templates import piped, read_source
from koinon.cli.users import GROUP
from koinon.client.errors import RefusedError

ALL_RESOURCES = -10

NAME_OR_FILE = click.Argument(["name_or_file"], metavar="[NAME|FILE]", required=False)
VDC = click.Argument(["vdc"])
VDCS = click.Argument(["vdcs"], metavar="VDCS")
NEW_NAME = click.Argument(["name"])
ZONE = click.Argument(["zone_ref"], metavar="ZONE")
NAMED = click.Option(["-n", "--name", "named"], metavar="NAME", help="The VDC's name.")


def _resources(tag: str, vdc: Element) -> str:
    """``0:3,0:4,100:ALL``: zone and id of each."""
    pairs = ((text(node, "ZONE_ID"), text(node, f"{tag}_ID")) for node in vdc.findall(f"{tag}S/{tag}"))
    return ",".join(f"{zone}:{'ALL' if oid == str(ALL_RESOURCES) else oid}" for zone, oid in pairs)


def _groups(vdc: Element) -> str:
    return ",".join(node.text or "" for node in vdc.findall("GROUPS/ID"))


def _count(path: str) -> Callable[[Element], str]:
    return lambda vdc: str(len(vdc.findall(path)))


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the VDC."),
    Column("NAME", text_of("NAME"), about="Name of the VDC."),
    Column("GROUPS", _count("GROUPS/ID"), right=True, about="How many groups it has."),
    Column("CLUSTERS", _count("CLUSTERS/CLUSTER"), right=True, about="How many clusters it opens; ALL of a zone counts once."),
    Column("HOSTS", _count("HOSTS/HOST"), right=True, about="How many hosts it opens; ALL of a zone counts once."),
    Column("VNETS", _count("VNETS/VNET"), right=True, about="How many virtual networks it opens; ALL of a zone counts once."),
    Column("DATASTORES", _count("DATASTORES/DATASTORE"), right=True, about="How many datastores it opens; ALL of a zone counts once."),
    Column[Element]("MEMBERS", _groups, extra=True, about="Ids of its groups."),
)


def create(connection: Connection, name_or_file: str | None, named: str | None, in_editor: bool) -> None:
    if in_editor:
        if name_or_file is not None and ("/" in name_or_file or named is not None):
            usage("With --edit give the VDC's name at most, once.")
        written = compose(f'NAME = {quoted(name_or_file or named or "")}\n# DESCRIPTION = ""\n')
        if written is not None:
            click.echo(f"ID: {connection.call('one.vdc.allocate', written)}")
        return
    given = piped() if name_or_file is None and named is None else ""
    if given is None:
        usage("Give a name, --name, --edit, or a file with template text (- for standard input).")
    if given:
        template = given
    elif name_or_file is None:
        template = f"NAME = {quoted(named or '')}\n"
    elif name_or_file == "-" or Path(name_or_file).is_file():
        if named is not None:
            usage("Give either a file or --name; in the file, NAME says the name.")
        template = read_source(name_or_file)
    elif named is not None:
        usage("Give the VDC's name once: as an argument or with --name.")
    elif "/" in name_or_file:
        usage(f"There is no file {name_or_file}, and no name may hold a '/'.")
    else:
        template = f"NAME = {quoted(name_or_file)}\n"
    click.echo(f"ID: {connection.call('one.vdc.allocate', template)}")


def rename(connection: Connection, vdc: str, name: str) -> None:
    connection.call("one.vdc.rename", _id(connection, vdc), name)


def delete(connection: Connection, vdcs: str) -> None:
    each(connection, "vdc", vdcs, lambda oid: connection.call("one.vdc.delete", oid))


def addgroup(connection: Connection, vdcs: str, group: str) -> None:
    gid = connection.id_of("group", references.parse_one(group))
    each(connection, "vdc", vdcs, lambda oid: connection.call("one.vdc.addgroup", oid, gid))


def delgroup(connection: Connection, vdcs: str, group: str) -> None:
    gid = connection.id_of("group", references.parse_one(group))
    each(connection, "vdc", vdcs, lambda oid: connection.call("one.vdc.delgroup", oid, gid))


def show(connection: Connection, vdc: str, form: str | None) -> None:
    raw = connection.call("one.vdc.info", _id(connection, vdc))
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [("ID", text(found, "ID")), ("NAME", text(found, "NAME")), ("GROUPS", _groups(found))]
    facts += [(f"{tag}S", _resources(tag, found)) for tag in ("CLUSTER", "HOST", "DATASTORE", "VNET")]
    print_object(facts, found.find("TEMPLATE"), form)


def _id(connection: Connection, vdc: str) -> int:
    return connection.id_of("vdc", references.parse_one(vdc))


def _resource_id(connection: Connection, noun: str, written: str, zone_id: int) -> int:
    """The id that ``written`` means in the zone that has the resource, which alone knows its names.

    Raises:
        RefusedError: that zone has none with this name, or none that the caller may see.
    """
    if written.upper() == "ALL" or written == str(ALL_RESOURCES):
        return ALL_RESOURCES
    reference = references.parse_one(written)
    if isinstance(reference, int):
        return reference
    method, tag, parameters = POOLS[noun]
    try:
        raw = _asked(connection, zone_id, method, *parameters)
    except RefusedError as error:
        raise RefusedError(
            f"Zone {zone_id} does not tell which {noun} is named {written!r}: {error.text.rstrip('.')}. Give its id.", code=error.code
        ) from error
    for element in read(raw).findall(tag):
        if text(element, "NAME") == written:
            return number(element, "ID")
    raise RefusedError(f"No {noun} that you may see in zone {zone_id} is named {written!r}. Give its id.", code=0x0400)


def _asked(connection: Connection, zone_id: int, method: str, *parameters: str | int) -> str | int:
    if connection.own_zone() == zone_id:
        return connection.call(method, *parameters)
    address = text(connection.zone_record(zone_id), "TEMPLATE/ENDPOINT")
    with connection.at(address, f"the record of zone {zone_id}") as client:
        return client.call(method, *parameters)


def _change(verb: str, noun: str) -> Callable[..., None]:
    """The function of ``addcluster``, ``delhost`` and the like; ``verb`` is ``add`` or ``del``."""

    def run(connection: Connection, vdcs: str, zone_ref: str, resource: str) -> None:
        zone_id = connection.id_of("zone", references.parse_one(zone_ref))
        oid = _resource_id(connection, noun, resource, zone_id)
        each(connection, "vdc", vdcs, lambda vdc: connection.call(f"one.vdc.{verb}{noun}", vdc, zone_id, oid))

    return run


def _resource_rows(noun: str, words: str, listed_by: str = "") -> tuple[Command, Command]:
    """The two verbs of one kind of resource."""
    calls = f"one.vdcpool.info one.zonepool.info one.system.config {listed_by}"
    arguments = (VDCS, ZONE, click.Argument(["resource"], metavar=f"{noun.upper()}|ALL"))
    return (
        command(
            f"add{noun}",
            f"one.vdc.add{noun} {calls}",
            arguments,
            (),
            f"Open a zone's {words}, or ALL of them, to the groups of VDCs.",
            _change("add", noun),
        ),
        command(
            f"del{noun}",
            f"one.vdc.del{noun} {calls}",
            arguments,
            (),
            f"Take a zone's {words}, or ALL of them, out of VDCs.",
            _change("del", noun),
        ),
    )


# fmt: off
VDC_COMMANDS = (
    #       verb        calls                                               arguments          options           help
    command("create",   "one.vdc.allocate",                                 (NAME_OR_FILE,),   (NAMED, EDIT),
            "Add a VDC, from a name, in an editor, or from a file with template text (- for standard input).", create),
    command("update",   "one.vdc.update one.vdc.info one.vdcpool.info",     (VDCS, FILE),      CHANGES,
            "Change VDCs' templates: from FILE (- for standard input), with --set and --unset, else in an editor.", update_of("vdc")),
    command("rename",   "one.vdc.rename one.vdcpool.info",                  (VDC, NEW_NAME),   (),
            "Give a VDC another name.", rename),
    command("delete",   "one.vdc.delete one.vdcpool.info",                  (VDCS,),           (),
            "Remove VDCs and the rules that they alone gave.", delete),
    command("addgroup", "one.vdc.addgroup one.vdcpool.info one.grouppool.info", (VDCS, GROUP), (),
            "Open the resources of VDCs to a group.", addgroup),
    command("delgroup", "one.vdc.delgroup one.vdcpool.info one.grouppool.info", (VDCS, GROUP), (),
            "Take the resources of VDCs from a group.", delgroup),
    *_resource_rows("cluster", "cluster", "one.clusterpool.info"),
    *_resource_rows("host", "host", "one.hostpool.info"),
    *_resource_rows("datastore", "datastore"),
    *_resource_rows("vnet", "virtual network"),
    command("list",     "one.vdcpool.info one.zonepool.info one.system.config",               (),                list_options(COLUMNS),
            "Show the VDCs that you may see.", lister("one.vdcpool.info", "VDC", COLUMNS)),
    command("show",     "one.vdc.info one.vdcpool.info",                    (VDC,),            SHOW_FORMS,
            "Show one VDC: its groups, and its resources as ZONE:ID.", show),
)
# fmt: on

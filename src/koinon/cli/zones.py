"""The commands of zones: ``koinon zone`` and ``onezone``.

Not here: asking all zones at once (zone_status.py); membership of the federation (federation.py).
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element

import click

from koinon.cli import documents, references
from koinon.cli.commands import command, complain, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import number, quoted, read, text, text_of
from koinon.cli.listing import SHOW_FORMS, print_document, print_object, print_plain
from koinon.cli.pools import list_options, lister
from koinon.cli.tables import Column, state_colour
from koinon.cli.template_changes import CHANGES, EDIT, FILE, compose, update_of
from koinon.cli.templates import piped, read_source
from koinon.cli.views import View
from koinon.cli.zone_status import STATUS_COLUMNS, ZoneStatus, ask_all
from koinon.client import contexts
from koinon.client.contexts import Endpoint
from koinon.client.errors import ClientError, RefusedError, UnreachableError

ZONE_REF = click.Argument(["zone_ref"], metavar="ZONE")
ZONES = click.Argument(["zones"], metavar="ZONES")
NEW_NAME = click.Argument(["name"])

SERVER_ID = click.Argument(["server_id"], metavar="SERVER_ID", type=click.IntRange(0, references.MAX_ID))

NAMED = click.Option(["-n", "--name"], help="The zone's name.")
ADDRESS = click.Option(["--zone-endpoint", "address"], metavar="URL", help="Address of the new zone's XML-RPC service.")
SERVER_NAME = click.Option(["-n", "--name"], required=True, help="The server's name.")
SERVER_ADDRESS = click.Option(["-r", "--rpc", "address"], required=True, metavar="URL", help="Address of the server's XML-RPC service.")
STATUS = click.Option(["--status"], is_flag=True, help="Ask every zone how far its copy of the shared data is.")
PRINT = click.Option(["-k", "--keep", "--print", "only_print"], is_flag=True, help="Save nothing; print what sets it for one shell.")


def _state(zone: Element) -> str:
    return {"0": "enabled", "1": "disabled"}.get(text(zone, "STATE"), text(zone, "STATE"))


def _columns(is_here: Callable[[Element], bool]) -> tuple[Column[Element], ...]:
    """``is_here`` tells the zone that answers by its record."""
    return (
        Column("C", lambda zone: "*" if is_here(zone) else "", about="* marks the zone that answers you."),
        Column("ID", text_of("ID"), right=True, about="Id of the zone."),
        Column("NAME", text_of("NAME"), about="Name of the zone."),
        Column("STATE", _state, colour=state_colour, about="A disabled zone refuses all that changes it."),
        Column("ENDPOINT", text_of("TEMPLATE/ENDPOINT"), about="Address of its XML-RPC service."),
    )


def _of_record(column: Column[Element]) -> Column[ZoneStatus]:
    return Column(column.title, lambda row: column.pick(row.zone), column.right, column.colour)


def _answering(connection: Connection) -> Callable[[Element], bool]:
    """Tells the zone that answers by its id; by its address if it keeps its configuration to itself."""

    @cache
    def own() -> int | None:
        try:
            return connection.own_zone()
        except RefusedError:
            return None

    def is_here(zone: Element) -> bool:
        if own() is None:
            return _same_address(text(zone, "TEMPLATE/ENDPOINT"), connection.endpoint.url)
        return own() == number(zone, "ID")

    return is_here


def _same_address(url: str, here: str) -> bool:
    try:
        return Endpoint.parse(url, "").url == here
    except ClientError:
        return False


def create(connection: Connection, file: str | None, name: str | None, address: str | None, in_editor: bool) -> None:
    if in_editor:
        if file is not None:
            usage("Give either a file or --edit.")
        written = compose(f"NAME = {quoted(name or '')}\nENDPOINT = {quoted(address or '')}\n")
        if written is None:
            return
        template = written
    elif file is not None:
        if name is not None or address is not None:
            usage("Give either a file or --name and --zone-endpoint.")
        template = read_source(file)
    elif name is None and address is None and (given := piped()) is not None:
        template = given
    else:
        if name is None or address is None:
            usage("Give a file with template text (- for standard input), or both --name and --zone-endpoint.")
        Endpoint.parse(address, "--zone-endpoint")
        template = f"NAME = {quoted(name)}\nENDPOINT = {quoted(address)}\n"
    click.echo(f"ID: {connection.call('one.zone.allocate', template)}")


def rename(connection: Connection, zone_ref: str, name: str) -> None:
    connection.call("one.zone.rename", _id(connection, zone_ref), name)


def delete(connection: Connection, zones: str) -> None:
    each(connection, "zone", zones, lambda zone_id: connection.call("one.zone.delete", zone_id))


def enable(connection: Connection, zones: str) -> None:
    each(connection, "zone", zones, lambda zone_id: connection.call("one.zone.enable", zone_id, True))


def disable(connection: Connection, zones: str) -> None:
    each(connection, "zone", zones, lambda zone_id: connection.call("one.zone.enable", zone_id, False))


def server_add(connection: Connection, zone_ref: str, name: str, address: str) -> None:
    Endpoint.parse(address, "--rpc")
    server = f"SERVER = [ NAME = {quoted(name)}, ENDPOINT = {quoted(address)} ]"
    connection.call("one.zone.addserver", _id(connection, zone_ref), server)


def server_del(connection: Connection, zone_ref: str, server_id: int) -> None:
    connection.call("one.zone.delserver", _id(connection, zone_ref), server_id)


def server_reset(connection: Connection, zone_ref: str, server_id: int) -> None:
    connection.call("one.zone.resetserver", _id(connection, zone_ref), server_id)


def show_list(connection: Connection, all_zones: bool, status: bool, **shown: Any) -> None:
    columns = _columns(_answering(connection))
    if not status:
        lister("one.zonepool.info", "ZONE", columns)(connection, all_zones, **shown)
        return
    view = View(**shown)
    if view.form == "xml" or all_zones:
        usage("--status asks all zones anyway, and what they answer is no one zone's XML. Use --json or --yaml.")
    rows = view.of([*map(_of_record, columns), *STATUS_COLUMNS])
    found = filter(rows.keep, ask_all(connection, connection.pool("zone")))
    if view.form in ("json", "yaml"):
        print_plain({"ZONES": [row.plain() for row in found]}, view.form)
    else:
        rows.show(found)


def show(connection: Connection, zone_ref: str, form: str | None) -> None:
    raw = connection.call("one.zone.info", _id(connection, zone_ref))
    if print_document(raw, form):
        return
    zone = read(raw)
    facts = [("ID", text(zone, "ID")), ("NAME", text(zone, "NAME")), ("STATE", _state(zone)), ("ENDPOINT", text(zone, "TEMPLATE/ENDPOINT"))]
    facts += [(f"SERVER {text(server, 'ID')}", _server(server)) for server in zone.findall("SERVER_POOL/SERVER")]
    print_object(facts, zone.find("TEMPLATE"), form)


def _server(server: Element) -> str:
    address = text(server, "ENDPOINT") or text(server, "ENDPOINT_GRPC")
    return f"{text(server, 'NAME')} at {address}"


def choose_zone(connection: Connection, zone_ref: str, only_print: bool) -> None:
    record = connection.zone_record(references.parse_one(zone_ref))
    zone_id, name, url = number(record, "ID"), text(record, "NAME"), text(record, "TEMPLATE/ENDPOINT")
    with connection.at(url, f"the record of zone {zone_id}") as client:
        try:
            client.call("one.user.info", -1)
            answering = number(documents.read(client.call("one.system.config")), "FEDERATION/ZONE_ID")
        except RefusedError as error:
            raise RefusedError(
                f"Zone {zone_id} ({name}) at {url} answers, but refuses you: {error.text} Nothing was saved.", code=error.code
            ) from error
        except UnreachableError as error:
            error.text += " Nothing was saved."
            raise
        if answering not in (zone_id, -1):
            raise RefusedError(
                f"At {url}, the address of zone {zone_id} ({name}), zone {answering} answers. Nothing was saved. "
                f"Correct ENDPOINT with `onezone update {zone_id}`.",
                code=0x0800,
            )
        address = client.endpoint.url
    if only_print:
        click.echo(f"export ONE_XMLRPC={shlex.quote(address)}")
        return
    path = contexts.save_endpoint(address, connection.environment)
    click.echo(f"Zone {zone_id} ({name}) answers at {address}; kept in {path}.")
    if connection.environment.get("ONE_XMLRPC"):
        complain("ONE_XMLRPC is set in this shell and goes first. Run `unset ONE_XMLRPC`.")


def _id(connection: Connection, zone_ref: str) -> int:
    return connection.id_of("zone", references.parse_one(zone_ref))


LISTED: tuple[Column[Any], ...] = (*_columns(lambda zone: False), *(replace(column, extra=True) for column in STATUS_COLUMNS))

# fmt: off
ZONE_COMMANDS = (
    #       verb       calls                                    arguments              options           help
    command("create",  "one.zone.allocate",                     (FILE,),               (NAMED, ADDRESS, EDIT),
            "Add a zone record by hand, from FILE, from options or in an editor (`federation invite` makes one by itself).", create),
    command("update",  "one.zone.update one.zone.info one.zonepool.info", (ZONES, FILE), CHANGES,
            "Change zones' records: from FILE (- for standard input), with --set and --unset, else in an editor.", update_of("zone")),
    command("rename",  "one.zone.rename one.zonepool.info",     (ZONE_REF, NEW_NAME),  (),
            "Give a zone another name.", rename),
    command("enable",  "one.zone.enable one.zonepool.info",     (ZONES,),              (),
            "Let zones serve their users again.", enable),
    command("disable", "one.zone.enable one.zonepool.info",     (ZONES,),              (),
            "Let zones refuse all that changes them.", disable),
    command("server-add", "one.zone.addserver one.zonepool.info", (ZONE_REF,),         (SERVER_NAME, SERVER_ADDRESS),
            "Add a server to the record of the zone that answers; the servers of a zone share its database.", server_add),
    command("server-del", "one.zone.delserver one.zonepool.info", (ZONE_REF, SERVER_ID), (),
            "Remove a server from the record of the zone that answers.", server_del),
    command("server-reset", "one.zone.resetserver one.zonepool.info", (ZONE_REF, SERVER_ID), (),
            "For scripts of OpenNebula's: nothing is copied between the servers of a zone, so nothing is to be reset.", server_reset),
    command("delete",  "one.zone.delete one.zonepool.info",     (ZONES,),              (),
            "Remove zone records.", delete),
    command("list",    "one.zonepool.info one.zone.raftstatus one.system.config", (),                    (*list_options(LISTED), STATUS),
            "Show the zones; * in column C marks the one that answers you.", show_list),
    command("show",    "one.zone.info one.zonepool.info",       (ZONE_REF,),           SHOW_FORMS,
            "Show one zone.", show),
    command("set",     "one.zonepool.info one.user.info one.system.config", (ZONE_REF,), (PRINT,),
            "Talk to this zone from now on; it is asked first whether it answers and knows you.", choose_zone),
)
# fmt: on

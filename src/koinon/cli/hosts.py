"""The commands of hosts: ``koinon host`` and ``onehost``.

Source: OpenNebula's `onehost`: the same verbs, order of arguments and options, for the calls that exist here.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

import sys
import time
from typing import Any
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import command, each, usage
from koinon.cli.connection import Connection
from koinon.cli.documents import read, text, text_of
from koinon.cli.listing import DECRYPT, SHOW_FORMS, print_document, print_object
from koinon.cli.pools import list_options, lister
from koinon.cli.tables import Column, state_colour
from koinon.cli.template_changes import CHANGES, FILE, NEW, NewTemplate, make, update_of

ENABLE, DISABLE, OFFLINE = 0, 1, 2
DEFAULT_CLUSTER = -1
_STATES = {"0": "init", "2": "enabled", "3": "error", "4": "disabled", "8": "offline"}
_SHORT_STATES = {"0": "init", "2": "on", "3": "err", "4": "dsbl", "8": "off"}

HOSTNAME = click.Argument(["hostname"])
NEW_FILE = click.Argument(["also"], metavar="[FILE]", required=False)
NEW_NAME = click.Argument(["name"])
HOST = click.Argument(["host"])
HOSTS = click.Argument(["hosts"], metavar="HOSTS")
_SECONDS = click.FloatRange(0.1, 86_400)
DELAY = click.Option(
    ["-d", "--delay", "delay_s"], metavar="SECONDS", type=_SECONDS, default=1.0, show_default=True, help="Time between lists."
)
IM = click.Option(["-i", "--im"], default="kvm", show_default=True, help="Information driver.")
VM = click.Option(["-v", "--vm"], default="kvm", show_default=True, help="Virtualization driver.")
CLUSTER = click.Option(["-c", "--cluster"], metavar="CLUSTER", help="Its cluster; without it the default cluster.")


def _state(host: Element) -> str:
    state = text(host, "STATE")
    return _STATES.get(state, state)


def _short_state(host: Element) -> str:
    state = text(host, "STATE")
    return _SHORT_STATES.get(state, state)


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the host."),
    Column("NAME", text_of("NAME"), about="Name of the host."),
    Column("CLUSTER", text_of("CLUSTER"), about="Name of its cluster."),
    Column("STATE", _state, colour=state_colour, about="What people, or later probes, said of it."),
    Column("STAT", _short_state, extra=True, about="The same in one short word: on, dsbl, off, init or err."),
    Column("TVM", text_of("HOST_SHARE/RUNNING_VMS"), right=True, extra=True, about="How many machines it has."),
    Column("IM_MAD", text_of("IM_MAD"), extra=True, about="Its information driver."),
    Column("VM_MAD", text_of("VM_MAD"), extra=True, about="Its virtualization driver."),
    Column("CLUSTER_ID", text_of("CLUSTER_ID"), right=True, extra=True, about="Id of its cluster."),
)


def create(connection: Connection, hostname: str, also: str | None, im: str, vm: str, cluster: str | None, **given: Any) -> None:
    if also is not None and given["file"] is not None:
        usage("Give the file once: after the host's name, or with --template.")
    template = NewTemplate(**given | {"file": also or given["file"]}).read()
    if template is None:
        return
    cluster_id = DEFAULT_CLUSTER if cluster is None else connection.id_of("cluster", references.parse_one(cluster))
    make(connection, "host", template, "one.host.allocate", hostname, im, vm, cluster_id)


def rename(connection: Connection, host: str, name: str) -> None:
    connection.call("one.host.rename", _id(connection, host), name)


def enable(connection: Connection, hosts: str) -> None:
    each(connection, "host", hosts, lambda oid: connection.call("one.host.status", oid, ENABLE))


def disable(connection: Connection, hosts: str) -> None:
    each(connection, "host", hosts, lambda oid: connection.call("one.host.status", oid, DISABLE))


def offline(connection: Connection, hosts: str) -> None:
    each(connection, "host", hosts, lambda oid: connection.call("one.host.status", oid, OFFLINE))


def delete(connection: Connection, hosts: str) -> None:
    each(connection, "host", hosts, lambda oid: connection.call("one.host.delete", oid))


def show(connection: Connection, host: str, form: str | None, decrypt: bool) -> None:
    raw = connection.call("one.host.info", _id(connection, host), *([True] if decrypt else []))
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [("ID", text(found, "ID")), ("NAME", text(found, "NAME")), ("STATE", _state(found))]
    facts += [(tag, text(found, tag)) for tag in ("CLUSTER", "IM_MAD", "VM_MAD")]
    print_object(facts, found.find("TEMPLATE"), form)


def top(connection: Connection, delay_s: float, all_zones: bool, **shown: Any) -> None:
    while True:  # until Ctrl-C, or until the zone answers no more
        if sys.stdout.isatty():
            click.clear()
        show_list(connection, all_zones, **shown)
        sys.stdout.flush()
        time.sleep(delay_s)


def monitoring(connection: Connection, host: str | None, form: str | None) -> None:
    raw = connection.call("one.hostpool.monitoring") if host is None else connection.call("one.host.monitoring", _id(connection, host))
    print_document(raw, form or "xml")


def _id(connection: Connection, host: str) -> int:
    return connection.id_of("host", references.parse_one(host))


show_list = lister("one.hostpool.info", "HOST", COLUMNS)
ANY_HOST = click.Argument(["host"], required=False)

# fmt: off
HOST_COMMANDS = (
    #       verb       calls                                  arguments         options        help
    command("create",  "one.host.allocate one.host.update one.clusterpool.info", (HOSTNAME, NEW_FILE), (IM, VM, CLUSTER, *NEW),
            "Add a host to the zone that answers.", create),
    command("update",  "one.host.update one.host.info one.hostpool.info", (HOSTS, FILE), CHANGES,
            "Change hosts' templates: from FILE (- for standard input), with --set and --unset, else in an editor.", update_of("host")),
    command("rename",  "one.host.rename one.hostpool.info",   (HOST, NEW_NAME), (),
            "Give a host another name.", rename),
    command("enable",  "one.host.status one.hostpool.info",   (HOSTS,),         (),
            "Let hosts take machines again.", enable),
    command("disable", "one.host.status one.hostpool.info",   (HOSTS,),         (),
            "Let hosts take no new machines.", disable),
    command("offline", "one.host.status one.hostpool.info",   (HOSTS,),         (),
            "Say that hosts are off.", offline),
    command("delete",  "one.host.delete one.hostpool.info",   (HOSTS,),         (),
            "Remove hosts.", delete),
    command("list",    "one.hostpool.info one.zonepool.info one.system.config", (),               list_options(COLUMNS),
            "Show the hosts that you may see.", show_list),
    command("top",     "one.hostpool.info one.zonepool.info one.system.config", (), (*list_options(COLUMNS), DELAY),
            "Show the hosts again and again, until Ctrl-C.", top),
    command("show",    "one.host.info one.hostpool.info",     (HOST,),          (*SHOW_FORMS, DECRYPT),
            "Show one host.", show),
    command("monitoring", "one.host.monitoring one.hostpool.monitoring one.hostpool.info", (ANY_HOST,), SHOW_FORMS[:3],
            "Print the samples of a host, or of all, as XML, JSON or YAML.", monitoring),
)
# fmt: on

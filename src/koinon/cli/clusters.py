"""The commands of clusters: ``koinon cluster`` and ``onecluster``.

Source: OpenNebula's `onecluster`: the same verbs and the same order of arguments, for the calls that exist here.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import Command, command, each
from koinon.cli.connection import Connection
from koinon.cli.documents import read, text, text_of
from koinon.cli.listing import SHOW_FORMS, print_document, print_object
from koinon.cli.pools import list_options, lister
from koinon.cli.tables import Column
from koinon.cli.template_changes import CHANGES, FILE, NEW, NewTemplate, make, update_of

NAME = click.Argument(["name"])
CLUSTER = click.Argument(["cluster"])
CLUSTERS = click.Argument(["clusters"], metavar="CLUSTERS")


def _count(tag: str) -> Callable[[Element], str]:
    return lambda cluster: str(len(cluster.findall(f"{tag}/ID")))


def _ids(tag: str, cluster: Element) -> str:
    return ",".join(node.text or "" for node in cluster.findall(f"{tag}/ID"))


COLUMNS = (
    Column("ID", text_of("ID"), right=True, about="Id of the cluster."),
    Column("NAME", text_of("NAME"), about="Name of the cluster."),
    Column("HOSTS", _count("HOSTS"), right=True, about="How many hosts it has."),
    Column("VNETS", _count("VNETS"), right=True, about="How many virtual networks it has."),
    Column("DATASTORES", _count("DATASTORES"), right=True, about="How many datastores it has."),
)


def create(connection: Connection, name: str, **given: Any) -> None:
    template = NewTemplate(**given).read()
    if template is not None:
        make(connection, "cluster", template, "one.cluster.allocate", name)


def rename(connection: Connection, cluster: str, name: str) -> None:
    connection.call("one.cluster.rename", _id(connection, cluster), name)


def delete(connection: Connection, clusters: str) -> None:
    each(connection, "cluster", clusters, lambda oid: connection.call("one.cluster.delete", oid))


def show(connection: Connection, cluster: str, form: str | None) -> None:
    raw = connection.call("one.cluster.info", _id(connection, cluster))
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [(tag, text(found, tag)) for tag in ("ID", "NAME")] + [(tag, _ids(tag, found)) for tag in ("HOSTS", "VNETS", "DATASTORES")]
    print_object(facts, found.find("TEMPLATE"), form)


def optimize(connection: Connection, clusters: str) -> None:
    each(connection, "cluster", clusters, lambda oid: connection.call("one.cluster.optimize", oid))


def planexecute(connection: Connection, clusters: str) -> None:
    each(connection, "cluster", clusters, lambda oid: connection.call("one.cluster.planexecute", oid))


def plandelete(connection: Connection, clusters: str) -> None:
    each(connection, "cluster", clusters, lambda oid: connection.call("one.cluster.plandelete", oid))


def _id(connection: Connection, cluster: str) -> int:
    return connection.id_of("cluster", references.parse_one(cluster))


def _change(verb: str, noun: str) -> Callable[..., None]:
    """The function of ``addhost``, ``delvnet`` and the like; ``verb`` is ``add`` or ``del``."""

    def run(connection: Connection, cluster: str, members: str) -> None:
        each(connection, noun, members, partial(connection.call, f"one.cluster.{verb}{noun}", _id(connection, cluster)))

    return run


def _member_rows(noun: str, added: str, removed: str, listed_by: str = "") -> tuple[Command, Command]:
    """The two verbs of one kind of member."""
    arguments = (CLUSTER, click.Argument(["members"], metavar=f"{noun.upper()}S"))
    calls = f"one.clusterpool.info {listed_by}"
    return (
        command(f"add{noun}", f"one.cluster.add{noun} {calls}", arguments, (), added, _change("add", noun)),
        command(f"del{noun}", f"one.cluster.del{noun} {calls}", arguments, (), removed, _change("del", noun)),
    )


# fmt: off
CLUSTER_COMMANDS = (
    #       verb       calls                                           arguments         options        help
    command("create",  "one.cluster.allocate one.cluster.update",      (NAME,),          NEW,
            "Add a cluster to the zone that answers.", create),
    command("update",  "one.cluster.update one.cluster.info one.clusterpool.info", (CLUSTERS, FILE), CHANGES,
            "Change clusters' templates: from FILE (- for standard input), with --set and --unset, else in an editor.",
            update_of("cluster")),
    command("rename",  "one.cluster.rename one.clusterpool.info",      (CLUSTER, NAME),  (),
            "Give a cluster another name.", rename),
    *_member_rows("host", "Move hosts into a cluster.", "Move hosts of a cluster to the default cluster.", "one.hostpool.info"),
    *_member_rows("datastore", "Add datastores to a cluster.", "Remove datastores from a cluster."),
    *_member_rows("vnet", "Add virtual networks to a cluster.", "Remove virtual networks from a cluster."),
    command("optimize", "one.cluster.optimize one.clusterpool.info",   (CLUSTERS,),     (),
            "Have migration plans made for clusters.", optimize),
    command("planexecute", "one.cluster.planexecute one.clusterpool.info", (CLUSTERS,), (),
            "Begin with clusters' migration plans.", planexecute),
    command("plandelete", "one.cluster.plandelete one.clusterpool.info", (CLUSTERS,),   (),
            "Drop clusters' migration plans.", plandelete),
    command("delete",  "one.cluster.delete one.clusterpool.info",      (CLUSTERS,),      (),
            "Remove clusters that have no hosts.", delete),
    command("list",    "one.clusterpool.info one.zonepool.info one.system.config",       (),               list_options(COLUMNS),
            "Show the clusters that you may see.", lister("one.clusterpool.info", "CLUSTER", COLUMNS)),
    command("show",    "one.cluster.info one.clusterpool.info",        (CLUSTER,),       SHOW_FORMS,
            "Show one cluster.", show),
)
# fmt: on

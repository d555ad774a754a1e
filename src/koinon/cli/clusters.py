"""The commands of clusters: ``koinon cluster`` and ``onecluster``.

Source: OpenNebula's `onecluster`: the same verbs and the same order of arguments, for the calls that exist here.
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from xml.etree.ElementTree import Element

import click

from koinon.cli import references
from koinon.cli.commands import command, each
from koinon.cli.connection import Connection
from koinon.cli.documents import read, text, text_of
from koinon.cli.listing import LIST_FORMS, SHOW_FORMS, print_document, print_object, print_pool
from koinon.cli.tables import Column
from koinon.cli.users import APPEND, FILE, update_template

NAME = click.Argument(["name"])
CLUSTER = click.Argument(["cluster"])
CLUSTERS = click.Argument(["clusters"], metavar="CLUSTERS")
HOSTS = click.Argument(["hosts"], metavar="HOSTS")


def _count(tag: str) -> Callable[[Element], str]:
    return lambda cluster: str(len(cluster.findall(f"{tag}/ID")))


def _ids(tag: str, cluster: Element) -> str:
    return ",".join(node.text or "" for node in cluster.findall(f"{tag}/ID"))


COLUMNS = (
    Column("ID", text_of("ID"), right=True),
    Column("NAME", text_of("NAME")),
    Column("HOSTS", _count("HOSTS"), right=True),
    Column("VNETS", _count("VNETS"), right=True),
    Column("DATASTORES", _count("DATASTORES"), right=True),
)


def create(connection: Connection, name: str) -> None:
    click.echo(f"ID: {connection.call('one.cluster.allocate', name)}")


def update(connection: Connection, cluster: str, file: str | None, append: bool) -> None:
    update_template(connection, "cluster", _id(connection, cluster), file, append)


def rename(connection: Connection, cluster: str, name: str) -> None:
    connection.call("one.cluster.rename", _id(connection, cluster), name)


def addhost(connection: Connection, cluster: str, hosts: str) -> None:
    each(connection, "host", hosts, partial(connection.call, "one.cluster.addhost", _id(connection, cluster)))


def delhost(connection: Connection, cluster: str, hosts: str) -> None:
    each(connection, "host", hosts, partial(connection.call, "one.cluster.delhost", _id(connection, cluster)))


def delete(connection: Connection, clusters: str) -> None:
    each(connection, "cluster", clusters, lambda oid: connection.call("one.cluster.delete", oid))


def show_list(connection: Connection, titles: str | None, form: str | None) -> None:
    print_pool(connection.call("one.clusterpool.info"), "CLUSTER", COLUMNS, titles, form)


def show(connection: Connection, cluster: str, form: str | None) -> None:
    raw = connection.call("one.cluster.info", _id(connection, cluster))
    if print_document(raw, form):
        return
    found = read(raw)
    facts = [(tag, text(found, tag)) for tag in ("ID", "NAME")] + [(tag, _ids(tag, found)) for tag in ("HOSTS", "VNETS", "DATASTORES")]
    print_object(facts, found.find("TEMPLATE"), form)


def _id(connection: Connection, cluster: str) -> int:
    return connection.id_of("cluster", references.parse_one(cluster))


# fmt: off
CLUSTER_COMMANDS = (
    #       verb       calls                                           arguments         options        help
    command("create",  "one.cluster.allocate",                         (NAME,),          (),
            "Add a cluster to the zone that answers.", create),
    command("update",  "one.cluster.update one.cluster.info one.clusterpool.info", (CLUSTER, FILE), (APPEND,),
            "Change a cluster's template: from FILE (- for standard input), else in an editor.", update),
    command("rename",  "one.cluster.rename one.clusterpool.info",      (CLUSTER, NAME),  (),
            "Give a cluster another name.", rename),
    command("addhost", "one.cluster.addhost one.clusterpool.info one.hostpool.info", (CLUSTER, HOSTS), (),
            "Move hosts into a cluster.", addhost),
    command("delhost", "one.cluster.delhost one.clusterpool.info one.hostpool.info", (CLUSTER, HOSTS), (),
            "Move hosts of a cluster to the default cluster.", delhost),
    command("delete",  "one.cluster.delete one.clusterpool.info",      (CLUSTERS,),      (),
            "Remove clusters that have no hosts.", delete),
    command("list",    "one.clusterpool.info",                         (),               LIST_FORMS,
            "Show the clusters that you may see.", show_list),
    command("show",    "one.cluster.info one.clusterpool.info",        (CLUSTER,),       SHOW_FORMS,
            "Show one cluster.", show),
)
# fmt: on

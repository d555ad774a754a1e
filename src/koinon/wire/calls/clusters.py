"""The calls about clusters. Those about datastores, networks and migration plans come with these objects."""

from __future__ import annotations

from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, TEMPLATE, UPDATE_TYPE, Runs, admin, call, change, create, lists, manage, object_id, use
from koinon.wire.parameters import Param

CLUSTER_ID = object_id("Cluster id.")
NAME = Param("name", "string", doc="Cluster name.")
NEW_NAME = Param("name", "string", doc="New name.")
HOST_ID = Param("host_id", "int", doc="Host id.")

CREATE, USE, LIST = (create(Kind.CLUSTER),), (use(Kind.CLUSTER),), (lists(Kind.CLUSTER),)
MANAGE, ADMIN = (manage(Kind.CLUSTER),), (admin(Kind.CLUSTER),)
BOTH = (*ADMIN, admin(Kind.HOST, "host_id"))
LOCAL = Runs.LOCAL

# fmt: off
#      wire name               takes                                needs   runs   returns   what it does
change("one.cluster.allocate", (NAME,),                             CREATE, LOCAL, "int",    "Create a cluster.")
change("one.cluster.delete",   (CLUSTER_ID,),                       ADMIN,  LOCAL, "int",    "Delete an empty cluster.")
call("one.cluster.info",       (CLUSTER_ID, DECRYPT),               USE,    LOCAL, "string", "Show a cluster.", when_disabled=False)
change("one.cluster.update",   (CLUSTER_ID, TEMPLATE, UPDATE_TYPE), MANAGE, LOCAL, "int",    "Change a cluster's template.")
change("one.cluster.rename",   (CLUSTER_ID, NEW_NAME),              MANAGE, LOCAL, "int",    "Rename a cluster.")
change("one.cluster.addhost",  (CLUSTER_ID, HOST_ID),               BOTH,   LOCAL, "int",    "Move a host into a cluster.")
change("one.cluster.delhost",  (CLUSTER_ID, HOST_ID),               BOTH,   LOCAL, "int",    "Move a host to the default cluster.")
call("one.clusterpool.info",   (),                                  LIST,   LOCAL, "string", "List the clusters you may see.")

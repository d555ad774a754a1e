"""The calls about clusters. A zone has no datastores, networks and migration plans yet: calls about these say that there are none."""

from __future__ import annotations

from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, TEMPLATE, UPDATE_TYPE, Runs, admin, call, change, create, lists, manage, object_id, use
from koinon.wire.parameters import Param

CLUSTER_ID = object_id("Cluster id.")
NAME = Param("name", "string", doc="Cluster name.")
NEW_NAME = Param("name", "string", doc="New name.")
HOST_ID = Param("host_id", "int", doc="Host id.")
STORE_ID = Param("datastore_id", "int", doc="Datastore id.")
VNET_ID = Param("vnet_id", "int", doc="Virtual network id.")

CREATE, USE, LIST = (create(Kind.CLUSTER),), (use(Kind.CLUSTER),), (lists(Kind.CLUSTER),)
MANAGE, ADMIN = (manage(Kind.CLUSTER),), (admin(Kind.CLUSTER),)
HOST = (*ADMIN, admin(Kind.HOST, "host_id"))
STORE = (*ADMIN, admin(Kind.DATASTORE, "datastore_id"))
VNET = (*ADMIN, admin(Kind.NET, "vnet_id"))
LOCAL = Runs.LOCAL

# fmt: off
#      wire name                   takes                                needs   runs   returns   what it does
change("one.cluster.allocate",     (NAME,),                             CREATE, LOCAL, "int",    "Create a cluster.")
change("one.cluster.delete",       (CLUSTER_ID,),                       ADMIN,  LOCAL, "int",    "Delete an empty cluster.")
call("one.cluster.info",           (CLUSTER_ID, DECRYPT),               USE,    LOCAL, "string", "Show a cluster.", when_disabled=False)
change("one.cluster.update",       (CLUSTER_ID, TEMPLATE, UPDATE_TYPE), MANAGE, LOCAL, "int",    "Change a cluster's template.")
change("one.cluster.rename",       (CLUSTER_ID, NEW_NAME),              MANAGE, LOCAL, "int",    "Rename a cluster.")
change("one.cluster.addhost",      (CLUSTER_ID, HOST_ID),               HOST,   LOCAL, "int",    "Move a host into a cluster.")
change("one.cluster.delhost",      (CLUSTER_ID, HOST_ID),               HOST,   LOCAL, "int",    "Move a host to the default cluster.")
change("one.cluster.adddatastore", (CLUSTER_ID, STORE_ID),              STORE,  LOCAL, "int",    "Add a datastore to a cluster.")
change("one.cluster.deldatastore", (CLUSTER_ID, STORE_ID),              STORE,  LOCAL, "int",    "Remove a datastore from a cluster.")
change("one.cluster.addvnet",      (CLUSTER_ID, VNET_ID),               VNET,   LOCAL, "int",    "Add a virtual network to a cluster.")
change("one.cluster.delvnet",      (CLUSTER_ID, VNET_ID),               VNET,   LOCAL, "int",    "Remove a virtual network from a cluster.")
change("one.cluster.optimize",     (CLUSTER_ID,),                       ADMIN,  LOCAL, "int",    "Have a cluster's migration plan made.")
change("one.cluster.planexecute",  (CLUSTER_ID,),                       ADMIN,  LOCAL, "int",    "Begin with a cluster's migration plan.")
change("one.cluster.plandelete",   (CLUSTER_ID,),                       ADMIN,  LOCAL, "int",    "Drop a cluster's migration plan.")
call("one.clusterpool.info",       (),                                  LIST,   LOCAL, "string", "List the clusters you may see.")

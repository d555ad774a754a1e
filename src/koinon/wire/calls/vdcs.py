"""The calls about VDCs.

Source: OpenNebula's request classes. A right on the zone is asked for where the zone exists: what is gone can still be taken out.
"""

from __future__ import annotations

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, TEMPLATE, UPDATE_TYPE, Need, Runs, admin, call, create, lists, manage, object_id, use
from koinon.wire.parameters import Param

VDC_ID = object_id("VDC id.")
NEW_NAME = Param("name", "string", doc="New name.")
GROUP_ID = Param("group_id", "int", doc="Group id.")
ZONE_ID = Param("zone_id", "int", doc="Id of the zone that has the resource.")
CLUSTER_ID = Param("cluster_id", "int", doc="Cluster id; -10 is all clusters of the zone.")
HOST_ID = Param("host_id", "int", doc="Host id; -10 is all hosts of the zone.")
DATASTORE_ID = Param("datastore_id", "int", doc="Datastore id; -10 is all datastores of the zone.")
VNET_ID = Param("vnet_id", "int", doc="Virtual network id; -10 is all networks of the zone.")

CREATE, USE, LIST = (create(Kind.VDC),), (use(Kind.VDC),), (lists(Kind.VDC),)
MANAGE, ADMIN = (manage(Kind.VDC),), (admin(Kind.VDC),)
GROUP = (*ADMIN, admin(Kind.GROUP, "group_id"))
ZONE = (*ADMIN, admin(Kind.ZONE, "zone_id"))
ITS_OWN = "only checked when the zone is the local one and ID is not -10"
CLUSTER = (*ZONE, Need(Right.ADMIN, Kind.CLUSTER, "cluster_id", condition=ITS_OWN))
HOST = (*ZONE, Need(Right.ADMIN, Kind.HOST, "host_id", condition=ITS_OWN))
MASTER, LOCAL = Runs.MASTER, Runs.LOCAL

# fmt: off
#    wire name               takes                            needs    runs    returns   what it does
call("one.vdc.allocate",     (TEMPLATE,),                     CREATE,  MASTER, "int",    "Create a VDC.")
call("one.vdc.delete",       (VDC_ID,),                       ADMIN,   MASTER, "int",    "Delete a VDC.")
call("one.vdc.info",         (VDC_ID, DECRYPT),               USE,     LOCAL,  "string", "Show a VDC.")
call("one.vdc.update",       (VDC_ID, TEMPLATE, UPDATE_TYPE), MANAGE,  MASTER, "int",    "Change a VDC's template.")
call("one.vdc.rename",       (VDC_ID, NEW_NAME),              MANAGE,  MASTER, "int",    "Rename a VDC.")
call("one.vdc.addgroup",     (VDC_ID, GROUP_ID),              GROUP,   MASTER, "int",    "Give a group the resources of a VDC.")
call("one.vdc.delgroup",     (VDC_ID, GROUP_ID),              GROUP,   MASTER, "int",    "Take the resources of a VDC from a group.")
call("one.vdc.addcluster",   (VDC_ID, ZONE_ID, CLUSTER_ID),   CLUSTER, MASTER, "int",    "Add a zone's cluster to a VDC.")
call("one.vdc.delcluster",   (VDC_ID, ZONE_ID, CLUSTER_ID),   CLUSTER, MASTER, "int",    "Remove a zone's cluster from a VDC.")
call("one.vdc.addhost",      (VDC_ID, ZONE_ID, HOST_ID),      HOST,    MASTER, "int",    "Add a zone's host to a VDC.")
call("one.vdc.delhost",      (VDC_ID, ZONE_ID, HOST_ID),      HOST,    MASTER, "int",    "Remove a zone's host from a VDC.")
call("one.vdc.adddatastore", (VDC_ID, ZONE_ID, DATASTORE_ID), ZONE,    MASTER, "int",    "Add a zone's datastore to a VDC.")
call("one.vdc.deldatastore", (VDC_ID, ZONE_ID, DATASTORE_ID), ZONE,    MASTER, "int",    "Remove a zone's datastore from a VDC.")
call("one.vdc.addvnet",      (VDC_ID, ZONE_ID, VNET_ID),      ZONE,    MASTER, "int",    "Add a zone's virtual network to a VDC.")
call("one.vdc.delvnet",      (VDC_ID, ZONE_ID, VNET_ID),      ZONE,    MASTER, "int",    "Remove a zone's virtual network from a VDC.")
call("one.vdcpool.info",     (),                              LIST,    LOCAL,  "string", "List the VDCs you may see.")

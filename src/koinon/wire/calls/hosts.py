"""The calls about hosts."""

from __future__ import annotations

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, TEMPLATE, UPDATE_TYPE, Need, Runs, admin, call, change, create, lists, object_id, use
from koinon.wire.parameters import Param

HOST_ID = object_id("Host id.")
NAME = Param("hostname", "string", doc="Host name or address.")
NEW_NAME = Param("name", "string", doc="New name.")
IM_MAD = Param("im_mad", "string", doc="Name of the information driver.")
VM_MAD = Param("vm_mad", "string", doc="Name of the virtualization driver.")
CLUSTER_ID = Param("cluster_id", "int", doc="Cluster id; -1 is the default cluster.")
STATUS = Param("status", "int", doc="0 enables, 1 disables, 2 takes offline.")
SECONDS = Param("seconds", "int", -1, doc="How far back; 0 is only the newest sample, -1 everything.")

CREATE = (create(Kind.HOST), Need(Right.ADMIN, Kind.CLUSTER, "cluster_id", condition="unless default"))
USE, ADMIN, LIST = (use(Kind.HOST),), (admin(Kind.HOST),), (lists(Kind.HOST),)
LOCAL = Runs.LOCAL

# fmt: off
#      wire name                takes                               needs   runs   returns   what it does
change("one.host.allocate",     (NAME, IM_MAD, VM_MAD, CLUSTER_ID), CREATE, LOCAL, "int",    "Create a host.")
change("one.host.delete",       (HOST_ID,),                         ADMIN,  LOCAL, "int",    "Delete a host.")
call("one.host.info",           (HOST_ID, DECRYPT),                 USE,    LOCAL, "string", "Show a host.")
change("one.host.update",       (HOST_ID, TEMPLATE, UPDATE_TYPE),   ADMIN,  LOCAL, "int",    "Change a host's template.")
change("one.host.rename",       (HOST_ID, NEW_NAME),                ADMIN,  LOCAL, "int",    "Rename a host.")
change("one.host.status",       (HOST_ID, STATUS),                  ADMIN,  LOCAL, "int",    "Enable, disable or take a host offline.")
call("one.host.monitoring",     (HOST_ID,),                         USE,    LOCAL, "string", "Show a host's samples.", when_disabled=False)
call("one.hostpool.info",       (),                                 LIST,   LOCAL, "string", "List the hosts you may see.")
call("one.hostpool.monitoring", (SECONDS,),                         LIST,   LOCAL, "string", "Show the samples of the hosts you may see.")

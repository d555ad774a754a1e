"""The calls about groups.

Source: OpenNebula's request classes; where its pages say MANAGE, its server asks for ADMIN.
"""

from __future__ import annotations

from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, TEMPLATE, UPDATE_TYPE, Runs, admin, call, create, lists, object_id, use
from koinon.wire.parameters import Param

GROUP_ID = object_id("Group id.")
WHICH = object_id("Group id; -1 is the caller's primary group.")
NAME = Param("name", "string", doc="Group name.")
USER_ID = Param("user_id", "int", doc="User id.")

CREATE, USE, ADMIN, LIST = (create(Kind.GROUP),), (use(Kind.GROUP),), (admin(Kind.GROUP),), (lists(Kind.GROUP),)
BOTH = (*ADMIN, admin(Kind.USER, "user_id"))
MASTER, LOCAL = Runs.MASTER, Runs.LOCAL

# fmt: off
#    wire name             takes                              needs   runs    returns   what it does
call("one.group.allocate", (NAME,),                           CREATE, MASTER, "int",    "Create a group.")
call("one.group.delete",   (GROUP_ID,),                       ADMIN,  MASTER, "int",    "Delete a group.")
call("one.group.info",     (WHICH, DECRYPT),                  USE,    LOCAL,  "string", "Show a group.")
call("one.group.update",   (GROUP_ID, TEMPLATE, UPDATE_TYPE), ADMIN,  MASTER, "int",    "Change a group's template.")
call("one.group.addadmin", (GROUP_ID, USER_ID),               BOTH,   MASTER, "int",    "Make a member an administrator of the group.")
call("one.group.deladmin", (GROUP_ID, USER_ID),               BOTH,   MASTER, "int",    "Make an administrator a plain member.")
call("one.grouppool.info", (),                                LIST,   LOCAL,  "string", "List the groups you may see.")

"""The calls about users.

Source: OpenNebula's request classes; some of its pages name other rights than its server asks for, the server counts.
"""

from __future__ import annotations

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, ENABLE, TEMPLATE, UPDATE_TYPE, Need, Runs, admin, call, create, lists, manage, object_id, use
from koinon.wire.parameters import Param

USER_ID = object_id("User id.")
WHO = object_id("User id; -1 is the caller.")
NAME = Param("username", "string", doc="User name.")
PASSWORD = Param("password", "string", doc="Password, as the driver takes it; in the clear for `core`.", secret=True)
NEW_PASSWORD = Param("password", "string", doc="New password, as the driver takes it; in the clear for `core`.", secret=True)
OR_NO_PASSWORD = Param("password", "string", doc="New password; empty keeps the present one.", secret=True)
DRIVER = Param("driver", "string", doc="How the user proves who they are; empty is `core`.")
GROUPS = Param("group_ids", "array<int>", (), doc="Group ids: the first is the primary group. None: the caller's primary group.")
GROUP_ID = Param("group_id", "int", doc="Group id.")
TOKEN = Param("token", "string", doc="The token; empty has one made or, with `valid` 0, removes all tokens.", secret=True)
VALID = Param("valid", "int", doc="Seconds that the token lives; 0 removes it, -1 is for ever.")
EGID = Param("egid", "int", -1, doc="Group that the token is limited to; -1 is no limit.")

CREATE = (create(Kind.USER), Need(Right.MANAGE, Kind.GROUP, "group_ids", but_own_group=True))
USE, MANAGE, ADMIN, LIST = (use(Kind.USER),), (manage(Kind.USER),), (admin(Kind.USER),), (lists(Kind.USER),)
MOVE = (*MANAGE, use(Kind.GROUP, "group_id"))
MEMBER = (*MANAGE, manage(Kind.GROUP, "group_id"))
LOG_IN = (manage(Kind.USER, "username"),)
MASTER, LOCAL = Runs.MASTER, Runs.LOCAL

# fmt: off
#    wire name            takes                              needs   runs    returns   what it does
call("one.user.allocate", (NAME, PASSWORD, DRIVER, GROUPS),  CREATE, MASTER, "int",    "Create a user.")
call("one.user.delete",   (USER_ID,),                        ADMIN,  MASTER, "int",    "Delete a user.")
call("one.user.info",     (WHO, DECRYPT),                    USE,    LOCAL,  "string", "Show a user.")
call("one.user.update",   (USER_ID, TEMPLATE, UPDATE_TYPE),  MANAGE, MASTER, "int",    "Change a user's template.")
call("one.user.passwd",   (USER_ID, NEW_PASSWORD),           MANAGE, MASTER, "int",    "Change a user's password.")
call("one.user.chauth",   (USER_ID, DRIVER, OR_NO_PASSWORD), ADMIN,  MASTER, "int",    "Change how a user logs in.")
call("one.user.enable",   (USER_ID, ENABLE),                 ADMIN,  MASTER, "int",    "Enable or disable a user.")
call("one.user.chgrp",    (USER_ID, GROUP_ID),               MOVE,   MASTER, "int",    "Change a user's primary group.")
call("one.user.addgroup", (USER_ID, GROUP_ID),               MEMBER, MASTER, "int",    "Add a user to a group.")
call("one.user.delgroup", (USER_ID, GROUP_ID),               MEMBER, MASTER, "int",    "Remove a user from a group.")
call("one.user.login",    (NAME, TOKEN, VALID, EGID),        LOG_IN, MASTER, "string", "Make or remove a log-in token.", secret_result=True)
call("one.userpool.info", (),                                LIST,   LOCAL,  "string", "List the users you may see.")

"""The calls about zones. Those that OpenNebula's servers make among themselves are not offered."""

from __future__ import annotations

from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import (
    DECRYPT,
    ENABLE,
    TEMPLATE,
    THIS_ZONE,
    UPDATE_TYPE,
    Runs,
    admin,
    call,
    create,
    lists,
    manage,
    object_id,
    use,
)
from koinon.wire.parameters import Param

ZONE_ID = object_id("Zone id.")
SERVER_ID = Param("server_id", "int", doc="Id of a server in the zone's record.")
SERVER = Param("template", "string", doc="Template with `SERVER = [ NAME, ENDPOINT ]`, in either syntax.")
NEW_NAME = Param("name", "string", doc="New name.")

CREATE, USE, LIST = (create(Kind.ZONE),), (use(Kind.ZONE),), (lists(Kind.ZONE),)
MANAGE, ADMIN, HERE = (manage(Kind.ZONE),), (admin(Kind.ZONE),), (admin(Kind.ZONE, THIS_ZONE),)
MASTER, LOCAL, HOME = Runs.MASTER, Runs.LOCAL, Runs.HOME

#: OpenNebula's words, the last of them also where it resets.
ENABLED_ELSEWHERE = "Enable/disable mode have to be set through the target zone endpoints"
ADDED_ELSEWHERE = "Servers have to be added through the target zone endpoints"
DELETED_ELSEWHERE = "Servers have to be deleted through the target zone endpoints"

# fmt: off
#    wire name               takes                             needs   runs    returns   what it does
call("one.zone.allocate",    (TEMPLATE,),                      CREATE, MASTER, "int",    "Create a zone.")
call("one.zone.delete",      (ZONE_ID,),                       ADMIN,  MASTER, "int",    "Delete a zone.")
call("one.zone.info",        (ZONE_ID, DECRYPT),               USE,    LOCAL,  "string", "Show a zone.")
call("one.zone.update",      (ZONE_ID, TEMPLATE, UPDATE_TYPE), MANAGE, MASTER, "int",    "Change a zone's template.")
call("one.zone.rename",      (ZONE_ID, NEW_NAME),              MANAGE, MASTER, "int",    "Rename a zone.")
call("one.zone.enable",      (ZONE_ID, ENABLE),                ADMIN,  HOME,   "int",    "Enable or disable the zone that is asked.",
     when_disabled=True, elsewhere=ENABLED_ELSEWHERE)  # or nobody could enable it again
call("one.zone.addserver",   (ZONE_ID, SERVER),                ADMIN,  HOME,   "int",    "Add a server to the record of this zone.",
     elsewhere=ADDED_ELSEWHERE)
call("one.zone.delserver",   (ZONE_ID, SERVER_ID),             ADMIN,  HOME,   "int",    "Remove a server from the record of this zone.",
     elsewhere=DELETED_ELSEWHERE)
call("one.zone.resetserver", (ZONE_ID, SERVER_ID),             ADMIN,  LOCAL,  "int",    "Have a server copied anew; none is a copy.",
     writes=True, elsewhere=DELETED_ELSEWHERE)
call("one.zone.raftstatus",  (),                               HERE,   LOCAL,  "string", "Show how far the zone's log is.")
call("one.zonepool.info",    (),                               LIST,   LOCAL,  "string", "List the zones you may see.")

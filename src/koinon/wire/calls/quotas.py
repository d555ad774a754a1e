"""The calls about quotas and VLAN rules. Each zone has its own: these calls change and show those of the zone that is asked."""

from __future__ import annotations

from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import Runs, admin, call, object_id
from koinon.wire.parameters import Param

USER_ID = object_id("User id.")
GROUP_ID = object_id("Group id.")
QUOTA = Param("quota", "string", doc="Vectors DATASTORE, NETWORK, VM and IMAGE with limits; -1 is the default quota, -2 is no limit.")
DEFAULT = Param("quota", "string", doc="Vectors DATASTORE, NETWORK, VM and IMAGE with limits; -2 is no limit.")
VLAN = Param("vlan", "string", doc="Vectors `RULE = [ ID, SCOPE, VNTEMPLATE ]`, which replace all rules.")

OF_USER, OF_GROUP = (admin(Kind.USER),), (admin(Kind.GROUP),)
LOCAL = Runs.LOCAL

# fmt: off
#    wire name                takes               needs     runs   returns   what it does
call("one.user.quota",        (USER_ID, QUOTA),   OF_USER,  LOCAL, "int",    "Set a user's quotas in this zone.", writes=True)
call("one.group.quota",       (GROUP_ID, QUOTA),  OF_GROUP, LOCAL, "int",    "Set a group's quotas in this zone.", writes=True)
call("one.group.vlan",        (GROUP_ID, VLAN),   OF_GROUP, LOCAL, "int",    "Set a group's VLAN rules in this zone.", writes=True)
call("one.userquota.info",    (),                 (),       LOCAL, "string", "Show the quotas of users who have none of their own here.")
call("one.groupquota.info",   (),                 (),       LOCAL, "string", "Show the quotas of groups that have none of their own here.")
call("one.userquota.update",  (DEFAULT,),         (),       LOCAL, "string", "Set the quotas of users who have none of their own here.",
     writes=True, group_0_only=True)
call("one.groupquota.update", (DEFAULT,),         (),       LOCAL, "string", "Set the quotas of groups that have none of their own here.",
     writes=True, group_0_only=True)

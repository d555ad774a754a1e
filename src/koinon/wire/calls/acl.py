"""The calls about ACL rules: one right, MANAGE on all rules, for each of them. What users ask about themselves needs none.

Holds:    ``koinon.`` calls are ours, not OpenNebula's; they answer JSON text.
"""

from __future__ import annotations

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import Need, Runs, call, manage, object_id
from koinon.wire.parameters import Param

RULE_ID = object_id("Rule id.")
WHO = Param("user", "string", doc="Whom the rule is for: the 64 bit number in hexadecimal.")
RESOURCE = Param("resource", "string", doc="To what it applies: the 64 bit number in hexadecimal.")
RIGHTS = Param("rights", "string", doc="What it allows: the number in hexadecimal.")
ZONE = Param("zone", "string", "", doc="Where: the number in hexadecimal; empty is the zone that stores the rule, the master.")
USER = Param("user", "int", doc="Id of the user whose rights are in question; -1 is the caller.")
RIGHT = Param("right", "string", doc="USE, MANAGE, ADMIN or CREATE.")
OBJECT = Param("object", "string", doc="`KIND/#ID`, or `KIND/*` for a new object and for the kind as a whole.")
IN_ZONE = Param("zone", "int", -1, doc="Id of the zone where the right would be used; -1 is the zone that was asked.")
CHANGES = Param("changes", "string", doc="What would be done, as JSON: rules to `add` (texts), to `remove` (ids), a `vdc` to change.")

ALL_RULES = (manage(Kind.ACL, None),)
OF_OTHERS = (Need(Right.MANAGE, Kind.ACL, but_oneself=True),)
MASTER, LOCAL = Runs.MASTER, Runs.LOCAL

# fmt: off
#    wire name             takes                          needs      runs    returns   what it does
call("one.acl.addrule",    (WHO, RESOURCE, RIGHTS, ZONE), ALL_RULES, MASTER, "int",    "Add an ACL rule.")
call("one.acl.delrule",    (RULE_ID,),                    ALL_RULES, MASTER, "int",    "Delete an ACL rule.")
call("one.acl.info",       (),                            ALL_RULES, LOCAL,  "string", "List all ACL rules.", when_disabled=False)
call("koinon.acl.explain", (USER, RIGHT, OBJECT, IN_ZONE), OF_OTHERS, LOCAL, "string", "Say why a user may or may not do something.")
call("koinon.acl.diff",    (CHANGES,),                    ALL_RULES, LOCAL,  "string", "Say what a change of rules would grant and remove.")

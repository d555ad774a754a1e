"""The calls about the server itself: OpenNebula's, and the introspection that its XML-RPC library offers without a session."""

from __future__ import annotations

from functools import partial

from koinon.wire.calls.rows import Runs, call
from koinon.wire.parameters import Param

SQL = Param("sql", "string", doc="One SELECT.")
WRITE = Param("sql", "string", doc="A statement.")
FEDERATE = Param("federate", "boolean", doc="Whether other zones would get it too.")
METHOD = Param("method", "string", doc="Name of a call.")
LOCAL = Runs.LOCAL
introspection = partial(call, authenticates=False)

# fmt: off
#    wire name                          takes      needs runs   returns                 what it does
call("one.system.version",              (),        (),   LOCAL, "string",               "Show the version of the API.")
call("one.system.config",               (),        (),   LOCAL, "string",               "Show the configuration, secrets masked for most.")
call("one.system.sqlquery",             (SQL,),    (),   LOCAL, "string",               "Read this zone's tables, if its settings say so.",
     when_disabled=False, user_0_only=True)
call("one.system.sql",                  (WRITE, FEDERATE), (), LOCAL, "int",            "Refuse to write by SQL.",
     when_disabled=False, user_0_only=True)
introspection("system.listMethods",     (),        (),   LOCAL, "array<string>",        "List the names of all calls.")
introspection("system.methodExist",     (METHOD,), (),   LOCAL, "boolean",              "Say whether there is such a call.")
introspection("system.methodHelp",      (METHOD,), (),   LOCAL, "string",               "Say what a call does.")
introspection("system.methodSignature", (METHOD,), (),   LOCAL, "array<array<string>>", "Give a call's types: result, then parameters.")

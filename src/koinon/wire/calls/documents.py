"""The calls about documents.

Holds:    a copy needs USE of its source, as OpenNebula's pages say; its server asks for CREATE there, and so lets people copy what they
          may not see.
"""

from __future__ import annotations

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.calls.rows import DECRYPT, TEMPLATE, UPDATE_TYPE, Need, Runs, call, change, create, lists, manage, object_id, use
from koinon.wire.parameters import Param

DOC_ID = object_id("Document id.")
KIND = Param("type", "int", doc="Document type: a number that clients agree on.")
NAME = Param("name", "string", doc="Name of the copy.")
NEW_NAME = Param("name", "string", doc="New name.")
UID = Param("uid", "int", doc="Id of the new owner; -1 keeps.")
GID = Param("gid", "int", doc="Id of the new group; -1 keeps.")
LEVEL = Param("level", "int", doc="1 stops all use, 2 what needs MANAGE, 3 what needs ADMIN, 4 is as 1.")
TEST = Param("test", "boolean", False, doc="True refuses if it is locked already.")
FILTER = Param("filter_flag", "int", doc="-4 primary group, -3 own, -2 all, -1 own and groups', from 0 those of this user.")
START = Param("start_id", "int", doc="Least id, -1 for none; if end_id is below -1, how many to pass over.")
END = Param("end_id", "int", doc="Greatest id, -1 for none; below -1, how many to give.")
BITS = tuple(
    Param(f"{who}_{letter}", "int", doc=f"{right} for {whom}: 1 sets, 0 clears, -1 keeps.")
    for who, whom in (("owner", "the owner"), ("group", "the group"), ("other", "all others"))
    for letter, right in (("u", "USE"), ("m", "MANAGE"), ("a", "ADMIN"))
)

CREATE, USE, MANAGE, LIST = (create(Kind.DOCUMENT),), (use(Kind.DOCUMENT),), (manage(Kind.DOCUMENT),), (lists(Kind.DOCUMENT),)
COPY = (*CREATE, *USE)
OWN = (*MANAGE, Need(Right.MANAGE, Kind.USER, "uid", condition="new owner"), Need(Right.USE, Kind.GROUP, "gid", condition="new group"))
ALLOW = (*MANAGE, Need(Right.ADMIN, Kind.DOCUMENT, "id", condition="when an ADMIN bit changes"))
LOCAL = Runs.LOCAL

# fmt: off
#      wire name                takes                            needs   runs   returns   what it does
change("one.document.allocate", (TEMPLATE, KIND),                CREATE, LOCAL, "int",    "Create a document.")
change("one.document.clone",    (DOC_ID, NAME),                  COPY,   LOCAL, "int",    "Copy a document.")
change("one.document.delete",   (DOC_ID,),                       MANAGE, LOCAL, "int",    "Delete a document.")
call("one.document.info",       (DOC_ID, DECRYPT),               USE,    LOCAL, "string", "Show a document.")
change("one.document.update",   (DOC_ID, TEMPLATE, UPDATE_TYPE), MANAGE, LOCAL, "int",    "Change a document's template.")
change("one.document.rename",   (DOC_ID, NEW_NAME),              MANAGE, LOCAL, "int",    "Rename a document.")
change("one.document.chown",    (DOC_ID, UID, GID),              OWN,    LOCAL, "int",    "Give a document another owner or group.")
change("one.document.chmod",    (DOC_ID, *BITS),                 ALLOW,  LOCAL, "int",    "Change a document's permissions.")
change("one.document.lock",     (DOC_ID, LEVEL, TEST),           MANAGE, LOCAL, "int",    "Lock a document.")
change("one.document.unlock",   (DOC_ID,),                       MANAGE, LOCAL, "int",    "Unlock a document.")
call("one.documentpool.info",   (FILTER, START, END, KIND),      LIST,   LOCAL, "string", "List the documents you may see.")

"""Calls as resources of the JSON face: one row for each way to reach a call.

Path:     a row and its call (calls/) -> the routes of api/json_face.py, the document of openapi.py
Holds:    PUT replaces, PATCH changes what is named, DELETE removes, POST makes something new or does what the path's last word says.
          Every call with a session is reachable. What the path names is a parameter of the call; the others are fields of the body, or
          of the query where nothing is sent; what is ``fixed`` is chosen by the row.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from koinon.wire.calls import CALLS, Call, Param
from koinon.wire.parameters import Default
from koinon.wire.shapes import DOCUMENTS

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

#: What answers that are no document look like: the id of what was changed or made, or one text.
ID: Final = "id"
VERSION: Final = "version"
TOKEN: Final = "token"  # noqa: S105 # the name of a field
#: Answers that are JSON text already.
EXPLANATION: Final = "Explanation"
DIFFERENCE: Final = "Difference"

#: What the path names where no parameter of the call does.
PICKED: Final = Param("id", "int", doc="Id of the one that is meant.")

#: Which part of a list is wanted: what every list takes beside the parameters of its call.
LISTING: Final = (
    Param("name", "string", "", doc="Only what is called exactly so; empty for all."),
    Param("after", "int", -1, doc="Only what comes after the one with this id in the list; -1 from the beginning."),
    Param("limit", "int", -1, doc="At most so many; -1 for all. If there may be more, `Link` says where the next are."),
)

#: Texts that may be sent as JSON objects too.
TEMPLATES: Final = frozenset({"template", "quota", "vlan"})
#: Texts that are JSON themselves: sent as what they hold.
JSON: Final = frozenset({"changes"})

#: The tables of objects that have a version, by the noun in the call's name.
VERSIONED: Final = {
    noun: f"{noun}_pool" for noun in ("user", "group", "vdc", "zone", "cluster", "host", "document")
}  # fmt: skip


class Resource(msgspec.Struct, frozen=True):
    """One row.

    Attributes:
        method: the HTTP method.
        path: below ``/api/v1``, with parameters of the call in braces.
        call: name of the call.
        answer: name of the document that it answers, or ID, VERSION, TOKEN, EXPLANATION, DIFFERENCE.
        status: of a success.
        defaults: of parameters that may be left out here and not on the other wire.
        fixed: parameters that the row itself gives.
        words: for parameters that are numbers with a meaning, words that may be sent in their place.
        renamed: names that parameters have here, where the call names them otherwise.
        listed: tag of what the answer lists, if it is a list of which a part may be asked for; empty if not.
        picked_from: name of the document that the call answers, if ``answer`` is the one element of it whose ID the path names.
    """

    method: Method
    path: str
    call: str
    answer: str
    status: int
    defaults: dict[str, Default]
    fixed: dict[str, Default]
    words: dict[str, dict[str, int]]
    renamed: dict[str, str]
    listed: str
    picked_from: str

    @property
    def row(self) -> Call:
        return CALLS[self.call]

    @property
    def in_path(self) -> tuple[str, ...]:
        """Names of the parameters that stand in the path; ``id`` is none of the call's if something is picked by it."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def sent(self) -> tuple[Param, ...]:
        """Parameters that are sent in the body, or in the query of a GET, with the defaults that hold here."""
        taken = {*self.in_path, *self.fixed}
        return tuple(
            msgspec.structs.replace(param, name=self.name_of(param), default=self.defaults.get(param.name, param.default))
            for param in self.row.params
            if param.name not in taken
        )

    def name_of(self, param: Param) -> str:
        """What a parameter of the call is called here."""
        return self.renamed.get(param.name, param.name)

    @property
    def queried(self) -> tuple[Param, ...]:
        """Parameters of the query: those that are sent with a GET, and those that choose a part of a list."""
        if self.method != "GET":
            return ()
        return (*self.sent, *LISTING) if self.listed else self.sent

    @property
    def versioned(self) -> str:
        """The table of the one object that the row is about, if it has a version; empty if not."""
        params = self.row.params
        return VERSIONED.get(self.row.noun, "") if params and params[0].name == "id" and "id" in self.in_path else ""

    @property
    def takes_rule(self) -> bool:
        """Whether what is sent are the parts of an ACL rule, which may be written in more ways than the call takes."""
        return self.call == "one.acl.addrule"

    @property
    def shows_object(self) -> bool:
        """Whether its answer is that object."""
        return self.method == "GET" and bool(self.versioned) and self.answer in DOCUMENTS and self.path.endswith("{id}")


RESOURCES: list[Resource] = []


def _row(
    method: Method,
    path: str,
    call: str,
    answer: str = ID,
    *,
    defaults: dict[str, Default] | None = None,
    fixed: dict[str, Default] | None = None,
    words: dict[str, dict[str, int]] | None = None,
    renamed: dict[str, str] | None = None,
    listed: str = "",
    picked_from: str = "",
) -> None:
    status = 201 if call.endswith((".allocate", ".clone", ".addrule")) else 200
    RESOURCES.append(
        Resource(method, path, call, answer, status, defaults or {}, fixed or {}, words or {}, renamed or {}, listed, picked_from)
    )


_WHOSE: Final = {"group": -4, "mine": -3, "all": -2, "mine-and-groups": -1}


def _noun(plural: str, noun: str, root: str, *, creation: dict[str, Default] | None = None, own: str = "") -> None:
    """What all nouns have: a list, creation, one object, its template, its removal."""
    pool = CALLS[f"one.{noun}pool.info"]
    # Ranges as XML-RPC has them, a page or two bounds by turns, are what LISTING is for here.
    fixed: dict[str, Default] = {param.name: -1 for param in pool.params if param.name in ("start_id", "end_id")}
    whose = {"filter_flag": _WHOSE} if any(param.name == "filter_flag" for param in pool.params) else {}
    _row("GET", f"/{plural}", pool.name, f"{root}_POOL", defaults={"filter_flag": -2}, fixed=fixed, words=whose, listed=root)
    _row("POST", f"/{plural}", f"one.{noun}.allocate", defaults=creation, renamed={"username": "name", "hostname": "name"})
    _row("GET", f"/{plural}/{{id}}", f"one.{noun}.info", root, words={"id": {own: -1}} if own else None)
    _row("DELETE", f"/{plural}/{{id}}", f"one.{noun}.delete")
    _row("PUT", f"/{plural}/{{id}}/template", f"one.{noun}.update", fixed={"update_type": 0})
    _row("PATCH", f"/{plural}/{{id}}/template", f"one.{noun}.update", fixed={"update_type": 1})


def _member(path: str, put: str, delete: str, words: dict[str, dict[str, int]] | None = None) -> None:
    """Something that is in a set or is not."""
    _row("PUT", path, put, words=words)
    _row("DELETE", path, delete, words=words)


_KEEP: Final[dict[str, Default]] = {f"{who}_{letter}": -1 for who in ("owner", "group", "other") for letter in "uma"}

_noun("users", "user", "USER", creation={"driver": ""}, own="me")
_row("POST", "/users/{id}/passwd", "one.user.passwd")
_row("POST", "/users/{id}/chauth", "one.user.chauth", defaults={"password": ""})
_row("POST", "/users/{id}/enable", "one.user.enable")
_row("POST", "/users/{id}/chgrp", "one.user.chgrp")
_member("/users/{id}/groups/{group_id}", "one.user.addgroup", "one.user.delgroup")
_row("PATCH", "/users/{id}/quota", "one.user.quota")
_row("POST", "/login", "one.user.login", TOKEN, defaults={"token": ""})
_row("GET", "/quotas/users", "one.userquota.info", "DEFAULT_USER_QUOTAS")
_row("PATCH", "/quotas/users", "one.userquota.update", "DEFAULT_USER_QUOTAS")
_row("GET", "/quotas/groups", "one.groupquota.info", "DEFAULT_GROUP_QUOTAS")
_row("PATCH", "/quotas/groups", "one.groupquota.update", "DEFAULT_GROUP_QUOTAS")

_noun("groups", "group", "GROUP", own="mine")
_member("/groups/{id}/admins/{user_id}", "one.group.addadmin", "one.group.deladmin")
_row("PATCH", "/groups/{id}/quota", "one.group.quota")
_row("PUT", "/groups/{id}/vlan", "one.group.vlan")

_noun("vdcs", "vdc", "VDC")
_row("POST", "/vdcs/{id}/rename", "one.vdc.rename")
_member("/vdcs/{id}/groups/{group_id}", "one.vdc.addgroup", "one.vdc.delgroup")
for _kind in ("cluster", "host", "datastore", "vnet"):
    _member(
        f"/vdcs/{{id}}/zones/{{zone_id}}/{_kind}s/{{{_kind}_id}}",
        f"one.vdc.add{_kind}",
        f"one.vdc.del{_kind}",
        {f"{_kind}_id": {"all": -10}},
    )

_row("GET", "/acl", "one.acl.info", "ACL_POOL")
_row("POST", "/acl", "one.acl.addrule")
_row("GET", "/acl/{id}", "one.acl.info", "ACL", picked_from="ACL_POOL")
_row("DELETE", "/acl/{id}", "one.acl.delrule")
_row("GET", "/acl/explain", "koinon.acl.explain", EXPLANATION, defaults={"user": -1})
_row("POST", "/acl/diff", "koinon.acl.diff", DIFFERENCE)

_noun("zones", "zone", "ZONE")
_row("POST", "/zones/{id}/rename", "one.zone.rename")
_row("POST", "/zones/{id}/enable", "one.zone.enable")
_row("POST", "/zones/{id}/servers", "one.zone.addserver")
_row("DELETE", "/zones/{id}/servers/{server_id}", "one.zone.delserver")
_row("POST", "/zones/{id}/servers/{server_id}/reset", "one.zone.resetserver")
_row("GET", "/system/raft", "one.zone.raftstatus", "RAFT")

_noun("clusters", "cluster", "CLUSTER")
_row("POST", "/clusters/{id}/rename", "one.cluster.rename")
for _kind in ("host", "datastore", "vnet"):
    _member(f"/clusters/{{id}}/{_kind}s/{{{_kind}_id}}", f"one.cluster.add{_kind}", f"one.cluster.del{_kind}")
_row("POST", "/clusters/{id}/optimize", "one.cluster.optimize")
_row("POST", "/clusters/{id}/plan/execute", "one.cluster.planexecute")
_row("DELETE", "/clusters/{id}/plan", "one.cluster.plandelete")

_row("GET", "/monitoring/hosts", "one.hostpool.monitoring", "MONITORING_DATA")
_noun("hosts", "host", "HOST", creation={"cluster_id": -1})
_row("POST", "/hosts/{id}/rename", "one.host.rename")
_row("POST", "/hosts/{id}/status", "one.host.status", words={"status": {"enable": 0, "disable": 1, "offline": 2}})
_row("GET", "/monitoring/hosts/{id}", "one.host.monitoring", "MONITORING_DATA")

_noun("documents", "document", "DOCUMENT")
_row("POST", "/documents/{id}/clone", "one.document.clone")
_row("POST", "/documents/{id}/rename", "one.document.rename")
_row("POST", "/documents/{id}/chown", "one.document.chown", defaults={"uid": -1, "gid": -1})
_row("POST", "/documents/{id}/chmod", "one.document.chmod", defaults=_KEEP)
_row("POST", "/documents/{id}/lock", "one.document.lock")
_row("POST", "/documents/{id}/unlock", "one.document.unlock")

_row("GET", "/system/version", "one.system.version", VERSION)
_row("POST", "/system/sqlquery", "one.system.sqlquery", "SQL_COMMAND")
_row("POST", "/system/sql", "one.system.sql")
_row("GET", "/system/config", "one.system.config", "OPENNEBULA_CONFIGURATION")

"""The page of what OpenNebula's calls do here: every call that it registers, as done, planned, or differing on purpose.

Path:     every_method.json, wire/calls, DIFFERS, UNTIL, DEFAULTS -> page() -> docs/reference/compatibility.md
          (``python -m tests.wire.compatibility``)
Holds:    a call has exactly one state; a reason names a call that OpenNebula has; what has a row and no reason is done. What is offered and
          can't do its work yet is planned, not done.
Not here: what a call takes (calls_page.py), whether it does what its row says (tests/api/test_conformance.py).
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from koinon.wire.calls import CALLS

EVERY_METHOD: Final = Path(__file__).parent / "every_method.json"
TOTAL: Final = 307  #: calls that OpenNebula registers


class Method(msgspec.Struct, frozen=True):
    """A call of OpenNebula.

    Attributes:
        name: on the wire.
        federated: a slave hands it to the master as it is.
        federated_indirect: a slave does it and has the master store the result.
    """

    name: str
    federated: bool
    federated_indirect: bool

    @property
    def noun(self) -> str:
        """What it is about: ``user`` for ``one.user.info`` and for ``one.userpool.info``."""
        return self.name.split(".")[1].removesuffix("pool")

    @property
    def runs(self) -> str:
        """Which zone does it in OpenNebula."""
        return "master" if self.federated else "home" if self.federated_indirect else "local"


_VERIFIER: Final = (
    "`PASSWORD` is `***` wherever it would show a verifier, and `LOGIN_TOKEN/TOKEN` holds the first digits of a hash. Servers that look "
    "for `serveradmin`'s key there (Sunstone, FireEdge) must be given it from the zone's `serveradmin_auth`."
)
_ZONE_KEYS: Final = "The template also shows what zones know each other by: `FEDERATION_ENDPOINT`, `PUBLIC_KEY`, `TRUST`, `INSTANCE`."
_ASKED: Final = "A resource that another zone says it does not have is refused; OpenNebula does not ask."
_ONE_VDC_MORE: Final = "A rule that another VDC of the group needs as well stays; OpenNebula removes it."
_OWN_ZONE_RULES: Final = (
    "Rules and VDC entries about it go if they count in this zone; OpenNebula removes those of every zone, or on a slave none."
)
_NO_SAMPLES: Final = "Nothing probes hosts, so there are no samples to show."
_ONE_DATABASE: Final = "Servers of a zone share one database instead of electing a leader among copies."

#: Why a call does other than OpenNebula's. Calls without a row are refused as unknown methods (fault -506).
DIFFERS: Final[dict[str, str]] = {
    "one.cluster.delete": _OWN_ZONE_RULES,
    "one.cluster.delhost": "A host that is not in the named cluster is refused; OpenNebula ignores which cluster is named.",
    "one.document.clone": "Needs USE of what is copied, as OpenNebula's pages say; its server lets people copy what they may not see.",
    "one.document.delete": _OWN_ZONE_RULES,
    "one.host.delete": _OWN_ZONE_RULES,
    "one.host.monitoring": _NO_SAMPLES,
    "one.hostpool.monitoring": _NO_SAMPLES,
    "one.system.config": "Shows the entries that clients look for and none with a secret, so nothing need be masked.",
    "one.system.sql": "Refused to user 0 too: SQL of a caller's own would pass by all checks and could not be told apart in the log.",
    "one.system.sqlquery": "Off unless `[server] sql_queries` is set; one SELECT, within 10 s and 16 MiB. Bytes come in base64 as well.",
    "one.user.info": _VERIFIER,
    "one.userpool.info": _VERIFIER,
    "one.vdc.addcluster": _ASKED,
    "one.vdc.addhost": _ASKED,
    "one.vdc.delete": _ONE_VDC_MORE,
    "one.vdc.delgroup": _ONE_VDC_MORE,
    "one.vdc.delcluster": _ONE_VDC_MORE,
    "one.vdc.deldatastore": _ONE_VDC_MORE,
    "one.vdc.delhost": _ONE_VDC_MORE,
    "one.vdc.delvnet": _ONE_VDC_MORE,
    "one.zone.addserver": f"Changes the record and nothing else. {_ONE_DATABASE}",
    "one.zone.delserver": f"Changes the record and nothing else. {_ONE_DATABASE}",
    "one.zone.fedreplicate": "Not offered: zones copy over a listener of their own, by signed requests, and take no SQL from clients.",
    "one.zone.info": _ZONE_KEYS,
    "one.zone.raftstatus": "Tells of a server alone in its zone; `FEDLOG_INDEX` is the position in the federation's log.",
    "one.zone.replicate": f"Not offered. {_ONE_DATABASE}",
    "one.zone.resetserver": f"Looks at zone and rights and does nothing. {_ONE_DATABASE}",
    "one.zone.update": "Keeps what zones know each other by, whatever the new template says of it: only joining and leaving change that.",
    "one.zone.updatedb": "Not offered: nothing overwrites a stored body; a change goes to the master as the call that makes it.",
    "one.zone.voterequest": f"Not offered. {_ONE_DATABASE}",
    "one.zonepool.info": _ZONE_KEYS,
}

_NO_STORES: Final = "Offered. Zones have no datastores yet: it says that the datastore does not exist."
_NO_NETS: Final = "Offered. Zones have no virtual networks yet: it says that the network does not exist."
_NO_PLANS: Final = "Offered. Zones have no VMs to move yet: it says that the cluster has no plan."

#: Why a call that is offered is planned all the same: what it is about can't exist yet. It answers as OpenNebula does where there is none.
UNTIL: Final[dict[str, str]] = {
    "one.cluster.adddatastore": _NO_STORES,
    "one.cluster.addvnet": _NO_NETS,
    "one.cluster.deldatastore": _NO_STORES,
    "one.cluster.delvnet": _NO_NETS,
    "one.cluster.optimize": _NO_PLANS,
    "one.cluster.plandelete": _NO_PLANS,
    "one.cluster.planexecute": _NO_PLANS,
}


class Default(msgspec.Struct, frozen=True):
    """Objects that a new zone of OpenNebula's begins with.

    Attributes:
        kind: what they are, for people.
        names: id and name of each.
        table: where they are here; empty if such objects are planned.
        words: what is to be said of them.
    """

    kind: str
    names: dict[int, str]
    table: str
    words: str


DEFAULTS: Final = (
    Default("user", {0: "oneadmin", 1: "serveradmin"}, "user_pool", "User 0 is called as the password file says."),
    Default("group", {0: "oneadmin", 1: "users"}, "group_pool", ""),
    Default("VDC", {0: "default"}, "vdc_pool", "All clusters of the zone, for group 1."),
    Default("zone", {0: "OpenNebula"}, "zone_pool", "Called as the settings say."),
    Default("marketplace", {0: "OpenNebula Public", 1: "Linux Containers"}, "marketplace_pool", "Without calls of their own yet."),
    Default("cluster", {0: "default"}, "cluster_pool", ""),
    Default("datastore", {0: "system", 1: "default", 2: "files"}, "", "They come with datastores: nothing could be kept in them now."),
    Default("security group", {0: "default"}, "", "It comes with virtual networks: there is no address that it could guard now."),
)


_HEAD: Final = """\
# What OpenNebula's calls do here

OpenNebula registers {total} XML-RPC calls. Of these {done} are **done** (same arguments, results, rights, error codes and texts),
{differs} **differ** on purpose, {planned} are **planned**; {offered} of the last are offered already and answer as OpenNebula does where
what they are about does not exist. A call that is not offered is refused as any unknown one: fault -506. What each offered call
takes is on the [page of calls](calls.md).

The fourth element of a failure is the id of the object that is missing, as in OpenNebula, or of one that exists and does not allow
what was asked, where OpenNebula mostly sends -1.

*Runs*: `local` in the zone that is asked, `master` on the master wherever it is asked, `home` in the zone that the object belongs
to, which has the master store the result. It is what OpenNebula does; every call that is offered here runs there too.

<!-- Made by `python -m tests.wire.compatibility` from tests/wire; a test compares them. -->"""


def methods() -> list[Method]:
    """Every call of OpenNebula, by name."""
    found = msgspec.convert(json.loads(EVERY_METHOD.read_text())["methods"], list[Method])
    return sorted(found, key=lambda method: (method.noun, method.name))


def state_of(method: Method) -> str:
    """``done``, ``differs`` or ``planned``."""
    if method.name in DIFFERS:
        return "differs"
    return "done" if method.name in CALLS and method.name not in UNTIL else "planned"


def page() -> str:
    """The page, with a newline at its end."""
    every = methods()
    count = {state: sum(state_of(method) == state for method in every) for state in ("done", "differs", "planned")}
    lines = [_HEAD.format(total=len(every), offered=len(UNTIL), **count)]
    for noun, group in groupby(every, key=lambda method: method.noun):
        lines += ["", f"## {noun}", "", "| Call | Runs | State | Why it differs, or what it does |", "|---|---|---|---|"]
        lines += [f"| `{method.name}` | {method.runs} | {state_of(method)} | {_words(method)} |" for method in group]
    lines += ["", "## Default objects", "", "What a new zone begins with, beside the ACL rules 0 to 5, which are OpenNebula's.", ""]
    lines += ["| Kind | Ids and names | State | |", "|---|---|---|---|"]
    lines += [
        f"| {default.kind} | {_names(default)} | {'done' if default.table else 'planned'} | {default.words} |" for default in DEFAULTS
    ]
    return "\n".join(lines) + "\n"


def _words(method: Method) -> str:
    call = CALLS.get(method.name)
    return DIFFERS.get(method.name) or UNTIL.get(method.name) or (call.summary if call else "")


def _names(default: Default) -> str:
    return ", ".join(f"{oid} `{name}`" for oid, name in default.names.items())


if __name__ == "__main__":
    sys.stdout.write(page())

"""Every call of the API as a row of facts: the servers, the command line, the reference page and the access tests are made from them.

Import from here: the rows are complete once this package is loaded.
Not here: what does the work (api/ binds a function to each row).
"""

from __future__ import annotations

from koinon.wire.calls import acl, clusters, documents, groups, hosts, quotas, system, users, vdcs, zones
from koinon.wire.calls.rows import CALLS, SESSION, THIS_ZONE, Call, Need, Runs, call
from koinon.wire.parameters import REQUIRED, Param

__all__ = [
    "CALLS",
    "REQUIRED",
    "SESSION",
    "THIS_ZONE",
    "Call",
    "Need",
    "Param",
    "Runs",
    "acl",
    "call",
    "clusters",
    "documents",
    "groups",
    "hosts",
    "quotas",
    "system",
    "users",
    "vdcs",
    "zones",
]

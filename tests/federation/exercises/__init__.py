"""Every call of the API as a real client makes it: one function for a call, or for some that only make sense together.

Path:     test_real_calls.py -> EXERCISES -> a function with a Place, which is the master's once and a slave's once
Holds:    each module enters its functions under the names of their calls; a call has one.
"""

from __future__ import annotations

from tests.federation.exercises import clusters, documents, groups, hosts, quotas, rules, system, users, vdcs, zones
from tests.federation.exercises.place import EXERCISES, Exercise, Place

__all__ = [
    "EXERCISES",
    "Exercise",
    "Place",
    "clusters",
    "documents",
    "groups",
    "hosts",
    "quotas",
    "rules",
    "system",
    "users",
    "vdcs",
    "zones",
]

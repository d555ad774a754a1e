"""Who does what the rows about quotas and VLAN rules promise."""

from __future__ import annotations

from koinon.api.bindings import Bindings
from koinon.identity import local_limits


def bind(bindings: Bindings) -> None:
    """Bind every row about quotas and VLAN rules."""
    bindings.bind("one.user.quota", local_limits.set_user_quotas)
    bindings.bind("one.group.quota", local_limits.set_group_quotas)
    bindings.bind("one.group.vlan", local_limits.set_group_vlans)
    bindings.bind("one.userquota.info", local_limits.user_defaults)
    bindings.bind("one.groupquota.info", local_limits.group_defaults)
    bindings.bind("one.userquota.update", local_limits.set_user_defaults)
    bindings.bind("one.groupquota.update", local_limits.set_group_defaults)

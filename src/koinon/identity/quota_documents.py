"""Quotas and VLAN rules as documents show them: empty, as this zone sets none.

Order as in the schemas of users and groups: datastores, networks, machines, images.
"""

from __future__ import annotations

from typing import Final

NONE: Final = "<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA></NETWORK_QUOTA><VM_QUOTA></VM_QUOTA><IMAGE_QUOTA></IMAGE_QUOTA>"
DEFAULT_USER: Final = f"<DEFAULT_USER_QUOTAS>{NONE}</DEFAULT_USER_QUOTAS>"
DEFAULT_GROUP: Final = f"<DEFAULT_GROUP_QUOTAS>{NONE}</DEFAULT_GROUP_QUOTAS>"


def beside(oid: int) -> str:
    """The element that follows a user or a group in a pool document."""
    return f"<QUOTAS><ID>{oid}</ID>{NONE}</QUOTAS>"


def vlan_rules(gid: int) -> str:
    """A group's VLAN rules in this zone."""
    return f"<VLAN_RULES><ID>{gid}</ID></VLAN_RULES>"

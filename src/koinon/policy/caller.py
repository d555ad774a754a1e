"""Who makes a call, as access decisions see it."""

from __future__ import annotations

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """An authenticated user.

    Attributes:
        uid: user id.
        gid: effective primary group.
        groups: all groups of the session in ascending order; only ``gid`` for a token narrowed to one group.
        name: user name.
        zone_id: the zone where the caller came in; rules of this zone count.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    zone_id: int

    @property
    def is_admin(self) -> bool:
        """User 0 and members of group 0 are allowed everything but locks."""
        return self.uid == 0 or 0 in self.groups

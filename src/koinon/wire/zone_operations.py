"""What a zone tells the master about itself, and what a master asks a zone about its objects, as they travel.

Not here: who may say what, and what comes of it (federation/operations.py, federation/existence.py).
"""

from __future__ import annotations

from typing import Final

import msgspec

OBJECT_DELETED: Final = "object deleted"


class ZoneOperation(msgspec.Struct, frozen=True, array_like=True):
    """A change of shared data that follows from what happened in one zone. The zone is the one that signed the request.

    Attributes:
        kind: which of the messages below ``body`` is; zones of different versions may know different ones.
        body: that message as msgpack.
    """

    kind: str
    body: bytes


class ObjectDeleted(msgspec.Struct, frozen=True, array_like=True):
    """OBJECT_DELETED: an object of the zone is gone for good; its id is never given out again.

    Attributes:
        kind: name of its kind as in ACL rules.
        oid: its id.
    """

    kind: str
    oid: int


class Existence(msgspec.Struct, frozen=True, array_like=True):
    """Whether a zone has an object; None if it keeps no objects of that kind."""

    exists: bool | None

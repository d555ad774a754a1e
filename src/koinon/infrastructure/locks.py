"""Locks on objects: who set one, which operations it stops, who may take it away.

A lock of level N stops operations that need a right of at least N: 1 stops all, 2 those that need MANAGE or more, 3 those that need ADMIN.
It binds everybody; an administrator may replace or remove it.
Not here: the refusal of an operation (policy/decide.py, identity/access.py).
Source:   OpenNebula src/pool/PoolObjectSQL.cc (lock, unlock), include/PoolObjectSQL.h (levels), src/rm/api (texts).
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.errors import ActionError
from koinon.objects import xml
from koinon.policy.caller import Caller

USE: Final = 1
MANAGE: Final = 2
ADMIN: Final = 3
ALL: Final = 4  #: what clients send for "everything"; it is stored as USE


class Lock(msgspec.Struct, frozen=True):
    """A lock.

    Attributes:
        level: USE, MANAGE or ADMIN.
        owner: id of the user who set it.
        time: when, in seconds since 1970.
    """

    level: int
    owner: int
    time: int

    def to_xml(self) -> str:
        """LOCK as replies show it."""
        return f"<LOCK><LOCKED>{self.level}</LOCKED><OWNER>{self.owner}</OWNER><TIME>{self.time}</TIME></LOCK>"


def from_element(root: xml.Element) -> Lock | None:
    """The lock of an object, None if it is free."""
    found = root.find("LOCK")
    return None if found is None else Lock(xml.int_of(found, "LOCKED", USE), xml.int_of(found, "OWNER"), xml.int_of(found, "TIME", 0))


def taken(present: Lock | None, caller: Caller, oid: int, level: int, *, test: bool, now: int) -> Lock:
    """The lock after ``caller`` has set one.

    Args:
        present: the lock that is there.
        caller: who asks, and may change the object.
        oid: the object's id, for refusals.
        level: 1 to 4.
        test: refuse if there is a lock, whosever it is.
        now: seconds since 1970.

    Raises:
        ActionError: no such level; it is locked and ``test`` is set (the text is the time of the lock), or locked by another user.
    """
    if level not in (USE, MANAGE, ADMIN, ALL):
        raise ActionError("Wrong lock level specified", object_id=oid)
    if present is not None and test:
        raise ActionError(str(present.time), object_id=oid)
    if present is not None and present.owner != caller.uid and not caller.is_admin:
        raise ActionError("Error trying to lock the resource.", object_id=oid)
    return Lock(USE if level == ALL else level, caller.uid, now)


def require_release(present: Lock | None, caller: Caller, oid: int) -> None:
    """Refuse unless ``caller`` may take the lock away; a free object needs no leave.

    Raises:
        ActionError: another user set it.
    """
    if present is not None and present.owner != caller.uid and not caller.is_admin:
        raise ActionError("Cannot unlock: Lock is owned by another user", object_id=oid)

"""Nine permission bits of an object: as XML, as columns, of something new, and changed one by one.

The bits are one number: owner USE is 0o400, other ADMIN is 0o001.
Not here: what the bits allow (policy/decide.py).
Source:   OpenNebula src/pool/PoolObjectSQL.cc, src/rm/api/SharedAPI.cc (texts), share/etc/oned.conf (DEFAULT_UMASK).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from koinon.database.transactions import ReadTx
from koinon.errors import InvalidError
from koinon.objects import xml
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

NAMES: Final = ("OWNER_U", "OWNER_M", "OWNER_A", "GROUP_U", "GROUP_M", "GROUP_A", "OTHER_U", "OTHER_M", "OTHER_A")
_DEFAULT_UMASK: Final = 0o177
_FOR_USERS: Final = 0o666
_FOR_ADMINISTRATORS: Final = 0o777
_OCTAL: Final = re.compile(r"[0-7]{1,6}", re.ASCII)


def from_element(root: xml.Element) -> int:
    """The bits in an object's PERMISSIONS."""
    bits = 0
    for name in NAMES:
        bits = bits << 1 | (root.findtext(f"PERMISSIONS/{name}") == "1")
    return bits


def to_xml(bits: int) -> str:
    """PERMISSIONS as OpenNebula writes them."""
    inner = "".join(f"<{name}>{bits >> (8 - at) & 1}</{name}>" for at, name in enumerate(NAMES))
    return f"<PERMISSIONS>{inner}</PERMISSIONS>"


def columns(bits: int) -> tuple[int, int, int]:
    """``owner_u``, ``group_u`` and ``other_u``: what lists look at."""
    return bits >> 8 & 1, bits >> 5 & 1, bits >> 2 & 1


def of_new_object(tx: ReadTx, caller: Caller) -> int:
    """The bits of an object that the caller makes: what their umask leaves; ADMIN bits only for user 0 and primary group 0."""
    umask = tx.memo("user_pool", caller.uid, "umask", _umask)
    base = _FOR_ADMINISTRATORS if 0 in (caller.uid, caller.gid) else _FOR_USERS
    return base & ~(_DEFAULT_UMASK if umask is None else umask)


def changes_admin(bits: int, wanted: Sequence[int]) -> bool:
    """Whether ``wanted``, as ``changed`` takes it, says other than ``bits`` about an ADMIN bit."""
    return any(wanted[at] not in (-1, bits >> (8 - at) & 1) for at in (2, 5, 8))


def changed(bits: int, wanted: Sequence[int]) -> int:
    """``bits`` with nine changes.

    Args:
        bits: as they are.
        wanted: for each of ``NAMES`` 1 to set it, 0 to clear it, -1 to keep it.

    Raises:
        InvalidError: another value.
    """
    for at, value in enumerate(wanted):
        bit = 0o400 >> at
        if value not in (-1, 0, 1):
            raise InvalidError("New permission values must be -1, 0 or 1")
        if value >= 0:
            bits = bits & ~bit | bit * value
    return bits


def _umask(row: PoolRow) -> int:
    if "<UMASK>" not in row.body:
        return _DEFAULT_UMASK
    template = xml.parse(row.body).find("TEMPLATE")
    text = "" if template is None else (Template.from_element(template).get("UMASK") or "").strip()
    # A user can write anything there; what is no octal number must not open their objects to all.
    return int(text, 8) if _OCTAL.fullmatch(text) else _DEFAULT_UMASK

"""Which names an object may have.

Source: OpenNebula src/pool/PoolObjectSQL.cc and src/um/User.cc (``name_is_valid``): the characters, the limit and the texts.
"""

from __future__ import annotations

from typing import Final

from koinon.errors import InvalidError
from koinon.objects.characters import forbidden_in
from koinon.objects.kinds import Kind

MAX_NAME_BYTES: Final = 128

_NEVER: Final = frozenset("&|:\\\";/'#{}$<>\t\n\v\f\r")
_NEVER_IN: Final = {Kind.USER: _NEVER | {" "}, Kind.GROUP: _NEVER | {" "}}


def require_name(name: str, kind: Kind) -> str:
    """Return ``name`` if an object of this kind may have it.

    Raises:
        InvalidError: empty, longer than 128 bytes, or with a character that is not allowed; OpenNebula's text.
    """
    if not name:
        raise InvalidError("Invalid NAME, it cannot be empty")
    never = _NEVER_IN.get(kind, _NEVER)
    for character in name:
        if character in never:
            word = "character" if kind is Kind.USER else "char"
            raise InvalidError(f"Invalid NAME, {word} '{character}' is not allowed")
    # Names stand in XML without CDATA: what XML can't hold would spoil every list that shows the object.
    found = forbidden_in(name)
    if found is not None:
        raise InvalidError(f"Invalid NAME, char {found} is not allowed")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidError(f"Invalid NAME, max length is {MAX_NAME_BYTES} chars")
    return name

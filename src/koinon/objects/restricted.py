"""Restricted attributes: those that only administrators may change.

Not here: who is an administrator (policy/); the texts of the refusals, which differ by call.
Source: OpenNebula src/template/Template.cc (``check_restricted``); names as in ``*_RESTRICTED_ATTR``: ``NAME`` or ``VECTOR/SUB``.
"""

from __future__ import annotations

from collections.abc import Iterable

from koinon.objects.template import Template


def restricted_change(old: Template, new: Template, restricted: Iterable[str], *, replace: bool) -> str | None:
    """Which restricted attribute an update would change.

    Args:
        old: the object's template now; empty for one that is being made.
        new: what the caller sent.
        restricted: ``NAME`` or ``VECTOR/SUB``.
        replace: whether ``new`` replaces ``old`` (update type 0) or is merged into it (type 1).

    Returns:
        The name of the attribute (of the vector, for ``VECTOR/SUB``), None if the update may pass. A plain attribute that is
        absent in ``new`` is no change: after a replace, ``keep_restricted`` puts it back.
    """
    plain, keys_of = _grouped(restricted)
    for vector in sorted(keys_of):
        touched = bool(new.vectors(vector)) or (replace and bool(old.vectors(vector)))
        if touched and _pairs(old, vector, keys_of[vector]) != _pairs(new, vector, keys_of[vector]):
            return vector
        # A single value of the vector's name would take the old vectors' place.
        if not new.vectors(vector) and new.values(vector) and _pairs(old, vector, keys_of[vector]):
            return vector
    for name in plain:
        if name in new and new.values(name) != old.values(name):
            return name
    return None


def keep_restricted(old: Template, new: Template, restricted: Iterable[str]) -> None:
    """Copy plain restricted attributes that ``old`` has and ``new`` lacks into ``new``, which is about to replace it."""
    for name in _grouped(restricted)[0]:
        if name not in new:
            for value in old.values(name):
                new.add(name, value)


def _grouped(restricted: Iterable[str]) -> tuple[list[str], dict[str, set[str]]]:
    plain: set[str] = set()
    keys_of: dict[str, set[str]] = {}
    for entry in restricted:
        name, slash, key = entry.upper().partition("/")
        if slash:
            keys_of.setdefault(name, set()).add(key)
        else:
            plain.add(name)
    return sorted(plain), keys_of


def _pairs(template: Template, vector: str, keys: set[str]) -> list[str]:
    # Keys of vectors that came as XML keep their case; a key in lower case must not slip past.
    return sorted(f"{key.upper()}={value}" for one in template.vectors(vector) for key, value in one.items() if key.upper() in keys)

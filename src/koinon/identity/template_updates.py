"""What ``one.*.update`` does to the template of a user, a group or a zone.

Not here: what a restricted attribute is (objects/restricted.py).
Source: OpenNebula src/pool/PoolObjectSQL.cc (replace_template, append_template), share/etc/oned.conf (*_RESTRICTED_ATTR).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from koinon.errors import BadArgumentError, InvalidError, RestrictedError
from koinon.objects.restricted import keep_restricted, restricted_change
from koinon.objects.template import Template

#: Attributes of users and groups that decide what their owner may do: only administrators change them.
RESTRICTED: Final = ("VM_USE_OPERATIONS", "VM_MANAGE_OPERATIONS", "VM_ADMIN_OPERATIONS")

REPLACE: Final = 0
MERGE: Final = 1


def updated(old: Template, text: str, update_type: int, *, restricted: Collection[str]) -> Template:
    """The template that an update leaves.

    Args:
        old: the present one; stays as it is.
        text: the caller's text, in either syntax.
        update_type: 0 replaces all, 1 replaces the attributes that the text names.
        restricted: names that this caller may not change.

    Raises:
        BadArgumentError: the update type is neither.
        InvalidError: the text can't be parsed.
        RestrictedError: it changes a restricted attribute.
    """
    if update_type not in (REPLACE, MERGE):
        raise BadArgumentError("Wrong update type")
    try:
        new = Template.parse(text)
    except ValueError as error:
        raise InvalidError(f"Cannot update template. {error}") from error
    replace = update_type == REPLACE
    changed = restricted_change(old, new, restricted, replace=replace)
    if changed is not None and replace:
        raise RestrictedError(f"Cannot update template. Tried to change restricted attribute: {changed}")
    if changed is not None:
        raise RestrictedError(f"Cannot update template. User Template includes a restricted attribute {changed}")
    if replace:
        keep_restricted(old, new, restricted)
        return new
    merged = old.copy()
    merged.merge(new)
    return merged

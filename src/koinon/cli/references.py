"""What people write for objects: an id, a name, or a list with ranges such as ``3,5..8,alice``.

Not here: looking a name up (connection.py).
"""

from __future__ import annotations

import re

import click

MAX_ID = 0x7FFFFFFF
MAX_IDS = 10_000  # a slip such as 1..999999999 must not become a million calls

_RANGE = re.compile(r"([0-9]{1,10})\.\.([0-9]{1,10})")
_ID = re.compile(r"[0-9]{1,10}")

Reference = int | str


def parse_one(text: str) -> Reference:
    """An id if ``text`` is all digits, else a name.

    Raises:
        click.UsageError: ``text`` is empty, or an id that no object can have.
    """
    if not text:
        raise click.UsageError("An empty text is neither an id nor a name.")
    if _ID.fullmatch(text):
        return _checked(int(text))
    return text


def parse_many(text: str) -> list[Reference]:
    """Ids and names in the order written, each once.

    Raises:
        click.UsageError: an empty item, a range that runs backwards, or more than ``MAX_IDS`` objects.
    """
    found: dict[Reference, None] = {}
    for item in text.split(","):
        span = _RANGE.fullmatch(item.strip())
        if span is None:
            found[parse_one(item.strip())] = None
            continue
        first, last = _checked(int(span[1])), _checked(int(span[2]))
        if last < first:
            raise click.UsageError(f"The range {item.strip()} runs backwards. Write {last}..{first}.")
        if last - first >= MAX_IDS:
            raise click.UsageError(f"The range {item.strip()} names more than {MAX_IDS} objects. Use smaller ranges.")
        found.update(dict.fromkeys(range(first, last + 1)))
    if len(found) > MAX_IDS:
        raise click.UsageError(f"That names more than {MAX_IDS} objects. Use shorter lists.")
    return list(found)


def _checked(oid: int) -> int:
    if oid > MAX_ID:
        raise click.UsageError(f"{oid} is too large for an id (the largest is {MAX_ID}).")
    return oid

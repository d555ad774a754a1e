"""Keep ``group_member`` in step with the GROUPS of users: a group's USERS are derived, not stored in its body.

Path:     the writer and the applier call ``derive`` with each change of user_pool
Source:   OpenNebula stores both ways and pays a rewrite of the whole group for each member; replies look the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from koinon.database.cursor import Cursor
from koinon.database.row_changes import Derivation
from koinon.objects.acl import MAX_ID
from koinon.statements.schema import PoolRow

_ID = re.compile(r"<ID>(\d{1,10})</ID>", re.ASCII)


def derive(tx: Cursor, before: PoolRow | None, after: PoolRow | None) -> Iterable[tuple[str, int]]:
    """Follow one change of a user.

    Returns:
        The groups whose list of members is another now.
    """
    old_text, new_text = _groups_text(before), _groups_text(after)
    row = after or before
    if row is None or (old_text == new_text and (before is None) == (after is None)):
        return ()
    old, new = _ids(old_text), _ids(new_text)
    for gid in old - new:
        tx.later("DELETE FROM group_member WHERE gid = ? AND uid = ?", (gid, row.oid))
    for gid in new - old:
        # A row that a hand edit left behind is as good as a new one; it must not stop the copying.
        tx.later("DELETE FROM group_member WHERE gid = ? AND uid = ?", (gid, row.oid))
        tx.later("INSERT INTO group_member (gid, uid) VALUES (?, ?)", (gid, row.oid))
    return [("group_pool", gid) for gid in sorted(old ^ new)]


MEMBERS: Final = Derivation("user_pool", derive, derived=("group_member",))


def _groups_text(row: PoolRow | None) -> str:
    if row is None:
        return ""
    # Nothing a caller can choose stands before GROUPS, so the first one is the element.
    _, _, rest = row.body.partition("<GROUPS>")
    return rest.partition("</GROUPS>")[0]


def _ids(text: str) -> set[int]:
    return {oid for found in _ID.findall(text) if (oid := int(found)) <= MAX_ID}

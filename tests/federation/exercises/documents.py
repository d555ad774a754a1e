"""Exercises of the calls about documents."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise


@exercise(
    "one.document.allocate", "one.document.info", "one.documentpool.info", "one.document.update", "one.document.rename",
    "one.document.clone", "one.document.delete",
)  # fmt: skip
def stored_documents(at: Place) -> None:
    _, name = at.user()
    theirs = at.zone.client(name, "Secret1")
    oid = theirs.document.allocate('NAME="notes" BODY="{}"', 901)
    theirs.document.update(oid, 'MORE="ä"', 1)
    theirs.document.rename(oid, "final")
    copy = theirs.document.clone(oid, "copy")
    made = theirs.document.info(copy)
    assert (made.NAME, made.UNAME, made.TYPE, made.TEMPLATE["MORE"], made.TEMPLATE["BODY"]) == ("copy", name, "901", "ä", "{}")
    at.document("one.document.info", oid)
    at.document("one.documentpool.info", -2, -1, -1, 901)
    assert [found.ID for found in theirs.documentpool.info(-3, -1, -1, 901).DOCUMENT] == [copy, oid]
    assert [found.ID for found in theirs.documentpool.info(-2, copy, -1, 901).DOCUMENT] == [copy]
    assert [found.ID for found in theirs.documentpool.info(-2, 1, -2, 901).DOCUMENT] == [oid]
    assert [theirs.document.delete(which) for which in (copy, oid)] == [copy, oid]
    with pytest.raises(pyone.OneNoExistsException, match=rf"Error getting document \[{oid}\]\."):
        theirs.document.info(oid)


@exercise("one.document.chown", "one.document.chmod", "one.document.lock", "one.document.unlock")
def guarded_documents(at: Place) -> None:
    uid, name = at.user()
    group = at.group()
    theirs = at.zone.client(name, "Secret1")
    oid = at.one.document.allocate('NAME="guarded"', 902)
    with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform USE DOCUMENT \[{oid}\]"):
        theirs.document.info(oid)
    assert at.one.document.chown(oid, uid, group) == oid
    assert at.one.document.chmod(oid, 1, 1, 0, -1, 0, 0, 1, 0, 0) == oid
    made = theirs.document.info(oid)
    assert (made.UNAME, made.GID, made.PERMISSIONS.OTHER_U, made.PERMISSIONS.GROUP_U, made.LOCK) == (name, group, 1, 0, None)
    assert theirs.document.lock(oid, 4, False) == oid
    assert (theirs.document.info(oid).LOCK.LOCKED, theirs.document.info(oid).LOCK.OWNER) == (1, uid)
    with pytest.raises(pyone.OneAuthorizationException, match=rf"DOCUMENT is locked\. \[{oid}\]"):
        at.one.document.delete(oid)
    with pytest.raises(pyone.OneActionException, match=r"\] [0-9]+$"):
        theirs.document.lock(oid, 1, True)
    assert theirs.document.unlock(oid) == oid
    assert at.one.document.delete(oid) == oid

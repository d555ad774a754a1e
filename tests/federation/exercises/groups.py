"""Exercises of the calls about groups."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise
from tests.xsd.schemas import validate


@exercise("one.group.allocate")
def allocate_group(at: Place) -> None:
    name = at.name("group")
    gid = at.one.group.allocate(name)
    assert gid >= 100
    assert at.one.group.info(gid).NAME == name
    rules = {rule.STRING for rule in at.one.acl.info().ACL}
    assert {f"@{gid} HOST/* MANAGE #0", f"@{gid} NET/* USE #0", f"@{gid} DATASTORE/* USE #0"} <= rules
    with pytest.raises(pyone.OneInternalException, match=rf"NAME is already taken by GROUP {gid}"):
        at.one.group.allocate(name)


@exercise("one.group.delete")
def delete_group(at: Place) -> None:
    gid = at.group()
    uid, _ = at.user(gid)
    with pytest.raises(pyone.OneActionException, match="Cannot delete group"):
        at.one.group.delete(gid)
    at.one.user.delete(uid)
    assert at.one.group.delete(gid) == gid
    with pytest.raises(pyone.OneNoExistsException):
        at.one.group.info(gid)
    assert not [rule.STRING for rule in at.one.acl.info().ACL if rule.STRING.startswith(f"@{gid} ")]
    with pytest.raises(pyone.OneActionException, match=r"System Groups \(ID < 100\) cannot be deleted"):
        at.one.group.delete(1)


@exercise("one.group.info")
def show_group(at: Place) -> None:
    gid = at.group()
    uid, name = at.user(gid)
    at.document("one.group.info", gid)
    mine = at.zone.client(name, "Secret1")
    assert mine.group.info(-1).ID == gid
    assert list(mine.group.info(gid).USERS.ID) == [uid]
    with pytest.raises(pyone.OneAuthorizationException, match=r"Not authorized to perform USE GROUP \[0\]"):
        mine.group.info(0)


@exercise("one.group.update")
def update_group(at: Place) -> None:
    gid = at.group()
    assert at.one.group.update(gid, 'NOTE="a"', 0) == gid
    assert at.one.group.update(gid, 'MORE="b"', 1) == gid
    assert dict(at.one.group.info(gid).TEMPLATE) == {"NOTE": "a", "MORE": "b"}


@exercise("one.group.addadmin", "one.group.deladmin")
def group_administrators(at: Place) -> None:
    gid = at.group()
    uid, name = at.user(gid)
    other, _ = at.user(gid)
    assert at.one.group.addadmin(gid, uid) == gid
    assert list(at.one.group.info(gid).ADMINS.ID) == [uid]
    rules = {rule.STRING for rule in at.one.acl.info().ACL if rule.STRING.startswith(f"#{uid} ")}
    assert rules == {
        f"#{uid} USER/@{gid} USE+MANAGE+ADMIN+CREATE *",
        f"#{uid} VM+NET+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB/@{gid} USE+MANAGE *",
        f"#{uid} VROUTER/* CREATE *",
        f"#{uid} GROUP/#{gid} MANAGE *",
    }
    mine = at.zone.client(name, "Secret1")
    assert mine.user.info(other).ID == other
    added = mine.user.allocate(at.name("user"), "Secret1", "", [])
    assert at.one.user.info(added).GID == gid
    assert at.one.group.deladmin(gid, uid) == gid
    assert not [rule for rule in at.one.acl.info().ACL if rule.STRING.startswith(f"#{uid} ")]
    with pytest.raises(pyone.OneAuthorizationException):
        mine.user.info(other)
    outsider, _ = at.user()
    with pytest.raises(pyone.OneException):
        at.one.group.addadmin(gid, outsider)


@exercise("one.grouppool.info")
def list_groups(at: Place) -> None:
    gid = at.group()
    _, name = at.user(gid)
    validate(at.raw.value("one.grouppool.info"))
    assert {0, 1, gid} <= {group.ID for group in at.one.grouppool.info().GROUP}
    assert [group.ID for group in at.zone.client(name, "Secret1").grouppool.info().GROUP] == [gid]

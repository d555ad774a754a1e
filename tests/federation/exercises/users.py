"""Exercises of the calls about users."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise
from tests.xsd.schemas import validate


@exercise("one.user.allocate")
def allocate_user(at: Place) -> None:
    group = at.group()
    name = at.name("Ünïcode-")
    uid = at.one.user.allocate(name, "Secret1", "", [group, 1])
    made = at.one.user.info(uid)
    assert (made.NAME, made.GID, sorted(made.GROUPS.ID), made.AUTH_DRIVER, made.ENABLED) == (name, group, [1, group], "core", 1)
    assert at.log_in(name, "Secret1").ID == uid
    with pytest.raises(pyone.OneInternalException, match=rf"NAME is already taken by USER {uid}"):
        at.one.user.allocate(name, "Secret1", "", [])
    for bad in ("", "two words", "a:b", "x" * 129):
        with pytest.raises(pyone.OneInternalException):
            at.one.user.allocate(bad, "Secret1", "", [])
    plain = at.user()[0]
    assert at.one.user.info(plain).GID == 1
    with pytest.raises(pyone.OneNoExistsException):
        at.one.user.allocate(at.name("user"), "Secret1", "", [99_999])


@exercise("one.user.update")
def update_user(at: Place) -> None:
    uid, name = at.user()
    text = "<>&\"' ]] 日本語 😀"
    assert at.one.user.update(uid, {"TEMPLATE": {"NOTE": text, "VECTOR": {"A": "1", "B": "x"}}}, 0) == uid
    shown = at.one.user.info(uid).TEMPLATE
    assert (shown["NOTE"], shown["VECTOR"]) == (text, {"A": "1", "B": "x"})
    assert at.one.user.update(uid, 'MORE="yes"', 1) == uid
    assert set(at.one.user.info(uid).TEMPLATE) >= {"NOTE", "MORE", "VECTOR"}
    assert at.one.user.update(uid, 'ONLY="this"', 0) == uid
    assert set(at.one.user.info(uid).TEMPLATE) == {"ONLY"}
    at.zone.client(name, "Secret1").user.update(uid, 'MINE="1"', 1)
    with pytest.raises(pyone.OneException, match="Wrong update type"):
        at.one.user.update(uid, 'A="1"', 7)
    with pytest.raises(pyone.OneException, match="Parse error"):
        at.one.user.update(uid, "A=[", 0)
    assert set(at.one.user.info(uid).TEMPLATE) == {"ONLY", "MINE"}


@exercise("one.user.delete")
def delete_user(at: Place) -> None:
    group = at.group()
    uid, name = at.user(group)
    assert at.one.user.delete(uid) == uid
    with pytest.raises(pyone.OneNoExistsException, match=rf"\[one.user.info\] Error getting user \[{uid}\]."):
        at.one.user.info(uid)
    assert at.refuses(name, "Secret1")
    assert at.one.group.info(group).USERS.ID == []
    with pytest.raises(pyone.OneActionException, match="oneadmin cannot be deleted"):
        at.one.user.delete(0)


@exercise("one.user.info")
def show_user(at: Place) -> None:
    uid, name = at.user()
    at.one.user.update(uid, 'NOTE="<b>&amp;"', 0)
    document = at.document("one.user.info", uid)
    assert "<PASSWORD>***</PASSWORD>" in document or "<PASSWORD><![CDATA[***]]></PASSWORD>" in document
    mine = at.zone.client(name, "Secret1")
    assert mine.user.info(-1).ID == uid
    assert mine.user.info(uid, True).NAME == name
    with pytest.raises(pyone.OneAuthorizationException, match=rf"User \[{uid}\] : Not authorized to perform USE USER \[0\]\."):
        mine.user.info(0)


@exercise("one.user.passwd")
def change_password(at: Place) -> None:
    uid, name = at.user()
    assert at.log_in(name, "Secret1").ID == uid
    assert at.zone.client(name, "Secret1").user.passwd(uid, "Another:2") == uid
    assert at.log_in(name, "Another:2").ID == uid
    assert at.refuses(name, "Secret1")
    with pytest.raises(pyone.OneException):
        at.one.user.passwd(uid, "")


@exercise("one.user.chauth")
def change_driver(at: Place) -> None:
    uid, name = at.user()
    assert at.one.user.chauth(uid, "public", "") == uid
    assert at.one.user.info(uid).AUTH_DRIVER == "public"
    assert at.refuses(name, "Secret1")
    assert at.one.user.chauth(uid, "core", "Back-again3") == uid
    assert at.log_in(name, "Back-again3").ID == uid


@exercise("one.user.enable")
def enable_user(at: Place) -> None:
    uid, name = at.user()
    assert at.one.user.enable(uid, False) == uid
    assert at.one.user.info(uid).ENABLED == 0
    assert at.refuses(name, "Secret1")
    assert at.one.user.enable(uid, True) == uid
    assert at.log_in(name, "Secret1").ENABLED == 1
    with pytest.raises(pyone.OneException):
        at.one.user.enable(0, False)


@exercise("one.user.chgrp")
def change_group(at: Place) -> None:
    uid, _ = at.user()
    group = at.group()
    assert at.one.user.chgrp(uid, group) == uid
    made = at.one.user.info(uid)
    assert (made.GID, list(made.GROUPS.ID)) == (group, [group])
    assert list(at.one.group.info(group).USERS.ID) == [uid]
    with pytest.raises(pyone.OneNoExistsException):
        at.one.user.chgrp(uid, 99_999)


@exercise("one.user.addgroup", "one.user.delgroup")
def secondary_groups(at: Place) -> None:
    uid, _ = at.user()
    group = at.group()
    assert at.one.user.addgroup(uid, group) == uid
    assert sorted(at.one.user.info(uid).GROUPS.ID) == [1, group]
    assert uid in at.one.group.info(group).USERS.ID
    assert at.one.user.delgroup(uid, group) == uid
    assert list(at.one.user.info(uid).GROUPS.ID) == [1]
    assert uid not in at.one.group.info(group).USERS.ID
    with pytest.raises(pyone.OneException):
        at.one.user.delgroup(uid, 1)


@exercise("one.user.login")
def tokens(at: Place) -> None:
    group = at.group()
    uid, name = at.user(1, group)
    mine = at.zone.client(name, "Secret1")
    token = mine.user.login(name, "", 600, -1)
    assert at.log_in(name, token).ID == uid
    assert token not in at.document("one.user.info", uid)
    narrowed = mine.user.login(name, "", 600, group)
    assert at.zone.client(name, narrowed).group.info(-1).ID == group
    assert mine.user.login(name, token, 0, -1) == token
    assert at.refuses(name, token)
    assert at.log_in(name, narrowed).ID == uid
    assert at.zone.caller(f"{name}:Secret1").call("one.user.login", name, "", 0, -1)[0] is True
    assert at.refuses(name, narrowed)
    with pytest.raises(pyone.OneAuthorizationException):
        mine.user.login("serveradmin", "", 600, -1)


@exercise("one.userpool.info")
def list_users(at: Place) -> None:
    uid, name = at.user()
    validate(at.raw.value("one.userpool.info"))
    listed = [user.ID for user in at.one.userpool.info().USER]
    assert listed == sorted(listed, reverse=True)
    assert {0, 1, uid} <= set(listed)
    assert [user.ID for user in at.zone.client(name, "Secret1").userpool.info().USER] == [uid]

"""Every call of the API, made with pyone against a real master and through a real slave, and read at once where it was written."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import itertools
import json
import re
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyone
import pytest
from pyone.acl import OneAcl

from harness.zones import Federation, Zone, federation
from koinon.wire.calls import CALLS
from tests.xsd.schemas import validate


class Place:
    """One zone of the federation as the exercises use it.

    Attributes:
        one: pyone as the federation's administrator.
        raw: reply arrays as they came.
    """

    def __init__(self, zones: Federation, zone: Zone) -> None:
        self.zones = zones
        self.zone = zone
        self.one = zones.client(zone)
        self.raw = zones.caller(zone)

    def name(self, prefix: str) -> str:
        return f"{prefix}{next(_numbers)}"

    def user(self, *groups: int, password: str = "Secret1") -> tuple[int, str]:
        """A new user: id and name."""
        name = self.name("user")
        return self.one.user.allocate(name, password, "", list(groups)), name

    def group(self) -> int:
        return int(self.one.group.allocate(self.name("group")))

    def document(self, method: str, *arguments: Any) -> str:
        """The document that ``method`` returns, after it passed its schema."""
        text = self.raw.value(method, *arguments)
        validate(text)
        return str(text)

    def log_in(self, name: str, secret: str) -> Any:
        """The caller's own record, fetched with this session."""
        return self.zone.client(name, secret).user.info(-1)

    def refuses(self, name: str, secret: str) -> bool:
        try:
            self.log_in(name, secret)
        except pyone.OneAuthenticationException:
            return True
        return False


_numbers = itertools.count(1)
Exercise = Callable[[Place], None]
EXERCISES: Final[dict[str, Exercise]] = {}


def exercise(*calls: str) -> Callable[[Exercise], Exercise]:
    """Enter a function as the exercise of ``calls``."""

    def enter(function: Exercise) -> Exercise:
        for call in calls:
            assert call not in EXERCISES
            EXERCISES[call] = function
        return function

    return enter


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("calls"), 2) as made:
        yield made


@pytest.fixture(params=["master", "slave"])
def place(request: pytest.FixtureRequest, zones: Federation) -> Place:
    return Place(zones, zones.master if request.param == "master" else zones.slaves[0])


# --- users


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


# --- groups


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


# --- rules


@exercise("one.acl.addrule", "one.acl.delrule")
def rules(at: Place) -> None:
    uid, name = at.user()
    text = f"#{uid} USER/* USE *"
    rule = at.one.acl.addrule(*OneAcl().parse_rule(text))
    shown = {entry.ID: entry for entry in at.one.acl.info().ACL}[rule]
    assert (shown.STRING, shown.USER, shown.RESOURCE, shown.RIGHTS, shown.ZONE) == (
        text,
        f"{0x100000000 + uid:x}",
        "10400000000",
        "1",
        "400000000",
    )
    mine = at.zone.client(name, "Secret1")
    assert mine.user.info(0).ID == 0
    with pytest.raises(pyone.OneInternalException, match="already exists"):
        at.one.acl.addrule(*OneAcl().parse_rule(text))
    with pytest.raises(pyone.OneInternalException, match="malformed"):
        at.one.acl.addrule(*OneAcl().parse_rule(f"#{uid} HOST/@12 USE #0"))
    assert at.one.acl.delrule(rule) == rule
    with pytest.raises(pyone.OneAuthorizationException):
        mine.user.info(0)
    with pytest.raises(pyone.OneInternalException, match=f"Rule {rule} does not exist"):
        at.one.acl.delrule(rule)


@exercise("one.acl.info")
def list_rules(at: Place) -> None:
    validate(at.raw.value("one.acl.info"))
    listed = at.one.acl.info().ACL
    assert [int(rule.USER, 16) for rule in listed] == sorted(int(rule.USER, 16) for rule in listed)
    assert {"* ZONE/* USE *", "* MARKETPLACE+MARKETPLACEAPP/* USE *", "@1 HOST/* MANAGE #0"} <= {rule.STRING for rule in listed}
    uid, name = at.user()
    with pytest.raises(pyone.OneAuthorizationException, match=rf"User \[{uid}\] : Not authorized to perform MANAGE ACL\."):
        at.zone.client(name, "Secret1").acl.info()


# --- zones


@exercise("one.zone.allocate", "one.zone.delete")
def allocate_zone(at: Place) -> None:
    name = at.name("zone")
    zid = at.one.zone.allocate(f'NAME="{name}" ENDPOINT="http://10.0.0.1:2633/RPC2"')
    assert zid >= 100
    made = at.one.zone.info(zid)
    assert (made.NAME, made.TEMPLATE["ENDPOINT"]) == (name, "http://10.0.0.1:2633/RPC2")
    with pytest.raises(pyone.OneException, match="ENDPOINT not present in template"):
        at.one.zone.allocate(f'NAME="{at.name("zone")}"')
    with pytest.raises(pyone.OneException):
        at.one.zone.allocate(f'NAME="{name}" ENDPOINT="http://10.0.0.1:2633/RPC2"')
    assert at.one.zone.delete(zid) == zid
    with pytest.raises(pyone.OneNoExistsException):
        at.one.zone.info(zid)
    with pytest.raises(pyone.OneActionException):
        at.one.zone.delete(0)


@exercise("one.zone.info")
def show_zone(at: Place) -> None:
    own = at.zone.status()["zone_id"]
    at.document("one.zone.info", own)
    assert at.one.zone.info(own).NAME == at.zone.name
    _, name = at.user()
    assert at.zone.client(name, "Secret1").zone.info(own).TEMPLATE["ENDPOINT"] == at.zone.endpoint


@exercise("one.zone.update", "one.zone.rename")
def change_zone(at: Place) -> None:
    own = at.zone.status()["zone_id"]
    before = at.one.zone.info(own).TEMPLATE
    kept = {key: before[key] for key in ("FEDERATION_ENDPOINT", "PUBLIC_KEY", "TRUST") if key in before}
    assert len(kept) == 3
    assert at.one.zone.update(own, 'FLOOR="3" PUBLIC_KEY="stolen" TRUST="REVOKED"', 1) == own
    after = at.one.zone.info(own).TEMPLATE
    assert (after["FLOOR"], after["ENDPOINT"]) == ("3", at.zone.endpoint)
    assert {key: after[key] for key in kept} == kept
    name = at.name("renamed")
    assert at.one.zone.rename(own, name) == own
    assert at.one.zone.info(own).NAME == name
    assert at.one.zone.rename(own, at.zone.name) == own


@exercise("one.zone.enable")
def enable_zone(at: Place) -> None:
    own = at.zone.status()["zone_id"]
    try:
        assert at.one.zone.enable(own, False) == own
        assert at.one.zone.info(own).STATE == 1
        with pytest.raises(pyone.OneInternalException, match="zone disabled"):
            at.one.user.allocate(at.name("user"), "Secret1", "", [])
    finally:
        assert at.one.zone.enable(own, True) == own
    assert at.one.zone.info(own).STATE == 0
    at.user()
    with pytest.raises(pyone.OneException):
        at.one.zone.enable(99_999, False)


@exercise("one.zone.raftstatus")
def log_status(at: Place) -> None:
    document = at.document("one.zone.raftstatus")
    assert f"<FEDLOG_INDEX>{at.zone.status()['position']}</FEDLOG_INDEX>" in document
    _, name = at.user()
    with pytest.raises(pyone.OneAuthorizationException):
        at.zone.client(name, "Secret1").zone.raftstatus()


@exercise("one.zonepool.info")
def list_zones(at: Place) -> None:
    validate(at.raw.value("one.zonepool.info"))
    listed = {zone.NAME: zone for zone in at.one.zonepool.info().ZONE}
    assert {zone.name for zone in at.zones.zones} <= set(listed)
    _, name = at.user()
    assert {zone.ID for zone in at.zone.client(name, "Secret1").zonepool.info().ZONE} == {zone.ID for zone in listed.values()}


# --- what only we offer


@exercise("koinon.acl.explain")
def explain_rights(at: Place) -> None:
    uid, name = at.user()
    there = at.zones.slaves[0].status()["zone_id"]
    rule = at.one.acl.addrule(*OneAcl().parse_rule(f"#{uid} USER/* MANAGE #{there}"))
    answer = json.loads(at.raw.value("koinon.acl.explain", uid, "MANAGE", "USER/#0", there))
    assert (answer["allowed"], answer["by"]["rule_id"], answer["zone"]["id"]) == (True, rule, there)
    own = json.loads(at.zone.caller(f"{name}:Secret1").value("koinon.acl.explain", -1, "MANAGE", "USER/#0", 0))
    assert (own["allowed"], own["user"]["id"]) == (False, uid)
    assert [(near["rule_id"], [lack["part"] for lack in near["lacks"]]) for near in own["nearest"]] == [(rule, ["zone"])]
    assert at.zone.caller(f"{name}:Secret1").call("koinon.acl.explain", 0, "MANAGE", "USER/#0", 0)[2] == 0x200


@exercise("koinon.acl.diff")
def foresee_a_change(at: Place) -> None:
    group = at.group()
    uid, _ = at.user(group)
    changes = {"add": [f"@{group} USER/* USE *"]}
    line, *others = json.loads(at.raw.value("koinon.acl.diff", json.dumps(changes)))["lines"]
    assert others == []
    assert (line["change"], line["right"], line["places"], line["every_zone"]) == ("grant", "USE", ["USER/*"], True)
    assert (line["for"]["id"], [user["id"] for user in line["users"]["some"]]) == (group, [uid])
    assert line["objects"]["count"] == len(at.one.userpool.info().USER) - 1  # all but oneself


# --- VDCs


def _rules_of(at: Place, group: int) -> set[str]:
    return {rule.STRING for rule in at.one.acl.info().ACL if rule.STRING.startswith(f"@{group} ")}


def _vdc(at: Place) -> int:
    return int(at.one.vdc.allocate(f'NAME="{at.name("vdc")}"'))


def _own_group(at: Place) -> int:
    """A group that has left the default VDC, and its rules with it."""
    group = at.group()
    assert len(_rules_of(at, group)) == 3
    assert at.one.vdc.delgroup(0, group) == 0
    assert _rules_of(at, group) == set()
    return group


@exercise("one.vdc.allocate", "one.vdc.info", "one.vdcpool.info", "one.vdc.delete")
def allocate_vdc(at: Place) -> None:
    name = at.name("Ünïcode 日本 ")
    oid = at.one.vdc.allocate({"TEMPLATE": {"NAME": name, "NOTE": "<&> ]]"}})
    made = at.one.vdc.info(oid)
    assert (made.NAME, made.TEMPLATE["NOTE"], made.GROUPS.ID, made.HOSTS.HOST) == (name, "<&> ]]", [], [])
    at.document("one.vdc.info", oid)
    at.document("one.vdcpool.info")
    assert {vdc.ID for vdc in at.one.vdcpool.info().VDC} >= {0, oid}
    with pytest.raises(pyone.OneInternalException, match=rf"NAME is already taken by Vdc {oid}\."):
        at.one.vdc.allocate(f'NAME="{name}"')
    with pytest.raises(pyone.OneInternalException, match="NAME, it cannot be empty"):
        at.one.vdc.allocate('NOTE="x"')
    _, user = at.user()
    theirs = at.zone.client(user, "Secret1")
    assert theirs.vdcpool.info().VDC == []
    with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform USE VDC \[{oid}\]"):
        theirs.vdc.info(oid)
    with pytest.raises(pyone.OneActionException, match=r"System VDCs \(ID < 100\) cannot be deleted\."):
        at.one.vdc.delete(0)
    assert at.one.vdc.delete(oid) == oid
    with pytest.raises(pyone.OneNoExistsException, match=rf"Error getting VDC \[{oid}\]\."):
        at.one.vdc.info(oid)


@exercise("one.vdc.update", "one.vdc.rename")
def change_vdc(at: Place) -> None:
    oid = _vdc(at)
    assert at.one.vdc.update(oid, 'A="1"', 0) == oid
    assert at.one.vdc.update(oid, 'B="2"', 1) == oid
    assert at.one.vdc.info(oid).TEMPLATE == {"A": "1", "B": "2"}
    name = at.name("renamed")
    assert at.one.vdc.rename(oid, name) == oid
    assert at.one.vdc.info(oid).NAME == name
    with pytest.raises(pyone.OneActionException, match="collides with VDC 0"):
        at.one.vdc.rename(oid, "default")


@exercise("one.vdc.addgroup", "one.vdc.delgroup")
def groups_of_vdcs(at: Place) -> None:
    oid, group = _vdc(at), _own_group(at)
    at.one.vdc.addvnet(oid, 0, 4)
    assert at.one.vdc.addgroup(oid, group) == oid
    assert at.one.vdc.info(oid).GROUPS.ID == [group]
    assert _rules_of(at, group) == {f"@{group} NET/#4 USE #0"}
    with pytest.raises(pyone.OneInternalException, match=rf"Group {group} is already assigned to the VDC {oid}$"):
        at.one.vdc.addgroup(oid, group)
    assert at.one.vdc.delgroup(oid, group) == oid
    assert _rules_of(at, group) == set()
    with pytest.raises(pyone.OneInternalException, match=rf"Group {group} is not assigned to the VDC {oid}$"):
        at.one.vdc.delgroup(oid, group)
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting group \[99999\]"):
        at.one.vdc.addgroup(oid, 99_999)


@exercise(*(f"one.vdc.{verb}{word}" for verb in ("add", "del") for word in ("cluster", "host", "datastore", "vnet")))
def resources_of_vdcs(at: Place) -> None:
    """In the zone that is asked and in the other: a rule counts where the resource is."""
    one, two, group = _vdc(at), _vdc(at), _own_group(at)
    at.one.vdc.addgroup(one, group)
    at.one.vdc.addgroup(two, group)
    zone_ids = [zone.status()["zone_id"] for zone in at.zones.zones]
    for word, kinds in (("host", ("HOST MANAGE",)), ("datastore", ("DATASTORE USE",)), ("vnet", ("NET USE",))):
        add, remove = getattr(at.one.vdc, f"add{word}"), getattr(at.one.vdc, f"del{word}")
        kind, right = kinds[0].split()
        for zone_id in zone_ids:
            assert (add(one, zone_id, -10), add(two, zone_id, -10)) == (one, two)
            rule = f"@{group} {kind}/* {right} #{zone_id}"
            assert _rules_of(at, group) == {rule}
            assert remove(one, zone_id, -10) == one
            assert _rules_of(at, group) == {rule}, "the other VDC gives it still"
            assert remove(two, zone_id, -10) == two
            assert _rules_of(at, group) == set()
    away = zone_ids[-1]
    cluster = at.zones.client(at.zones.zones[-1]).cluster.allocate(at.name("cluster"))
    assert at.one.vdc.addcluster(one, away, cluster) == one
    rests = (f"HOST/%{cluster} MANAGE", f"NET/%{cluster} USE", f"DATASTORE/%{cluster} USE")
    assert _rules_of(at, group) == {f"@{group} {rest} #{away}" for rest in rests}
    assert at.one.vdc.addcluster(one, away, -10) == one
    shown = at.one.vdc.info(one).CLUSTERS.CLUSTER
    assert [(cluster.ZONE_ID, cluster.CLUSTER_ID) for cluster in shown] == [(away, -10)]
    with pytest.raises(pyone.OneInternalException, match=rf"CLUSTER -10 from Zone {away} is already assigned to the VDC$"):
        at.one.vdc.addcluster(one, away, -10)
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting zone \[99999\]"):
        at.one.vdc.addcluster(one, 99_999, cluster)
    assert at.one.vdc.delcluster(one, away, -10) == one
    with pytest.raises(pyone.OneInternalException, match=rf"CLUSTER {cluster} from Zone {away} is not assigned to the VDC"):
        at.one.vdc.delcluster(one, away, cluster)
    assert _rules_of(at, group) == set()


# --- what each zone has for itself


@exercise("one.user.quota", "one.group.quota", "one.userquota.info", "one.userquota.update", "one.groupquota.info", "one.groupquota.update")
def quotas(at: Place) -> None:
    """What one zone limits, it shows, and no other zone does."""
    other = next(zone for zone in at.zones.zones if zone is not at.zone)
    group = at.group()
    uid, name = at.user(group)
    assert at.one.user.quota(uid, 'VM=[CPU="2.5", MEMORY="2048"] DATASTORE=[ID="1", SIZE="-2"]') == uid
    shown = at.one.user.info(uid)
    assert (shown.VM_QUOTA.VM[0].CPU, shown.VM_QUOTA.VM[0].MEMORY, shown.VM_QUOTA.VM[0].VMS) == ("2.50", "2048", "-1")
    assert (shown.DATASTORE_QUOTA.DATASTORE[0].ID, shown.DATASTORE_QUOTA.DATASTORE[0].SIZE) == ("1", "-2")
    assert at.one.group.quota(group, 'NETWORK=[ID="3", LEASES="4"]') == group
    assert at.one.group.info(group).NETWORK_QUOTA.NETWORK[0].LEASES == "4"
    for kind in ("user", "group"):
        updated = at.raw.value(f"one.{kind}quota.update", "VM=[VMS=9]")
        assert at.raw.value(f"one.{kind}quota.info") == updated
        assert "<VMS>9</VMS>" in updated
    assert at.log_in(name, "Secret1").DEFAULT_USER_QUOTAS.VM_QUOTA.VM.VMS == "9"
    for pool in ("one.userpool.info", "one.grouppool.info"):
        assert at.document(pool).count("<VMS>9</VMS>") == 1
    at.zones.settled()
    for method, oid in (("one.user.info", uid), ("one.group.info", group)):
        assert "<VMS>" in at.document(method, oid)
        assert not {"<VMS>", "<LEASES>", "<DATASTORE>"} & set(re.findall("<[A-Z]+>", at.zones.caller(other).value(method, oid)))
    with pytest.raises(pyone.OneActionException, match=r"\[one.user.quota\] Negative limits or bad format in quota VM = \[ CPU=-7 \]"):
        at.one.user.quota(uid, "VM=[CPU=-7]")
    with pytest.raises(pyone.OneActionException, match="Cannot set quotas for oneadmin user"):
        at.one.user.quota(0, "VM=[CPU=7]")
    for kind in ("user", "group"):
        assert "<VM>" not in at.raw.value(f"one.{kind}quota.update", "VM=[VMS=-2]")
    at.one.user.quota(uid, "VM=[CPU=-1] DATASTORE=[ID=1]")
    at.one.group.quota(group, "NETWORK=[ID=3]")


@exercise("one.group.vlan")
def vlan_rules(at: Place) -> None:
    group = at.group()
    assert at.one.group.vlan(group, 'RULE=[ID="20", SCOPE="zone", VNTEMPLATE="4"] RULE=[ID="21"]') == group
    rules = at.one.group.info(group).VLAN_RULES.RULE
    assert [(rule.ID, rule.SCOPE, rule.VNTEMPLATE) for rule in rules] == [("20", "zone", "4"), ("21", "", "")]
    assert at.document("one.grouppool.info").count("<RULE>") == 2
    assert at.one.group.vlan(group, "") == group
    assert "<RULE>" not in at.document("one.group.info", group)


# --- the zone's own: clusters, hosts, documents


@exercise(
    "one.cluster.allocate", "one.cluster.info", "one.clusterpool.info", "one.cluster.update", "one.cluster.rename", "one.cluster.delete"
)
def clusters(at: Place) -> None:
    name = at.name("cluster ")
    oid = at.one.cluster.allocate(name)
    assert oid >= 100
    with pytest.raises(pyone.OneInternalException, match=rf"NAME is already taken by CLUSTER {oid}\."):
        at.one.cluster.allocate(name)
    at.one.cluster.update(oid, 'A="<1>"', 0)
    at.one.cluster.rename(oid, f"{name} renamed")
    made = at.one.cluster.info(oid)
    assert (made.NAME, made.TEMPLATE["A"], made.HOSTS.ID) == (f"{name} renamed", "<1>", [])
    at.document("one.cluster.info", oid)
    at.document("one.clusterpool.info")
    assert {cluster.ID for cluster in at.one.clusterpool.info().CLUSTER} >= {0, oid}
    assert at.one.cluster.delete(oid) == oid
    with pytest.raises(pyone.OneNoExistsException, match=rf"Error getting cluster \[{oid}\]\."):
        at.one.cluster.info(oid)
    with pytest.raises(pyone.OneActionException, match=r"System Clusters \(ID < 100\) cannot be deleted"):
        at.one.cluster.delete(0)


@exercise(
    "one.host.allocate", "one.host.info", "one.hostpool.info", "one.host.update", "one.host.rename", "one.host.status", "one.host.delete"
)
def hosts(at: Place) -> None:
    name = at.name("host")
    oid = at.one.host.allocate(name, "kvm", "kvm", -1)
    at.one.host.update(oid, 'RACK="7"', 1)
    at.one.host.rename(oid, f"{name}.example")
    at.one.host.status(oid, pyone.HOST_STATUS.OFFLINE)
    made = at.one.host.info(oid)
    assert (made.NAME, made.CLUSTER, made.STATE, made.PREV_STATE, made.TEMPLATE["RACK"]) == (f"{name}.example", "default", 8, 0, "7")
    assert (made.IM_MAD, made.HOST_SHARE.RUNNING_VMS, made.VMS.ID) == ("kvm", 0, [])
    at.document("one.host.info", oid)
    at.document("one.hostpool.info")
    assert oid in [host.ID for host in at.one.hostpool.info().HOST]
    assert at.one.host.delete(oid) == oid
    with pytest.raises(pyone.OneNoExistsException):
        at.one.host.info(oid)


@exercise("one.host.monitoring", "one.hostpool.monitoring")
def samples_of_hosts(at: Place) -> None:
    oid = at.one.host.allocate(at.name("host"), "kvm", "kvm", -1)
    assert at.document("one.host.monitoring", oid) == at.document("one.hostpool.monitoring", 0) == at.document("one.hostpool.monitoring")


@exercise("one.cluster.addhost", "one.cluster.delhost")
def hosts_of_clusters(at: Place) -> None:
    """A user restricted to one cluster of the zone sees its hosts and no other, nor those of a cluster with that id elsewhere."""
    cluster = at.one.cluster.allocate(at.name("cluster"))
    host = at.one.host.allocate(at.name("host"), "kvm", "kvm", -1)
    other = at.one.host.allocate(at.name("host"), "kvm", "kvm", cluster)
    assert at.one.cluster.addhost(cluster, host) == cluster
    assert at.one.cluster.info(cluster).HOSTS.ID == [host, other]
    assert at.one.cluster.delhost(cluster, other) == cluster
    uid, name = at.user()
    zone = at.zone.status()["zone_id"]
    at.one.acl.addrule(*OneAcl().parse_rule(f"#{uid} HOST/%{cluster} USE #{zone}"))
    theirs = at.zone.client(name, "Secret1")
    assert [found.ID for found in theirs.hostpool.info().HOST] == [host]
    with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform USE HOST \[{other}\]"):
        theirs.host.info(other)


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


# --- the server itself


@exercise("one.system.version")
def version(at: Place) -> None:
    assert at.one.system.version() == "7.4.0"


@exercise("one.system.config")
def configuration(at: Place) -> None:
    at.document("one.system.config")
    assert at.zones.secret.partition(":")[2] not in json.dumps(at.raw.value("one.system.config"))


@exercise(*(name for name in CALLS if name.startswith("system.")))
def introspection(at: Place) -> None:
    offered = {name for name in CALLS if name != "system.shutdown"}
    assert offered <= set(at.raw.call("system.listMethods", session=False))
    assert at.raw.call("system.methodSignature", "one.user.info", session=False)
    assert "user" in at.raw.call("system.methodHelp", "one.user.info", session=False)
    with pytest.raises(xmlrpc.client.Fault, match="not defined") as refused:
        at.raw.call("one.nothing.here")
    assert refused.value.faultCode == -506


def test_every_call_of_the_table_has_an_exercise() -> None:
    """A call that is added to the table needs a real client's word that it works."""
    assert set(EXERCISES) == set(CALLS)


@pytest.mark.parametrize("call", list(dict.fromkeys(EXERCISES.values())), ids=lambda function: function.__name__)
def test_a_real_client_finds_the_call_as_it_knows_it(call: Exercise, place: Place) -> None:
    """Made at a zone and read there at once, whichever zone it is."""
    call(place)


REFUSED: Final[dict[str, tuple[str, tuple[Any, ...]]]] = {
    "unknown user": ("one.user.delete", (99_999,)),
    "taken name": ("one.user.allocate", ("serveradmin", "Secret1", "")),
    "bad name": ("one.user.allocate", ("a b", "Secret1", "")),
    "system group": ("one.group.delete", (0,)),
    "update type": ("one.group.update", (1, "A=1", 9)),
    "unknown VDC": ("one.vdc.addgroup", (99_999, 1)),
    "resource not in the VDC": ("one.vdc.delhost", (0, 0, 99)),
    "no such rule": ("one.acl.delrule", (99_999,)),
    "not a number": ("one.acl.addrule", ("zz", "1", "1", "1")),
    "zone without endpoint": ("one.zone.allocate", ("NAME=x",)),
    "unknown name": ("one.user.login", ("nobody-here", "", 60, -1)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_reads_the_same_in_every_zone(case: str, zones: Federation) -> None:
    """A client must not see whether its zone is the master: same code, same text, five elements."""
    method, arguments = REFUSED[case]
    replies = [zones.caller(zone).call(method, *arguments) for zone in zones.zones]
    assert replies[0] == replies[1]
    assert (replies[0][0], len(replies[0])) == (False, 5)
    assert replies[0][1].startswith(f"[{method}] ")


def test_zones_are_equal_after_all_of_it(zones: Federation) -> None:
    """Whatever the tests above did, both zones hold the same rows and show the same documents."""
    zones.settled()
    for method in ("one.userpool.info", "one.grouppool.info", "one.acl.info", "one.vdcpool.info", "one.zonepool.info"):
        master, slave = (zones.caller(zone).value(method) for zone in zones.zones)
        assert master == slave

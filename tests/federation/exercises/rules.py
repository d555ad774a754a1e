"""Exercises of the calls about ACL rules, and of what only Koinon offers to explain them."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import json

import pyone
import pytest
from pyone.acl import OneAcl

from tests.federation.exercises.place import Place, exercise
from tests.xsd.schemas import validate


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

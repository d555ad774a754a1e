"""Answers to "why may they, why may they not": against the decisions themselves, and what each kind of asker gets to read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from koinon.database.transactions import ReadTx
from koinon.errors import AuthorizationError, BadArgumentError, NotFoundError
from koinon.identity import acl, explanation, users, zones
from koinon.objects.acl import Rule
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.policy.decide import Target
from tests.identity.site import ADMIN, Site


def no_hosts(_tx: ReadTx, _kind: Kind, _oid: int) -> Target | None:
    return None


def one_host(_tx: ReadTx, kind: Kind, oid: int) -> Target | None:
    """A zone with a single host, 3, in cluster 7."""
    if kind is not Kind.HOST:
        return None
    if oid != 3:
        raise NotFoundError(kind.label, oid)
    return Target(Kind.HOST, 3, uid=0, gid=0, bits=0o600, clusters=(7,))


def ask(site: Site, uid: int, right: str, target: str, zone_id: int = -1, *, by: Caller = ADMIN, local: Any = one_host) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(site.read(lambda tx: explanation.answer(tx, by, uid, right, target, zone_id, local_target=local)))
    return answer


def add(site: Site, text: str) -> int:
    return site.write(lambda tx: acl.add_rule(tx, ADMIN, Rule.parse(text, 0)))


def add_zone(site: Site, name: str) -> int:
    site.become_master()
    template = Template()
    template.set("ENDPOINT", "http://x:2633/RPC2")
    return site.write(lambda tx: zones.add(tx, name, template))


def test_names_the_rule_and_the_membership_that_allow(site: Site) -> None:
    tenant = site.add_group("tenant")
    uid = site.add_user("ada", 1, tenant)
    rule = add(site, f"@{tenant} HOST/%7 USE+ADMIN #0")
    found = ask(site, uid, "admin", "host/#3")
    assert (found["allowed"], found["right"], found["object"], found["answered_by"]) == (True, "ADMIN", "HOST/#3", 0)
    assert found["by"] == {
        "source": "rule",
        "rule_id": rule,
        "rule": f"@{tenant} HOST/%7 USE+ADMIN #0",
        "through": f"group {tenant} (tenant)",
    }
    assert found["user"] == {"id": uid, "name": "ada", "groups": [{"id": 1, "name": "users"}, {"id": tenant, "name": "tenant"}]}
    assert found["nearest"] == found["notes"] == []


def test_names_the_permission_that_allows_and_what_administrators_stand_on(site: Site) -> None:
    uid = site.add_user("ada")
    own = ask(site, uid, "MANAGE", f"USER/#{uid}")
    assert (own["by"]["source"], own["by"]["rule_id"], own["by"]["through"]) == ("owner bits", None, "the user")
    assert ask(site, uid, "USE", "GROUP/#1")["by"]["through"] == "group 1 (users)"
    assert ask(site, uid, "USE", "ZONE/#0")["by"]["through"] == "everybody"
    admin = ask(site, 1, "ADMIN", "ACL/*")
    assert (admin["allowed"], admin["by"], admin["reason"]) == (True, None, "a member of group 0 may do everything, whatever the rules say")


def test_tells_what_each_near_rule_lacks(site: Site) -> None:
    uid = site.add_user("ada")
    there = add_zone(site, "south")
    wrong_zone = add(site, f"#{uid} HOST/* ADMIN #{there}")
    wrong_right = add(site, f"#{uid} HOST/#3 USE #0")
    wrong_object = add(site, f"#{uid} HOST/%9 ADMIN #0")
    wrong_user = add(site, "#50 HOST/* ADMIN #0")
    found = ask(site, uid, "ADMIN", "HOST/#3")
    assert not found["allowed"]
    assert {near["rule_id"]: [lack["part"] for lack in near["lacks"]] for near in found["nearest"] if near["rule_id"] >= wrong_zone} == {
        wrong_zone: ["zone"],
        wrong_right: ["right"],
        wrong_object: ["object"],
        wrong_user: ["user"],
    }
    assert ask(site, uid, "ADMIN", "HOST/*", there)["by"]["rule_id"] == wrong_zone


def test_says_what_a_zone_can_not_know_of_the_objects_of_another(site: Site) -> None:
    uid = site.add_user("ada")
    there = add_zone(site, "south")
    add(site, f"#{uid} HOST/%7 USE *")
    assert ask(site, uid, "USE", "HOST/#3")["allowed"]
    elsewhere = ask(site, uid, "USE", "HOST/#3", there)
    assert not elsewhere["allowed"]
    assert elsewhere["notes"] == [
        f"HOST/#3 is kept by zone {there} alone. Zone 0, which answers, knows neither its owner, group and permissions nor its clusters: "
        f"only rules about HOST/#3 itself and about HOST/* could be looked at. Ask zone {there} itself for the whole answer."
    ]
    assert ask(site, uid, "USE", "USER/#0", there)["notes"] == []
    assert ask(site, uid, "USE", "VM/#3", local=no_hosts)["notes"][0].startswith("Zone 0 keeps no objects of the kind VM")
    with pytest.raises(NotFoundError):
        ask(site, uid, "USE", "HOST/#4")


def test_a_new_object_would_be_the_users_own(site: Site) -> None:
    group = site.add_group("tenant")
    uid = site.add_user("ada", group)
    rule = add(site, f"@{group} IMAGE/@{group} CREATE *")
    assert ask(site, uid, "CREATE", "IMAGE/*")["by"]["rule_id"] == rule
    assert not ask(site, uid, "USE", "IMAGE/*")["allowed"]


def test_who_may_not_read_the_rules_asks_about_oneself_and_reads_of_ones_own(site: Site) -> None:
    uid, other = site.add_user("ada"), site.add_user("bob")
    add(site, f"#{other} USER/* ADMIN *")
    mine = add(site, f"#{uid} USER/#{other} USE *")
    by = site.caller(uid)
    found = ask(site, -1, "ADMIN", f"USER/#{other}", by=by)
    assert (found["user"]["id"], found["allowed"]) == (uid, False)
    assert [near["rule_id"] for near in found["nearest"]] == [mine]
    with pytest.raises(AuthorizationError, match="MANAGE ACL"):
        ask(site, other, "ADMIN", "USER/#0", by=by)
    add(site, f"#{uid} ACL/* MANAGE #0")
    assert ask(site, other, "ADMIN", "USER/#0", by=by)["allowed"]
    assert len(ask(site, -1, "ADMIN", f"USER/#{other}", by=by)["nearest"]) > 1


def test_tells_of_disabled_users_and_zones(site: Site) -> None:
    uid = site.add_user("ada")
    site.write(lambda tx: users.set_enabled(tx, ADMIN, uid, False))
    site.write(lambda tx: zones.set_enabled(tx, ADMIN, 0, False))
    assert ask(site, uid, "USE", "ZONE/#0")["notes"] == [
        f"User {uid} is disabled and can't log in at all.",
        "Zone 0 is disabled and refuses whatever would change something.",
    ]


@pytest.mark.parametrize(
    ("right", "target", "why"),
    [
        ("FLY", "HOST/#1", "no right 'FLY'"),
        ("USE", "SHIP/#1", "no resource type 'SHIP'"),
        ("USE", "HOST", "lack a '/'"),
        ("USE", "HOST/@1", "not one object"),
        ("USE", "HOST/%1", "not one object"),
        ("USE", "HOST+VM/#1", "not one object"),
        ("USE", "HOST/#-1", "is not #ID"),
        ("USE", "HOST/#1 USE #0 more", "one word each"),
        ("USE", "", "one word each"),
        ("CREATE", "HOST/#1", "Ask about HOST/\\*"),
        ("USE", "ACL/#1", "Ask about ACL/\\*"),
    ],
)
def test_a_question_that_can_not_be_read_is_refused_with_what_is_allowed(site: Site, right: str, target: str, why: str) -> None:
    with pytest.raises(BadArgumentError, match=why):
        ask(site, 0, right, target)


def test_a_question_about_what_is_not_there_says_so(site: Site) -> None:
    for arguments in ((99, "USE", "USER/#0"), (0, "USE", "USER/#99"), (0, "USE", "USER/#0", 99)):
        with pytest.raises(NotFoundError):
            ask(site, *arguments)

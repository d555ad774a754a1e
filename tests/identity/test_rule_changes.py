"""What a change of rules would do, told with names from a real zone's tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import AuthorizationError, BadArgumentError, CloudError, InternalError, NotFoundError
from koinon.identity import acl, rule_changes, vdcs
from koinon.objects.acl import Rule
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target
from tests.identity.site import ADMIN, Site
from tests.identity.test_explanation import add, add_zone


def _none(_tx: ReadTx, _kind: Kind, _oid: int) -> None:
    """Stands for a zone that keeps no resources."""


def hosts(_tx: ReadTx, kind: Kind) -> Sequence[Target] | None:
    """A zone that keeps three hosts, two of them in cluster 7."""
    if kind is not Kind.HOST:
        return None
    return [Target(Kind.HOST, oid, uid=0, gid=0, bits=0o600, clusters=(cid,)) for oid, cid in ((1, 7), (2, 7), (3, 8))]


def diff(site: Site, *, by: Caller = ADMIN, **changes: Any) -> dict[str, Any]:
    wanted = json.dumps(changes)
    answer: dict[str, Any] = json.loads(site.read(lambda tx: rule_changes.difference(tx, by, wanted, local_targets=hosts)))
    return answer


def test_tells_who_gains_what_and_where(site: Site) -> None:
    tenant = site.add_group("tenant")
    ada, bob = site.add_user("ada", tenant), site.add_user("bob", 1, tenant)
    there = add_zone(site, "south")
    add(site, f"#{bob} HOST/%7 USE #0")
    found = diff(site, add=[f"@{tenant} HOST/%7 USE *"])
    both = [{"id": ada, "name": "ada"}, {"id": bob, "name": "bob"}]
    told = {
        "change": "grant",
        "right": "USE",
        "kind": "HOST",
        "for": {"kind": "group", "id": tenant, "name": "tenant"},
        "users": {"count": 1, "of": 2, "some": both[:1]},
        "zones": [{"id": 0, "name": "OpenNebula"}],
        "every_zone": False,
        "places": ["HOST/%7"],
        "objects": {"count": 2, "some": [1, 2], "pairs": 2},
    }
    assert found["lines"] == [
        told,
        told
        | {
            "users": {"count": 2, "of": 2, "some": both},
            "zones": [{"id": there, "name": "south"}],
            "objects": None,
        },
    ]
    assert (found["add"], found["remove"], found["left_off"], found["notes"]) == ([f"@{tenant} HOST/%7 USE *"], [], 0, [])


def test_tells_what_a_removal_takes_away_and_what_stays(site: Site) -> None:
    uid = site.add_user("ada")
    broad = add(site, f"#{uid} USER/* USE+MANAGE *")
    narrow = add(site, f"#{uid} USER/#0 USE *")
    found = diff(site, remove=[broad])
    assert found["remove"] == [{"id": broad, "rule": f"#{uid} USER/* USE+MANAGE *"}]
    assert [(line["change"], line["right"], line["for"]["kind"], line["objects"]["some"]) for line in found["lines"]] == [
        ("remove", "USE", "user", [1]),  # oneself by the record's own permissions, 0 by the other rule
        ("remove", "MANAGE", "user", [0, 1]),
    ]
    assert diff(site, remove=[narrow])["lines"] == []
    swapped = diff(site, remove=[narrow], add=[f"#{uid} USER/#0 ADMIN *"])["lines"]
    assert [(line["change"], line["right"]) for line in swapped] == [("grant", "ADMIN")]


def test_nothing_is_changed_by_looking(site: Site) -> None:
    before = site.read(lambda tx: (acl.pool_document(tx), tx.state))
    diff(site, add=["* USER/* ADMIN *"], remove=[0])
    assert site.read(lambda tx: (acl.pool_document(tx), tx.state)) == before


def test_the_answer_stays_short(site: Site) -> None:
    group = site.add_group("many")
    for number in range(15):
        site.add_user(f"user{number}", group)
    (line,) = diff(site, add=[f"@{group} USER/* USE #0"])["lines"]
    assert (line["users"]["count"], len(line["users"]["some"])) == (15, 10)
    assert (line["objects"]["count"], len(line["objects"]["some"])) == (17, 10)
    assert line["objects"]["pairs"] == 15 * 16


def test_tells_why_a_rule_does_nothing(site: Site) -> None:
    group = site.add_group("empty")
    found = diff(site, add=["#77 HOST/* USE *", f"@{group} HOST/* USE *", "@1 HOST/* USE #55"])
    assert found["lines"] == []
    assert sorted(found["notes"]) == sorted(
        [
            "#77 HOST/* USE *: there is no user 77.",
            f"@{group} HOST/* USE *: group {group} has no members.",
            "@1 HOST/* USE #55: there is no zone 55.",
            "@1 HOST/* USE #55: group 1 has no members.",
        ]
    )


def rules(site: Site) -> set[str]:
    return {Rule(row.userset, row.resource, row.rights, row.zone).text() for row in site.read(lambda tx: tx.acl())}


def test_a_change_of_a_vdc_is_foreseen_as_it_then_happens(site: Site) -> None:
    """Also where the rules of two VDCs, or of a VDC and a person, are the same."""
    north, south = site.add_group("north"), site.add_group("south")
    site.write(lambda tx: [vdcs.take_from_group(tx, ADMIN, vdcs.DEFAULT_VDC, group) for group in (north, south)])
    vdc = site.write(lambda tx: vdcs.create(tx, ADMIN, "NAME=one"))
    other = site.write(lambda tx: vdcs.create(tx, ADMIN, "NAME=two"))
    add(site, f"@{south} HOST/#3 MANAGE #0")
    site.write(lambda tx: vdcs.give_to_group(tx, ADMIN, other, north))
    site.write(lambda tx: vdcs.add_resource(tx, ADMIN, other, 0, 7, kind=Kind.CLUSTER, local_target=_none))
    steps: list[tuple[dict[str, Any], Callable[[SharedTx], int]]] = [
        ({"add": [("HOST", 0, 3)]}, lambda tx: vdcs.add_resource(tx, ADMIN, vdc, 0, 3, kind=Kind.HOST, local_target=_none)),
        ({"add": [("CLUSTER", 0, 7)]}, lambda tx: vdcs.add_resource(tx, ADMIN, vdc, 0, 7, kind=Kind.CLUSTER, local_target=_none)),
        ({"add_groups": [north]}, lambda tx: vdcs.give_to_group(tx, ADMIN, vdc, north)),
        ({"add_groups": [south]}, lambda tx: vdcs.give_to_group(tx, ADMIN, vdc, south)),
        ({"add": [("CLUSTER", 0, -10)]}, lambda tx: vdcs.add_resource(tx, ADMIN, vdc, 0, -10, kind=Kind.CLUSTER, local_target=_none)),
        ({"remove": [("CLUSTER", 0, -10)]}, lambda tx: vdcs.remove_resource(tx, ADMIN, vdc, 0, -10, kind=Kind.CLUSTER, local_target=_none)),
        ({"del_groups": [south]}, lambda tx: vdcs.take_from_group(tx, ADMIN, vdc, south)),
        ({"del_groups": [north]}, lambda tx: vdcs.take_from_group(tx, ADMIN, vdc, north)),
    ]
    changed = 0
    for change, make in steps:
        before = rules(site)
        foreseen = diff(site, vdc={"id": vdc, **change})
        site.write(make)
        after = rules(site)
        assert set(foreseen["add"]) == after - before
        assert {gone["rule"] for gone in foreseen["remove"]} == before - after
        changed += before != after
    assert changed == 5
    assert f"@{south} HOST/#3 MANAGE #0" in rules(site)


def test_a_vdc_that_opens_hosts_to_a_group_is_told_as_that(site: Site) -> None:
    group = site.add_group("tenant")
    site.write(lambda tx: vdcs.take_from_group(tx, ADMIN, 0, group))
    site.add_user("ada", group)
    vdc = site.write(lambda tx: vdcs.create(tx, ADMIN, "NAME=one"))
    site.write(lambda tx: vdcs.add_resource(tx, ADMIN, vdc, 0, 7, kind=Kind.CLUSTER, local_target=_none))
    lines = diff(site, vdc={"id": vdc, "add_groups": [group]})["lines"]
    assert [(line["kind"], line["right"], line["places"], line["for"]["id"]) for line in lines] == [
        ("HOST", "MANAGE", ["HOST/%7"], group),
        ("NET", "USE", ["NET/%7"], group),
        ("DATASTORE", "USE", ["DATASTORE/%7"], group),
    ]
    assert lines[0]["objects"] == {"count": 2, "some": [1, 2], "pairs": 2}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"add": ["nonsense"]}, InternalError),
        ({"add": ["* HOST/@1 USE #0"]}, InternalError),
        ({"add": ["* ZONE/* USE *"]}, InternalError),
        ({"add": ["* USER/* USE #0", "* user/* use #0"]}, InternalError),
        ({"remove": [999]}, InternalError),
        ({"remove": ["1"]}, BadArgumentError),
        ({"remove": [1] * 101}, BadArgumentError),
        ({"gone": [1]}, BadArgumentError),
        ({"vdc": {"id": 0}}, BadArgumentError),
        ({"vdc": {"id": 0, "add": [["SHIP", 0, 1]]}}, BadArgumentError),
        ({"vdc": {"id": 99, "add_groups": [1]}}, NotFoundError),
        ({"vdc": {"id": 0, "add_groups": [99]}}, NotFoundError),
        ({"vdc": {"id": 0, "add": [["HOST", 99, 1]]}}, NotFoundError),
        ({"vdc": {"id": 0, "add_groups": [1]}}, InternalError),
        ({"vdc": {"id": 0, "del_groups": [0]}}, InternalError),
        ({"vdc": {"id": 0, "add": [["CLUSTER", 0, -10]]}}, InternalError),
        ({"vdc": {"id": 0, "remove": [["CLUSTER", 0, 7]]}}, InternalError),
        ({}, BadArgumentError),
    ],
)
def test_a_change_that_could_not_be_made_is_refused_as_it_would_be(site: Site, changes: Any, error: type[CloudError]) -> None:
    with pytest.raises(error):
        diff(site, **changes)


def test_is_for_those_who_may_read_the_rules(site: Site) -> None:
    uid = site.add_user("ada")
    with pytest.raises(AuthorizationError):
        diff(site, by=site.caller(uid), remove=[0])
    site.write(lambda tx: acl.add_rule(tx, ADMIN, Rule.parse(f"#{uid} ACL/* MANAGE #0", 0)))
    assert diff(site, by=site.caller(uid), remove=[0])["remove"]

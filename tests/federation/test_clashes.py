"""What joining would lose, in words."""

from __future__ import annotations

import pytest

from koinon.federation.clashes import Rows, find
from koinon.objects.acl import Rule
from koinon.statements.schema import AclRow, PoolRow

pytestmark = pytest.mark.engines


def row(oid: int, name: str, body: str = "") -> PoolRow:
    return PoolRow(oid, name, body, 0, 0, 1, 0, 0)


def rule(oid: int, text: str) -> AclRow:
    parsed = Rule.parse(text, 0)
    return AclRow(oid, parsed.user, parsed.resource, parsed.rights, parsed.zone)


DEFAULTS: dict[str, list[PoolRow | AclRow]] = {
    "user_pool": [row(0, "oneadmin", "ours"), row(1, "serveradmin", "ours")],
    "group_pool": [row(0, "oneadmin"), row(1, "users")],
    "vdc_pool": [row(0, "default", "ours")],
    "zone_pool": [row(0, "OpenNebula", "ours")],
    "marketplace_pool": [row(0, "OpenNebula Public"), row(1, "Linux Containers")],
    "acl": [
        rule(0, "@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *"),
        rule(1, "* ZONE/* USE *"),
        rule(2, "* MARKETPLACE+MARKETPLACEAPP/* USE *"),
        rule(3, "@1 HOST/* MANAGE #0"),
        rule(4, "@1 NET/* USE #0"),
        rule(5, "@1 DATASTORE/* USE #0"),
    ],
}


def test_a_zone_that_has_only_just_started_loses_nothing() -> None:
    assert find(DEFAULTS, {}, own_zone=0) == []


def test_each_way_to_lose_an_object_is_told_apart() -> None:
    own: Rows = DEFAULTS | {
        "user_pool": [*DEFAULTS["user_pool"], row(2, "ann"), row(3, "bob"), row(4, "cleo"), row(5, "dan", "ours"), row(6, "same")],
        "zone_pool": [row(0, "OpenNebula"), row(100, "far")],
    }
    theirs: Rows = {"user_pool": [row(2, "zoe"), row(9, "bob"), row(5, "dan", "theirs"), row(6, "same")]}
    assert find(own, theirs, own_zone=0) == [
        "user 2 'ann': the federation's user 2 is 'zoe'",
        "user 3 'bob': the federation has a user of this name with id 9",
        "user 4 'cleo': it is only here and would be lost",
        "user 5 'dan': the federation has it too, with other contents; ours would be lost",
        "zone 100 'far': it is only here and would be lost",
    ]


def test_rules_are_compared_by_what_they_say() -> None:
    own: Rows = {"acl": [*DEFAULTS["acl"], rule(6, "#5 VM/* USE *"), rule(7, "#6 VM/* USE *")]}
    theirs: Rows = {"acl": [rule(40, "#5 VM/* USE *")]}
    assert find(own, theirs, own_zone=0) == ["ACL rule 7 '#6 VM/* USE *': it is only here and would be lost"]

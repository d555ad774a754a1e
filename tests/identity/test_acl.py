"""Stored ACL rules."""

from __future__ import annotations

import pytest

from koinon.errors import AuthorizationError, InternalError
from koinon.identity import access, acl
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import Kind
from tests.identity.site import ADMIN, Site


def test_a_rule_is_added_once_and_its_id_is_never_given_again(site: Site) -> None:
    rule = Rule.parse("#2 VM+IMAGE/@1 USE+MANAGE #0", 0)
    oid = site.write(lambda tx: acl.add_rule(tx, ADMIN, rule))
    assert oid == 6
    with pytest.raises(InternalError, match=r"^Rule #2 VM\+IMAGE/@1 USE\+MANAGE #0 already exists$"):
        site.write(lambda tx: acl.add_rule(tx, ADMIN, rule))
    site.write(lambda tx: acl.delete_rule(tx, ADMIN, oid))
    with pytest.raises(InternalError, match=r"^Rule 6 does not exist$"):
        site.write(lambda tx: acl.delete_rule(tx, ADMIN, oid))
    assert site.write(lambda tx: acl.add_rule(tx, ADMIN, rule)) == 7


def test_every_problem_of_a_rule_is_told(site: Site) -> None:
    rule = acl.parse("500000000", "100000000", "0", "", default_zone=3)
    assert rule.zone == 0x100000003
    with pytest.raises(InternalError) as caught:
        site.write(lambda tx: acl.add_rule(tx, ADMIN, rule))
    assert caught.value.text.startswith("Rule ")
    assert " is malformed: " in caught.value.text
    assert caught.value.text.count("; ") >= 2


@pytest.mark.parametrize("text", ["", "xyz", "-1", "f" * 17, "1 2", "０"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InternalError, match="Rule is malformed"):
        acl.parse(text, "1", "1", "", default_zone=0)


def test_plain_users_touch_no_rule(site: Site) -> None:
    caller = site.caller(site.add_user("ada"))
    for job in (lambda tx: acl.add_rule(tx, caller, Rule.parse("* VM/* USE *", 0)), lambda tx: acl.delete_rule(tx, caller, 0)):
        with pytest.raises(AuthorizationError, match="MANAGE ACL"):
            site.write(job)


def test_a_rule_counts_at_once_and_only_in_its_zone(site: Site) -> None:
    uid, other = site.add_user("ada"), site.add_user("bob")
    here, there = site.caller(uid), site.caller(uid, zone_id=101)

    def manages(caller: object) -> bool:
        try:
            site.read(lambda tx: access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.USER, other)))  # type: ignore[arg-type]  # a Caller
        except AuthorizationError:
            return False
        return True

    assert (manages(here), manages(there)) == (False, False)
    site.write(lambda tx: acl.add_rule(tx, ADMIN, Rule.parse(f"#{uid} USER/#{other} MANAGE #101", 0)))
    assert (manages(here), manages(there)) == (False, True)


def test_a_deleted_group_takes_all_rules_about_it_along(site: Site) -> None:
    lab = site.add_group("lab")
    kept = site.rules()
    for text in (f"@{lab} VM/* CREATE *", f"* VM+NET/@{lab} USE #0", f"#2 GROUP/#{lab} USE *"):
        site.write(lambda tx, text=text: acl.ensure(tx, Rule.parse(text, 0)))  # type: ignore[misc]  # bound per round
    site.write(lambda tx: acl.ensure(tx, Rule.parse(f"#{lab} USER/#{lab} USE *", 0)))
    site.write(lambda tx: acl.drop_of_group(tx, lab))
    assert site.rules() == [rule for rule in kept if not rule.startswith(f"@{lab}")] + [f"#{lab} USER/#{lab} USE *"]


def test_permissions_of_a_marketplace_are_read_from_its_body(site: Site) -> None:
    target = site.read(lambda tx: access.target_of(tx, Kind.MARKETPLACE, 0))
    assert (target.bits, target.uid, target.gid, target.locked) == (0o744, 0, 0, 0)

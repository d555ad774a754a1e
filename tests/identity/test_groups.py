"""Groups and the VDCs they join."""

from __future__ import annotations

import pytest

from koinon.errors import ActionError, AuthorizationError, InternalError, InvalidError, TakenError
from koinon.identity import groups, users, vdcs
from koinon.objects.template import Template
from tests.identity.site import ADMIN, Site


def roles(lab: int, uid: int) -> list[str]:
    objects = "VM+NET+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB"
    return [
        f"#{uid} USER/@{lab} USE+MANAGE+ADMIN+CREATE *",
        f"#{uid} {objects}/@{lab} USE+MANAGE *",
        f"#{uid} VROUTER/* CREATE *",
        f"#{uid} GROUP/#{lab} MANAGE *",
    ]


def test_a_group_joins_the_default_vdc_with_its_rules(site: Site) -> None:
    before = site.rules()
    lab = site.add_group("lab")
    assert lab == 100
    assert site.rules() == [*before, "@100 HOST/* MANAGE #0", "@100 NET/* USE #0", "@100 DATASTORE/* USE #0"]
    assert site.read(lambda tx: vdcs.find(tx, 0)).groups == [1, 100]  # type: ignore[union-attr]  # VDC 0 is always there


def test_a_deleted_group_leaves_nothing(site: Site) -> None:
    before = site.rules()
    lab = site.add_group("lab")
    site.write(lambda tx: groups.delete(tx, ADMIN, lab))
    assert site.rules() == before
    assert site.read(lambda tx: vdcs.find(tx, 0)).groups == [1]  # type: ignore[union-attr]  # VDC 0 is always there
    assert site.add_group("lab") == lab + 1


def test_the_last_id_that_there_is(site: Site) -> None:
    site.write(lambda tx: tx.set_counter("group_pool", 2**31 - 2))
    last = site.add_group("lab")
    uid = site.add_user("ada", last)
    assert site.members(last) == [uid]
    with pytest.raises(ActionError, match="is not empty"):
        site.write(lambda tx: groups.delete(tx, ADMIN, last))
    with pytest.raises(InvalidError):
        site.add_group("shop")


def test_refusals(site: Site) -> None:
    lab = site.add_group("lab")
    uid = site.add_user("ada", lab)
    with pytest.raises(ActionError, match=r"Cannot delete group\. System Groups \(ID < 100\) cannot be deleted\."):
        site.write(lambda tx: groups.delete(tx, ADMIN, 1))
    with pytest.raises(ActionError, match=rf"Cannot delete group\. Group {lab} is not empty\."):
        site.write(lambda tx: groups.delete(tx, ADMIN, lab))
    with pytest.raises(TakenError, match=rf"NAME is already taken by GROUP {lab}\."):
        site.add_group("lab")
    caller = site.caller(uid)
    with pytest.raises(AuthorizationError, match=r"User \[2\] : Not authorized to perform CREATE GROUP\."):
        site.write(lambda tx: groups.create(tx, caller, "other"))
    with pytest.raises(AuthorizationError, match=rf"ADMIN GROUP \[{lab}\]"):
        site.write(lambda tx: groups.update(tx, caller, lab, "A=1", 0))


def test_the_role_of_administrator_is_four_rules(site: Site) -> None:
    lab = site.add_group("lab")
    uid = site.add_user("ada", lab)
    before = site.rules()
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, uid))
    assert site.rules() == before + roles(lab, uid)
    assert site.read(lambda tx: groups.get(tx, lab)).admins == [uid]
    with pytest.raises(InternalError, match=rf"Cannot edit group\. User {uid} is already an administrator of Group {lab}\."):
        site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, uid))
    site.write(lambda tx: groups.del_admin(tx, ADMIN, lab, uid))
    assert site.rules() == before
    with pytest.raises(InternalError, match=rf"User {uid} is not an administrator of Group {lab}\."):
        site.write(lambda tx: groups.del_admin(tx, ADMIN, lab, uid))


def test_only_members_administer(site: Site) -> None:
    lab = site.add_group("lab")
    uid = site.add_user("ada")
    with pytest.raises(InternalError, match=rf"User {uid} is not part of Group {lab}\."):
        site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, uid))


def test_the_rule_that_two_roles_share_stays_with_the_second(site: Site) -> None:
    lab, shop = site.add_group("lab"), site.add_group("shop")
    uid = site.add_user("ada", lab, shop)
    before = site.rules()
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, uid))
    site.write(lambda tx: groups.add_admin(tx, ADMIN, shop, uid))
    site.write(lambda tx: groups.del_admin(tx, ADMIN, lab, uid))
    assert sorted(site.rules()) == sorted(before + roles(shop, uid))


def test_a_groups_administrator_rules_its_members_only(site: Site) -> None:
    lab = site.add_group("lab")
    boss, pupil, stranger = site.add_user("boss", lab), site.add_user("pupil", lab), site.add_user("stranger")
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, boss))
    caller = site.caller(boss)
    site.write(lambda tx: users.set_enabled(tx, caller, pupil, False))
    assert not site.user(pupil).enabled
    with pytest.raises(AuthorizationError, match=rf"ADMIN USER \[{stranger}\]"):
        site.write(lambda tx: users.set_enabled(tx, caller, stranger, False))


def test_a_rule_that_another_vdc_gives_stays(site: Site) -> None:
    lab = site.add_group("lab")
    second = vdcs.Vdc(100, "second", [lab], [], [(0, vdcs.ALL_RESOURCES)], [], [(0, 7)], Template())
    site.write(lambda tx: tx.insert("vdc_pool", second.as_row()))
    site.write(lambda tx: vdcs.take_from_group(tx, ADMIN, vdcs.DEFAULT_VDC, lab))
    assert [rule for rule in site.rules() if rule.startswith("@100")] == ["@100 HOST/* MANAGE #0"]


def test_a_vdc_reads_back_what_it_wrote(site: Site) -> None:
    template = Template()
    template.set("NOTE", "<&]")
    vdc = vdcs.Vdc(100, "second", [1, 100], [(0, -10)], [(0, 3), (101, 4)], [(0, 5)], [(101, 7)], template)
    assert vdcs.Vdc.from_row(vdc.as_row()) == vdc
    assert [rule.text() for rule in vdc.rules_for(1)] == [
        "@1 HOST/* MANAGE #0",
        "@1 NET/* USE #0",
        "@1 DATASTORE/* USE #0",
        "@1 HOST/#3 MANAGE #0",
        "@1 HOST/#4 MANAGE #101",
        "@1 DATASTORE/#5 USE #0",
        "@1 NET/#7 USE #101",
    ]

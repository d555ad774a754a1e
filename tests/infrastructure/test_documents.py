"""Documents: permissions, hand-over, locks, copies."""

from __future__ import annotations

import pytest
from lxml import etree

from koinon.errors import ActionError, AuthorizationError, CloudError, InvalidError
from koinon.identity import users
from koinon.infrastructure import documents
from koinon.infrastructure.document_record import POOL
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN
from tests.infrastructure.ground import Ground, ids

KEEP = (-1,) * 9
NOW = 1_700_000_000


def show(ground: Ground, oid: int, caller: Caller = ADMIN) -> etree._Element:
    return ground.shown(lambda tx: documents.show(tx, caller, oid))


def bits(ground: Ground, oid: int) -> str:
    return "".join(node.text or "" for node in show(ground, oid).findall("PERMISSIONS/*"))


def chmod(ground: Ground, caller: Caller, oid: int, **wanted: int) -> None:
    names = [f"{who}_{letter}" for who in ("owner", "group", "other") for letter in "uma"]
    values = tuple(wanted.get(name, -1) for name in names)
    ground.change(lambda tx: documents.chmod(tx, caller, oid, values))


def lock(ground: Ground, caller: Caller, oid: int, level: int, *, test: bool = False, now: int = NOW) -> None:
    ground.change(lambda tx: documents.lock(tx, caller, oid, level, test, now=now))


def visible(ground: Ground, caller: Caller, flag: int = -2, start: int = -1, end: int = -1, kind_number: int = 200) -> list[int]:
    return ids(ground.shown(lambda tx: documents.pool_document(tx, caller, flag, start, end, kind_number)), "DOCUMENT/ID")


def test_a_document_is_its_makers_and_shows_what_they_wrote(ground: Ground) -> None:
    alice = ground.newcomer("alice")
    assert ground.document(alice, rest='BODY = "{\\"a\\": [1, 2]}"', kind_number=101) == 0
    found = show(ground, 0, alice)
    assert [found.findtext(tag) for tag in ("ID", "UID", "GID", "UNAME", "GNAME", "NAME", "TYPE")] == [
        "0", str(alice.uid), "1", "alice", "users", "notes", "101",
    ]  # fmt: skip
    assert found.findtext("TEMPLATE/BODY") == '{"a": [1, 2]}'
    assert found.find("TEMPLATE/NAME") is None
    assert found.find("LOCK") is None
    assert bits(ground, 0) == "110000000"


def test_the_last_id_that_there_is(ground: Ground) -> None:
    ground.change(lambda tx: POOL.set_counter(tx, 2**31 - 2))
    assert ground.document(ADMIN) == 2**31 - 1
    with pytest.raises(InvalidError, match="no ids are left"):
        ground.document(ADMIN)
    assert visible(ground, ADMIN) == [2**31 - 1]


@pytest.mark.parametrize(
    ("umask", "expected"),
    [("", "110000000"), ("027", "110100000"), ("0", "110110110"), ("777", "000000000"), ("wrong", "110000000"), ("0x1", "110000000")],
)
def test_the_umask_of_the_maker_decides_about_permissions(ground: Ground, umask: str, expected: str) -> None:
    alice = ground.newcomer("alice")
    ground.write(lambda tx: users.update(tx, ADMIN, alice.uid, f'UMASK = "{umask}"', 0))
    assert bits(ground, ground.document(alice)) == expected


def test_administrators_may_give_admin_bits_at_once(ground: Ground) -> None:
    ground.write(lambda tx: users.update(tx, ADMIN, 0, 'UMASK = "022"', 0))
    assert bits(ground, ground.document(ADMIN)) == "111101101"


@pytest.mark.parametrize(
    ("text", "said"), [("A = 1", "Invalid NAME, it cannot be empty"), ('NAME = "a;b"', "char ';' is not allowed"), ("NAME = [", "rror")]
)
def test_a_document_that_can_not_be_made_takes_no_id(ground: Ground, text: str, said: str) -> None:
    with pytest.raises(CloudError, match=said) as refused:
        ground.change(lambda tx: documents.create(tx, ADMIN, text, 1))
    assert refused.value.code == 0x2000
    assert ground.document(ADMIN) == 0


def test_who_may_create_is_for_rules_to_say(ground: Ground) -> None:
    gid = ground.add_group("bare")
    with pytest.raises(AuthorizationError, match="Not authorized to perform CREATE DOCUMENT\\."):
        ground.document(ground.newcomer("bob", gid))


def test_permission_bits_let_others_in_one_by_one(ground: Ground) -> None:
    alice, bob, carol = ground.newcomer("alice"), ground.newcomer("bob"), ground.newcomer("carol", ground.add_group("other"))
    oid = ground.document(alice)
    for caller in (bob, carol):
        with pytest.raises(AuthorizationError, match=rf"perform USE DOCUMENT \[{oid}\]"):
            show(ground, oid, caller)
    chmod(ground, alice, oid, group_u=1)
    assert show(ground, oid, bob).findtext("NAME") == "notes"
    assert (visible(ground, bob), visible(ground, carol)) == ([oid], [])
    chmod(ground, alice, oid, other_u=1, other_m=1)
    ground.change(lambda tx: documents.update(tx, carol, oid, "BY = carol", 1))
    chmod(ground, alice, oid, group_u=0, other_u=0)
    assert (visible(ground, bob), visible(ground, carol)) == ([], [])
    # OpenNebula's lists do not look at the owner's own bit.
    chmod(ground, alice, oid, owner_u=0)
    assert visible(ground, alice) == [oid]
    with pytest.raises(AuthorizationError):
        show(ground, oid, alice)


def test_an_admin_bit_needs_admin_only_if_it_changes(ground: Ground) -> None:
    alice = ground.newcomer("alice")
    oid = ground.document(alice)
    chmod(ground, alice, oid, owner_a=0, group_a=-1)
    with pytest.raises(AuthorizationError, match="perform ADMIN DOCUMENT"):
        chmod(ground, alice, oid, owner_a=1)
    chmod(ground, ADMIN, oid, owner_a=1, owner_m=0)
    assert bits(ground, oid) == "101000000"
    chmod(ground, alice, oid, owner_a=0)  # ADMIN is asked instead of MANAGE, which alice has not
    assert bits(ground, oid) == "100000000"
    with pytest.raises(CloudError, match="New permission values must be -1, 0 or 1"):
        chmod(ground, ADMIN, oid, owner_u=2)
    bob = ground.newcomer("bob")
    for wanted in ({"owner_u": 2}, {"other_a": 2}):  # whether one may is said first
        with pytest.raises(AuthorizationError):
            chmod(ground, bob, oid, **wanted)


def test_handing_over_needs_leave_of_all_three(ground: Ground) -> None:
    alice, bob = ground.newcomer("alice"), ground.newcomer("bob")
    gid = ground.add_group("team")
    oid = ground.document(alice)

    def chown(caller: Caller, uid: int, to: int) -> None:
        ground.change(lambda tx: documents.chown(tx, caller, oid, uid, to))

    with pytest.raises(AuthorizationError) as refused:
        chown(bob, bob.uid, gid)
    assert refused.value.text == (
        f"User [{bob.uid}] : Not authorized to perform MANAGE DOCUMENT [{oid}]; Not authorized to perform USE GROUP [{gid}]."
    )
    with pytest.raises(AuthorizationError, match=rf"MANAGE USER \[{bob.uid}\]"):
        chown(alice, bob.uid, -1)
    chown(alice, alice.uid, 1)  # as it is
    with pytest.raises(CloudError, match=r"Error getting user \[77\]"):
        chown(ADMIN, 77, -1)
    with pytest.raises(CloudError, match="Wrong user or group"):
        chown(ADMIN, -2, -1)
    with pytest.raises(CloudError, match=r"Error getting user \[77\]"):  # what is to have it is looked for first
        ground.change(lambda tx: documents.chown(tx, ADMIN, 99, 77, 88))
    with pytest.raises(CloudError, match=r"Error getting group \[88\]"):
        ground.change(lambda tx: documents.chown(tx, ADMIN, 99, 0, 88))
    chown(ADMIN, bob.uid, gid)
    found = show(ground, oid, bob)
    assert [found.findtext(tag) for tag in ("UID", "GID", "UNAME", "GNAME")] == [str(bob.uid), str(gid), "bob", "team"]
    assert (visible(ground, bob), visible(ground, alice)) == ([oid], [])


def test_a_copy_is_new_and_needs_use_of_its_source(ground: Ground) -> None:
    alice, bob = ground.newcomer("alice"), ground.newcomer("bob")
    oid = ground.document(alice, rest="TEXT = secret")
    chmod(ground, alice, oid, owner_m=0)
    lock(ground, ADMIN, oid, 2)
    with pytest.raises(AuthorizationError, match=rf"Not authorized to perform USE DOCUMENT \[{oid}\]"):
        ground.change(lambda tx: documents.clone(tx, bob, oid, "mine"))
    copy = ground.change(lambda tx: documents.clone(tx, alice, oid, "copy"))
    found = show(ground, copy)
    assert (found.findtext("NAME"), found.findtext("TEMPLATE/TEXT"), found.findtext("TYPE")) == ("copy", "secret", "200")
    assert found.find("LOCK") is None
    assert bits(ground, copy) == "110000000"
    assert ground.document(alice, name="copy") == copy + 1  # names may be equal


def test_a_lock_stops_what_it_says_for_all(ground: Ground) -> None:
    alice = ground.newcomer("alice")
    oid = ground.document(alice)

    def rename(caller: Caller) -> None:
        ground.change(lambda tx: documents.rename(tx, caller, oid, "renamed"))

    lock(ground, alice, oid, 3)
    rename(alice)  # asks for MANAGE, the lock is for ADMIN
    with pytest.raises(AuthorizationError, match=rf"User \[0\] : DOCUMENT is locked. \[{oid}\]\.$"):
        chmod(ground, ADMIN, oid, owner_a=1)
    lock(ground, alice, oid, 2)
    with pytest.raises(AuthorizationError, match=rf"User \[{alice.uid}\] : Not authorized to perform MANAGE DOCUMENT \[{oid}\]\."):
        rename(alice)
    with pytest.raises(AuthorizationError, match="DOCUMENT is locked"):
        ground.change(lambda tx: documents.delete(tx, ADMIN, oid))
    ground.change(lambda tx: documents.clone(tx, alice, oid, "copy"))  # USE
    lock(ground, alice, oid, 4)
    found = show(ground, oid, alice)
    assert [found.findtext(f"LOCK/{tag}") for tag in ("LOCKED", "OWNER", "TIME")] == ["1", str(alice.uid), str(NOW)]
    with pytest.raises(AuthorizationError):
        ground.change(lambda tx: documents.clone(tx, alice, oid, "copy"))
    ground.change(lambda tx: documents.unlock(tx, alice, oid))
    rename(alice)
    ground.change(lambda tx: documents.unlock(tx, alice, oid))  # free already


def test_a_lock_belongs_to_who_set_it(ground: Ground) -> None:
    alice, bob = ground.newcomer("alice"), ground.newcomer("bob")
    oid = ground.document(alice)
    chmod(ground, alice, oid, group_u=1, group_m=1)
    lock(ground, alice, oid, 2)
    with pytest.raises(ActionError, match="Lock is owned by another user"):
        ground.change(lambda tx: documents.unlock(tx, bob, oid))
    with pytest.raises(ActionError, match=r"Error trying to lock the resource\."):
        lock(ground, bob, oid, 1)
    with pytest.raises(ActionError, match=f"^{NOW}$"):
        lock(ground, alice, oid, 1, test=True, now=NOW + 5)
    with pytest.raises(CloudError, match="Wrong lock level specified") as refused:
        lock(ground, alice, oid, 5)
    assert refused.value.code == 0x800
    lock(ground, ADMIN, oid, 1)
    with pytest.raises(ActionError):
        ground.change(lambda tx: documents.unlock(tx, alice, oid))
    ground.change(lambda tx: documents.unlock(tx, ADMIN, oid))
    assert show(ground, oid).find("LOCK") is None


def test_a_deleted_document_takes_along_the_rule_about_it(ground: Ground) -> None:
    bob = ground.newcomer("bob")
    oid = ground.document(ADMIN)
    before = ground.rules()
    ground.allow(f"#{bob.uid} DOCUMENT/#{oid} USE+MANAGE #0")
    assert visible(ground, bob) == [oid]
    ground.write(lambda tx: documents.delete(tx, bob, oid))
    assert ground.rules() == before
    with pytest.raises(CloudError, match=r"Error getting document \[0\]"):
        show(ground, oid)


def test_a_body_over_the_limit_is_refused(ground: Ground) -> None:
    with pytest.raises(CloudError, match="larger than 4 MiB"):
        ground.document(ADMIN, rest=f'TEXT = "{"x" * (4 << 20)}"')
    assert visible(ground, ADMIN) == []

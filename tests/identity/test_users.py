"""Users: every operation, its effects and refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from koinon.database.transactions import SharedTx
from koinon.errors import ActionError, AuthorizationError, BadArgumentError, CloudError, InternalError, NotFoundError, TakenError
from koinon.identity import groups, login_tokens, passwords, users
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN, Site


def refusal(kind: type[CloudError], site: Site, job: Callable[[SharedTx], object]) -> str:
    with pytest.raises(kind) as caught:
        site.write(job)
    return caught.value.text


def test_a_user_of_an_administrator_lands_in_group_users(site: Site) -> None:
    uid = site.add_user("ada")
    user = site.user(uid)
    assert (uid, user.gid, user.groups, user.gname, user.driver, user.enabled) == (2, 1, [1], "users", "core", True)
    assert user.template.get("TOKEN_PASSWORD") == "33" * 32
    assert site.members(1) == [2]


def test_a_user_made_by_another_lands_in_that_ones_primary_group(site: Site) -> None:
    gid = site.add_group("lab")
    boss = site.add_user("boss", gid)
    site.write(lambda tx: groups.add_admin(tx, ADMIN, gid, boss))
    uid = site.add_user("pupil", by=site.caller(boss))
    assert site.user(uid).groups == [gid]


def test_the_first_listed_group_is_primary(site: Site) -> None:
    gid = site.add_group("lab")
    user = site.user(site.add_user("ada", gid, 1))
    assert (user.gid, user.groups) == (gid, [1, gid])


def test_names_are_unique_and_ids_are_never_given_twice(site: Site) -> None:
    uid = site.add_user("ada")
    assert refusal(TakenError, site, lambda tx: users.create(tx, ADMIN, "ada", "x", "", (), token_password="k")) == (
        f"NAME is already taken by USER {uid}."
    )
    site.write(lambda tx: users.delete(tx, ADMIN, uid))
    assert site.add_user("ada") == uid + 1


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a<b", "x" * 129, "a\x07b"])
def test_a_bad_name_is_refused(site: Site, name: str) -> None:
    with pytest.raises(InternalError, match="Invalid NAME"):
        site.add_user(name)


def test_an_unknown_group_is_named(site: Site) -> None:
    with pytest.raises(NotFoundError, match=r"Error getting group \[77\]\."):
        site.add_user("ada", 77)


def test_a_plain_user_creates_nobody(site: Site) -> None:
    gid = site.add_group("lab")
    caller = site.caller(site.add_user("ada"))
    with pytest.raises(AuthorizationError) as caught:
        site.add_user("eve", 1, gid, by=caller)
    assert caught.value.text == f"User [2] : Not authorized to perform CREATE USER; Not authorized to perform MANAGE GROUP [{gid}]."


def test_deleting_takes_the_user_out_of_groups_and_drops_its_rules(site: Site) -> None:
    gid = site.add_group("lab")
    uid = site.add_user("ada", gid)
    before = site.rules()
    site.write(lambda tx: groups.add_admin(tx, ADMIN, gid, uid))
    site.write(lambda tx: users.delete(tx, ADMIN, uid))
    assert site.members(gid) == []
    assert site.rules() == before
    assert site.read(lambda tx: groups.get(tx, gid)).admins == []
    with pytest.raises(NotFoundError):
        site.user(uid)


def test_user_zero_stays(site: Site) -> None:
    assert refusal(ActionError, site, lambda tx: users.delete(tx, ADMIN, 0)) == "Cannot delete user. oneadmin cannot be deleted."
    assert refusal(ActionError, site, lambda tx: users.set_enabled(tx, ADMIN, 0, False)) == "Cannot enable/disable oneadmin user"
    gid = site.add_group("lab")
    assert refusal(InternalError, site, lambda tx: users.change_primary_group(tx, ADMIN, 0, gid)) == (
        "user [0] oneadmin cannot be moved outside of the group [0] oneadmin"
    )


def test_a_new_password_ends_the_tokens(site: Site) -> None:
    uid = site.add_user("ada")
    caller = site.caller(uid)
    site.write(lambda tx: login_tokens.request(tx, caller, "ada", "t", -1, -1, generated="g", now=1, max_token_s=-1))
    site.write(lambda tx: users.set_verifier(tx, caller, uid, "dd" * 32, driver="core"))
    assert (site.user(uid).password, site.user(uid).tokens) == ("dd" * 32, [])


def test_a_password_hashed_for_another_driver_is_not_stored(site: Site) -> None:
    uid = site.add_user("ada")
    site.write(lambda tx: users.change_driver(tx, ADMIN, uid, "ssh", "key"))
    assert "changed to ssh" in refusal(ActionError, site, lambda tx: users.set_verifier(tx, ADMIN, uid, "x", driver="core"))
    assert site.user(uid).password == "key"


def test_only_administrators_change_passwords_that_the_driver_keeps(site: Site) -> None:
    uid = site.add_user("ada", driver="x509", verifier="dn")
    caller = site.caller(uid)
    assert refusal(ActionError, site, lambda tx: users.driver_of(tx, caller, uid)) == "Password for driver x509 cannot be changed."
    assert site.read(lambda tx: users.driver_of(tx, ADMIN, uid)) == "x509"


def test_a_password_becomes_a_verifier_for_core_only(site: Site) -> None:
    hasher = passwords.Hasher()
    try:
        stored = site.run(users.new_verifier(hasher, "pw", "", "scrypt"))
        assert passwords.verify("pw", stored)
        assert site.run(users.new_verifier(hasher, "a/dn", "x509", "scrypt")) == "a/dn"
        with pytest.raises(ActionError, match=r"^Invalid password, it cannot be empty$"):
            site.run(users.new_verifier(hasher, "", "core", "scrypt"))
        with pytest.raises(InternalError, match=r"^Invalid password, it cannot be empty\.$"):
            site.run(users.new_verifier(hasher, "", "core", "scrypt", creating=True))
    finally:
        hasher.close()


def test_a_driver_change_without_password_keeps_the_old_one(site: Site) -> None:
    uid = site.add_user("ada")
    site.write(lambda tx: users.change_driver(tx, ADMIN, uid, "ldap", ""))
    assert (site.user(uid).driver, site.user(uid).password) == ("ldap", "cc" * 32)
    refusal(ActionError, site, lambda tx: users.change_driver(tx, ADMIN, uid, "a]]>b", ""))


def test_a_new_primary_group_replaces_the_old_one_unless_it_was_a_secondary(site: Site) -> None:
    lab, shop = site.add_group("lab"), site.add_group("shop")
    uid = site.add_user("ada", 1)
    site.write(lambda tx: users.change_primary_group(tx, ADMIN, uid, lab))
    assert (site.user(uid).gid, site.user(uid).gname, site.user(uid).groups) == (lab, "lab", [lab])
    site.write(lambda tx: users.add_group(tx, ADMIN, uid, shop))
    site.write(lambda tx: users.change_primary_group(tx, ADMIN, uid, shop))
    assert (site.user(uid).gid, site.user(uid).groups) == (shop, [lab, shop])
    assert (site.members(1), site.members(lab), site.members(shop)) == ([], [uid], [uid])
    assert refusal(BadArgumentError, site, lambda tx: users.change_primary_group(tx, ADMIN, uid, -1)) == "Wrong group ID"


def test_leaving_a_group_ends_the_role_of_administrator(site: Site) -> None:
    lab = site.add_group("lab")
    uid = site.add_user("ada", 1, lab)
    before = site.rules()
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, uid))
    site.write(lambda tx: users.del_group(tx, ADMIN, uid, lab))
    assert site.rules() == before
    assert site.read(lambda tx: groups.get(tx, lab)).admins == []


def test_secondary_groups(site: Site) -> None:
    lab = site.add_group("lab")
    uid = site.add_user("ada")
    assert refusal(ActionError, site, lambda tx: users.del_group(tx, ADMIN, uid, lab)) == "User is not part of this group"
    site.write(lambda tx: users.add_group(tx, ADMIN, uid, lab))
    assert refusal(ActionError, site, lambda tx: users.add_group(tx, ADMIN, uid, lab)) == "User is already in this group"
    assert refusal(ActionError, site, lambda tx: users.del_group(tx, ADMIN, uid, 1)) == "Cannot remove user from the primary group"


def test_groups_of_a_directorys_users_are_left_alone(site: Site) -> None:
    lab = site.add_group("lab")
    uid = site.add_user("ada", driver="ldap")
    text = "Groups cannot be manually managed for auth driver ldap"
    assert refusal(ActionError, site, lambda tx: users.add_group(tx, ADMIN, uid, lab)) == text
    assert refusal(BadArgumentError, site, lambda tx: users.change_primary_group(tx, ADMIN, uid, lab)) == text


def test_both_missing_rights_are_named(site: Site) -> None:
    lab = site.add_group("lab")
    other, caller = site.add_user("bob"), site.caller(site.add_user("ada"))
    assert refusal(AuthorizationError, site, lambda tx: users.change_primary_group(tx, caller, other, lab)) == (
        f"User [{caller.uid}] : Not authorized to perform MANAGE USER [{other}]; Not authorized to perform USE GROUP [{lab}]."
    )


def test_a_template_is_replaced_or_merged(site: Site) -> None:
    uid = site.add_user("ada")
    caller = site.caller(uid)
    site.write(lambda tx: users.update(tx, caller, uid, 'A="1"\nB="<&>"', 0))
    site.write(lambda tx: users.update(tx, caller, uid, 'A="2"', 1))
    assert (site.user(uid).template.get("A"), site.user(uid).template.get("B")) == ("2", "<&>")
    assert refusal(BadArgumentError, site, lambda tx: users.update(tx, caller, uid, "A=1", 2)) == "Wrong update type"
    assert refusal(InternalError, site, lambda tx: users.update(tx, caller, uid, "A=[", 0)).startswith(
        "Cannot update template. Parse error"
    )


def test_restricted_attributes_belong_to_administrators(site: Site) -> None:
    uid = site.add_user("ada")
    caller = site.caller(uid)
    site.write(lambda tx: users.update(tx, ADMIN, uid, 'VM_USE_OPERATIONS="a"', 0))
    change = 'VM_USE_OPERATIONS="b"'
    assert refusal(InternalError, site, lambda tx: users.update(tx, caller, uid, change, 0)) == (
        "Cannot update template. Tried to change restricted attribute: VM_USE_OPERATIONS"
    )
    assert refusal(InternalError, site, lambda tx: users.update(tx, caller, uid, change, 1)) == (
        "Cannot update template. User Template includes a restricted attribute VM_USE_OPERATIONS"
    )
    site.write(lambda tx: users.update(tx, caller, uid, "C=1", 0))
    assert site.user(uid).template.get("VM_USE_OPERATIONS") == "a"


def test_a_user_over_the_size_of_a_body_is_refused(site: Site) -> None:
    uid = site.add_user("ada")
    huge = "A=" + "x" * (5 * 2**20)
    refusal(InternalError, site, lambda tx: users.update(tx, ADMIN, uid, huge, 0))
    assert site.user(uid).template.get("A") is None


class TestTokens:
    """one.user.login."""

    @staticmethod
    def request(
        site: Site, by: Caller, token: str, valid_s: int, egid: int = -1, *, now: int = 1000, cap: int = -1, name: str = "ada"
    ) -> str:
        return site.write(lambda tx: login_tokens.request(tx, by, name, token, valid_s, egid, generated="made", now=now, max_token_s=cap))

    def test_a_token_is_answered_once_and_stored_as_a_hash(self, site: Site) -> None:
        uid = site.add_user("ada")
        assert self.request(site, site.caller(uid), "", 60) == "made"
        (token,) = site.user(uid).tokens
        assert (token.token_hash, token.expires_at, token.egid) == (login_tokens.hash_of("made"), 1060, -1)

    def test_the_cap_shortens_also_for_ever(self, site: Site) -> None:
        uid = site.add_user("ada")
        self.request(site, site.caller(uid), "a", -1, cap=50)
        self.request(site, site.caller(uid), "b", 20, cap=50)
        assert sorted(token.expires_at for token in site.user(uid).tokens) == [1020, 1050]

    def test_ten_live_tokens_are_the_most(self, site: Site) -> None:
        uid = site.add_user("ada")
        for number in range(10):
            self.request(site, site.caller(uid), f"t{number}", 100)
        with pytest.raises(BadArgumentError, match="Max number of tokens limit reached"):
            self.request(site, site.caller(uid), "one more", 100)
        self.request(site, site.caller(uid), "later", 100, now=1100)
        assert len(site.user(uid).tokens) == 1

    def test_one_or_all_are_removed(self, site: Site) -> None:
        uid = site.add_user("ada")
        for name in "abc":
            self.request(site, site.caller(uid), name, 100)
        self.request(site, site.caller(uid), "a", 0)
        self.request(site, site.caller(uid), login_tokens.hash_of("b")[:16], 0)
        assert [token.token_hash for token in site.user(uid).tokens] == [login_tokens.hash_of("c")]
        with pytest.raises(BadArgumentError, match="Could not find token: zzz"):
            self.request(site, site.caller(uid), "zzz", 0)
        self.request(site, site.caller(uid), "", 0)
        assert site.user(uid).tokens == []

    def test_a_narrowed_session_gets_no_wider_token(self, site: Site) -> None:
        lab = site.add_group("lab")
        uid = site.add_user("ada", 1, lab)
        narrowed = Caller(uid=uid, gid=lab, groups=(lab,), name="ada", zone_id=0)
        with pytest.raises(BadArgumentError, match="Cannot create a full token"):
            self.request(site, narrowed, "t", 100)
        with pytest.raises(BadArgumentError, match="EGID is not in user group list"):
            self.request(site, narrowed, "t", 100, egid=1)
        self.request(site, narrowed, "t", 100, egid=lab)
        assert site.user(uid).tokens[0].egid == lab

    def test_a_groups_administrator_gets_no_token_for_a_members_other_groups(self, site: Site) -> None:
        lab = site.add_group("lab")
        boss = site.add_user("boss", lab)
        site.add_user("ada", lab, 1)
        site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, boss))
        with pytest.raises(BadArgumentError, match="Cannot create a full token"):
            self.request(site, site.caller(boss), "t", 100)

    @pytest.mark.parametrize("valid_s", [-2, 2**41])
    def test_a_time_that_makes_no_sense(self, site: Site, valid_s: int) -> None:
        caller = site.caller(site.add_user("ada"))
        with pytest.raises(BadArgumentError, match="Wrong valid period"):
            self.request(site, caller, "t", valid_s)

    def test_an_unknown_name(self, site: Site) -> None:
        with pytest.raises(NotFoundError, match=r"Error getting user Pool\."):
            self.request(site, ADMIN, "t", 100, name="nobody")

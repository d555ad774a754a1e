"""Verbs that oneuser and onegroup have beside those that are one call: token-set, encode, passwdsearch, a group with its administrator."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn, User


def test_a_token_is_tried_before_it_becomes_the_session(zone: StandIn, koinon: Koinon, home: Path) -> None:
    session = home / ".one" / "one_auth"
    token = koinon("user", "token-create", "serveradmin").out.strip()
    assert "--force" in koinon("user", "token-set", "serveradmin", token).err
    outcome = koinon("user", "token-set", "serveradmin", "wrong", "--force")
    assert outcome.code == 1
    assert session.read_text() == "oneadmin:opennebula\n"
    assert koinon("user", "token-set", "serveradmin", "-", "--force", stdin=token + "\n").code == 0
    assert session.read_text() == f"serveradmin:{token}\n"
    assert stat.S_IMODE(session.stat().st_mode) == 0o600
    assert koinon("user", "token-set", "a", "b", "c", "--force").code == 2


def test_encode_escapes_what_a_session_cannot_hold(koinon: Koinon) -> None:
    outcome = koinon("user", "encode", "cn=a b", "p:w/ä")
    assert (outcome.code, outcome.out) == (0, "cn%3Da%20b:p%3Aw%2F%C3%A4\n")


def test_users_are_found_by_what_their_driver_keeps(zone: StandIn, koinon: Koinon, home: Path) -> None:
    zone.users[5] = User(5, "carol", "x", driver="x509")
    assert koinon("user", "passwdsearch", "x509", "***", "--list", "name").lines == [["NAME"], ["carol"]]
    assert koinon("user", "passwdsearch", "x509", "CN=other", "--list", "name").lines == [["NAME"]]
    assert "<NAME>carol</NAME>" in (found := koinon("user", "passwdsearch", "x509", "*", "--xml").out)
    assert "oneadmin" not in found
    for driver in ("core", "server_cipher"):
        assert "never show" in koinon("user", "passwdsearch", driver, "x").err


def test_a_group_is_made_with_its_administrator_and_what_members_may_create(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("group", "create", "physics", "-u", "chief", "-p", "secret", "-d", "ldap", "-r", "VM+NET")
    assert (outcome.code, outcome.out) == (0, "ID: 100\nADMIN ID: 2\n")
    assert [rule.text() for rule in zone.rules.values()] == ["@100 VM+NET/* CREATE #0"]
    assert zone.made("one.user.allocate") == [["chief", "secret", "ldap", [100]]]
    assert zone.admins == {100: {2}}


def test_what_is_missing_of_a_group_is_said(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("group", "create", "physics", "--admin_user", "oneadmin", "--no-create-rule", stdin="secret\n")
    assert outcome.code == 1
    assert "NAME is already taken" in outcome.err
    assert "The group was made, but not its administrator oneadmin" in outcome.err
    assert koinon("group", "create", "more", "--resources", "VMS").code == 2
    assert koinon("group", "create", "more", "--resources", "VM", "--no-create-rule").code == 2
    assert koinon("group", "create", "more", "--admin_password", "x").code == 2
    assert len(zone.made("one.group.allocate")) == 1


def test_documents_are_shown_as_yaml(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("group", "show", "users", "--yaml").out.startswith('GROUP:\n  ID: "1"\n  NAME: users\n  TEMPLATE: ""\n')
    assert "  USER:\n" in koinon("user", "list", "-y").out
    zone.users[0].tokens = {"abcdefghij": (-1, 1), "klmnopqrst": (-1, -1)}
    assert koinon("user", "token-list", "--filter", "GROUP=*", "--list", "token").lines == [["TOKEN"], ["ffffffffklmnopqr"]]
    assert "abcdefgh" not in koinon("user", "token-list", "--filter", "GROUP=*", "--yaml").out


def test_a_password_is_read_from_a_file_and_hashed_for_drivers_that_want_it(zone: StandIn, koinon: Koinon, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\nnot this\n")
    assert koinon("user", "create", "alice", "-r", str(file)).code == 0
    assert koinon("user", "create", "server", str(file), "-r", "--sha256", "--driver", "server_cipher").code == 0
    assert koinon("user", "passwd", "alice", "other", "--sha256").code == 0
    assert koinon("user", "chauth", "alice", "--driver", "ldap").code == 0
    assert koinon("user", "chauth", "alice", "ssh", "-r", str(file)).code == 0
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    assert [call[1] for call in zone.made("one.user.allocate")] == ["secret", digest]
    assert zone.made("one.user.passwd")[0][1] == "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    assert [call[1:] for call in zone.made("one.user.chauth")] == [["ldap", ""], ["ssh", "secret"]]
    for wrong in (
        ("create", "bob", "-r"),
        ("create", "bob", "-r", str(tmp_path / "none")),
        ("chauth", "alice"),
        ("chauth", "alice", "ssh", "-r"),
    ):
        assert koinon("user", *wrong).code == 2, wrong


def test_one_command_as_somebody_else(zone: StandIn, koinon: Koinon) -> None:
    zone.users[5] = User(5, "carol", "her own")
    assert "NAME    : carol" in koinon("user", "show", "--user", "carol", "--password", "her own").out
    assert "NAME    : carol" in koinon("user", "show", "--user", "carol", stdin="her own\n").out
    assert "NAME    : oneadmin" in koinon("user", "show").out
    assert koinon("user", "show", "--user", "carol", "--password", "wrong").code == 1
    assert "goes with --user" in koinon("user", "show", "--password", "x").err

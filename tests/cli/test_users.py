"""``koinon user``: arguments to calls, answers to tables, refusals to exit codes."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn


def test_create_sends_driver_and_groups_and_prints_the_id(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("user", "create", "alice", "secret", "--driver", "ldap", "--group", "users,0")
    assert (outcome.code, outcome.out) == (0, "ID: 2\n")
    assert zone.made("one.user.allocate") == [["alice", "secret", "ldap", [1, 0]]]


def test_create_takes_the_password_from_standard_input(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "create", "alice", stdin="from a pipe\nrest\n").code == 0
    assert zone.made("one.user.allocate") == [["alice", "from a pipe", "core", []]]


def test_no_password_at_all_is_a_usage_error(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("user", "create", "alice")
    assert outcome.code == 2
    assert "none was given" in outcome.err
    assert zone.calls == []


def test_a_refusal_shows_the_zones_text_and_exits_1(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("user", "create", "oneadmin", "x")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "[one.user.allocate] NAME is already taken by USER 0.\n"


def test_list_is_a_table_in_ascending_order(zone: StandIn, koinon: Koinon) -> None:
    koinon("user", "create", "alice", "x")
    outcome = koinon("user", "list")
    assert outcome.lines == [
        ["ID", "NAME", "ENABLED", "GROUP", "AUTH"],
        ["0", "oneadmin", "yes", "oneadmin", "core"],
        ["1", "serveradmin", "yes", "oneadmin", "server_cipher"],
        ["2", "alice", "yes", "users", "core"],
    ]
    assert "\x1b" not in outcome.out  # this is no terminal


def test_list_shows_the_columns_asked_for(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "list", "--list", "name,gid").lines == [["NAME", "GID"], ["oneadmin", "0"], ["serveradmin", "0"]]
    outcome = koinon("user", "list", "--list", "nmae")
    assert outcome.code == 2
    assert "There are ID, NAME" in outcome.err


def test_list_as_csv_json_and_xml(zone: StandIn, koinon: Koinon) -> None:
    rows = list(csv.DictReader(io.StringIO(koinon("user", "list", "--csv").out)))
    assert [row["NAME"] for row in rows] == ["oneadmin", "serveradmin"]
    document = json.loads(koinon("user", "list", "--json").out)
    assert [user["NAME"] for user in document["USER_POOL"]["USER"]] == ["serveradmin", "oneadmin"]
    assert document["USER_POOL"]["USER"][0]["GROUPS"] == {"ID": ["0"]}
    assert koinon("user", "list", "--xml").out.startswith("<USER_POOL><USER>")


def test_show_by_name_and_of_oneself(zone: StandIn, koinon: Koinon) -> None:
    zone.users[1].template = '<LABEL><![CDATA[say "hi"]]></LABEL><VEC><A><![CDATA[1]]></A><B><![CDATA[2]]></B></VEC>'
    outcome = koinon("user", "show", "serveradmin")
    assert ["NAME", ":", "serveradmin"] in outcome.lines
    assert 'LABEL = "say \\"hi\\""' in outcome.out
    assert zone.made("one.user.info") == [[1]]
    assert ["NAME", ":", "oneadmin"] in koinon("user", "show").lines
    assert zone.made("one.user.info")[-1] == [-1]
    assert json.loads(koinon("user", "show", "1", "--json").out)["USER"]["TEMPLATE"]["VEC"] == {"A": "1", "B": "2"}


def test_text_from_a_zone_cannot_steer_the_terminal(zone: StandIn, koinon: Koinon) -> None:
    zone.users[1].name = "a\u009b31m\u202eb"
    assert "a\\x9b31m\\u202eb" in koinon("user", "list").out


def test_an_unknown_name_is_refused_before_anything_is_changed(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("user", "delete", "nobody")
    assert outcome.code == 1
    assert "No user that you may see is named 'nobody'" in outcome.err
    assert zone.made("one.user.delete") == []


def test_a_list_goes_on_after_a_refusal_and_says_how_many(zone: StandIn, koinon: Koinon) -> None:
    for name in ("alice", "bob"):
        koinon("user", "create", name, "x")
    outcome = koinon("user", "delete", "0,bob,2..2,9")
    assert outcome.code == 1
    assert [call[0] for call in zone.made("one.user.delete")] == [0, 3, 2, 9]
    assert sorted(zone.users) == [0, 1]
    assert "user 0: [one.user.delete] Cannot delete user." in outcome.err
    assert "2 of 4 were refused" in outcome.err


@pytest.mark.parametrize("written", ["5..3", "1..999999", "", "1,,2", "99999999999", "3000000000"])
def test_lists_that_make_no_sense_are_usage_errors(zone: StandIn, koinon: Koinon, written: str) -> None:
    outcome = koinon("user", "enable", written)
    assert outcome.code in (1, 2)  # a number too long for an id is looked for as a name, and not found
    assert zone.made("one.user.enable") == []


def test_enable_and_disable(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "disable", "1").code == 0
    assert not zone.users[1].enabled
    assert koinon("user", "enable", "serveradmin").code == 0
    assert zone.users[1].enabled


def test_groups_of_users(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "addgroup", "0..1", "users").code == 0
    assert koinon("user", "delgroup", "0", "1").code == 0
    assert koinon("user", "chgrp", "serveradmin", "users").code == 0
    assert zone.users[0].groups == {0}
    assert (zone.users[1].groups, zone.users[1].gid) == ({0, 1}, 1)


def test_chauth_without_a_password_keeps_it(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "chauth", "1", "ldap").code == 0
    assert zone.made("one.user.chauth") == [[1, "ldap", ""]]
    assert koinon("user", "chauth", "1", "core", "new").code == 0
    assert zone.users[1].password == "new"


def test_passwd_of_oneself_reminds_of_the_session_file(zone: StandIn, koinon: Koinon, home: Path) -> None:
    assert koinon("user", "passwd", "serveradmin", "other").err == ""
    outcome = koinon("user", "passwd", stdin="changed\n")
    assert outcome.code == 0
    assert str(home / ".one" / "one_auth") in outcome.err
    assert zone.users[0].password == "changed"


def test_update_from_a_file_and_from_standard_input(zone: StandIn, koinon: Koinon, tmp_path: Path) -> None:
    (tmp_path / "template").write_text('LABEL = "ä"')
    assert koinon("user", "update", "serveradmin", str(tmp_path / "template")).code == 0
    assert koinon("user", "update", "1", "-", "--append", stdin="MORE = 1").code == 0
    assert zone.made("one.user.update") == [[1, 'LABEL = "ä"', 0], [1, "MORE = 1", 1]]


def test_update_from_what_cannot_be_read_sends_nothing(zone: StandIn, koinon: Koinon, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"LABEL = \xe4")
    for source in ("latin", "missing", "."):
        outcome = koinon("user", "update", "1", str(tmp_path / source))
        assert outcome.code == 2
        assert source in outcome.err
    assert zone.made("one.user.update") == []


def test_update_in_an_editor_starts_from_what_the_zone_holds(
    zone: StandIn, koinon: Koinon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.users[1].template = "<LABEL><![CDATA[old]]></LABEL>"
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/old/new/ "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    assert koinon("user", "update", "1").code == 0
    assert zone.made("one.user.update") == [[1, 'LABEL = "new"\n', 0]]
    editor.write_text("#!/bin/sh\n")
    assert "Nothing was changed" in koinon("user", "update", "1").err
    assert len(zone.made("one.user.update")) == 1


def test_login_keeps_a_token_that_only_the_owner_can_read(zone: StandIn, koinon: Koinon, home: Path) -> None:
    path = home / ".one" / "one_auth"
    assert koinon("user", "login", "serveradmin", "x").code == 2  # there is a session file
    assert zone.calls == []
    outcome = koinon("user", "login", "serveradmin", "--force", stdin="x\n")
    assert outcome.code == 0
    assert path.read_text() == "serveradmin:token0\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ["NAME", ":", "serveradmin"] in koinon("user", "show").lines


def test_a_failed_login_keeps_the_session_there_is(zone: StandIn, koinon: Koinon, home: Path) -> None:
    assert koinon("user", "login", "oneadmin", "wrong", "--force").code == 1
    assert (home / ".one" / "one_auth").read_text() == "oneadmin:opennebula\n"


def test_tokens(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "token-create", "--time", "-1").out == "token0\n"
    assert koinon("user", "token-create", "1", "--group", "users").out == "token0\n"
    assert zone.made("one.user.login") == [["oneadmin", "", -1, -1], ["serveradmin", "", 36_000, 1]]
    table = koinon("user", "token-list").lines
    assert table == [["TOKEN", "GROUP", "EXPIRES"], ["fffffffftoken0", "*", "never"]]
    assert koinon("user", "token-delete", "serveradmin", "token0").code == 0
    assert koinon("user", "token-delete", "-", stdin="token0\n").code == 0
    assert [user.tokens for user in zone.users.values()] == [{}, {}]
    koinon("user", "token-create")
    assert koinon("user", "token-delete-all").code == 0
    assert zone.users[0].tokens == {}


@pytest.mark.parametrize(
    "arguments", [("token-create", "--time", "0"), ("token-delete", ""), ("token-delete", "a", "b", "c"), ("token-delete",)]
)
def test_a_slip_never_removes_all_tokens(zone: StandIn, koinon: Koinon, arguments: tuple[str, ...]) -> None:
    """On the wire an empty token with no time means: remove them all."""
    assert koinon("user", *arguments).code == 2
    assert zone.made("one.user.login") == []

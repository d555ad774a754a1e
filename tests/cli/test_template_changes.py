"""``update`` of many objects, with flags, and new templates from an editor."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that keeps what it was given in ``seen`` and adds ``ADDED = 1``."""
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen\necho "ADDED = 1" >> "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    return tmp_path / "seen"


def test_one_text_for_all_objects_of_a_list(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("user", "update", "0..1,9,oneadmin", "-", "-a", stdin="A = 1")
    assert zone.made("one.user.update") == [[0, "A = 1", 1], [1, "A = 1", 1], [9, "A = 1", 1]]
    assert outcome.code == 0


def test_flags_set_attributes_and_let_the_zone_merge(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "update", "0..1", "--set", 'label=say "hi"=x', "--set", "B=").code == 0
    assert zone.made("one.user.update") == [[uid, 'LABEL = "say \\"hi\\"=x"\nB = ""\n', 1] for uid in (0, 1)]
    assert zone.made("one.user.info") == []


def test_flags_remove_attributes_and_keep_the_others(zone: StandIn, koinon: Koinon) -> None:
    zone.users[1].template = "<KEPT>a</KEPT><OLD>b</OLD><OLD>c</OLD><VEC><A>1</A></VEC><NEW>d</NEW>"
    assert koinon("user", "update", "serveradmin", "--unset", "old", "--set", "NEW=e").code == 0
    assert zone.made("one.user.update") == [[1, 'KEPT = "a"\nVEC = [\n  A = "1" ]\nNEW = "e"\n', 0]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "A"),
        ("--set", "1A=1"),
        ("--set", "A B=1"),
        ("--unset", ""),
        ("file", "--set", "A=1"),
        ("--append", "--unset", "A"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(zone: StandIn, koinon: Koinon, arguments: tuple[str, ...]) -> None:
    assert koinon("user", "update", "1", *arguments).code == 2
    assert zone.calls == []


def test_an_editor_opens_on_one_object_only(zone: StandIn, koinon: Koinon, editor: Path) -> None:
    outcome = koinon("user", "update", "0,1")
    assert outcome.code == 2
    assert "For several objects" in outcome.err
    assert not editor.exists()
    assert koinon("user", "update", "0,1", "--append").code == 0
    assert editor.read_text() == ""
    assert zone.made("one.user.update") == [[0, "ADDED = 1\n", 1], [1, "ADDED = 1\n", 1]]


@pytest.mark.parametrize(
    ("arguments", "opened", "call"),
    [
        (("zone", "create", "--edit", "--name", "b"), 'NAME = "b"\nENDPOINT = ""\n', "one.zone.allocate"),
        (("vdc", "create", "lab", "--edit"), 'NAME = "lab"\n# DESCRIPTION = ""\n', "one.vdc.allocate"),
        (("document", "create", "--edit", "--type", "7"), 'NAME = ""\n', "one.document.allocate"),
    ],
)
def test_a_new_template_is_written_in_an_editor(
    zone: StandIn, koinon: Koinon, editor: Path, arguments: tuple[str, ...], opened: str, call: str
) -> None:
    outcome = koinon(*arguments)
    assert outcome.code == 0, outcome.err
    assert editor.read_text() == opened
    assert zone.made(call)[0][0] == f"{opened}ADDED = 1\n"
    assert koinon(*arguments, "-", *(["--name", "x"] if arguments[0] == "vdc" else [])).code == 2


def test_an_editor_that_changes_nothing_makes_nothing(zone: StandIn, koinon: Koinon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "true")
    outcome = koinon("vdc", "create", "--edit")
    assert "nothing was made" in outcome.err
    assert zone.calls == []


def test_umask_is_set_and_taken_away(zone: StandIn, koinon: Koinon) -> None:
    zone.users[1].template = "<UMASK>177</UMASK><KEPT>a</KEPT>"
    assert koinon("user", "umask", "0..1", "027").code == 0
    assert koinon("user", "umask", "1").code == 0
    assert koinon("user", "umask", "1", "").code == 0
    assert zone.made("one.user.update") == [[0, 'UMASK = "027"\n', 1], [1, 'UMASK = "027"\n', 1], *[[1, 'KEPT = "a"\n', 0]] * 2]
    assert koinon("user", "umask", "1", "888").code == 2


def test_what_is_piped_in_is_the_template(zone: StandIn, koinon: Koinon, editor: Path) -> None:
    assert koinon("user", "update", "0,1", "--append", stdin="A = 1\n").code == 0
    assert zone.made("one.user.update") == [[0, "A = 1\n", 1], [1, "A = 1\n", 1]]
    assert koinon("zone", "create", stdin='NAME = "b"\nENDPOINT = "http://b:2633/RPC2"\n').code == 0
    assert koinon("vdc", "create", stdin='NAME = "lab"\n').code == 0
    assert koinon("document", "create", "--type", "7", stdin='NAME = "notes"\n').code == 0
    assert koinon("user", "quota", "1", stdin="VM = [ VMS = 5 ]").code == 0
    assert [zone.made(f"one.{noun}.allocate")[0][0] for noun in ("vdc", "document")] == ['NAME = "lab"\n', 'NAME = "notes"\n']
    assert not editor.exists()


def test_an_empty_pipe_is_no_template(zone: StandIn, koinon: Koinon, editor: Path) -> None:
    """As from a timer, whose standard input is /dev/null: nothing must be replaced by nothing."""
    assert koinon("user", "update", "0", stdin=" \n").code == 0
    assert zone.made("one.user.update") == [[0, "ADDED = 1\n", 0]]
    for noun in ("zone", "vdc"):
        assert koinon(noun, "create").code == 2
    assert koinon("document", "create", "--type", "7").code == 2


@pytest.mark.parametrize(
    ("arguments", "noun"),
    [(("create", "alice", "secret"), "user"), (("create", "physics", "--no-create-rule"), "group")],
)
def test_a_new_object_gets_its_template(
    zone: StandIn, koinon: Koinon, editor: Path, tmp_path: Path, arguments: tuple[str, ...], noun: str
) -> None:
    file = tmp_path / "template"
    file.write_text("A = 1\n")
    for name, options in (("a", ("--template", str(file))), ("b", ("--set", "A=1", "--set", "b=2")), ("c", ("--edit",)), ("d", ())):
        assert koinon(noun, arguments[0], arguments[1] + name, *arguments[2:], *options).code == 0
    assert [call[1:] for call in zone.made(f"one.{noun}.update")] == [["A = 1\n", 1], ['A = "1"\nB = "2"\n', 1], ["ADDED = 1\n", 1]]
    assert koinon(noun, *arguments, "--edit", "--set", "A=1").code == 2
    assert koinon(noun, *arguments, "--template", str(tmp_path / "none")).code == 2
    assert len(zone.made(f"one.{noun}.allocate")) == 4


def test_an_editor_left_alone_makes_no_user(zone: StandIn, koinon: Koinon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "true")
    assert "nothing was made" in koinon("user", "create", "alice", "secret", "--edit").err
    assert zone.calls == []


def test_what_is_missing_of_a_new_object_is_said(zone: StandIn, koinon: Koinon) -> None:
    zone.unserved = {"one.user.update", "one.acl.addrule"}
    outcome = koinon("user", "create", "alice", "secret", "--set", "A=1")
    assert (outcome.code, outcome.out) == (1, "ID: 2\n")
    assert "The user was made, but not its template. Set it with `oneuser update 2`." in outcome.err
    outcome = koinon("group", "create", "physics", "--set", "A=1", "-u", "chief", "-p", "secret")
    assert outcome.code == 1
    for missing in ("the rule that lets its members", "its administrator chief", "its template"):
        assert f"The group was made, but not {missing}" in outcome.err

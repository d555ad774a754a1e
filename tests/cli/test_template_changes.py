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

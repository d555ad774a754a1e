"""Completion, asked of the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from koinon.cli.completion import words_of
from koinon.cli.main import NOUNS, SHELLS, root
from tests.cli.conftest import Koinon

#: what is typed up to the cursor; one of the words offered, and one that must not be
TYPED = [
    ("koinon ", "user", "create"),
    ("koinon user ", "umask", "user"),
    ("koinon user li", "list", "create"),
    ("oneuser ", "create", "server"),
    ("oneacl ", "explain", "umask"),
    ("oneuser list --", "--all-zones", "--status"),
    ("onezone list --", "--status", "--driver"),
    ("koinon zone list --", "--status", "--driver"),
    ("oneuser update alice --", "--unset", "--driver"),
    ("koinon completion ", "fish", "user"),
    ("koinon server --", "--config", "--zone"),
]

BASH = """source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _koinon; printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """compdef() { : }; source "$1"; shift
_describe() { print -rl -- ${${(P)2}%%:*} }
_files() { print files }
complete_here() { local -a words; words=("$@"); local CURRENT=$# PREFIX=${@[-1]}; offer }
functions -c _koinon offer; complete_here "$@"
"""


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        absent = f"{name} is not on this machine"
        if os.environ.get("CI"):
            pytest.fail(f"{absent}; .ci/run installs it")
        pytest.skip(absent)
    return name


def offered(shell: str, script: str, typed: str, folder: Path) -> list[str]:
    """The words that the shell offers."""
    file = folder / f"completion.{shell}"
    file.write_text(script)
    words = typed.split(" ")
    match shell:
        case "bash":
            command = ["bash", "-c", BASH, "bash", str(file), *words]
        case "zsh":
            command = ["zsh", "-f", "-c", ZSH, "zsh", str(file), *words]
        case _:
            command = ["fish", "--no-config", "-c", f"source {file}; complete -C '{typed}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)
    assert done.stderr == ""
    prefix = words[-1]
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line.startswith(prefix)]


def test_a_shell_offers_what_may_follow(shell: str, koinon: Koinon, tmp_path: Path) -> None:
    script = koinon("completion", shell).out
    for typed, wanted, unwanted in TYPED:
        words = offered(shell, script, typed, tmp_path)
        assert wanted in words, typed
        assert unwanted not in words, typed


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_names_every_verb_and_needs_no_zone(koinon: Koinon, shell: str) -> None:
    outcome = koinon("completion", shell)
    assert outcome.code == 0
    for noun, one in NOUNS.items():
        for row in one.rows():
            assert f"{noun} {row.verb}" in outcome.out
    assert "$(koinon" not in outcome.out  # static: no key press starts a program


def test_unknown_shells_are_refused(koinon: Koinon) -> None:
    assert koinon("completion", "tcsh").code == 2


def test_texts_of_help_cannot_end_their_quotes(koinon: Koinon) -> None:
    everything = words_of(root(lambda config, workers: 0))
    assert any("'" in flag.help for word in everything.then for verb in word.then for flag in verb.flags)
    for line in koinon("completion", "fish").out.splitlines():
        assert line.count("'") % 2 == 0

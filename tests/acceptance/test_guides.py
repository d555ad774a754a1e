"""Pages for people show nothing that was not run: each page is followed by a test, each command in its text was typed in some page.

Not here: what the commands show (a test for each page, beside this one); how a page is read and followed (guide_page.py, machines.py).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from koinon.cli.main import NOUNS
from tests.acceptance import guide_page, machines
from tests.acceptance.guide_page import NotRun, Part, Step, WrongPage

PAGES: Final = [guide_page.ROOT / "README.md", *sorted(guide_page.GUIDES.glob("*.md"))]
TESTS: Final = [*sorted(Path(__file__).parent.glob("test_*.py")), guide_page.ROOT / "tests/api/test_json_guide.py"]

_SYSTEM: Final = "it changes the system and needs its package archive"
_PYTHON: Final = "it needs the package index; `make .venv/.installed`, before any test, installs the same way from the same kind of list"
_SOURCE: Final = "it needs the repository's own address"

_SERVER: Final = "it administers a database server of the system's"
#: every command of a block `sh not-run`, and why no test runs it
NOT_RUN: Final = {
    "make demo    # a federation of three zones on this machine, until Ctrl-C": "tests/federation/test_real_demo.py runs it to its end",
    "koinon server --config koinon.toml --workers 2": "tests/federation/test_real_processes.py starts it, on the two database servers",
    "make test    # every check and test": "it is what runs the tests",
    "python3 -m venv venv": _PYTHON,
    "venv/bin/pip install --require-hashes -r requirements.txt": _PYTHON,
    "venv/bin/pip install --no-deps .": _PYTHON,
    "apt install git python3-venv": _SYSTEM,
    "adduser --system --group --no-create-home --home /var/lib/koinon koinon": _SYSTEM,
    "git clone ADDRESS-OF-THIS-REPOSITORY /usr/local/src/koinon": _SOURCE,
    "python3 -m venv /opt/koinon": _PYTHON,
    "/opt/koinon/bin/pip install --require-hashes -r /usr/local/src/koinon/requirements.txt": _PYTHON,
    "/opt/koinon/bin/pip install --no-deps /usr/local/src/koinon": _PYTHON,
    "ln -s /opt/koinon/bin/koinon /opt/koinon/bin/one* /usr/local/bin/": "it changes the system",
    "apt install nginx-light": _SYSTEM,
    "sudo -u postgres createuser --pwprompt koinon": _SERVER,
    "sudo -u postgres createdb --owner koinon --encoding UTF8 --template template0 koinon": _SERVER,
    'mariadb -e "CREATE DATABASE koinon CHARACTER SET utf8mb4"': _SERVER,
    "mariadb -e \"CREATE USER koinon@'%' IDENTIFIED BY 'SECRET'; GRANT ALL ON koinon.* TO koinon@'%'\"": _SERVER,
    "nginx -t": "nginx is not among what tests need; a proxy of ours stands for it (test_install_guide.py)",
    "systemctl reload nginx": "nginx is not among what tests need; a proxy of ours stands for it (test_install_guide.py)",
    "git -C /usr/local/src/koinon pull": _SOURCE,
    "/opt/koinon/bin/pip install --no-deps --force-reinstall /usr/local/src/koinon": _PYTHON,
}

_IN_TEXT = re.compile(r"`([^`\n]+)`")
_CALL = re.compile(
    r"(?:\bkoinon (?P<noun>[a-z]+)|\bone(?P<one>user|group|vdc|cluster|host|document|acl|zone))\b"
    r"(?P<rest>(?:'[^']*'|\"[^\"]*\"|[^|;<>`)'\"])*)"
)
_OPTION = re.compile(r"(?<!\S)--?[a-z][\w-]*")
_ALL: Final = ""  #: stands for any verb


def _parts() -> Iterator[Part]:
    for page in PAGES:
        yield from guide_page.parts(page)


def _calls(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """Noun, verb and options of each of our commands in ``text``."""
    for call in _CALL.finditer(text):
        words = call["rest"].split()
        verb = words[0] if words and re.fullmatch(r"[a-z][a-z-]*", words[0]) else _ALL
        yield call["noun"] or call["one"], verb, set(_OPTION.findall(call["rest"]))


def _typed() -> dict[tuple[str, str], set[str]]:
    """All that tests run: noun and verb, and the options that were given with them."""
    found: dict[tuple[str, str], set[str]] = {}
    for step in (part for part in _parts() if isinstance(part, Step)):
        for noun, verb, options in _calls(step.command):
            found.setdefault((noun, verb), set()).update(options)
            found.setdefault((noun, _ALL), set()).update(options)
    return found


def test_every_page_is_followed_by_a_test() -> None:
    followed = []
    for path in TESTS:
        name = ".".join(path.relative_to(guide_page.ROOT).with_suffix("").parts)
        page = getattr(importlib.import_module(name), "PAGE", None)
        if page is not None:
            assert "guide_page.follow(PAGE, " in path.read_text(), path
            followed.append(page)
    assert sorted(followed) == sorted(PAGES)


def test_what_no_test_runs_is_listed_with_its_reason() -> None:
    assert {part.command for part in _parts() if isinstance(part, NotRun)} == set(NOT_RUN)


def test_what_is_played_is_called() -> None:
    called = {part.command.split()[0] for part in _parts() if isinstance(part, Step) and part.zone}
    assert set(machines.PLAYED) <= called


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_text_was_typed(page: Path) -> None:
    """In some page, with every option that the text names."""
    typed = _typed()
    options = set().union(*typed.values())
    for span in _IN_TEXT.findall(guide_page.prose(page)):
        for noun, verb, named in _calls(span):
            assert (noun, verb) in typed, span
            assert named <= typed[noun, verb], span
        if span.startswith("--"):
            assert set(_OPTION.findall(span)) <= options, span


def test_every_verb_was_typed() -> None:
    assert {(noun, row.verb) for noun, one in NOUNS.items() for row in one.rows()} - _typed().keys() == set()


@pytest.mark.parametrize(
    "text",
    [
        "```\nathens$ oneuser list\n```\n",
        "```sh\noneuser list\n```\n",
        "```console\nID  NAME\n```\n",
        "```console\nathens$ oneuser list\n",
        "See:\n\n    oneuser list\n",
    ],
    ids=["no kind", "shell", "output alone", "no end", "indented"],
)
def test_a_block_that_nobody_can_follow_is_refused(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(WrongPage):
        guide_page.parts(page)


SESSION: Final = """\
```console
athens$ koinon federation init
FEDERATION : 0123456789abcdef
athens$ koinon federation invite corinth
koinon1.aaaaaaa...bbbbbbbb
invited until 2026-01-01 00:00:00 UTC
corinth$ koinon federation join koinon1.aaaaaaa...bbbbbbbb
FEDERATION : 0123456789abcdef
```
"""


@pytest.mark.parametrize(
    ("last", "agrees"),
    [("FEDERATION : fedcba9876543210\n", True), ("FEDERATION : fedcba9876543211\n", False), ("FEDERATION : -\n", False), ("", False)],
    ids=["the same", "another federation", "no federation", "nothing"],
)
def test_values_of_a_run_go_together_as_those_of_the_page(last: str, agrees: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide_page, "REWRITE", False)
    page = tmp_path / "page.md"
    page.write_text(SESSION)
    outputs = iter(["FEDERATION : fedcba9876543210\n", "koinon1.ccccccc...dddddddd\ninvited until 2027-07-07 07:07:07 UTC\n", last])
    typed = []

    def do(part: Part, _shown: object) -> str:
        assert isinstance(part, Step)
        typed.append(part.command)
        return next(outputs)

    seen, shown = guide_page.follow(page, do)
    assert typed[2] == "koinon federation join koinon1.ccccccc...dddddddd"
    assert (seen == shown) is agrees


def test_a_page_that_is_rewritten_is_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide_page, "REWRITE", True)
    page = tmp_path / "page.md"
    page.write_text(SESSION)
    run = ["FEDERATION : fedcba9876543210\n", "koinon1.ccccccc...dddddddd\nno time\n", "FEDERATION : fedcba9876543210\n(exit code 1)\n"]
    outputs = iter(run)
    guide_page.follow(page, lambda part, _shown: next(outputs))
    assert page.read_text() == (
        "```console\nathens$ koinon federation init\nFEDERATION : fedcba9876543210\nathens$ koinon federation invite corinth\n"
        "koinon1.ccccccc...dddddddd\nno time\ncorinth$ koinon federation join koinon1.ccccccc...dddddddd\n"
        "FEDERATION : fedcba9876543210\n(exit code 1)\n```\n"
    )

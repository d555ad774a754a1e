"""The documents say what is so: links lead somewhere, lists are complete, commands exist.

Not here: the page of settings (test_settings.py), the page of commands (cli/test_documents.py).
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from koinon.cli import moving_commands
from koinon.cli.main import root

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
# What must not be read in a public repository: where packages come from, and places on the machine where it was written.
_FORBIDDEN = re.compile(
    "|".join(
        (
            r"pypi\." + "org",
            r"pythonhosted\." + "org",
            "files\\.python" + "hosted",
            r"registry\.npm" + "js",
            "/" + r"work/",
            "/" + r"opt/pypi",
        )
    )
)
_PROSE = ("*.md", "*.toml", "*.txt", "Makefile", ".ci/run")


def _tracked(*patterns: str) -> list[Path]:
    """Files of the repository; a copy without its history is searched instead."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return sorted(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())
    found = {path for pattern in patterns for path in ROOT.rglob(pattern) if not {".venv", "node_modules"} & set(path.parts)}
    return sorted(found)


DOCUMENTS = _tracked("*.md")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    wrong = []
    for target in _LINK.findall(document.read_text()):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        there = (document.parent / path).resolve() if path else document
        if not there.exists() or (heading and heading not in _anchors(there.read_text())):
            wrong.append(target)
    assert not wrong


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", _tracked(*_PROSE), ids=_name)
def test_no_document_names_a_registry_or_a_place_on_a_machine(document: Path) -> None:
    assert not _FORBIDDEN.findall(document.read_text())


def test_the_codemap_is_the_tree() -> None:
    """Every package and top module is in the map, in the order that import-linter holds, and nothing else is."""
    codemap = _section((ROOT / "ARCHITECTURE.md").read_text(), "Codemap").partition("src/koinon/\n")[2].partition("\n\n")[0]
    mapped = re.findall(r"^  (\w+)/ ", codemap, re.MULTILINE)
    there = {path.name for path in (ROOT / "src/koinon").iterdir() if (path / "__init__.py").exists()}
    assert sorted(mapped) == sorted(there)
    modules = {path.name for path in (ROOT / "src/koinon").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\b\w+\.py\b", "\n".join(line for line in codemap.splitlines() if re.match(r"  \w+\.py", line)))) == modules
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    ordered = [layer.removeprefix("koinon.") for layer in layers if "|" not in layer]
    assert mapped == [name for name in ordered if name in there]


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text)
    assert named
    assert not [name for name in named if not (ROOT / "src/koinon" / name).exists()]


def test_the_federations_page_names_all_of_its_modules() -> None:
    """Each part of the page says which modules it argues for; together they are the package."""
    package = ROOT / "src/koinon/federation"
    parts = re.findall(r"^Modules: (.*?)\.\s", (package / "DESIGN.md").read_text().replace("; ", ". "), re.MULTILINE | re.DOTALL)
    named = [name for part in parts for name in re.findall(r"`(\w+)`", part)]
    assert sorted(named) == sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        match[0] for text in (*project["dependencies"], *project["optional-dependencies"]["dev"]) if (match := _REQUIREMENT.match(text))
    }
    page = (ROOT / "docs/decisions/0009-dependencies.md").read_text()
    given = {name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert given == wanted


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, document


def test_commands_in_the_guide_exist() -> None:
    """Each command in a block of shell, and each in the text, is one that the command line has, with options that it has."""
    commands = root(lambda config, workers: 0, moving_commands.commands(_nothing))
    runner = CliRunner()
    seen = set()
    for document in DOCUMENTS:
        for noun, verb in re.findall(r"\bkoinon (database|federation|user|group|acl|zone) ([a-z][a-z-]+)", document.read_text()):
            seen.add((noun, verb))
        for noun, verb in re.findall(r"(?:^|[`$ (])one(user|group|acl|zone) ([a-z][a-z-]+)", document.read_text(), re.MULTILINE):
            seen.add((noun, verb))
    assert {("federation", "join"), ("database", "copy")} <= seen
    for noun, verb in sorted(seen):
        assert runner.invoke(commands, [noun, verb, "--help"]).exit_code == 0, f"koinon {noun} {verb}"
    for verb in ("backup", "restore"):
        assert runner.invoke(commands, [verb, "--help"]).exit_code == 0


def _nothing(operation: str, config: Path | None, **arguments: object) -> dict[str, Any]:
    raise AssertionError(f"help does nothing ({operation})")


@pytest.mark.parametrize("page", _tracked("docs/decisions/*.md"), ids=_name)
def test_decisions_say_what_why_when_and_what_not(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}: ")
    assert re.search(r"^20\d\d-\d\d-\d\d$", text, re.MULTILINE)
    assert "**Not taken.**" in text


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(page.name[:4]) for page in _tracked("docs/decisions/*.md")]
    assert numbers == list(range(1, len(numbers) + 1))

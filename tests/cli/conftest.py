"""A zone to talk to, and the command line as a function."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from koinon.cli.commands import run
from koinon.cli.main import root
from tests.cli.stand_in import StandIn


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """Words of each line printed."""
        return [line.split() for line in self.out.splitlines()]


class Koinon(Protocol):
    """``koinon ARGUMENTS``."""

    def __call__(self, *arguments: str, stdin: str = "") -> Outcome: ...


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of a user who has logged in, and nothing else in the environment that we read."""
    for name in ("ONE_XMLRPC", "ONE_AUTH", "KOINON_STATE_DIR", "KOINON_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".one").mkdir()
    (tmp_path / ".one" / "one_auth").write_text("oneadmin:opennebula\n")
    return tmp_path


@pytest.fixture
def zone(home: Path) -> Iterator[StandIn]:
    """Zone 0, at the address that the home directory names."""
    with StandIn() as zone:
        (home / ".one" / "one_endpoint").write_text(zone.url + "\n")
        yield zone


@pytest.fixture
def koinon(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Koinon:
    """Run a command in this process."""

    def call(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        code = run(root(_no_server), "koinon", arguments)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Outcome(code, printed.out, printed.err)

    return call


def _no_server(config: Path | None, workers: int) -> int:
    raise AssertionError(f"no test starts a server here ({config})")

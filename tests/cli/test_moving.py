"""The commands that move databases, on a real one: what they print, what they refuse, what they load."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from koinon.database.database import Database

SCRIPT = "import sys; from koinon.__main__ import main\nsys.argv = ['koinon', *sys.argv[1:]]\nsys.exit(main())"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings of a stopped zone that holds nothing yet."""
    state = tmp_path / "state"
    state.mkdir()

    async def make() -> None:
        database = Database.open(f"sqlite:///{state}/koinon.db")
        database.start()
        await database.close()

    asyncio.run(make())
    file = tmp_path / "koinon.toml"
    file.write_text(f'state_dir = "{state}"\n')
    return file


def koinon(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"KOINON_DEBUG": ""}, stdin=subprocess.DEVNULL
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_zone_is_backed_up_restored_and_copied(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "nightly"
    written = koinon("backup", file, "--config", config)
    assert written.returncode == 0, written.stderr
    assert str(file) in written.stdout
    assert "one_auth" in written.stderr
    unasked = koinon("restore", file, "--replace", "--config", config)
    assert unasked.returncode == 1
    assert "standalone" in unasked.stdout
    assert "--yes" in unasked.stderr
    restored = koinon("restore", file, "--replace", "--yes", "--config", config)
    assert restored.returncode == 0, restored.stderr
    assert "Start the zone" in restored.stderr
    copied = koinon("database", "copy", "--to", f"sqlite:///{tmp_path}/copy.db", "--config", config)
    assert copied.returncode == 0, copied.stderr
    assert "ready" in copied.stdout
    monkeypatch.setenv("KOINON_COPY_TO", f"sqlite:///{tmp_path}/copy.db")
    again = koinon("database", "copy", "--config", config)
    assert again.returncode == 1
    assert "a zone that moved to" in again.stderr
    reopened = koinon("database", "reopen", "--config", config)
    assert reopened.returncode == 0, reopened.stderr
    assert "koinon.db" in reopened.stdout
    again = koinon("database", "copy", "--config", config)
    assert again.returncode == 1
    assert "--replace" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("backup",), 2, "FILE"),
        (("backup", "/nowhere/at/all"), 1, "/nowhere/at is no directory"),
        (("restore", "/nowhere"), 2, "No such file"),
        (("restore", __file__), 1, "no backup of a zone"),
        (("database", "copy"), 2, "--to"),
        (("database", "reopen"), 1, "is open"),
        (("database", "copy", "--to", "nonsense"), 1, "not the address of a database"),
        (("database", "copy", "--to", "postgresql://nobody@127.0.0.1:1/none"), 1, "can't be reached"),
        (("database", "copy", "--to", "mysql://nobody@127.0.0.1:none/none"), 1, "not the address of a database"),
        (("database", "copy", "--to", "mysql://nobody:s/cr@t@127.0.0.1/none"), 1, "as %40 %2F"),
    ],
)
def test_what_can_not_be_done_is_said(config: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = koinon(*arguments, "--config", config)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert done.stdout == ""


def test_wrong_settings_are_said(tmp_path: Path) -> None:
    done = koinon("backup", tmp_path / "backup", "--config", tmp_path / "none.toml")
    assert done.returncode == 2
    assert "can't be read" in done.stderr


@pytest.mark.parametrize("command", [("--help",), ("database", "copy", "--help"), ("backup", "--help"), ("restore", "--help")])
def test_help_loads_no_server_code(command: tuple[str, ...]) -> None:
    script = SCRIPT.replace("sys.exit(main())", "main()\nprint(*sorted(sys.modules), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert not {"koinon.daemon", "koinon.database", "sqlalchemy"} & set(done.stderr.split())

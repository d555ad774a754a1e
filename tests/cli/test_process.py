"""The command line as a process: what it loads, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from koinon.cli.commands import run
from koinon.cli.main import NOUNS, root
from tests.cli.stand_in import StandIn

#: what no command may load: it talks to zones, it is none
SERVER = {
    *("sqlalchemy", "uvicorn", "aiohttp", "lxml", "cryptography", "structlog", "starlette", "alembic"),
    *("koinon.daemon", "koinon.api", "koinon.federation", "koinon.identity", "koinon.policy", "koinon.database", "koinon.statements"),
}
#: what only a call needs
CALLING = {"koinon.client.xmlrpc", "koinon.wire", "http", "ssl", "email", "socket"}
#: what only some commands need, so that all others start in under a tenth of a second
#: (a start is measured by hand: `python -X importtime`)
SOME = {
    *("msgspec", "json", "csv", "yaml", "tomllib", "queue", "decimal", "importlib.metadata", "asyncio", "subprocess", "tempfile"),
    *("koinon.settings", "koinon.objects.acl", "koinon.client.admin", "koinon.wire.parameters", "koinon.wire.calls"),
    *(f"koinon.cli.{name}" for name in ("all_zones", "completion", "progress", "rules", "yaml_text", "zone_answers")),
}
#: noun -> its module
MODULES = {noun: row.table.partition(":")[0] for noun, row in NOUNS.items()}


def _python(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=env or dict(os.environ))


def _loaded(command: str) -> set[str]:
    """The modules and packages that a command loads; ``koinon`` stands for the program of that name."""
    program, *arguments = command.split()
    entry = "koinon.__main__ import main" if program == "koinon" else f"koinon.cli.main import {program} as main"
    script = (
        f"import sys; from {entry}\n"
        f"sys.argv = {[program, *arguments]!r}\n"
        "assert main() == 0\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = _python("-c", script)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("command", ["koinon federation status --help", "oneuser list --all-zones --yaml", "koinon completion bash"])
def test_no_command_loads_server_code(command: str, zone: StandIn) -> None:
    assert not SERVER & _loaded(command)


@pytest.mark.parametrize(
    ("command", "noun"),
    [
        ("oneuser list", "user"),
        ("koinon user list", "user"),
        ("onegroup show 0", "group"),
        ("onezone list", "zone"),
        ("onehost list", "host"),
        ("oneacl list", "acl"),
        ("onevdc list", "vdc"),
    ],
)
def test_a_command_loads_only_what_it_needs(command: str, noun: str, zone: StandIn) -> None:
    """Half of what the command line can load, and most of the time of a start, is for something else than a plain list."""
    loaded = _loaded(command)
    assert loaded >= CALLING
    assert not (SERVER | SOME) & loaded
    assert MODULES[noun] in loaded
    # Some verbs of one noun take arguments that are declared with another.
    assert len(set(MODULES.values()) & loaded) <= 2


@pytest.mark.parametrize("command", ["oneuser --help", "oneuser list --help", "koinon --help"])
def test_help_loads_nothing_that_calls_a_zone(command: str, home: Path) -> None:
    assert not (SERVER | SOME | CALLING) & _loaded(command)


def test_each_noun_has_a_command_of_its_own(zone: StandIn) -> None:
    for noun in ("zone", "user", "group", "vdc", "cluster", "host", "document", "acl"):
        arguments = [f"one{noun}", "list", "--xml", *(["--type", "1"] if noun == "document" else [])]
        script = f"import sys; from koinon.cli.main import one{noun}; sys.argv = {arguments!r}; sys.exit(one{noun}())"
        done = _python("-c", script)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"<{noun.upper()}_POOL>")


def _hear_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore it, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_with_130_and_no_traceback(zone: StandIn) -> None:
    zone.hold = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-m", "koinon", "user", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    ) as process:
        assert zone.asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_failure_to_talk_about(zone: StandIn) -> None:
    for uid in range(2, 3000):
        zone.users[uid] = zone.user(1).__class__(uid, f"user{uid}", "x")
    with subprocess.Popen([sys.executable, "-m", "koinon", "user", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "words", ["bogus", "user", "user bogus", "user list --bogus", "user create", "user list --timeout 0", "federation status --config"]
)
def test_wrong_usage_exits_2(words: str, home: Path) -> None:
    done = _python("-m", "koinon", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "--help" in done.stderr


def test_a_mistake_of_ours_is_told_without_a_traceback(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(config: Path | None, workers: int) -> int:
        raise ZeroDivisionError("for the test")

    assert run(root(broken), "koinon", ["server"]) == 70
    assert capsys.readouterr().err.startswith("A mistake in this program: ZeroDivisionError: for the test.")


def test_the_servers_exit_code_is_ours(home: Path, tmp_path: Path) -> None:
    asked: list[tuple[Path | None, int]] = []

    def server(config: Path | None, workers: int) -> int:
        asked.append((config, workers))
        return 4

    assert run(root(server), "koinon", ["server", "--config", str(tmp_path)]) == 4
    assert run(root(server), "koinon", ["server", "--workers", "3"]) == 4
    assert asked == [(tmp_path, 1), (None, 3)]


def test_server_tells_every_mistake_in_its_settings(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "koinon.toml"
    config.write_text("[server]\nport = 99999\n[log]\nlevel = 'loud'\n")
    done = _python("-m", "koinon", "server", "--config", str(config))
    assert done.returncode == 2
    assert "port" in done.stderr
    assert "level" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("create", "alice"), ("update", "0"), ("update", "0", "-"), ("quota", "0", "-")])
def test_a_closed_standard_input_is_told(zone: StandIn, arguments: tuple[str, ...]) -> None:
    script = f"exec 0<&-; EDITOR=false exec {sys.executable} -m koinon user {' '.join(arguments)}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "mistake in this program" not in done.stderr


def test_each_program_tells_its_version() -> None:
    for program in ("oneuser", "onezone"):
        done = _python("-c", f"import sys; from koinon.cli.main import {program}; sys.argv = ['{program}', '-V']; sys.exit({program}())")
        assert (done.returncode, done.stdout) == (0, f"{program} {version('koinon')}\n")

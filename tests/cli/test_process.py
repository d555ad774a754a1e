"""The command line as a process: what it loads, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from koinon.cli.commands import run
from koinon.cli.main import root
from tests.cli.stand_in import StandIn

HEAVY = {"sqlalchemy", "uvicorn", "aiohttp", "lxml", "cryptography", "structlog", "starlette", "alembic"}
SERVER = {"koinon.daemon", "koinon.api", "koinon.federation", "koinon.identity", "koinon.policy", "koinon.database", "koinon.statements"}


def _python(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=env or dict(os.environ))


@pytest.mark.parametrize(
    "command", ["user --help", "federation status --help", "user list", "user list --all-zones --yaml", "completion bash"]
)
def test_no_command_loads_server_code(command: str, zone: StandIn) -> None:
    script = (
        "import sys; from koinon.__main__ import main\n"
        f"sys.argv = ['koinon', *{command.split()!r}]\n"
        "assert main() == 0\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = _python("-c", script)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert "koinon.cli.users" in loaded
    assert not HEAVY & loaded
    assert not SERVER & loaded


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
    def broken(config: Path | None) -> int:
        raise ZeroDivisionError("for the test")

    assert run(root(broken), "koinon", ["server"]) == 70
    assert capsys.readouterr().err.startswith("A mistake in this program: ZeroDivisionError: for the test.")


def test_the_servers_exit_code_is_ours(home: Path, tmp_path: Path) -> None:
    asked: list[Path | None] = []

    def server(config: Path | None) -> int:
        asked.append(config)
        return 4

    assert run(root(server), "koinon", ["server", "--config", str(tmp_path)]) == 4
    assert run(root(server), "koinon", ["server"]) == 4
    assert asked == [tmp_path, None]


def test_server_tells_every_mistake_in_its_settings(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "koinon.toml"
    config.write_text("[server]\nport = 99999\n[log]\nlevel = 'loud'\n")
    done = _python("-m", "koinon", "server", "--config", str(config))
    assert done.returncode == 2
    assert "port" in done.stderr
    assert "level" in done.stderr
    assert "Traceback" not in done.stderr

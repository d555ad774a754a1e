"""``koinon federation``, against a small real HTTP server on a real UNIX socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest

from koinon.cli.federation import ADVICE, OWN_ADVICE, STAYS
from tests.cli.conftest import Koinon
from tests.cli.stand_in import HangUps

yaml: Any = import_module("yaml")  # ships no types

STATUS: dict[str, Any] = {
    "zone_id": 0,
    "name": "OpenNebula",
    "role": "master",
    "federation_id": "f" * 32,
    "epoch": 1,
    "position": 41,
    "chain": "ab" * 32,
    "endpoint": "http://localhost:2633/RPC2",
    "federation_endpoint": "localhost:2635",
    "state": "ok",
    "master": None,
    "lag": {"statements": 0, "seconds": 0.0},
    "zones": [
        {
            "zone_id": 100,
            "name": "branch",
            "trust": "ENROLLED",
            "epoch": 1,
            "position": 40,
            "lag_statements": 1,
            "lag_s": 2.25,
            "seen_s_ago": 0.5,
            "state": "ok",
            "last_error": None,
        },
        {
            "zone_id": 101,
            "name": "new",
            "trust": "INVITED",
            "epoch": None,
            "position": None,
            "lag_statements": None,
            "lag_s": None,
            "seen_s_ago": None,
            "state": "connecting",
            "last_error": "never\nseen",
        },
    ],
    "digests": {"user_pool": "00" * 32},
}


class Admin(HangUps, ThreadingUnixStreamServer):
    """Answers from ``answers``; what was asked stands in ``asked``."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, tuple[int, Any]] = {"GET /status": (200, STATUS)}
        self.asked: list[tuple[str, Any]] = []
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Admin

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = f"{self.command} {self.path}"
        self.server.asked.append((asked, json.loads(body) if body else None))
        status, answer = self.server.answers.get(asked, (404, {"error": "not known"}))
        reply = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        """Tests print what they need."""


@pytest.fixture
def admin(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    """The admin socket of a zone whose state directory the environment names."""
    monkeypatch.setenv("KOINON_STATE_DIR", str(home))
    with Admin(home / "admin.sock") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def test_status_of_a_master_shows_the_zones(admin: Admin, koinon: Koinon) -> None:
    outcome = koinon("federation", "status")
    assert outcome.code == 0
    assert ["POSITION", ":", "1.41"] in outcome.lines
    assert ["100", "branch", "ENROLLED", "ok", "1.40", "1", "2.2", "s", "0.5", "s", "ago"] in outcome.lines
    assert ["101", "new", "INVITED", "connecting", "-", "-", "-", "never", "never\\nseen"] in outcome.lines


def test_status_of_a_slave_shows_its_master(admin: Admin, koinon: Koinon) -> None:
    master = {"zone_id": 0, "endpoint": "m:2635", "connected": False, "heartbeat_age_s": 7.5, "last_error": "connection refused"}
    admin.answers["GET /status"] = (
        200,
        STATUS
        | {"role": "slave", "state": "connecting", "last_error": "connection refused", "master": master, "zones": []}
        | {"lag": {"statements": None, "seconds": None}},
    )
    outcome = koinon("federation", "status")
    assert "zone 0 at m:2635, NOT connected, last heard of 7.5 s ago" in outcome.out
    assert ["LAG", ":", "-", "statements,", "-"] in outcome.lines
    assert ["LAST", "ERROR", ":", "connection", "refused"] in outcome.lines
    assert outcome.out.endswith("TO DO\n  " + OWN_ADVICE["connecting"].format(master="m:2635") + "\n")


def test_status_as_json_or_yaml_is_what_the_zone_said(admin: Admin, koinon: Koinon) -> None:
    assert json.loads(koinon("federation", "status", "--json").out) == STATUS
    assert yaml.safe_load(koinon("federation", "status", "--yaml").out) == STATUS


def test_status_as_csv_is_the_table_of_zones(admin: Admin, koinon: Koinon) -> None:
    assert koinon("federation", "status", "--csv").out == (
        "ID,NAME,TRUST,STATE,POSITION,BEHIND,LAG,SEEN,LAST ERROR\n"
        "100,branch,ENROLLED,ok,1.40,1,2.2 s,0.5 s ago,\n"
        "101,new,INVITED,connecting,-,-,-,never,never\\nseen\n"
    )


@pytest.mark.parametrize(
    ("arguments", "asked", "answer"),
    [
        ("init", "init", {"federation_id": "abc", "recovery_key_file": "/s/key", "federation_endpoint": "h:2635"}),
        ("invite new", "invite", {"zone_id": 100, "token": "koinon1.abc", "expires_at": 1_795_372_748}),
        ("join TOKEN", "join", {"zone_id": 100, "federation_id": "abc", "epoch": 1, "position": 9}),
        ("join TOKEN --plan", "join", {"zone_id": 100, "federation_id": "abc", "clashes": ["user 2"], "other_owners": ["documents 7"]}),
        ("revoke new", "revoke", {"zone_id": 100}),
        ("accept-loss", "accept-loss", {"lost": "index 41 to 44"}),
        ("leave", "leave", {"role": "standalone"}),
        ("resync", "resync", {"epoch": 1, "position": 50}),
    ],
)
def test_every_answer_can_be_had_for_programs(admin: Admin, koinon: Koinon, arguments: str, asked: str, answer: dict[str, Any]) -> None:
    """What is for people goes to standard error, so that standard output can be parsed."""
    admin.answers[f"POST /federation/{asked}"] = (200, answer)
    assert json.loads(koinon("federation", *arguments.split(), "--json").out) == answer
    assert yaml.safe_load(koinon("federation", *arguments.split(), "--yaml").out) == answer


def test_the_master_is_told_what_helps_each_zone_that_is_not_well(admin: Admin, koinon: Koinon) -> None:
    zone = STATUS["zones"][0]
    states = {"east": "away", "west": "joining", "north": "stuck", "south": "ok", "old": "left"}
    zones = [zone | {"name": name, "state": state, "last_error": f"why {name}"} for name, state in states.items()]
    admin.answers["GET /status"] = (200, STATUS | {"state": "halted", "last_error": "set back", "zones": zones})
    lines = koinon("federation", "status").out.splitlines()
    assert "LAST ERROR : set back" in lines
    assert [line.rpartition("  ")[2] for line in lines if "ENROLLED" in line] == [f"why {name}" for name in states]
    told = lines[lines.index("TO DO") + 1 :]
    assert told == [
        f"  {OWN_ADVICE['halted']}",
        f"  east: {ADVICE['away'].format(endpoint='localhost:2635')}",
        f"  west: {ADVICE['joining']}",
        f"  north: {ADVICE['stuck']}",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"), [(59.94, "59.9 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (86_399, "23 h 59 min"), (90_000, "1 d 1 h")]
)
def test_long_times_are_told_in_larger_units(admin: Admin, koinon: Koinon, seconds: float, told: str) -> None:
    admin.answers["GET /status"] = (200, STATUS | {"zones": [STATUS["zones"][0] | {"seen_s_ago": seconds}]})
    assert f"  {told} ago" in koinon("federation", "status").out


def test_the_state_directory_comes_from_the_settings_file(
    admin: Admin, koinon: Koinon, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOINON_STATE_DIR", "/nowhere")
    config = tmp_path / "koinon.toml"
    config.write_text(f'state_dir = "{home}"\n')
    assert koinon("federation", "status", "--config", str(config)).code == 0
    config.write_text("[zone]\nnmae = 'x'\n")
    outcome = koinon("federation", "status", "--config", str(config))
    assert outcome.code == 2
    assert "nmae" in outcome.err


def test_init_names_the_recovery_key(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/init"] = (
        200,
        {"federation_id": "abc", "recovery_key_file": "/s/recovery.key", "federation_endpoint": "h:2635"},
    )
    outcome = koinon("federation", "init")
    assert outcome.lines == [["FEDERATION", ":", "abc"], ["ZONES", "DIAL", ":", "h:2635"]]
    assert "/s/recovery.key" in outcome.err


def test_invite_prints_the_token_alone(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/invite"] = (200, {"zone_id": 100, "token": "koinon1.abc", "expires_at": 1_795_372_748})
    outcome = koinon("federation", "invite", "branch", "--endpoint", "http://b:2633/RPC2")
    assert outcome.out == "koinon1.abc\n"
    assert "until 2026-11-22 18:39:08 UTC" in outcome.err
    assert koinon("federation", "invite", "branch").code == 0
    assert [body for _, body in admin.asked] == [{"name": "branch", "endpoint": "http://b:2633/RPC2"}, {"name": "branch", "endpoint": None}]


def test_join_says_what_became_of_the_old_password(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/join"] = (
        200,
        {"zone_id": 100, "federation_id": "abc", "epoch": 1, "position": 9, "old_password_file": "/s/one_auth.before"},
    )
    outcome = koinon("federation", "join", "TOKEN", "--replace")
    assert outcome.code == 0
    assert ["POSITION", ":", "1.9"] in outcome.lines
    assert "/s/one_auth.before" in outcome.err
    assert admin.asked == [("POST /federation/join", {"token": "TOKEN", "replace": True})]


def test_join_says_what_is_someone_elses_now(admin: Admin, koinon: Koinon) -> None:
    answer = {"zone_id": 100, "federation_id": "abc", "epoch": 1, "position": 9, "other_owners": ["documents 7 of user 2", "quotas"]}
    admin.answers["POST /federation/join"] = (200, answer)
    outcome = koinon("federation", "join", "TOKEN", "--replace")
    assert outcome.code == 0
    assert "mean someone else" in outcome.err
    assert outcome.err.endswith("  documents 7 of user 2\n  quotas\n")


def test_a_plan_lists_what_a_join_would_do(admin: Admin, koinon: Koinon) -> None:
    answer: dict[str, Any] = {"zone_id": 100, "federation_id": "abc", "clashes": ["user 2"], "other_owners": ["documents 7\n"]}
    admin.answers["POST /federation/join"] = (200, answer)
    outcome = koinon("federation", "join", "TOKEN", "--plan")
    assert outcome.code == 0
    assert ["WOULD", "BE", "LOST", ":", "1"] in outcome.lines
    assert outcome.out.endswith("\nWOULD BE LOST\n  user 2\n\nOTHER OWNERS\n  documents 7\\n\n")
    assert "`join` would refuse" in outcome.err
    assert admin.asked == [("POST /federation/join", {"token": "TOKEN", "plan": True})]
    admin.answers["POST /federation/join"] = (200, answer | {"clashes": [], "other_owners": []})
    assert "loses nothing" in koinon("federation", "join", "TOKEN", "--plan").err
    assert koinon("federation", "join", "TOKEN", "--plan", "--replace").code == 2


def test_status_tells_what_waits_for_the_master(admin: Admin, koinon: Koinon) -> None:
    assert "OUTBOX" not in koinon("federation", "status").out
    admin.answers["GET /status"] = (200, {**STATUS, "outbox": {"waiting": 3, "oldest_s": 12.34}})
    assert "OUTBOX     : 3 operation(s) wait to be taken, the oldest for 12.3 s" in koinon("federation", "status").out
    admin.answers["GET /status"] = (200, {**STATUS, "outbox": {"waiting": 1, "oldest_s": 7300.0}})
    outcome = koinon("federation", "status")
    assert "the oldest for 2 h 1 min" in outcome.out
    assert outcome.out.endswith(f"TO DO\n  {STAYS}\n")


def test_a_refused_join_lists_the_clashes(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/join"] = (409, {"error": "This zone has users of its own.", "clashes": ["user alice", "group dev"]})
    outcome = koinon("federation", "join", "TOKEN")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "This zone has users of its own.\n  user alice\n  group dev\n"


def test_revoke_names_the_zone(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/revoke"] = (200, {"zone_id": 101})
    koinon("federation", "revoke", "paris")
    assert admin.asked == [("POST /federation/revoke", {"name": "paris"})]


def test_accepting_a_loss_says_what_is_given_up(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/accept-loss"] = (200, {"lost": "index 41 to 44"})
    assert "index 41 to 44" in koinon("federation", "accept-loss").err
    assert admin.asked == [("POST /federation/accept-loss", {})]


def test_leave_and_resync(admin: Admin, koinon: Koinon) -> None:
    admin.answers["POST /federation/leave"] = (200, {"role": "standalone"})
    admin.answers["POST /federation/resync"] = (200, {"epoch": 1, "position": 50})
    assert koinon("federation", "leave", "--force").lines == [["ROLE", ":", "standalone"]]
    assert koinon("federation", "resync").lines == [["POSITION", ":", "1.50"]]
    assert admin.asked == [("POST /federation/leave", {"force": True}), ("POST /federation/resync", {})]


@pytest.mark.parametrize("answer", [(200, b"<html>"), (502, b""), (200, b"[1]"), (200, {})])
def test_what_is_no_zone_is_told_plainly(admin: Admin, koinon: Koinon, answer: tuple[int, Any]) -> None:
    admin.answers["POST /federation/resync"] = answer
    outcome = koinon("federation", "resync")
    assert (outcome.code, outcome.out) == (3, "")
    assert "Koinon zone" in outcome.err


def test_no_zone_running_exits_3(home: Path, koinon: Koinon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOINON_STATE_DIR", str(home))
    outcome = koinon("federation", "status")
    assert outcome.code == 3
    assert "there is no such socket" in outcome.err
    Admin(home / "admin.sock").server_close()
    assert "nobody listens on it" in koinon("federation", "status").err
    monkeypatch.setenv("KOINON_STATE_DIR", str(home / ("d" * 120)))
    assert koinon("federation", "status").code == 2

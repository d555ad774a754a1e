"""Secrets in real zones: at the most talkative level no log of any zone holds one, and no database holds one in the clear."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness import engines
from harness.replies import Caller
from harness.zones import Federation, Zone, federation

MARK: Final = "Mark3r"


@pytest.fixture(scope="module", params=["json", "text"])
def zones(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A master and a slave that log all they can, after every call with a secret was made at each of them."""
    folder = tmp_path_factory.mktemp("secrets")
    with federation(folder, 2, settings={"log": {"level": "debug", "format": request.param}}) as made:
        for number, zone in enumerate(made.zones):
            use_secrets(made, zone, f"user{number}")
        made.settled()
        yield made


def use_secrets(made: Federation, zone: Zone, name: str) -> None:
    """Every way for a secret to come in: calls that succeed, that are refused, that can't be read, with sessions right and wrong."""
    admin = made.caller(zone)
    uid = admin.value("one.user.allocate", name, f"{MARK}-1", "")
    user = zone.caller(f"{name}:{MARK}-1")
    user.value("one.user.info", -1)
    user.value("one.user.passwd", uid, f"{MARK}-2")
    admin.value("one.user.chauth", uid, "core", f"{MARK}-3")
    user = zone.caller(f"{name}:{MARK}-3")
    token = user.value("one.user.login", name, f"{MARK}-token", 600, -1)
    generated = user.value("one.user.login", name, "", 600, -1)
    for secret in (token, generated):
        zone.caller(f"{name}:{secret}").value("one.user.update", uid, 'A="1"', 1)
    _tokens.append(generated)

    refused: list[tuple[Caller, str, tuple[str | int | list[int], ...]]] = [
        (admin, "one.user.allocate", (name, f"{MARK}-taken", "")),
        (admin, "one.user.allocate", (f"{name}-x", f"{MARK} blank", "")),
        (admin, "one.user.allocate", (f"{name}-x", MARK * 100, "")),
        (admin, "one.user.allocate", (f"{name}-x", f"{MARK}-group", "", [9999])),
        (admin, "one.user.passwd", (9999, f"{MARK}-nobody")),
        (admin, "one.user.passwd", (uid, f"{MARK} blank")),
        (admin, "one.user.chauth", (uid, "no driver", f"{MARK}-driver")),
        (user, "one.user.passwd", (0, f"{MARK}-not-mine")),
        (user, "one.user.login", (name, f"{MARK}-unknown", 0, -1)),
        (user, "one.user.login", ("oneadmin", f"{MARK}-not-mine", 60, -1)),
        (user, "one.user.login", (name, f"{MARK}-group", 60, 9999)),
        (zone.caller(f"{name}:{MARK}-wrong"), "one.user.info", (-1,)),
        (zone.caller(f"{MARK}-nobody:{MARK}-wrong"), "one.user.passwd", (0, f"{MARK}-x")),
        (zone.caller(f"{MARK}-without-colon"), "one.user.info", (-1,)),
    ]
    for caller, method, arguments in refused:
        assert caller.call(method, *arguments)[0] is False, method
    for method, arguments in (("one.user.passwd", (f"{MARK}-no-number",)), (f"one.{MARK}", ()), ("one.user.login", (name, f"{MARK}-few"))):
        with pytest.raises(xmlrpc.client.Fault):
            user.call(method, *arguments)


_tokens: list[str] = []


def test_no_log_holds_a_secret(zones: Federation) -> None:
    password = zones.secret.partition(":")[2]
    for zone in zones.zones:
        text = zone.log.read_text()
        assert "call refused" in text, "the level must be debug, or this shows nothing"
        assert "one.user.passwd" in text
        for secret in (MARK, password, *_tokens):
            assert secret not in text


def test_no_database_holds_a_password_or_a_token_in_the_clear(zones: Federation) -> None:
    """Neither in rows nor in the log, which goes to every zone and is kept for long."""
    password = zones.secret.partition(":")[2].encode()
    for zone in zones.zones:
        stored = b"".join(file.read_bytes() for file in files(zone.state_dir) if file.name != "one_auth")
        stored += engines.values(zone.database, zone.engine)
        assert b"user0" in stored
        for secret in (MARK.encode(), password, *(token.encode() for token in _tokens)):
            assert secret not in stored


def test_what_is_secret_is_its_owners_only(zones: Federation) -> None:
    for zone in zones.zones:
        assert zone.state_dir.stat().st_mode & 0o077 == 0
        open_to_others = [file for file in files(zone.state_dir) if file.stat().st_mode & 0o077]
        assert [file for file in open_to_others if file.name == "one_auth" or file.suffix == ".key"] == []


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]

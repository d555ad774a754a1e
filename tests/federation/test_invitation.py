"""Invitations: the line itself, and that it works once, for an hour, for one key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import engines
from koinon.database.database import Database
from koinon.database.transactions import ZoneTx
from koinon.errors import BadArgumentError
from koinon.federation import invitation
from koinon.federation.invitation import VALID_S, InvitationError, Token, redeem

NOW = 1_800_000_000
SECRET = b"s" * 32
KEY, OTHER = b"k" * 32, b"o" * 32
TOKEN = Token("0123456789abcdef" * 2, 100, 0, "master.example:2635", b"h" * 32, SECRET)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_the_line_says_what_was_put_in(zone_id: int, master: int, ca_hash: bytes, secret: bytes) -> None:
    token = Token("f" * 32, zone_id, master, "[2001:db8::1]:2635", ca_hash, secret)
    line = token.text()
    assert line.startswith("koinon1.")
    assert line.split() == [line]
    assert Token.parse(line) == token


def test_line_breaks_of_a_mail_do_not_matter() -> None:
    line = TOKEN.text()
    assert Token.parse(f"  {line[:50]}\r\n {line[50:]}\n") == TOKEN


@pytest.mark.parametrize("length", range(len(TOKEN.text())))
def test_a_line_that_was_cut_short_is_told_from_an_invitation(length: int) -> None:
    with pytest.raises(BadArgumentError):
        Token.parse(TOKEN.text()[:length])


@given(st.text(max_size=300) | st.text(max_size=300).map(lambda text: f"koinon1.{text}"))
def test_nonsense_is_no_invitation(text: str) -> None:
    with pytest.raises(BadArgumentError):
        Token.parse(text)


def in_database(tmp_path: Path, *jobs: Callable[[ZoneTx], Any]) -> None:
    async def run() -> None:
        database = Database.open(engines.url(tmp_path / "koinon.db"))
        database.start()
        try:
            await database.write_zone("invite", lambda tx: invitation.create(tx, 100, SECRET, now_s=NOW))
            for job in jobs:
                await database.write_zone("job", job)
        finally:
            await database.close()

    asyncio.run(run())


def use(key: bytes = KEY, *, secret: bytes = SECRET, zone_id: int = 100, after_s: int = 1) -> Callable[[ZoneTx], None]:
    return lambda tx: redeem(tx, zone_id, secret, key, now_s=NOW + after_s)


def test_the_secret_is_not_stored(tmp_path: Path) -> None:
    in_database(tmp_path, use())
    assert SECRET not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def _reopen(tx: ZoneTx) -> None:
    assert invitation.reopen(tx, 100)


def test_it_works_again_once_its_use_was_taken_back(tmp_path: Path) -> None:
    """For what is left of its hour; then the use counts again."""
    in_database(tmp_path, use(), _reopen, use(), use(after_s=VALID_S + 1))


def test_what_was_not_used_is_not_reopened(tmp_path: Path) -> None:
    seen: list[bool] = []
    in_database(tmp_path, lambda tx: seen.extend([invitation.reopen(tx, 100), invitation.reopen(tx, 101)]))
    assert seen == [False, False]


def test_the_same_key_may_repeat_it_even_past_the_hour(tmp_path: Path) -> None:
    in_database(tmp_path, use(), use(), use(after_s=VALID_S + 1))


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        ([use(after_s=VALID_S)], "expired"),
        ([use(), use(OTHER)], "another key"),
        ([use(secret=b"x" * 32)], "no such invitation"),
        ([use(zone_id=101)], "no such invitation"),
        ([lambda tx: invitation.cancel(tx, 100), use()], "no such invitation"),
        ([lambda tx: invitation.create(tx, 100, b"n" * 32, now_s=NOW), use()], "no such invitation"),
        ([use(), _reopen, use(after_s=VALID_S)], "expired"),
        ([use(), _reopen, use(OTHER)], "another key"),
    ],
    ids=[
        "expired",
        "used by another key",
        "wrong secret",
        "another zone",
        "withdrawn",
        "replaced",
        "reopened, expired",
        "reopened, other key",
    ],
)
def test_it_works_for_nobody_else_and_says_why(tmp_path: Path, jobs: list[Callable[[ZoneTx], Any]], says: str) -> None:
    with pytest.raises(InvitationError, match=says):
        in_database(tmp_path, *jobs)

"""Verifiers."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koinon.errors import UnavailableError
from koinon.identity import passwords


def test_a_verifier_answers_to_its_password_only() -> None:
    made = passwords.make("open sésame", "scrypt")
    assert made.startswith("$scrypt$ln=14,r=8,p=1$")
    assert passwords.verify("open sésame", made)
    assert not passwords.verify("open sesame", made)
    assert made != passwords.make("open sésame", "scrypt")


def test_the_forms_of_opennebula_are_understood() -> None:
    for verifier in (hashlib.sha256(b"pw").hexdigest(), hashlib.sha1(b"pw").hexdigest()):
        assert passwords.verify("pw", verifier)
        assert not passwords.verify("pW", verifier)
    assert passwords.make("pw", "sha256") == hashlib.sha256(b"pw").hexdigest()


def test_scrypt_is_the_one_of_the_rfc() -> None:
    expected = hashlib.scrypt(b"pw", salt=b"s" * 16, n=16384, r=8, p=1, dklen=32)
    assert passwords._unb64(passwords.make("pw", "scrypt", salt=b"s" * 16).rsplit("$", 1)[1]) == expected


@given(st.text())
@settings(max_examples=200)
def test_text_that_is_no_verifier_opens_nothing(text: str) -> None:
    assert passwords.is_verifier(text) or not passwords.verify("pw", text)


@pytest.mark.parametrize("parameters", ["ln=31,r=8,p=1", "ln=14,r=99,p=1", "ln=14,r=8,p=9", "ln=0,r=8,p=1"])
def test_a_row_can_order_no_endless_hash(parameters: str) -> None:
    made = passwords.make("pw", "scrypt").replace("ln=14,r=8,p=1", parameters)
    assert not passwords.verify("pw", made)


@pytest.mark.parametrize(
    ("secret", "driver", "wanted"),
    [
        ("", "core", "Invalid password, it cannot be empty"),
        ("a b", "core", "Invalid password, character ' ' is not allowed"),
        ("a\x00", "core", "Invalid password, character U+0000 is not allowed"),
        ("x" * 257, "core", "Invalid password, it may not be longer than 256 bytes"),
        ("a]]>b", "x509", "Invalid password, it may not hold ]]>"),
        ("x" * 257, "ssh", ""),
        ("pässwörd", "core", ""),
    ],
)
def test_what_can_be_a_password(secret: str, driver: str, wanted: str) -> None:
    assert passwords.problem(secret, driver) == wanted


def test_a_flood_is_turned_away_but_not_those_who_were_right_before() -> None:
    made = passwords.make("pw", "scrypt")

    async def flood() -> tuple[list[bool | BaseException], bool]:
        hasher = passwords.Hasher()
        try:
            checks = [asyncio.create_task(hasher.verify(f"guess{number}", made)) for number in range(80)]
            await asyncio.sleep(0)
            known = asyncio.create_task(hasher.verify("pw", made, always=True))
            return await asyncio.gather(*checks, return_exceptions=True), await known
        finally:
            hasher.close()

    answers, known = asyncio.run(flood())
    assert known
    assert sum(isinstance(answer, UnavailableError) for answer in answers) == 80 - 64
    assert sum(answer is False for answer in answers) == 64

"""Signed requests: what one proves, and each way in which it does not count."""

from __future__ import annotations

import string
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from koinon.federation.assertion import WINDOW_S, AssertionRefused, Signer, VerifiedCache, verify

FID = "a" * 32
KEY = Ed25519PrivateKey.generate()
NOW = 1_800_000_000
SENT: dict[str, Any] = {"method": "POST", "path": "/federation/v1/call?x=1", "body": b"payload"}


def signed(**changes: Any) -> str:
    given_: dict[str, Any] = {"audience_zone": 0, "epoch": 2, "request_id": "r1", "now_s": NOW} | SENT | changes
    return Signer(5, changes.pop("federation_id", FID), KEY, "i" * 32).sign(
        given_["method"], given_["path"], given_["body"], given_["audience_zone"], given_["epoch"], given_["request_id"], given_["now_s"]
    )


def key_of(zone_id: int) -> Ed25519PublicKey | None:
    return KEY.public_key() if zone_id == 5 else None


def check(header: str, **changes: Any) -> Any:
    expected: dict[str, Any] = {"key_of": key_of, "audience_zone": 0, "federation_id": FID, "now_s": NOW, "least_epoch": 2} | SENT
    return verify(header, **(expected | changes))


def test_a_signed_request_proves_who_sent_it() -> None:
    assertion = check(signed())
    assert (assertion.zone_id, assertion.epoch, assertion.request_id, assertion.instance) == (5, 2, "r1", "i" * 32)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "GET"}, "bad signature"),
        ({"path": "/federation/v1/call?x=2"}, "bad signature"),
        ({"body": b"another"}, "bad signature"),
        ({"key_of": lambda _: Ed25519PrivateKey.generate().public_key()}, "bad signature"),
        ({"key_of": lambda _: None}, "unknown zone"),
        ({"audience_zone": 1}, "wrong audience"),
        ({"federation_id": "b" * 32}, "wrong federation"),
        ({"now_s": NOW + WINDOW_S + 1}, "stale"),
        ({"now_s": NOW - WINDOW_S - 1}, "stale"),
        ({"least_epoch": 3}, "lower epoch"),
    ],
)
def test_it_does_not_count_for_anything_else(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AssertionRefused) as refused:
        check(signed(), **changes)
    assert refused.value.reason == reason
    assert 400 <= refused.value.status < 500


def test_the_window_has_room_for_both_clocks() -> None:
    check(signed(), now_s=NOW + WINDOW_S)
    check(signed(), now_s=NOW - WINDOW_S)


def test_a_good_signature_is_remembered_but_neither_its_key_nor_its_time() -> None:
    cache, header, calls = VerifiedCache(), signed(), []

    class CountingKey:
        def verify(self, signature: bytes, data: bytes) -> None:
            calls.append(1)
            KEY.public_key().verify(signature, data)

        def public_bytes(self, *form: Any) -> bytes:
            return KEY.public_key().public_bytes(*form)

    counting = CountingKey()
    for _ in range(3):
        check(header, cache=cache, key_of=lambda _: counting)
    assert len(calls) == 1
    for changes, reason in (
        ({"key_of": lambda _: None}, "unknown zone"),
        ({"key_of": lambda _: Ed25519PrivateKey.generate().public_key()}, "bad signature"),
        ({"now_s": NOW + WINDOW_S + 1}, "stale"),
        ({"path": "/federation/v1/leave"}, "bad signature"),
        ({"body": b"another"}, "bad signature"),
    ):
        with pytest.raises(AssertionRefused) as refused:
            check(header, cache=cache, **changes)
        assert refused.value.reason == reason


def test_the_cache_is_bounded() -> None:
    cache = VerifiedCache(limit=3)
    for number in range(10):
        cache.add(bytes([number]), NOW + 60)
    assert [number for number in range(10) if cache.knows(bytes([number]), NOW)] == [7, 8, 9]


@given(st.text(max_size=200) | st.text(string.ascii_letters + string.digits + "-_.", max_size=300))
def test_nonsense_is_refused_as_malformed(header: str) -> None:
    with pytest.raises(AssertionRefused) as refused:
        check(header)
    assert refused.value.reason == "malformed"


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    header = signed()
    place = data.draw(st.integers(0, len(header) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_").filter(lambda new: new != header[place]))
    # the last letter of each part carries bits that base64 throws away
    if place in (header.index(".") - 1, len(header) - 1):
        return
    with pytest.raises(AssertionRefused):
        check(header[:place] + letter + header[place + 1 :])

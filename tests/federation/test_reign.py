"""Reign records: whose signature makes which record count."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from harness import engines
from koinon.database.database import Database
from koinon.federation import reign
from koinon.federation.keys import raw_public_key
from koinon.federation.reign import ReignError, ReignRecord, sign, verify

RECOVERY, CA, NEXT_CA, STRANGER = (Ed25519PrivateKey.generate() for _ in range(4))


def raw(key: Ed25519PrivateKey) -> bytes:
    return raw_public_key(key.public_key())


FIRST = sign(ReignRecord("f" * 32, 1, 0, 12, bytes(32), raw(CA), raw(RECOVERY), "recovery"), RECOVERY)


def second(signer: str, key: Ed25519PrivateKey, **changes: Any) -> ReignRecord:
    record = ReignRecord("f" * 32, 2, 100, 40, bytes(32), raw(NEXT_CA), raw(RECOVERY), signer)  # type: ignore[arg-type] # wrong ones too
    return sign(msgspec.structs.replace(record, **changes), key)


def test_the_first_record_holds_by_its_own_recovery_key() -> None:
    verify(FIRST, None)
    with pytest.raises(ReignError):
        verify(sign(FIRST, STRANGER), None)


@pytest.mark.parametrize(("signer", "key"), [("master", CA), ("recovery", RECOVERY)])
def test_a_newer_reign_counts_if_the_outgoing_master_or_the_recovery_key_signed_it(signer: str, key: Ed25519PrivateKey) -> None:
    verify(second(signer, key), FIRST)


@pytest.mark.parametrize(("signer", "key"), [("master", RECOVERY), ("recovery", CA), ("master", NEXT_CA), ("master", STRANGER)])
def test_a_signature_by_any_other_key_does_not_count(signer: str, key: Ed25519PrivateKey) -> None:
    with pytest.raises(ReignError):
        verify(second(signer, key), FIRST)


def test_an_unsigned_record_means_nothing() -> None:
    with pytest.raises(ReignError):
        verify(msgspec.structs.replace(second("master", CA), signature=b""), FIRST)


@pytest.mark.parametrize(
    "changes", [{"epoch": 1}, {"epoch": 0}, {"federation_id": "e" * 32}, {"start_chain": b"short"}, {"ca_public_key": b""}]
)
def test_older_foreign_and_unsound_records_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ReignError):
        verify(second("master", CA, **changes), FIRST)


def test_only_the_recovery_key_may_name_another_recovery_key() -> None:
    verify(second("recovery", RECOVERY, recovery_public_key=raw(STRANGER)), FIRST)
    with pytest.raises(ReignError, match="recovery key"):
        verify(second("master", CA, recovery_public_key=raw(STRANGER)), FIRST)


def test_at_equal_epoch_the_recovery_key_wins_and_only_once() -> None:
    planned = second("master", CA)
    verify(second("recovery", RECOVERY), planned)
    with pytest.raises(ReignError):
        verify(planned, second("recovery", RECOVERY))
    with pytest.raises(ReignError):
        verify(second("recovery", RECOVERY), second("recovery", RECOVERY))


@given(st.integers(1, 2**40), st.integers(0, 2**31 - 1), st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_record_survives_the_wire(epoch: int, master: int, index: int, chain: bytes) -> None:
    record = second("master", CA, epoch=epoch + 1, master_zone=master, start_index=index, start_chain=chain)
    verify(ReignRecord.decode(record.encode()), FIRST)


@given(st.binary(max_size=300))
def test_nonsense_is_no_record(data: bytes) -> None:
    with pytest.raises(ReignError):
        ReignRecord.decode(data)


def test_records_are_kept_in_order_and_the_newest_counts(tmp_path: Path) -> None:
    async def run() -> None:
        database = Database.open(engines.url(tmp_path / "koinon.db"))
        database.start()
        newer = second("master", CA)
        try:
            with database.read() as tx:
                assert reign.load_newest(tx) is None
            for record in (newer, FIRST, newer):
                await database.write_zone("reign", partial(reign.store, record=record))
            with database.read() as tx:
                assert reign.load_all(tx) == [FIRST, newer]
                assert reign.load_newest(tx) == newer
        finally:
            await database.close()

    asyncio.run(run())

"""Reign records: which zone is the master since when, proved by a signature.

Path:     init or promotion -> sign() -> store() -> served by the listener -> verify() in every other zone -> store()
Holds:    an epoch without a valid record means nothing; a record is trusted only through the one before it.
Not here: how a promotion is decided; where the keys are kept (keys.py).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from koinon.database.transactions import ReadTx, ZoneTx

Signer = Literal["recovery", "master"]

_CONTEXT: Final = b"koinon reign 1\0"


class ReignError(Exception):
    """A reign record is not to be believed; the text says why."""


class ReignRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One reign.

    Attributes:
        federation_id: the federation it belongs to.
        epoch: number of the reign, at least 1; rises with each.
        master_zone: id of the zone that rules.
        start_index: the last index of the log before the reign.
        start_chain: the chain there (32 bytes).
        ca_public_key: raw Ed25519 key of the CA that certifies zones in this reign.
        recovery_public_key: raw Ed25519 key whose holder can end any reign.
        signer: who signed: the recovery key, or the outgoing master with its CA's key.
        signature: 64 bytes over everything above.
    """

    federation_id: str
    epoch: int
    master_zone: int
    start_index: int
    start_chain: bytes
    ca_public_key: bytes
    recovery_public_key: bytes
    signer: Signer
    signature: bytes = b""

    def canonical(self) -> bytes:
        """What the signature is over: every field but the signature itself."""
        return _CONTEXT + msgspec.msgpack.encode(msgspec.structs.replace(self, signature=b""))

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> ReignRecord:
        """Read a record from another zone. Raises ReignError; the signature is not checked here."""
        try:
            return msgspec.msgpack.decode(raw, type=cls)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ReignError(f"not a reign record: {error}") from error


def sign(record: ReignRecord, key: Ed25519PrivateKey) -> ReignRecord:
    """The record with its signature by ``key``, which must be the one that ``record.signer`` names."""
    return msgspec.structs.replace(record, signature=key.sign(record.canonical()))


def verify(record: ReignRecord, previous: ReignRecord | None) -> None:
    """Check a record against the newest one that we trust.

    Args:
        record: what another zone showed us.
        previous: the newest record we trust; None in a zone that is joining, which trusts the record for another reason
            (it came over TLS under the CA that its invitation names) and checks here only that it is sound.

    Raises:
        ReignError: another federation, not newer, a key changed by someone who may not, or a signature that does not fit.
    """
    if len(record.start_chain) != 32 or record.epoch < 1 or record.start_index < 0 or record.master_zone < 0:
        raise ReignError("the reign record has values out of range")
    if previous is None:
        _check_signature(record, record.recovery_public_key if record.signer == "recovery" else None)
        return
    if record.federation_id != previous.federation_id:
        raise ReignError(f"the reign record is of federation {record.federation_id}, ours is {previous.federation_id}")
    if record.epoch < previous.epoch or (record.epoch == previous.epoch and not _overrules(record, previous)):
        raise ReignError(f"the reign record is of epoch {record.epoch}, we know epoch {previous.epoch}")
    if record.signer == "master" and record.recovery_public_key != previous.recovery_public_key:
        # else a master that was broken into could lock out the people who hold the recovery key
        raise ReignError("only the recovery key may name another recovery key")
    _check_signature(record, previous.recovery_public_key if record.signer == "recovery" else previous.ca_public_key)


def _overrules(record: ReignRecord, previous: ReignRecord) -> bool:
    """At equal epoch the recovery key wins over an outgoing master."""
    return record.signer == "recovery" and previous.signer == "master"


def _check_signature(record: ReignRecord, signed_by: bytes | None) -> None:
    for raw in (record.ca_public_key, record.recovery_public_key):
        if len(raw) != 32:
            raise ReignError("the reign record holds something that is no Ed25519 key")
    if signed_by is None:
        return
    try:
        Ed25519PublicKey.from_public_bytes(signed_by).verify(record.signature, record.canonical())
    except (InvalidSignature, ValueError) as error:
        raise ReignError(f"the signature by the {record.signer} key does not fit the reign record") from error


_COLUMNS: Final = "federation_id, epoch, master_zone, start_index, start_chain, ca_public_key, recovery_public_key, signer, signature"


def load_all(tx: ReadTx) -> list[ReignRecord]:
    """Every reign that this zone knows, ascending by epoch."""
    rows = tx.fetch(f"SELECT {_COLUMNS} FROM reign ORDER BY epoch")  # noqa: S608 - our own names
    return [msgspec.convert(row, ReignRecord) for row in rows]


def load_newest(tx: ReadTx) -> ReignRecord | None:
    """The reign that counts now; None in a standalone zone."""
    rows = tx.fetch(f"SELECT {_COLUMNS} FROM reign ORDER BY epoch DESC LIMIT 1")  # noqa: S608 - our own names
    return msgspec.convert(rows[0], ReignRecord) if rows else None


def store(tx: ZoneTx, record: ReignRecord) -> None:
    """Keep a record that ``verify`` accepted (or that we signed); one of equal epoch that it overrules is replaced."""
    tx.execute("DELETE FROM reign WHERE epoch = ?", (record.epoch,))
    tx.execute(
        f"INSERT INTO reign ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
        msgspec.structs.astuple(record),
    )


def forget(tx: ZoneTx) -> None:
    """Drop every record: this zone leaves the federation, or takes over the records of another."""
    tx.execute("DELETE FROM reign")

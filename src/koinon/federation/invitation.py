"""The one line that lets a new zone in, once.

Path:     invite -> create() -> the operator carries the line -> join -> Token.parse() -> the master -> redeem()
Holds:    only a hash of the secret is stored; the first key that comes with the secret is the only one it ever works for.
Not here: what enrolling writes (membership.py); how the new zone checks the master (joining.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import ActionError, BadArgumentError
from koinon.federation.assertion import ZoneId, from_text

VALID_S: Final = 3600
_PREFIX: Final = "koinon1."
_MAX_TOKEN: Final = 1024
_FEDERATION_ID: Final = re.compile(r"[0-9a-f]{32}")


class InvitationError(ActionError):
    """The invitation can't be used; the text says why and what to do."""


class Token(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an invitation says.

    Attributes:
        federation_id: 32 hex digits.
        zone_id: the id that the new zone gets.
        master_zone: id of the zone that invites.
        endpoint: host:port of the master's federation listener.
        ca_hash: BLAKE2b-256 of the CA certificate's DER bytes: by it the new zone knows the master.
        secret: 32 random bytes: by it the master knows the new zone.
    """

    federation_id: str
    zone_id: ZoneId
    master_zone: ZoneId
    endpoint: str
    ca_hash: bytes
    secret: bytes

    def text(self) -> str:
        """The line to hand over."""
        return _PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode("ascii")

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read the line; white space around it and line breaks that a mail put into it do not matter.

        Raises:
            BadArgumentError: it is not an invitation, or was cut short.
        """
        line = "".join(text.split())
        if not line.startswith(_PREFIX):
            raise BadArgumentError(f"This is not an invitation: one begins with '{_PREFIX}'.")
        if len(line) > _MAX_TOKEN:
            raise BadArgumentError("This is not an invitation: it is too long.")
        try:
            token = msgspec.msgpack.decode(from_text(line[len(_PREFIX) :]), type=cls)
        except (msgspec.MsgspecError, ValueError) as error:
            raise BadArgumentError("The invitation can't be read; was it copied whole?") from error
        sound = _FEDERATION_ID.fullmatch(token.federation_id) and len(token.ca_hash) == 32 and len(token.secret) == 32
        if not sound:
            raise BadArgumentError("The invitation can't be read; was it copied whole?")
        return token


def _hash(secret: bytes) -> bytes:
    return hashlib.blake2b(secret, digest_size=32, person=b"koinon invite").digest()


def new_secret() -> bytes:
    return secrets.token_bytes(32)


def create(tx: ZoneTx, zone_id: int, secret: bytes, *, now_s: int) -> int:
    """Store an invitation for a zone; an older one for the same zone stops working.

    Returns:
        When it expires, seconds since 1970.
    """
    expires_at = now_s + VALID_S
    cancel(tx, zone_id)
    tx.execute("INSERT INTO invitation (zone_id, secret_hash, expires_at) VALUES (?, ?, ?)", (zone_id, _hash(secret), expires_at))
    return expires_at


def cancel(tx: ZoneTx, zone_id: int) -> None:
    """Make sure that no invitation for this zone works any longer."""
    tx.execute("DELETE FROM invitation WHERE zone_id = ?", (zone_id,))


def redeem(tx: ZoneTx, zone_id: int, secret: bytes, public_key: bytes, *, now_s: int) -> None:
    """Use an invitation for this key, or use it again for the same key (the first reply may have been lost).

    While it is used, its expiry does not matter: the key is enrolled then, and may ask for a certificate anyway.

    Raises:
        InvitationError: there is none for this zone, the secret is wrong, it expired, or another key used it.
    """
    rows = tx.fetch("SELECT secret_hash, expires_at, bound_key, used_at FROM invitation WHERE zone_id = ?", (zone_id,))
    if not rows or not hmac.compare_digest(bytes(rows[0][0]), _hash(secret)):
        raise InvitationError(f"There is no such invitation for zone {zone_id}; it was replaced or withdrawn. Ask for a new one.")
    _, expires_at, bound_key, used_at = rows[0]
    if bound_key is not None and bytes(bound_key) != public_key:
        raise InvitationError(f"The invitation for zone {zone_id} was used by another key. If that was not you, revoke the zone.")
    if used_at is not None:
        return
    if now_s >= expires_at:
        raise InvitationError(
            f"The invitation for zone {zone_id} has expired; invitations are good for {VALID_S // 60} minutes. Ask for a new one."
        )
    tx.execute("UPDATE invitation SET bound_key = ?, used_at = ? WHERE zone_id = ?", (public_key, now_s, zone_id))


class Standing(msgspec.Struct, frozen=True):
    """What became of an invitation: ``used_at`` (None: not yet) and ``expires_at``, seconds since 1970."""

    expires_at: int
    used_at: int | None


def standing(tx: ReadTx) -> dict[int, Standing]:
    """The newest invitation of each zone, as far as it was not withdrawn."""
    rows = tx.fetch("SELECT zone_id, expires_at, used_at FROM invitation")
    return {zone_id: Standing(expires_at, used_at) for zone_id, expires_at, used_at in rows}


def reopen(tx: ZoneTx, zone_id: int) -> bool:
    """Take back that the zone's invitation was used: it works again until it expires, for the same key. False if there is none."""
    return tx.execute("UPDATE invitation SET used_at = NULL WHERE zone_id = ? AND bound_key IS NOT NULL", (zone_id,)) > 0

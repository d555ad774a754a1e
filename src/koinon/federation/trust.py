"""Whom this zone trusts: what the zone records of the shared table say about keys.

Path:     zone record -> trust_of() -> require_key() -> listener.py; membership.py -> change() -> zone record -> every zone
Holds:    only an enrolled zone has a key here; a revocation counts from the moment that this zone holds the changed record.
Not here: how a key is proved (assertion.py); how a zone gets in or out (membership.py).
"""

from __future__ import annotations

import base64
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from koinon.database.transactions import ReadTx
from koinon.federation.assertion import Assertion, AssertionRefused
from koinon.objects import xml
from koinon.statements.schema import PoolRow

Trust = Literal["ENROLLED", "INVITED", "REVOKED", "LEFT", ""]

_ZONES: Final = "zone_pool"


class ZoneTrust(msgspec.Struct, frozen=True):
    """What a zone record says to other zones.

    Attributes:
        trust: empty for a record that no invitation was made for.
        key: the zone's public key; None if there is none or it can't be read.
        endpoint: for people's clients.
        federation_endpoint: host:port for zones, ``-`` if it has none.
        instance: random id of the zone's database, from when it joined.
    """

    zone_id: int
    name: str
    trust: str
    key: Ed25519PublicKey | None
    endpoint: str
    federation_endpoint: str
    instance: str


def _read(row: PoolRow) -> ZoneTrust:
    template = xml.parse(row.body).find("TEMPLATE")

    def attribute(name: str) -> str:
        return "" if template is None else xml.text_of(template, name)

    return ZoneTrust(
        row.oid,
        row.name,
        attribute("TRUST"),
        _read_key(attribute("PUBLIC_KEY")),
        attribute("ENDPOINT"),
        attribute("FEDERATION_ENDPOINT") or "-",
        attribute("INSTANCE"),
    )


def _read_key(text: str) -> Ed25519PublicKey | None:
    try:
        return read_raw_key(base64.b64decode(text, validate=True)) if text else None
    except ValueError:
        return None


def read_raw_key(raw: bytes) -> Ed25519PublicKey | None:
    """A public key from its 32 bytes; None if they are none."""
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        return None


def key_text(public_key: bytes) -> str:
    """A raw public key as a zone record holds it."""
    return base64.b64encode(public_key).decode("ascii")


def trust_of(tx: ReadTx, zone_id: int) -> ZoneTrust | None:
    """What the record of a zone says; None if there is no such zone. Read once per version of the record."""
    return tx.memo(_ZONES, zone_id, "trust", _read)


def all_zones(tx: ReadTx) -> list[ZoneTrust]:
    """What every zone record says, ascending by id."""
    return tx.memos(_ZONES, "trust", _read)


def trusted_key(tx: ReadTx, zone_id: int) -> Ed25519PublicKey | None:
    """The key of an enrolled zone; None if the zone is unknown, invited only, revoked, or has left."""
    found = trust_of(tx, zone_id)
    return found.key if found is not None and found.trust == "ENROLLED" else None


def require_key(tx: ReadTx, zone_id: int) -> Ed25519PublicKey:
    """As ``trusted_key``, for a request at hand.

    Raises:
        AssertionRefused: the zone is not enrolled; says which case it is.
    """
    found = trust_of(tx, zone_id)
    if found is not None and found.trust == "REVOKED":
        raise AssertionRefused("revoked", f"zone {zone_id} was revoked")
    if found is not None and found.trust == "LEFT":
        raise AssertionRefused("left", f"zone {zone_id} has left the federation")
    if found is None or found.trust != "ENROLLED" or found.key is None:
        raise AssertionRefused("unknown zone", f"zone {zone_id} is not enrolled here")
    return found.key


def require_instance(tx: ReadTx, assertion: Assertion) -> None:
    """Refuse a zone with the right key and another database than the one that joined. Raises AssertionRefused."""
    found = trust_of(tx, assertion.zone_id)
    if found is None or found.instance != assertion.instance:
        raise AssertionRefused("cloned", f"zone {assertion.zone_id} is enrolled with another database; have it join again")

"""Whether the keys on this machine are those of the zone whose database it serves.

A zone that is served from several machines has its keys on each of them; a machine with others, or none, must not make new ones.
"""

from __future__ import annotations

from koinon.database.transactions import ReadTx
from koinon.federation import reign, trust
from koinon.federation.keys import KeyFileError, KeyStore, certified_key, raw_public_key, read_private_key


def require(tx: ReadTx, store: KeyStore) -> None:
    """Make sure that a zone in a federation has its own key, certificate and CA here, and the master the CA's key.

    Raises:
        KeyFileError: a file is missing, or is another zone's; the text says which.
    """
    own = trust.trust_of(tx, tx.state.zone_id)
    record = reign.load_newest(tx)
    if not store.zone_key_file.exists():
        raise KeyFileError(f"{store.zone_key_file} is missing")
    key = raw_public_key(read_private_key(store.zone_key_file).public_key())
    # A record without a key is one that was revoked and invited anew: the key there is what the next join will bring.
    if own is not None and own.key is not None and raw_public_key(own.key) != key:
        raise KeyFileError(f"{store.zone_key_file} is not the key of zone {tx.state.zone_id}")
    if certified_key(store.certificate()) != key:
        raise KeyFileError(f"{store.certificate_file} is not the certificate of that key")
    if record is None:
        return
    if certified_key(store.ca_certificate()) != record.ca_public_key:
        raise KeyFileError(f"{store.ca_file} is not the CA of this federation")
    if record.master_zone == tx.state.zone_id and store.authority().public_key != record.ca_public_key:
        raise KeyFileError(f"{store.ca_key_file} is not the key of this federation's CA")

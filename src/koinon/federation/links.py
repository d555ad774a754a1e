"""This zone's links to the other zones of its federation, made when first needed.

Path:     stream, snapshot, forwarding, membership -> Links.master() -> Link
Holds:    identity, CA and addresses are those of now: a link is made anew when one of them changed.
Not here: what is asked (the callers); what a link promises (link.py).
"""

from __future__ import annotations

import asyncio
import ssl

from koinon.database.database import Database
from koinon.database.transactions import ReadTx
from koinon.errors import UnavailableError
from koinon.federation import reign, remembered
from koinon.federation.assertion import Signer
from koinon.federation.keys import KeyStore, client_context
from koinon.federation.link import Link
from koinon.federation.trust import trust_of


class Links:
    """One link per zone."""

    def __init__(self, database: Database, store: KeyStore) -> None:
        self._database = database
        self._store = store
        self._links: dict[int, Link] = {}
        self._signer: Signer | None = None
        self._context: ssl.SSLContext | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def master(self) -> Link:
        """The link to the zone that rules now.

        Raises:
            UnavailableError: this zone is in no federation, is the master itself, knows no address of the master, or lacks its own keys.
        """
        with self._database.read() as tx:
            record = reign.load_newest(tx)
            if record is None or record.master_zone == tx.state.zone_id:
                raise UnavailableError("This zone follows no master.")
            return self._to(tx, record.master_zone)

    def to(self, zone_id: int) -> Link:
        """The link to any zone of the federation.

        Raises:
            UnavailableError: this zone is in no federation, that zone has no address for zones, or keys of ours are missing.
        """
        with self._database.read() as tx:
            return self._to(tx, zone_id)

    def _to(self, tx: ReadTx, zone_id: int) -> Link:
        found = trust_of(tx, zone_id)
        if not tx.state.federation_id or found is None or found.federation_endpoint == "-":
            raise UnavailableError(f"Zone {zone_id} has no address for zones.")
        signer = self._signer
        if signer is None or (signer.zone_id, signer.federation_id) != (tx.state.zone_id, tx.state.federation_id):
            self.forget()
            signer = self._signer = read_signer(tx, self._store)
        link = self._links.get(zone_id)
        if link is not None and link.endpoint == found.federation_endpoint:
            return link
        if link is not None:
            self._close(link)
        if self._context is None:
            self._context = client_context(self._store.ca_pem())
        try:
            link = Link(
                found.federation_endpoint,
                zone_id,
                tx.state.federation_id,
                context=self._context,
                signer=signer,
                epoch=lambda: self._database.state().epoch,
            )
        except ValueError as error:
            raise UnavailableError(f"Zone {zone_id} has no usable address: {error}.") from error
        self._links[zone_id] = link
        return link

    def forget(self) -> None:
        """Drop every link and what was read from key files: the zone joined, left, or has another CA."""
        for link in self._links.values():
            self._close(link)
        self._links.clear()
        self._signer = self._context = None

    async def close(self) -> None:
        """Close every connection."""
        self.forget()
        await asyncio.gather(*self._closing)

    def _close(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(link.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def read_signer(tx: ReadTx, store: KeyStore) -> Signer:
    """This zone's signer, from its key file and the instance id in its database. Raises KeyFileError."""
    instance = remembered.recall(tx, "instance") or b""
    return Signer(tx.state.zone_id, tx.state.federation_id, store.zone_key(), instance.decode("ascii"))

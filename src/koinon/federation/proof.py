"""The newest frame that the master signed, kept so that it can be shown to a master that has lost what it signed."""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.wire.messages import SignedFrame

#: Larger frames are not kept: the next heartbeat vouches for the same.
MAX_BYTES: Final = 32 * 1024
_NAME: Final = "signed frame"


def load(tx: ReadTx) -> SignedFrame:
    """What is kept; an empty one if there is nothing."""
    found = tx.fetch("SELECT value FROM federation_setting WHERE name = ?", (_NAME,))
    return msgspec.msgpack.decode(found[0][0], type=SignedFrame) if found else SignedFrame()


def keep(tx: ZoneTx, proof: SignedFrame) -> None:
    """Keep it in place of the one before."""
    drop(tx)
    tx.later("INSERT INTO federation_setting (name, value) VALUES (?, ?)", (_NAME, msgspec.msgpack.encode(proof)))


def drop(tx: ZoneTx) -> None:
    """Forget it: the history that it vouched for is no longer ours."""
    tx.later("DELETE FROM federation_setting WHERE name = ?", (_NAME,))

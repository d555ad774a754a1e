"""The newest frame that the master signed, kept so that it can be shown to a master that has lost what it signed."""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.federation import remembered
from koinon.wire.messages import SignedFrame

#: Larger frames are not kept: the next heartbeat vouches for the same.
MAX_BYTES: Final = 32 * 1024


def load(tx: ReadTx) -> SignedFrame:
    """What is kept; an empty one if there is nothing."""
    found = remembered.recall(tx, "signed frame")
    return SignedFrame() if found is None else msgspec.msgpack.decode(found, type=SignedFrame)


def keep(tx: ZoneTx, proof: SignedFrame) -> None:
    """Keep it in place of the one before."""
    remembered.remember(tx, "signed frame", msgspec.msgpack.encode(proof))


def drop(tx: ZoneTx) -> None:
    """Forget it: the history that it vouched for is no longer ours."""
    remembered.forget(tx, "signed frame")

"""What a deleted object of this zone leaves in the shared tables: its places in VDCs, and rules about it.

Holds:    it is removed in the transaction that deletes the object, or put into the outbox in that transaction, for the master to remove.
Not here: what is removed (federation/operations.py).
"""

from __future__ import annotations

from koinon import clock
from koinon.database.transactions import SharedTx, ZoneTx
from koinon.federation import operations, outbox
from koinon.objects.kinds import Kind


def clean(tx: ZoneTx, kind: Kind, oid: int) -> None:
    """Have removed what VDCs and rules of this zone say about one object that is gone."""
    if isinstance(tx, SharedTx):
        operations.forget_object(tx, tx.state.zone_id, kind, oid)
    else:
        outbox.put(tx, operations.object_deleted(kind, oid), now_ms=clock.now_ms())

"""What a deleted object of this zone leaves in the shared tables: its places in VDCs, and rules about it.

Holds:    only what counts in this zone alone is removed. OpenNebula removes rules of every zone on its master, and none on a slave.
          A slave can't write shared tables, so there they stay; they name an id that is never given out again.
Source:   OpenNebula src/acl/AclManager.cc (del_resource_rules, del_cid_rules).
"""

from __future__ import annotations

from koinon.database.transactions import SharedTx, ZoneTx
from koinon.identity import acl, vdcs
from koinon.objects.kinds import Kind


def clean(tx: ZoneTx, kind: Kind, oid: int) -> None:
    """Remove what VDCs and rules of this zone say about one object that is gone, where this zone may write them."""
    if isinstance(tx, SharedTx):
        vdcs.drop_resource(tx, kind, tx.state.zone_id, oid)
        acl.drop_of_object(tx, kind, oid)

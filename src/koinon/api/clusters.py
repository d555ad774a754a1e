"""Who does what the rows about clusters promise."""

from __future__ import annotations

from koinon.api.bindings import Bindings
from koinon.infrastructure import clusters


def bind(bindings: Bindings) -> None:
    """Bind every row about clusters."""
    bindings.bind("one.cluster.allocate", clusters.create)
    bindings.bind("one.cluster.delete", clusters.delete, cleans_up=True)
    bindings.bind("one.cluster.info", lambda tx, caller, oid, _decrypt: clusters.show(tx, caller, oid))
    bindings.bind("one.cluster.update", clusters.update)
    bindings.bind("one.cluster.rename", clusters.rename)
    bindings.bind("one.cluster.addhost", clusters.add_host)
    bindings.bind("one.cluster.delhost", clusters.del_host)
    bindings.bind("one.clusterpool.info", clusters.pool_document)

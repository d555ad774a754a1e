"""Who does what the rows about clusters promise."""

from __future__ import annotations

from functools import partial

from koinon.api.bindings import Bindings, Services
from koinon.infrastructure import clusters, plans
from koinon.objects.kinds import Kind


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about clusters."""
    bindings.bind("one.cluster.allocate", clusters.create)
    bindings.bind("one.cluster.delete", clusters.delete, cleans_up=True)
    bindings.bind("one.cluster.info", lambda tx, caller, oid, _decrypt: clusters.show(tx, caller, oid))
    bindings.bind("one.cluster.update", clusters.update)
    bindings.bind("one.cluster.rename", clusters.rename)
    bindings.bind("one.cluster.addhost", clusters.add_host)
    bindings.bind("one.cluster.delhost", clusters.del_host)
    for word, kind in (("datastore", Kind.DATASTORE), ("vnet", Kind.NET)):
        bindings.bind(f"one.cluster.add{word}", partial(clusters.relate, kind=kind))
        bindings.bind(f"one.cluster.del{word}", partial(clusters.relate, kind=kind))
    bindings.bind("one.cluster.optimize", plans.optimize)
    bindings.bind("one.cluster.planexecute", plans.execute)
    bindings.bind("one.cluster.plandelete", plans.delete)
    bindings.bind("one.clusterpool.info", partial(clusters.pool_document, ascending=services.ascending))

"""Who does what the rows about hosts promise."""

from __future__ import annotations

from functools import partial

from koinon.api.bindings import Bindings, Services
from koinon.infrastructure import hosts


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about hosts."""
    bindings.bind("one.host.allocate", hosts.create)
    bindings.bind("one.host.delete", hosts.delete, cleans_up=True)
    bindings.bind("one.host.info", lambda tx, caller, oid, _decrypt: hosts.show(tx, caller, oid))
    bindings.bind("one.host.update", hosts.update)
    bindings.bind("one.host.rename", hosts.rename)
    bindings.bind("one.host.status", hosts.set_status)
    bindings.bind("one.host.monitoring", hosts.samples)
    bindings.bind("one.hostpool.info", partial(hosts.pool_document, ascending=services.ascending))
    bindings.bind("one.hostpool.monitoring", lambda tx, caller, _seconds: hosts.pool_samples(tx, caller))

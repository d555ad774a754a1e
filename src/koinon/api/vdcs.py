"""Who does what the rows about VDCs promise."""

from __future__ import annotations

from functools import partial

from koinon.api.bindings import Bindings
from koinon.identity import vdcs
from koinon.infrastructure import targets
from koinon.objects.kinds import Kind


def bind(bindings: Bindings) -> None:
    """Bind every row about VDCs."""
    bindings.bind("one.vdc.allocate", vdcs.create)
    bindings.bind("one.vdc.delete", vdcs.delete)
    bindings.bind("one.vdc.info", lambda tx, caller, oid, _decrypt: vdcs.show(tx, caller, oid))
    bindings.bind("one.vdc.update", vdcs.update)
    bindings.bind("one.vdc.rename", vdcs.rename)
    bindings.bind("one.vdc.addgroup", vdcs.give_to_group)
    bindings.bind("one.vdc.delgroup", vdcs.take_from_group)
    for word, kind in (("cluster", Kind.CLUSTER), ("host", Kind.HOST), ("datastore", Kind.DATASTORE), ("vnet", Kind.NET)):
        bindings.bind(f"one.vdc.add{word}", partial(vdcs.add_resource, kind=kind, local_target=targets.find))
        bindings.bind(f"one.vdc.del{word}", partial(vdcs.remove_resource, kind=kind, local_target=targets.find))
    bindings.bind("one.vdcpool.info", vdcs.pool_document)

"""Who does what the rows about VDCs promise; before a resource of another zone is added, that zone is asked whether it exists."""

from __future__ import annotations

from functools import partial
from typing import Any

from koinon.api.bindings import Bindings, Prepare, Services
from koinon.errors import NotFoundError
from koinon.identity import vdcs
from koinon.infrastructure import targets
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller


def _ask_its_zone(services: Services, kind: Kind) -> Prepare:
    """Makes an addition ready: refuses what the write would refuse, then a resource that its zone says it does not have.

    A zone that can't be asked is no reason to refuse: the rule opens nothing until there is such a resource.
    """

    async def prepare(caller: Caller, oid: int, zone_id: int, resource_id: int) -> tuple[Any, ...]:
        with services.database.read() as tx:
            vdcs.require_addition(tx, caller, oid, zone_id, resource_id, kind=kind, local_target=targets.find)
            elsewhere = zone_id != tx.state.zone_id and resource_id != vdcs.ALL_RESOURCES
        if elsewhere and await services.exists_in(zone_id, kind, resource_id) is False:
            raise NotFoundError(kind.label, resource_id)
        return oid, zone_id, resource_id

    return prepare


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about VDCs."""
    bindings.bind("one.vdc.allocate", vdcs.create)
    bindings.bind("one.vdc.delete", vdcs.delete)
    bindings.bind("one.vdc.info", lambda tx, caller, oid, _decrypt: vdcs.show(tx, caller, oid))
    bindings.bind("one.vdc.update", vdcs.update)
    bindings.bind("one.vdc.rename", vdcs.rename)
    bindings.bind("one.vdc.addgroup", vdcs.give_to_group)
    bindings.bind("one.vdc.delgroup", vdcs.take_from_group)
    for word, kind in (("cluster", Kind.CLUSTER), ("host", Kind.HOST), ("datastore", Kind.DATASTORE), ("vnet", Kind.NET)):
        add = partial(vdcs.add_resource, kind=kind, local_target=targets.find)
        bindings.bind(f"one.vdc.add{word}", add, prepare=_ask_its_zone(services, kind))
        bindings.bind(f"one.vdc.del{word}", partial(vdcs.remove_resource, kind=kind, local_target=targets.find))
    bindings.bind("one.vdcpool.info", partial(vdcs.pool_document, ascending=services.ascending))

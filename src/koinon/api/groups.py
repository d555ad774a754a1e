"""Who does what the rows about groups promise."""

from __future__ import annotations

from functools import partial

from koinon.api.bindings import Bindings, Services
from koinon.identity import group_record, groups


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about groups."""
    bindings.bind("one.group.allocate", groups.create)
    bindings.bind("one.group.delete", groups.delete)
    bindings.bind("one.group.info", lambda tx, caller, oid, _decrypt: group_record.show(tx, caller, oid))
    bindings.bind("one.group.update", groups.update)
    bindings.bind("one.group.addadmin", groups.add_admin)
    bindings.bind("one.group.deladmin", groups.del_admin)
    bindings.bind("one.grouppool.info", partial(group_record.pool_document, ascending=services.ascending))

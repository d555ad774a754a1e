"""Who does what the rows about documents promise."""

from __future__ import annotations

from functools import partial

from koinon import clock
from koinon.api.bindings import Bindings, Services
from koinon.database.transactions import ZoneTx
from koinon.infrastructure import documents
from koinon.policy.caller import Caller


def lock(tx: ZoneTx, caller: Caller, oid: int, level: int, test: bool) -> int:
    """Lock a document as of now."""
    return documents.lock(tx, caller, oid, level, test, now=clock.now_s())


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about documents."""
    bindings.bind("one.document.allocate", documents.create)
    bindings.bind("one.document.clone", documents.clone)
    bindings.bind("one.document.delete", documents.delete, cleans_up=True)
    bindings.bind("one.document.info", lambda tx, caller, oid, _decrypt: documents.show(tx, caller, oid))
    bindings.bind("one.document.update", documents.update)
    bindings.bind("one.document.rename", documents.rename)
    bindings.bind("one.document.chown", documents.chown)
    bindings.bind("one.document.chmod", lambda tx, caller, oid, *bits: documents.chmod(tx, caller, oid, bits))
    bindings.bind("one.document.lock", lock)
    bindings.bind("one.document.unlock", documents.unlock)
    bindings.bind("one.documentpool.info", partial(documents.pool_document, ascending=services.ascending))

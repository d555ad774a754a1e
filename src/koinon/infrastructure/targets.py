"""Any object of the zone by kind and id: whether it is there, and how access decisions see it.

For those who know kinds only: VDCs that name resources, explanations of decisions.
"""

from __future__ import annotations

from koinon.database.transactions import ReadTx
from koinon.errors import NotFoundError
from koinon.infrastructure import cluster_record, document_record, host_record
from koinon.infrastructure.document_record import Document
from koinon.infrastructure.host_record import Host
from koinon.objects.kinds import Kind
from koinon.policy.decide import Target


def find(tx: ReadTx, kind: Kind, oid: int) -> Target | None:
    """One object with its lock, None for kinds that a zone has no objects of its own of.

    Raises:
        NotFoundError: the zone keeps such objects, and not this one.
    """
    match kind:
        case Kind.CLUSTER:
            return cluster_record.target_of(cluster_record.get(tx, oid).oid)
        case Kind.HOST:
            return host_record.target_of(host_record.get(tx, oid))
        case Kind.DOCUMENT:
            return document_record.target_of(document_record.get(tx, oid))
        case _:
            return None


def all_of(tx: ReadTx, kind: Kind) -> list[Target] | None:
    """All objects of a kind, ascending by id; None for kinds that a zone has no objects of its own of."""
    match kind:
        case Kind.CLUSTER:
            return [cluster_record.target_of(row.oid) for row in cluster_record.POOL.rows(tx)]
        case Kind.HOST:
            return [host_record.target_of(Host.from_row(row)) for row in host_record.POOL.rows(tx)]
        case Kind.DOCUMENT:
            return [document_record.target_of(Document.from_row(row)) for row in document_record.POOL.rows(tx)]
        case _:
            return None


def known(tx: ReadTx, kind: Kind, oid: int) -> bool | None:
    """Whether this zone has the object as its own; None for kinds that a zone has no objects of its own of."""
    try:
        return None if find(tx, kind, oid) is None else True
    except NotFoundError:
        return False


def exists(tx: ReadTx, kind: Kind, oid: int) -> bool:
    """Whether this zone has the object as its own, of whatever kind."""
    return known(tx, kind, oid) is True

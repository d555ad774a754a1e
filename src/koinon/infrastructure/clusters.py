"""Clusters: groups of hosts in this zone, which rules (``%``) and VDCs hand out as a whole.

Holds:    a host is in exactly one cluster; cluster 0 takes those that leave another; what a host tells of its cluster's name stays true.
Not here: migration plans (plans.py).
Source:   OpenNebula src/rm/api/ClusterAPI.cc, src/cluster/Cluster.cc, src/cluster/ClusterPool.cc (effects and texts).
"""

from __future__ import annotations

from typing import Final, NoReturn

from koinon.database.local_pools import Where
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import ActionError, InvalidChangeError, InvalidError, NotFoundError, TakenError
from koinon.identity import access, template_updates
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.infrastructure import host_record, leftovers
from koinon.infrastructure.cluster_record import DEFAULT, POOL, Cluster, get, target_of
from koinon.infrastructure.host_record import Host
from koinon.infrastructure.pool_lists import Window, listing
from koinon.objects import xml
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

FIRST_ID: Final = 100


def ensure_default(tx: ZoneTx) -> None:
    """Make cluster 0, unless the zone has it; clusters that people make begin at 100."""
    if POOL.get(tx, DEFAULT) is None:
        POOL.insert(tx, Cluster(DEFAULT, "default", Template()).as_row())
        POOL.set_counter(tx, max(FIRST_ID - 1, tx.counter(POOL.table)))


def create(tx: ZoneTx, caller: Caller, name: str) -> int:
    """Add a cluster; its id.

    Raises:
        AuthorizationError: the caller lacks CLUSTER:CREATE.
        InvalidError, TakenError: the name is not allowed, or taken.
    """
    access.require(tx, caller, Right.CREATE, access.new_object(caller, Kind.CLUSTER))
    require_name(name, Kind.CLUSTER)
    taken = POOL.named(tx, name)
    if taken is not None:
        raise TakenError(Kind.CLUSTER.acl_name, taken.oid)
    oid = POOL.next_id(tx)
    POOL.insert(tx, Cluster(oid, name, Template()).as_row())
    return oid


def delete(tx: ZoneTx, caller: Caller, oid: int) -> int:
    """Remove an empty cluster, and what rules say about it in this zone. Needs CLUSTER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: a system cluster, or there are hosts in it.
    """
    get(tx, oid)
    access.require(tx, caller, Right.ADMIN, target_of(oid))
    if oid < FIRST_ID:
        raise ActionError("Cannot delete cluster. System Clusters (ID < 100) cannot be deleted.", object_id=oid)
    hosts = _hosts(tx, oid)
    if hosts:
        raise ActionError(f"Cannot delete cluster. Cluster {oid} is not empty, it contains {len(hosts)} hosts.", object_id=oid)
    POOL.delete(tx, oid)
    leftovers.clean(tx, Kind.CLUSTER, oid)
    return oid


def update(tx: ZoneTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a cluster's template; see ``template_updates.updated`` for the types and failures. Needs CLUSTER:MANAGE."""
    cluster = get(tx, oid)
    access.require(tx, caller, Right.MANAGE, target_of(oid))
    cluster.template = template_updates.updated(cluster.template, text, update_type, restricted=())
    POOL.update(tx, cluster.as_row())
    return oid


def rename(tx: ZoneTx, caller: Caller, oid: int, name: str) -> int:
    """Give a cluster another name. Needs CLUSTER:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: the name is not allowed.
        ActionError: it belongs to another cluster.
    """
    cluster = get(tx, oid)
    access.require(tx, caller, Right.MANAGE, target_of(oid))
    if cluster.name == name:
        return oid
    try:
        require_name(name, Kind.CLUSTER)
    except InvalidError as error:
        raise InvalidChangeError(error.text, object_id=oid) from error
    taken = POOL.named(tx, name)
    if taken is not None:
        raise ActionError(f"cluster cannot be renamed to {name} because it collides with cluster {taken.oid}", object_id=oid)
    cluster.name = name
    POOL.update(tx, cluster.as_row())
    for row in host_record.POOL.rows(tx, [Where("cid = ?", (oid,))]):
        host = Host.from_row(row)
        host.cluster = name
        host_record.POOL.update(tx, host.as_row())
    return oid


def add_host(tx: ZoneTx, caller: Caller, oid: int, host_id: int) -> int:
    """Move a host into a cluster. Needs CLUSTER:ADMIN and HOST:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
    """
    _move(tx, _for_move(tx, caller, oid, host_id), get(tx, oid))
    return oid


def del_host(tx: ZoneTx, caller: Caller, oid: int, host_id: int) -> int:
    """Move a host of a cluster to cluster 0. Needs CLUSTER:ADMIN and HOST:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: the host is in another cluster.
    """
    host = _for_move(tx, caller, oid, host_id)
    if host.cid != oid:
        raise ActionError(f"Host {host_id} is not in cluster {oid}, it is in cluster {host.cid}.", object_id=host_id)
    _move(tx, host, get(tx, DEFAULT))
    return oid


def relate(tx: ZoneTx, _caller: Caller, oid: int, other_id: int, *, kind: Kind) -> NoReturn:
    """Put a datastore or a network into a cluster, or take it out: a zone has none of either, and whether one exists is said before rights.

    Raises:
        NotFoundError: no such cluster; if there is, no such datastore or network.
    """
    get(tx, oid)
    raise NotFoundError(kind.label, other_id)


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One cluster, escaped for the reply. Needs CLUSTER:USE. Raises NotFoundError, AuthorizationError."""
    cluster = get(tx, oid)
    access.require(tx, caller, Right.USE, target_of(oid))
    return xml.escape(_shown(tx, cluster)).encode()


def pool_document(tx: ReadTx, caller: Caller, *, ascending: bool = False, selection: Selection = EVERYTHING) -> list[bytes]:
    """All clusters that the caller may see, as chunks to be sent one after another; see ``pool_lists.listing`` for their order."""

    def body_of(row: PoolRow) -> str:
        return _shown(tx, Cluster.from_row(row))

    return listing(tx, caller, Kind.CLUSTER, POOL, Window(), ascending=ascending, selection=selection, body_of=body_of)


def _for_move(tx: ReadTx, caller: Caller, oid: int, host_id: int) -> Host:
    get(tx, oid)
    host = host_record.get(tx, host_id)
    access.require_all(tx, caller, [(Right.ADMIN, target_of(oid)), (Right.ADMIN, host_record.target_of(host))])
    return host


def _move(tx: ZoneTx, host: Host, cluster: Cluster) -> None:
    host.cid, host.cluster = cluster.oid, cluster.name
    host_record.POOL.update(tx, host.as_row())


def _shown(tx: ReadTx, cluster: Cluster) -> str:
    oid = cluster.oid
    return cluster.shown(_hosts(tx, oid), _related(tx, "cluster_datastore_relation", oid), _related(tx, "cluster_network_relation", oid))


def _hosts(tx: ReadTx, oid: int) -> list[int]:
    return [found for (found,) in tx.fetch("SELECT oid FROM host_pool WHERE cid = ? ORDER BY oid", (oid,))]


def _related(tx: ReadTx, relation: str, oid: int) -> list[int]:
    return [found for (found,) in tx.fetch(f"SELECT oid FROM {relation} WHERE cid = ? ORDER BY oid", (oid,))]  # noqa: S608 - our own names

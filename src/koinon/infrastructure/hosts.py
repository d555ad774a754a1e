"""Hosts: machines that this zone may run VMs on, each in one cluster.

Not here: probing them, so that states are those that people set; moving them between clusters (clusters.py).
Source:   OpenNebula src/rm/api/HostAPI.cc, src/host/HostPool.cc (effects and texts).
"""

from __future__ import annotations

import re
from typing import Final

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import ActionError, InvalidChangeError, InvalidError, TakenError
from koinon.identity import access, template_updates
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.infrastructure import cluster_record, leftovers
from koinon.infrastructure.host_record import DISABLED, INIT, OFFLINE, POOL, Host, get, target_of
from koinon.infrastructure.pool_lists import Window, listing
from koinon.objects import xml
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller

_DEFAULT_CLUSTER: Final = -1
_STATE_OF: Final = {0: INIT, 1: DISABLED, 2: OFFLINE}  #: by the number that one.host.status takes
_DRIVER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_NO_SAMPLES: Final = xml.escape("<MONITORING_DATA></MONITORING_DATA>").encode()


def create(tx: ZoneTx, caller: Caller, name: str, im_mad: str, vm_mad: str, cluster_id: int) -> int:
    """Add a host; its id.

    Args:
        tx: the transaction.
        caller: needs HOST:CREATE, and CLUSTER:ADMIN of any but the default cluster.
        name: host name or address, not taken.
        im_mad: name of the driver that would gather information.
        vm_mad: name of the driver that would run VMs.
        cluster_id: its cluster; -1 is the default one.

    Raises:
        NotFoundError: no such cluster.
        AuthorizationError: the caller may not.
        InvalidError, TakenError: a name is not allowed, or the host's is taken.
    """
    cluster = cluster_record.get(tx, cluster_record.DEFAULT if cluster_id == _DEFAULT_CLUSTER else cluster_id)
    needs = [(Right.CREATE, access.new_object(caller, Kind.HOST))]
    if cluster.oid != cluster_record.DEFAULT:
        needs.append((Right.ADMIN, cluster_record.target_of(cluster.oid)))
    access.require_all(tx, caller, needs)
    require_name(name, Kind.HOST)
    _require_driver(im_mad, "IM_MAD")
    _require_driver(vm_mad, "VM_MAD")
    taken = POOL.named(tx, name)
    if taken is not None:
        raise TakenError(Kind.HOST.acl_name, taken.oid)
    oid = POOL.next_id(tx)
    POOL.insert(tx, Host(oid, name, INIT, INIT, im_mad, vm_mad, cluster.oid, cluster.name, Template()).as_row())
    return oid


def delete(tx: ZoneTx, caller: Caller, oid: int) -> int:
    """Remove a host, and what rules say about it in this zone. Needs HOST:ADMIN. Raises NotFoundError, AuthorizationError."""
    _allowed(tx, caller, Right.ADMIN, oid)
    POOL.delete(tx, oid)
    leftovers.clean(tx, Kind.HOST, oid)
    return oid


def update(tx: ZoneTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a host's template; see ``template_updates.updated`` for the types and failures. Needs HOST:ADMIN."""
    host = _allowed(tx, caller, Right.ADMIN, oid)
    host.template = template_updates.updated(host.template, text, update_type, restricted=())
    POOL.update(tx, host.as_row())
    return oid


def rename(tx: ZoneTx, caller: Caller, oid: int, name: str) -> int:
    """Give a host another name. Needs HOST:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: the name is not allowed.
        ActionError: it belongs to another host.
    """
    host = _allowed(tx, caller, Right.ADMIN, oid)
    if host.name == name:
        return oid
    try:
        require_name(name, Kind.HOST)
    except InvalidError as error:
        raise InvalidChangeError(error.text, object_id=oid) from error
    taken = POOL.named(tx, name)
    if taken is not None:
        raise ActionError(f"host cannot be renamed to {name} because it collides with host {taken.oid}", object_id=oid)
    host.name = name
    POOL.update(tx, host.as_row())
    return oid


def set_status(tx: ZoneTx, caller: Caller, oid: int, status: int) -> int:
    """Enable (0), disable (1) or take a host offline (2). Needs HOST:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidError: another number.
    """
    host = _allowed(tx, caller, Right.ADMIN, oid)
    state = _STATE_OF.get(status)
    if state is None:
        raise InvalidError("Wrong status code", object_id=oid)
    if state != host.state:
        host.state, host.previous = state, host.state
        POOL.update(tx, host.as_row())
    return oid


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One host, escaped for the reply. Needs HOST:USE. Raises NotFoundError, AuthorizationError."""
    return xml.escape(_allowed(tx, caller, Right.USE, oid).as_row().body).encode()


def pool_document(tx: ReadTx, caller: Caller, *, ascending: bool = False, selection: Selection = EVERYTHING) -> list[bytes]:
    """All hosts that the caller may see, as chunks to be sent one after another; see ``pool_lists.listing`` for their order."""
    return listing(tx, caller, Kind.HOST, POOL, Window(), ascending=ascending, selection=selection)


def samples(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """What probes told of a host: nothing yet. Needs HOST:USE. Raises NotFoundError, AuthorizationError."""
    _allowed(tx, caller, Right.USE, oid)
    return _NO_SAMPLES


def pool_samples(_tx: ReadTx, _caller: Caller) -> bytes:
    """What probes told of all hosts: nothing yet."""
    return _NO_SAMPLES


def _allowed(tx: ReadTx, caller: Caller, right: Right, oid: int) -> Host:
    host = get(tx, oid)
    access.require(tx, caller, right, target_of(host))
    return host


def _require_driver(name: str, what: str) -> None:
    if not name:
        raise InvalidError(f"{what}_NAME cannot be empty.")
    if _DRIVER_NAME.fullmatch(name) is None:
        raise InvalidError(f"{name[:64]!r} can't be a {what}: use letters, digits, '_', '.' and '-', at most 64.")

"""Migration plans of clusters: what an optimizer would move, and what comes of it.

Holds:    a zone without VMs has nothing to move, so no cluster has a plan; what is asked of one is refused as OpenNebula refuses it where
          there is none.
Source:   OpenNebula src/rm/api/ClusterAPI.cc, src/plan/PlanManager.cc (texts).
"""

from __future__ import annotations

from typing import NoReturn

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import ActionError, ConflictError
from koinon.identity import access
from koinon.infrastructure.cluster_record import get, target_of
from koinon.objects.acl import Right
from koinon.policy.caller import Caller


def optimize(tx: ZoneTx, caller: Caller, oid: int) -> NoReturn:
    """Have a plan made for a cluster. Needs CLUSTER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ConflictError: there is no plan that could be filled.
    """
    _require_admin(tx, caller, oid)
    raise ConflictError("Can't find plan for existing cluster.")


def execute(tx: ZoneTx, caller: Caller, oid: int) -> NoReturn:
    """Begin with a cluster's plan. Needs CLUSTER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: there is none.
    """
    _require_admin(tx, caller, oid)
    raise ActionError("Plan is not ready")


def delete(tx: ZoneTx, caller: Caller, oid: int) -> NoReturn:
    """Drop a cluster's plan. Needs CLUSTER:ADMIN.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: there is none.
    """
    _require_admin(tx, caller, oid)
    raise ActionError(f"Plan for cluster {oid} does not exist")


def _require_admin(tx: ReadTx, caller: Caller, oid: int) -> None:
    access.require(tx, caller, Right.ADMIN, target_of(get(tx, oid).oid))

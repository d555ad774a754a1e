"""A cluster as a record.

Which hosts are in it is not stored in its body: each host says so (``host_pool.cid``), and replies put the list in.
Source: OpenNebula src/cluster/Cluster.cc (order of the body); share/doc/xsd/cluster.xsd.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.local_pools import LocalPool
from koinon.database.transactions import ReadTx
from koinon.errors import DefectError, NotFoundError
from koinon.objects import xml
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.decide import Target
from koinon.statements.schema import PoolRow

POOL: Final = LocalPool("cluster_pool", PoolRow)
DEFAULT: Final = 0
_BITS: Final = 0o600


class Cluster(msgspec.Struct):
    """One cluster."""

    oid: int
    name: str
    template: Template

    @classmethod
    def from_row(cls, row: PoolRow) -> Cluster:
        """Read a stored row. Raises DefectError if its body is not one of a cluster."""
        try:
            template = xml.parse(row.body).find("TEMPLATE")
            return cls(row.oid, row.name, Template() if template is None else Template.from_element(template))
        except ValueError as error:
            raise DefectError(f"The stored body of cluster {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> PoolRow:
        """The row to store."""
        body = f"<CLUSTER><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>{self.template.to_xml()}</CLUSTER>"
        return PoolRow(self.oid, self.name, body, uid=0, gid=0, owner_u=1, group_u=0, other_u=0)

    def shown(self, hosts: list[int], datastores: list[int], networks: list[int]) -> str:
        """The body with all that is in the cluster."""
        return (
            f"<CLUSTER><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>{xml.ids_xml('HOSTS', hosts)}"
            f"{xml.ids_xml('DATASTORES', datastores)}{xml.ids_xml('VNETS', networks)}{self.template.to_xml()}</CLUSTER>"
        )


def get(tx: ReadTx, oid: int) -> Cluster:
    """One cluster. Raises NotFoundError."""
    row = POOL.get(tx, oid)
    if row is None:
        raise NotFoundError(Kind.CLUSTER.label, oid)
    return Cluster.from_row(row)


def target_of(oid: int) -> Target:
    """A cluster as access decisions see it: user 0's, with no permissions for others."""
    return Target(kind=Kind.CLUSTER, oid=oid, uid=0, gid=0, bits=_BITS)

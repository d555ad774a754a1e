"""A host as a record. Nothing probes hosts yet: capacity and monitoring are empty, and enabled hosts stay in INIT.

Source: OpenNebula src/host/Host.cc, HostShare.cc (order of the body); include/Host.h (states); share/doc/xsd/host.xsd.
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

INIT: Final = 0
DISABLED: Final = 4
OFFLINE: Final = 8
_BITS: Final = 0o600
_NO_SHARE: Final = (
    "<HOST_SHARE><MEM_USAGE>0</MEM_USAGE><CPU_USAGE>0</CPU_USAGE><TOTAL_MEM>0</TOTAL_MEM><TOTAL_CPU>0</TOTAL_CPU><MAX_MEM>0</MAX_MEM>"
    "<MAX_CPU>0</MAX_CPU><RUNNING_VMS>0</RUNNING_VMS><VMS_THREAD>1</VMS_THREAD><DATASTORES><DISK_USAGE>0</DISK_USAGE>"
    "<FREE_DISK>0</FREE_DISK><MAX_DISK>0</MAX_DISK><USED_DISK>0</USED_DISK></DATASTORES><PCI_DEVICES></PCI_DEVICES>"
    "<NUMA_NODES></NUMA_NODES></HOST_SHARE><VMS></VMS>"
)


class HostRow(PoolRow, frozen=True):
    """A row of ``host_pool``."""

    state: int
    cid: int


POOL: Final = LocalPool("host_pool", HostRow)


class Host(msgspec.Struct):
    """One host. ``cluster`` is the name of its cluster."""

    oid: int
    name: str
    state: int
    previous: int
    im_mad: str
    vm_mad: str
    cid: int
    cluster: str
    template: Template

    @classmethod
    def from_row(cls, row: HostRow) -> Host:
        """Read a stored row. Raises DefectError if its body is not one of a host."""
        try:
            root = xml.parse(row.body)
            template = root.find("TEMPLATE")
            return cls(
                row.oid,
                row.name,
                row.state,
                xml.int_of(root, "PREV_STATE", INIT),
                xml.text_of(root, "IM_MAD"),
                xml.text_of(root, "VM_MAD"),
                row.cid,
                xml.text_of(root, "CLUSTER"),
                Template() if template is None else Template.from_element(template),
            )
        except ValueError as error:
            raise DefectError(f"The stored body of host {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> HostRow:
        """The row to store."""
        body = (
            f"<HOST><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME><STATE>{self.state}</STATE>"
            f"<PREV_STATE>{self.previous}</PREV_STATE><IM_MAD>{xml.cdata(self.im_mad)}</IM_MAD><VM_MAD>{xml.cdata(self.vm_mad)}</VM_MAD>"
            f"<CLUSTER_ID>{self.cid}</CLUSTER_ID><CLUSTER>{xml.escape(self.cluster)}</CLUSTER>{_NO_SHARE}{self.template.to_xml()}"
            "<MONITORING></MONITORING></HOST>"
        )
        return HostRow(self.oid, self.name, body, uid=0, gid=0, owner_u=1, group_u=0, other_u=0, state=self.state, cid=self.cid)


def get(tx: ReadTx, oid: int) -> Host:
    """One host. Raises NotFoundError."""
    row = POOL.get(tx, oid)
    if row is None:
        raise NotFoundError(Kind.HOST.label, oid)
    return Host.from_row(row)


def target_of(host: Host) -> Target:
    """A host as access decisions see it: user 0's, in its cluster."""
    return Target(kind=Kind.HOST, oid=host.oid, uid=0, gid=0, bits=_BITS, clusters=(host.cid,))

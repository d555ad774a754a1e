"""A document as a record: typed data that clients keep in a zone, with an owner, permissions and a lock.

Source: OpenNebula src/document/Document.cc (order of the body); share/doc/xsd/document.xsd.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.local_pools import LocalPool
from koinon.database.transactions import ReadTx
from koinon.errors import DefectError, NotFoundError
from koinon.infrastructure import locks, permissions
from koinon.infrastructure.locks import Lock
from koinon.objects import xml
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.decide import Target
from koinon.statements.schema import PoolRow


class DocumentRow(PoolRow, frozen=True):
    """A row of ``document_pool``."""

    type: int


POOL: Final = LocalPool("document_pool", DocumentRow)


class Document(msgspec.Struct):
    """One document. ``type`` is a number that clients agree on; ``bits`` are the nine permission bits."""

    oid: int
    uid: int
    gid: int
    uname: str
    gname: str
    name: str
    type: int
    bits: int
    lock: Lock | None
    template: Template

    @classmethod
    def from_row(cls, row: DocumentRow) -> Document:
        """Read a stored row. Raises DefectError if its body is not one of a document."""
        try:
            root = xml.parse(row.body)
            template = root.find("TEMPLATE")
            return cls(
                row.oid,
                row.uid,
                row.gid,
                xml.text_of(root, "UNAME"),
                xml.text_of(root, "GNAME"),
                row.name,
                row.type,
                permissions.from_element(root),
                locks.from_element(root),
                Template() if template is None else Template.from_element(template),
            )
        except ValueError as error:
            raise DefectError(f"The stored body of document {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> DocumentRow:
        """The row to store."""
        body = (
            f"<DOCUMENT><ID>{self.oid}</ID><UID>{self.uid}</UID><GID>{self.gid}</GID><UNAME>{xml.escape(self.uname)}</UNAME>"
            f"<GNAME>{xml.escape(self.gname)}</GNAME><NAME>{xml.escape(self.name)}</NAME><TYPE>{self.type}</TYPE>"
            f"{permissions.to_xml(self.bits)}{self.lock.to_xml() if self.lock is not None else ''}{self.template.to_xml()}</DOCUMENT>"
        )
        owner_u, group_u, other_u = permissions.columns(self.bits)
        return DocumentRow(self.oid, self.name, body, self.uid, self.gid, owner_u, group_u, other_u, type=self.type)


def get(tx: ReadTx, oid: int) -> Document:
    """One document. Raises NotFoundError."""
    row = POOL.get(tx, oid)
    if row is None:
        raise NotFoundError(Kind.DOCUMENT.label, oid)
    return Document.from_row(row)


def target_of(document: Document, *, minds_lock: bool = True) -> Target:
    """A document as access decisions see it; showing, locking and unlocking do not mind its lock."""
    locked = document.lock.level if document.lock is not None and minds_lock else 0
    return Target(kind=Kind.DOCUMENT, oid=document.oid, uid=document.uid, gid=document.gid, bits=document.bits, locked=locked)

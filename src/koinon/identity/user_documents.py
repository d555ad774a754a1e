"""Users as replies show them: ``USER`` and ``USER_POOL``, escaped once for the XML-RPC reply.

Never shown: the verifier of a password, the stored hash of a token.
Source: OpenNebula src/um/User.cc (to_xml_extended), src/um/UserPool.cc (dump); share/doc/xsd/user.xsd, user_pool.xsd.
"""

from __future__ import annotations

from typing import Final

from koinon.database.transactions import ReadTx
from koinon.errors import NotFoundError
from koinon.identity import access, auth_drivers, passwords, pool_lists, quota_documents
from koinon.identity.user_record import User
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.xml import escape
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

SELF: Final = -1
_HIDDEN: Final = "***"
_POOL_HEAD: Final = escape("<USER_POOL>").encode()
_POOL_TAIL: Final = escape(f"{quota_documents.DEFAULT_USER}</USER_POOL>").encode()


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One user, if the caller may USE it; -1 is the caller.

    Raises:
        NotFoundError, AuthorizationError.
    """
    oid = caller.uid if oid == SELF else oid
    access.require(tx, caller, Right.USE, access.target_of(tx, Kind.USER, oid))
    return document(tx, oid)


def document(tx: ReadTx, oid: int) -> bytes:
    """One user, whoever asks. Raises NotFoundError."""
    made = tx.memo("user_pool", oid, "document", _document)
    if made is None:
        raise NotFoundError(Kind.USER.label, oid)
    return made


def pool_document(tx: ReadTx, caller: Caller) -> list[bytes]:
    """All users that the caller may see, as chunks to be sent one after another."""
    return [_POOL_HEAD, *pool_lists.listing(tx, caller, Kind.USER, _listed), _POOL_TAIL]


def _document(row: PoolRow) -> bytes:
    open_body = _masked(row).removesuffix("</USER>")
    return escape(f"{open_body}{quota_documents.NONE}{quota_documents.DEFAULT_USER}</USER>").encode()


def _listed(row: PoolRow) -> bytes:
    return escape(f"{_masked(row)}{quota_documents.beside(row.oid)}").encode()


def _masked(row: PoolRow) -> str:
    user = User.from_row(row)
    # After a change of driver an old verifier may stand where other drivers keep something to be shown.
    if auth_drivers.hides_password(user.driver) or passwords.is_verifier(user.password):
        user.password = _HIDDEN
    return user.body(show_tokens=False)

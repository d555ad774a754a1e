"""Users as replies show them: ``USER`` and ``USER_POOL``, escaped once for the XML-RPC reply.

Never shown: the verifier of a password, the stored hash of a token.
Source: OpenNebula src/um/User.cc (to_xml_extended), src/um/UserPool.cc (dump); share/doc/xsd/user.xsd, user_pool.xsd.
"""

from __future__ import annotations

from typing import Final

from koinon.accounting import quota_rows
from koinon.database.transactions import ReadTx
from koinon.errors import NotFoundError
from koinon.identity import access, auth_drivers, passwords, pool_lists
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.identity.user_record import User
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.xml import escape
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow

SELF: Final = -1
_HIDDEN: Final = "***"
_POOL_HEAD: Final = escape("<USER_POOL>").encode()
_TABLE: Final = "user_pool"


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
    made = tx.memo(_TABLE, oid, "document", lambda row: _document(tx, row))
    if made is None:
        raise NotFoundError(Kind.USER.label, oid)
    return made


def pool_document(tx: ReadTx, caller: Caller, *, ascending: bool = False, selection: Selection = EVERYTHING) -> list[bytes]:
    """All users that the caller may see, as chunks to be sent one after another; see ``pool_lists.listing`` for their order."""
    tail = tx.table_memo(_TABLE, "pool tail", lambda: escape(f"{quota_rows.default(tx, quota_rows.USERS)}</USER_POOL>").encode())
    return [
        _POOL_HEAD,
        *pool_lists.listing(tx, caller, Kind.USER, lambda row: _listed(tx, row), ascending=ascending, selection=selection),
        tail,
    ]


def _document(tx: ReadTx, row: PoolRow) -> bytes:
    open_body = _masked(row).removesuffix("</USER>")
    quotas = f"{quota_rows.inside(tx, quota_rows.USERS, row.oid)}{quota_rows.default(tx, quota_rows.USERS)}"
    return escape(f"{open_body}{quotas}</USER>").encode()


def _listed(tx: ReadTx, row: PoolRow) -> bytes:
    return escape(f"{_masked(row)}{quota_rows.beside(tx, quota_rows.USERS, row.oid)}").encode()


def _masked(row: PoolRow) -> str:
    user = User.from_row(row)
    # After a change of driver an old verifier may stand where other drivers keep something to be shown.
    if auth_drivers.hides_password(user.driver) or passwords.is_verifier(user.password):
        user.password = _HIDDEN
    return user.body(show_tokens=False)

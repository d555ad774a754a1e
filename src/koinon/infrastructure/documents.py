"""Documents: create, copy, change, hand over, lock, delete.

Holds:    a copy needs USE of what is copied. OpenNebula asks for CREATE there, though its pages say USE, so that whoever may create
          documents can copy those that they may not see.
Not here: permission bits (permissions.py), locks (locks.py), what clients keep in a document.
Source:   OpenNebula src/rm/api/DocumentAPI.cc, src/rm/api/SharedAPI.cc (effects and texts).
"""

from __future__ import annotations

from collections.abc import Sequence

from koinon.database.local_pools import Where
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import BadArgumentError, InvalidChangeError, InvalidError
from koinon.identity import access, groups, template_updates, users
from koinon.identity.pool_lists import EVERYTHING, Selection
from koinon.infrastructure import leftovers, locks, permissions
from koinon.infrastructure.document_record import POOL, Document, get, target_of
from koinon.infrastructure.pool_lists import Window, listing
from koinon.objects import xml
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.policy.decide import Target

_KEEP = -1


def create(tx: ZoneTx, caller: Caller, text: str, kind_number: int) -> int:
    """Add a document; its id.

    Args:
        tx: the transaction.
        caller: needs DOCUMENT:CREATE; becomes the owner, with their primary group.
        text: template with NAME, in either syntax.
        kind_number: the document's type.

    Raises:
        AuthorizationError: the caller may not.
        InvalidError: the template can't be read, or the name is missing or not allowed.
    """
    try:
        template = Template.parse(text)
    except ValueError as error:
        raise InvalidError(str(error)) from error
    access.require(tx, caller, Right.CREATE, access.new_object(caller, Kind.DOCUMENT))
    name = template.get("NAME") or ""
    template.remove("NAME")
    return _add(tx, caller, name, kind_number, template)


def clone(tx: ZoneTx, caller: Caller, oid: int, name: str) -> int:
    """Copy a document under another name; the copy's id. The copy is the caller's, with permissions of a new document, and free.

    Needs DOCUMENT:CREATE, and DOCUMENT:USE of the source.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidError: the name is not allowed.
    """
    source = get(tx, oid)
    access.require_all(tx, caller, [(Right.CREATE, access.new_object(caller, Kind.DOCUMENT)), (Right.USE, target_of(source))])
    return _add(tx, caller, name, source.type, source.template)


def delete(tx: ZoneTx, caller: Caller, oid: int) -> int:
    """Remove a document, and what rules say about it in this zone. Needs DOCUMENT:MANAGE. Raises NotFoundError, AuthorizationError."""
    _allowed(tx, caller, Right.MANAGE, oid)
    POOL.delete(tx, oid)
    leftovers.clean(tx, Kind.DOCUMENT, oid)
    return oid


def update(tx: ZoneTx, caller: Caller, oid: int, text: str, update_type: int) -> int:
    """Change a document's template; see ``template_updates.updated`` for the types and failures. Needs DOCUMENT:MANAGE."""
    document = _allowed(tx, caller, Right.MANAGE, oid)
    document.template = template_updates.updated(document.template, text, update_type, restricted=())
    POOL.update(tx, document.as_row())
    return oid


def rename(tx: ZoneTx, caller: Caller, oid: int, name: str) -> int:
    """Give a document another name, which others may have too. Needs DOCUMENT:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidChangeError: the name is not allowed.
    """
    document = _allowed(tx, caller, Right.MANAGE, oid)
    try:
        document.name = require_name(name, Kind.DOCUMENT)
    except InvalidError as error:
        raise InvalidChangeError(error.text, object_id=oid) from error
    POOL.update(tx, document.as_row())
    return oid


def chmod(tx: ZoneTx, caller: Caller, oid: int, wanted: Sequence[int]) -> int:
    """Change permission bits. Needs DOCUMENT:MANAGE, or DOCUMENT:ADMIN if an ADMIN bit really changes.

    Args:
        tx: the transaction.
        caller: who asks.
        oid: the document.
        wanted: nine numbers, see ``permissions.changed``.

    Raises:
        NotFoundError, AuthorizationError.
        InvalidError: a number is none of -1, 0 and 1.
    """
    document = get(tx, oid)
    right = Right.ADMIN if permissions.changes_admin(document.bits, wanted) else Right.MANAGE
    access.require(tx, caller, right, target_of(document))
    document.bits = permissions.changed(document.bits, wanted)
    POOL.update(tx, document.as_row())
    return oid


def chown(tx: ZoneTx, caller: Caller, oid: int, uid: int, gid: int) -> int:
    """Hand a document to another user or group; -1 keeps, and so does the present one.

    Needs DOCUMENT:MANAGE, USER:MANAGE of the new owner, GROUP:USE of the new group.

    Raises:
        NotFoundError, AuthorizationError.
        BadArgumentError: an id below -1.
    """
    if uid < _KEEP or gid < _KEEP:
        raise BadArgumentError("Wrong user or group ID", object_id=oid)
    owner = None if uid == _KEEP else access.target_of(tx, Kind.USER, uid)
    group = None if gid == _KEEP else access.target_of(tx, Kind.GROUP, gid)
    document = get(tx, oid)
    needs: list[tuple[Right, Target]] = [(Right.MANAGE, target_of(document))]
    if owner is not None and uid != document.uid:
        needs.append((Right.MANAGE, owner))
        document.uid, document.uname = uid, users.get(tx, uid).name
    if group is not None and gid != document.gid:
        needs.append((Right.USE, group))
        document.gid, document.gname = gid, groups.name_of(tx, gid)
    access.require_all(tx, caller, needs)
    POOL.update(tx, document.as_row())
    return oid


def lock(tx: ZoneTx, caller: Caller, oid: int, level: int, test: bool, *, now: int) -> int:
    """Lock a document. Needs DOCUMENT:MANAGE; see ``locks.taken`` for levels, ``test`` and failures."""
    document = _allowed(tx, caller, Right.MANAGE, oid, minds_lock=False)
    document.lock = locks.taken(document.lock, caller, oid, level, test=test, now=now)
    POOL.update(tx, document.as_row())
    return oid


def unlock(tx: ZoneTx, caller: Caller, oid: int) -> int:
    """Free a document; nothing if it is free. Needs DOCUMENT:MANAGE.

    Raises:
        NotFoundError, AuthorizationError.
        ActionError: another user locked it.
    """
    document = _allowed(tx, caller, Right.MANAGE, oid, minds_lock=False)
    locks.require_release(document.lock, caller, oid)
    document.lock = None
    POOL.update(tx, document.as_row())
    return oid


def show(tx: ReadTx, caller: Caller, oid: int) -> bytes:
    """One document, escaped for the reply. Needs DOCUMENT:USE. Raises NotFoundError, AuthorizationError."""
    return xml.escape(_allowed(tx, caller, Right.USE, oid, minds_lock=False).as_row().body).encode()


def pool_document(
    tx: ReadTx,
    caller: Caller,
    flag: int,
    start: int,
    end: int,
    kind_number: int,
    *,
    ascending: bool = False,
    selection: Selection = EVERYTHING,
) -> list[bytes]:
    """The documents of one type that the caller may see, as chunks to be sent one after another; see ``listing`` for their order.

    Raises:
        BadArgumentError: there is no such flag.
    """
    of_type = Where("type = ?", (kind_number,))
    return listing(
        tx, caller, Kind.DOCUMENT, POOL, Window(flag, start, end), ascending=ascending, selection=selection, conditions=[of_type]
    )


def _allowed(tx: ReadTx, caller: Caller, right: Right, oid: int, *, minds_lock: bool = True) -> Document:
    document = get(tx, oid)
    access.require(tx, caller, right, target_of(document, minds_lock=minds_lock))
    return document


def _add(tx: ZoneTx, caller: Caller, name: str, kind_number: int, template: Template) -> int:
    require_name(name, Kind.DOCUMENT)
    oid = POOL.next_id(tx)
    document = Document(
        oid=oid,
        uid=caller.uid,
        gid=caller.gid,
        uname=caller.name,
        gname=groups.name_of(tx, caller.gid),
        name=name,
        type=kind_number,
        bits=permissions.of_new_object(tx, caller),
        lock=None,
        template=template,
    )
    POOL.insert(tx, document.as_row())
    return oid

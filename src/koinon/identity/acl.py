"""ACL rules as stored objects: add, delete, list.

Holds:    no two rules are equal in all four numbers.
Not here: the numbers and their text (objects/acl.py), what a rule allows (policy/).
Source:   OpenNebula src/acl/AclManager.cc, src/rm/api/AclAPI.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import ConflictError, InvalidError, MissingError
from koinon.identity import access
from koinon.objects.acl import CLUSTER as OF_CLUSTER
from koinon.objects.acl import GROUP as OF_GROUP
from koinon.objects.acl import INDIVIDUAL, KIND_MASK, Right, Rule, group, problems, resource, user, zone
from koinon.objects.kinds import Kind
from koinon.objects.xml import escape
from koinon.policy.caller import Caller
from koinon.statements.schema import AclRow

_TABLE: Final = "acl"


def parse(user_field: str, resource_field: str, rights: str, zone_field: str, *, default_zone: int) -> Rule:
    """Read a rule from the hexadecimal texts of the API; an empty zone means ``default_zone``.

    Raises:
        InvalidError: a field is no such number.
    """
    try:
        return Rule.from_hex(user_field, resource_field, rights, zone_field or f"{zone(default_zone):x}")
    except ValueError as error:
        raise InvalidError(f"Rule is malformed: {error}") from error


def add_rule(tx: SharedTx, caller: Caller, rule: Rule) -> int:
    """Store a rule; its id.

    Raises:
        AuthorizationError: the caller lacks ACL:MANAGE.
        InvalidError, ConflictError: the rule is malformed, or there already.
    """
    access.require(tx, caller, Right.MANAGE, access.the_whole(Kind.ACL))
    found = problems(rule)
    if found:
        raise InvalidError(f"Rule {rule.text()} is malformed: {'; '.join(found)}")
    if find(tx, rule) is not None:
        raise ConflictError(f"Rule {rule.text()} already exists")
    return _insert(tx, rule)


def delete_rule(tx: SharedTx, caller: Caller, oid: int) -> int:
    """Remove a rule by id.

    Raises:
        AuthorizationError: the caller lacks ACL:MANAGE.
        MissingError: no such rule.
    """
    access.require(tx, caller, Right.MANAGE, access.the_whole(Kind.ACL))
    if not tx.fetch("SELECT 1 FROM acl WHERE oid = ?", (oid,)):
        raise MissingError(f"Rule {oid} does not exist", object_id=oid)
    tx.delete(_TABLE, oid)
    return oid


def find(tx: ReadTx, rule: Rule) -> int | None:
    """Id of the rule with these four numbers."""
    found = tx.fetch(
        "SELECT oid FROM acl WHERE userset = ? AND resource = ? AND rights = ? AND zone = ?",
        (rule.user, rule.resource, rule.rights, rule.zone),
    )
    return int(found[0][0]) if found else None


def ensure(tx: SharedTx, rule: Rule) -> None:
    """Store a rule that another operation implies, unless it is there."""
    if find(tx, rule) is None:
        _insert(tx, rule)


def drop(tx: SharedTx, rule: Rule) -> None:
    """Remove the rule with these four numbers, if it is there."""
    oid = find(tx, rule)
    if oid is not None:
        tx.delete(_TABLE, oid)


def drop_of_user(tx: SharedTx, uid: int) -> None:
    """Remove the rules that a deleted user leaves: those for it, and those about it alone."""
    gone, about = user(uid), resource([Kind.USER], INDIVIDUAL, uid)
    _drop_where(tx, lambda row: row.userset == gone or row.resource == about)


def drop_of_group(tx: SharedTx, gid: int) -> None:
    """Remove the rules that a deleted group leaves: for its members, about it alone, about its objects."""
    gone, about = group(gid), resource([Kind.GROUP], INDIVIDUAL, gid)
    objects = OF_GROUP | gid
    _drop_where(
        tx,
        lambda row: row.userset == gone or row.resource == about or (row.resource & ~KIND_MASK) == objects,
    )


def drop_of_zone(tx: SharedTx, zone_id: int) -> None:
    """Remove the rules that a deleted zone leaves: those that count in it only, and those about it alone."""
    gone, about = zone(zone_id), resource([Kind.ZONE], INDIVIDUAL, zone_id)
    _drop_where(tx, lambda row: row.zone == gone or row.resource == about)


def drop_of_object(tx: SharedTx, zone_id: int, kind: Kind, oid: int) -> None:
    """Remove the rules that a deleted object of a zone leaves: those about it alone that count in that zone alone.

    A cluster's are also those about the objects in it.
    """
    there, about = zone(zone_id), resource([kind], INDIVIDUAL, oid)
    inside = OF_CLUSTER | oid if kind is Kind.CLUSTER else None
    _drop_where(tx, lambda row: row.zone == there and (row.resource == about or (row.resource & ~KIND_MASK) == inside))


def show_all(tx: ReadTx, caller: Caller) -> bytes:
    """All rules, escaped for the reply. Raises AuthorizationError without ACL:MANAGE."""
    access.require(tx, caller, Right.MANAGE, access.the_whole(Kind.ACL))
    return pool_document(tx)


def pool_document(tx: ReadTx) -> bytes:
    """All rules, ordered by the number of their user field, escaped for the reply."""
    return tx.table_memo(_TABLE, "document", lambda: _render(sorted(tx.acl(), key=lambda row: (row.userset, row.oid))))


def _render(rows: list[AclRow]) -> bytes:
    rules = "".join(
        f"<ACL><ID>{row.oid}</ID><USER>{row.userset:x}</USER><RESOURCE>{row.resource:x}</RESOURCE><RIGHTS>{row.rights:x}</RIGHTS>"
        f"<ZONE>{row.zone:x}</ZONE><STRING>{Rule(row.userset, row.resource, row.rights, row.zone).text()}</STRING></ACL>"
        for row in rows
    )
    return escape(f"<ACL_POOL>{rules}</ACL_POOL>").encode()


def _insert(tx: SharedTx, rule: Rule) -> int:
    oid = tx.next_id(_TABLE)
    tx.insert(_TABLE, AclRow(oid, rule.user, rule.resource, rule.rights, rule.zone))
    return oid


def _drop_where(tx: SharedTx, is_gone: Callable[[AclRow], bool]) -> None:
    for row in tx.acl():
        if is_gone(row):
            tx.delete(_TABLE, row.oid)

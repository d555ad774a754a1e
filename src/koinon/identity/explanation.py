"""Why a user may or may not do something in a zone, with the names and ids that a person looks for.

Path:     `oneacl explain` -> koinon.acl.explain -> explain() -> policy/explain.py
Holds:    any zone answers for any zone: users, groups, rules and the other shared objects are copied everywhere. What is known of an
          object that only another zone keeps is its id; the answer then says so.
          Who may not read the rules learns of none that is for others.
Not here: how decisions are made and what is near to one (policy/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import BadArgumentError, NotFoundError
from koinon.identity import access, users, zones
from koinon.objects import acl
from koinon.objects.acl import Right, Rule
from koinon.objects.kinds import SHARED_TABLE_OF, Kind
from koinon.policy.caller import Caller
from koinon.policy.decide import Target, decide
from koinon.policy.explain import NearMiss, Source, explain, names
from koinon.statements.schema import AclRow

#: Finds an object of a kind that this zone alone keeps; None for kinds that it doesn't keep. Raises NotFoundError.
LocalTarget = Callable[[ReadTx, Kind, int], Target | None]

THIS_ZONE: Final = -1


def answer(tx: ReadTx, caller: Caller, uid: int, right: str, target: str, zone_id: int, *, local_target: LocalTarget) -> str:
    """The answer as JSON text.

    Args:
        tx: a read.
        caller: who wants to know; about others only with ACL:MANAGE.
        uid: whose rights are in question; -1 is the caller.
        right: ``USE``, ``MANAGE``, ``ADMIN`` or ``CREATE``, or several with ``+``.
        target: ``KIND/#ID``, or ``KIND/*`` for making a new object and for the kind as a whole.
        zone_id: in which zone; -1 is this one.
        local_target: finds objects that zones keep for themselves.

    Raises:
        AuthorizationError: the question is about another user and the caller lacks ACL:MANAGE.
        BadArgumentError: the right or the object can't be read.
        NotFoundError: no such user, zone or (where this zone would know it) object.
    """
    uid = caller.uid if uid == -1 else uid
    reads_rules = decide(caller, Right.MANAGE, access.the_whole(Kind.ACL), access.rules(tx, caller.zone_id))
    if uid != caller.uid and not reads_rules:
        access.require(tx, caller, Right.MANAGE, access.the_whole(Kind.ACL))
    zone_id = tx.state.zone_id if zone_id == THIS_ZONE else zone_id
    zone = zones.find(tx, zone_id)
    if zone is None:
        raise NotFoundError(Kind.ZONE.label, zone_id)
    asked, kind, oid = _parse(right, target)
    user = users.get(tx, uid)
    who = Caller(uid=uid, gid=user.gid, groups=tuple(user.groups), name=user.name, zone_id=zone_id)
    notes = []
    if oid is None:
        found = access.new_object(who, kind) if asked & Right.CREATE else access.the_whole(kind)
    else:
        known = _find(tx, kind, oid, zone_id, local_target)
        found = Target(kind, oid) if known is None else known
        if known is None:
            notes.append(_unknown(kind, oid, tx.state.zone_id, zone_id))
    if not user.enabled:
        notes.append(f"User {uid} is disabled and can't log in at all.")
    if zone.state != zones.ENABLED:
        notes.append(f"Zone {zone_id} is disabled and refuses whatever would change something.")
    told = explain(who, asked, found, access.rules(tx, zone_id), others=reads_rules)
    ids = {Rule(row.userset, row.resource, row.rights, row.zone): row for row in tx.acl()}
    return msgspec.json.encode(
        {
            "allowed": told.allowed,
            "user": {"id": uid, "name": user.name, "groups": [_group(tx, gid) for gid in user.groups]},
            "right": names(asked),
            "object": f"{kind.acl_name}/{'*' if oid is None else f'#{oid}'}",
            "zone": {"id": zone_id, "name": zone.name},
            "answered_by": tx.state.zone_id,
            "reason": told.reason,
            "by": None if told.rule is None or told.source is None else _grounds(tx, told.rule, told.source, ids),
            "nearest": [_near(near, ids) for near in told.nearest],
            "notes": notes,
        }
    ).decode()


def _parse(right: str, target: str) -> tuple[Right, Kind, int | None]:
    if len(target.split()) != 1 or len(right.split()) != 1:
        raise BadArgumentError("The right and the object are one word each, as in USE HOST/#3.")
    try:
        # One reading of kinds, selectors and rights for rules and for questions: as the rule that would allow just this.
        rule = Rule.parse(f"* {target} {right} *", 0)
    except ValueError as error:
        raise BadArgumentError(f"{str(error)[:1].upper()}{str(error)[1:]}. The object is written KIND/#ID or KIND/*.") from error
    kinds = [kind for kind in Kind if rule.resource & kind.bit]
    individual = bool(rule.resource & acl.INDIVIDUAL)
    if len(kinds) != 1 or not (individual or rule.resource & acl.ALL):
        raise BadArgumentError(f"The object {target!r} is not one object: it is written KIND/#ID, or KIND/* for the kind as a whole.")
    asked, kind = Right(rule.rights), kinds[0]
    if individual and kind is Kind.ACL:
        raise BadArgumentError("Rules are no objects with rights of their own. Ask about ACL/*.")
    if individual and asked & Right.CREATE:
        raise BadArgumentError(f"CREATE is about objects that are not there yet. Ask about {kind.acl_name}/*.")
    return asked, kind, rule.resource & acl.ID_MASK if individual else None


def _find(tx: ReadTx, kind: Kind, oid: int, zone_id: int, local_target: LocalTarget) -> Target | None:
    if kind in SHARED_TABLE_OF:
        return access.target_of(tx, kind, oid)
    return local_target(tx, kind, oid) if zone_id == tx.state.zone_id else None


def _unknown(kind: Kind, oid: int, here: int, zone_id: int) -> str:
    what = f"{kind.acl_name}/#{oid}"
    only = f"only rules about {what} itself and about {kind.acl_name}/* could be looked at"
    if zone_id == here:
        return f"Zone {here} keeps no objects of the kind {kind.acl_name}: {only}."
    return (
        f"{what} is kept by zone {zone_id} alone. Zone {here}, which answers, knows neither its owner, group and permissions nor its "
        f"clusters: {only}. Ask zone {zone_id} itself for the whole answer."
    )


def _grounds(tx: ReadTx, rule: Rule, source: Source, ids: dict[Rule, AclRow]) -> dict[str, Any]:
    through = "everybody"
    if rule.user & acl.INDIVIDUAL:
        through = "the user"
    elif rule.user & acl.GROUP:
        group = _group(tx, rule.user & acl.ID_MASK)
        through = f"group {group['id']} ({group['name']})"
    return {"source": source, "rule_id": _rule_id(rule, source, ids), "rule": rule.text(), "through": through}


def _near(near: NearMiss, ids: dict[Rule, AclRow]) -> dict[str, Any]:
    return {
        "source": near.source,
        "rule_id": _rule_id(near.rule, near.source, ids),
        "rule": near.rule.text(),
        "lacks": [{"part": miss.part, "text": miss.text} for miss in near.misses],
    }


def _rule_id(rule: Rule, source: Source, ids: dict[Rule, AclRow]) -> int | None:
    return ids[rule].oid if source == "rule" and rule in ids else None


def _group(tx: ReadTx, gid: int) -> dict[str, Any]:
    row = tx.row("group_pool", gid)
    return {"id": gid, "name": "" if row is None else row.name}

"""May this caller do this to that? And which objects of a kind may they see?

Holds:    rights only add up, there are no rules that deny; a lock binds everybody, also administrators.
Not here: where targets and rules are read (identity/access.py); why an answer is what it is (explain.py).
Source:   OpenNebula src/acl/AclManager.cc, src/authm/AuthManager.cc, src/pool/PoolSQL.cc; reference page "ACL rules and VDCs",
          sections 4 and 5.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.objects import acl
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller
from koinon.policy.rules import REQUESTS, Grants, RuleSet

# Names of this module: a look-up in another one costs a tenth of the decision.
_USER: Final = acl.INDIVIDUAL
_GROUP: Final = acl.GROUP
_EVERYONE: Final = acl.ALL

#: Three permission bits (u is 4, m is 2, a is 1) -> the requests that they allow. CREATE never comes from bits.
_REQUESTS_OF_BITS: Final = tuple(
    REQUESTS[(bits >> 2 & 1) * acl.USE | (bits >> 1 & 1) * acl.MANAGE | (bits & 1) * acl.ADMIN] for bits in range(8)
)


class Target(msgspec.Struct, frozen=True):
    """What is to be used, as access decisions see it.

    Attributes:
        kind: what it is.
        oid: its id; -1 when something is to be made or a whole pool is meant.
        uid: its owner; for something new, the caller.
        gid: its group; for something new, the caller's primary group. -1 if it has none.
        bits: nine permission bits, owner_u is 0o400, other_a is 0o001.
        clusters: the clusters it is in.
        locked: lock level (1 USE, 2 MANAGE, 3 ADMIN), 0 if it is free or the call does not mind locks.
        group_rules: whether rules for the objects of a group (``@``) count.
        cluster_rules: whether rules for the objects of a cluster (``%``) count.
        all_rules: whether rules for all objects (``*``) count. Address reservations switch off this and the one before.
    """

    kind: Kind
    oid: int = -1
    uid: int = -1
    gid: int = -1
    bits: int = 0
    clusters: tuple[int, ...] = ()
    locked: int = 0
    group_rules: bool = True
    cluster_rules: bool = True
    all_rules: bool = True


class Visible(msgspec.Struct, frozen=True):
    """What the rules let a caller list, beside what the permission bits do.

    Attributes:
        all: every object; the sets then add nothing.
        oids: these objects.
        gids: objects of these groups.
        cids: objects in these clusters.
    """

    all: bool
    oids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    cids: frozenset[int] = frozenset()


_EVERYTHING: Final = Visible(True)
_NONE: Final[frozenset[int]] = frozenset()


def decide(caller: Caller, right: Right, target: Target, rules: RuleSet) -> bool:
    """Whether ``caller`` may do ``right`` to ``target``.

    Args:
        caller: who asks; all their groups count, for a narrowed token the one group.
        right: one or more rights, all of which one rule (or the bits of one class) must have.
        target: what is to be used.
        rules: the rules of the zone that evaluates.
    """
    asked = int(right)
    if 0 < target.locked <= asked:
        return False
    uid, groups = caller.uid, caller.groups
    if uid == 0 or 0 in groups:
        return True
    if target.oid >= 0:
        bits = target.bits
        allowed = _REQUESTS_OF_BITS[bits & 7]
        if uid == target.uid:
            allowed |= _REQUESTS_OF_BITS[bits >> 6 & 7]
        if target.gid in groups:
            allowed |= _REQUESTS_OF_BITS[bits >> 3 & 7]
        if allowed >> asked & 1:
            return True
    grants, kind = rules.grants, target.kind.bit
    found = grants.get(_EVERYONE | kind)
    if found is not None and _requests(found, target) >> asked & 1:
        return True
    found = grants.get(_USER | kind | uid)
    if found is not None and _requests(found, target) >> asked & 1:
        return True
    key = _GROUP | kind
    for gid in groups:
        found = grants.get(key | gid)
        if found is not None and _requests(found, target) >> asked & 1:
            return True
    return False


def visible(caller: Caller, kind: Kind, rules: RuleSet, *, cluster_rules: bool = True, all_rules: bool = True) -> Visible:
    """What the rules let ``caller`` list of one kind.

    Args:
        caller: who asks.
        kind: of what.
        rules: the rules of the zone that evaluates.
        cluster_rules: whether rules for clusters count (not for address reservations).
        all_rules: whether rules for all objects count (not for address reservations).

    Returns:
        What is to be added to the caller's own objects and to those that their groups, or all, may use. The owner bit ``u`` is
        not looked at in lists: an owner always sees the object.
    """
    groups = caller.groups
    if caller.uid == 0 or 0 in groups:
        return _EVERYTHING
    bit = kind.bit
    oids = gids = cids = _NONE
    for key in (_EVERYONE | bit, _USER | bit | caller.uid, *(_GROUP | bit | gid for gid in groups)):
        found = rules.grants.get(key)
        if found is None:
            continue
        if found.usable and all_rules:
            return _EVERYTHING
        oids |= found.usable_objects
        gids |= found.usable_groups
        if cluster_rules:
            cids |= found.usable_clusters
    return Visible(False, oids, gids, cids)


def _requests(grants: Grants, target: Target) -> int:
    """The requests for this target that one user selector's rules allow."""
    allowed = grants.all if target.all_rules else 0
    if grants.objects and target.oid >= 0:
        allowed |= grants.objects.get(target.oid, 0)
    if grants.groups and target.group_rules and target.gid >= 0:
        allowed |= grants.groups.get(target.gid, 0)
    if grants.clusters and target.cluster_rules:
        for cid in target.clusters:
            allowed |= grants.clusters.get(cid, 0)
    return allowed

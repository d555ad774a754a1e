"""Lists against a plain model: every flag, every range, pages, both orders, for owners, groups, rules and administrators."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from koinon.errors import BadArgumentError
from koinon.identity import users
from koinon.infrastructure import documents
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN
from tests.infrastructure.ground import Ground, ids

RANGES = [
    (-1, -1), (-1, 3), (0, -1), (4, -1), (4, 4), (2, 7), (7, 2), (99, -1), (0, 0), (-5, -1),
    (0, -2), (0, -3), (2, -3), (5, -100), (99, -3), (-1, -4), (-7, -4),
]  # fmt: skip


class Row(NamedTuple):
    oid: int
    uid: int
    gid: int
    group_u: bool
    other_u: bool


class Scene(NamedTuple):
    ground: Ground
    callers: list[Caller]
    rows: list[Row]
    #: what a rule shows: (uid, ids), (uid, gid)
    by_id: dict[int, set[int]]
    by_gid: dict[int, set[int]]
    all_of: set[int]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    ground = Ground(tmp_path_factory.mktemp("lists"))
    one, two = ground.add_group("one"), ground.add_group("two")
    members = (("alice", (one, two)), ("bob", (one,)), ("carol", (two,)), ("dora", (1,)))
    alice, bob, carol, dora = (ground.newcomer(name, *gids) for name, gids in members)
    rows = []
    for number, (owner, gid) in enumerate(itertools.product((alice, bob, carol), (one, two))):
        oid = ground.document(ADMIN)
        group_u, other_u = number % 3 != 0, number == 5
        ground.change(lambda tx, oid=oid, owner=owner, gid=gid: documents.chown(tx, ADMIN, oid, owner.uid, gid))  # type: ignore[misc]  # bound per round
        wanted = (-1, -1, -1, int(group_u), 0, 0, int(other_u), 0, 0)
        ground.change(lambda tx, oid=oid, wanted=wanted: documents.chmod(tx, ADMIN, oid, wanted))  # type: ignore[misc]  # bound per round
        rows.append(Row(oid, owner.uid, gid, group_u, other_u))
    ground.document(ADMIN, kind_number=7)  # another type is in no list of these
    ground.allow(f"#{carol.uid} DOCUMENT/#0 USE #0")
    ground.allow(f"#{carol.uid} DOCUMENT/#3 MANAGE #0")
    ground.allow(f"#{bob.uid} DOCUMENT/@{two} USE *")
    ground.allow(f"#{dora.uid} DOCUMENT/* USE #0")
    # Bob's lists begin with the smallest id, by his own setting; carol's and alice's as ever.
    ground.write(lambda tx: users.update(tx, ADMIN, bob.uid, 'OPENNEBULA = [ API_LIST_ORDER = "ASC" ]', 0))
    yield Scene(ground, [ADMIN, alice, bob, carol, dora], rows, {carol.uid: {0}}, {bob.uid: {two}}, {dora.uid})
    ground.close()


def sees(scene: Scene, caller: Caller, row: Row) -> bool:
    return (
        caller.uid == 0
        or caller.uid == row.uid
        or row.other_u
        or (row.group_u and row.gid in caller.groups)
        or row.oid in scene.by_id.get(caller.uid, ())
        or row.gid in scene.by_gid.get(caller.uid, ())
        or caller.uid in scene.all_of
    )


def expected(scene: Scene, caller: Caller, flag: int, start: int, end: int) -> list[int]:
    def asked(row: Row) -> bool:
        owned, grouped = row.uid == caller.uid, row.gid in caller.groups
        named = {-4: row.gid == caller.gid, -3: owned, -2: True, -1: owned or grouped}
        return named.get(flag, row.uid == flag)

    found = [row.oid for row in scene.rows if asked(row) and sees(scene, caller, row)]
    if caller.name != "bob":
        found.reverse()
    if end < -1:
        skip = max(start, 0)
        return found[skip : skip - end]
    if start == -1:
        return found
    return [oid for oid in found if oid >= start and (end == -1 or oid <= end)]


def listed(scene: Scene, caller: Caller, flag: int, start: int, end: int) -> list[int]:
    return ids(scene.ground.shown(lambda tx: documents.pool_document(tx, caller, flag, start, end, 200)), "DOCUMENT/ID")


@pytest.mark.parametrize(("start", "end"), RANGES)
def test_lists_are_as_the_model_says(scene: Scene, start: int, end: int) -> None:
    owners = [caller.uid for caller in scene.callers]
    seen_something = False
    for caller in scene.callers:
        for flag in (-4, -3, -2, -1, *owners, 12345):
            found = listed(scene, caller, flag, start, end)
            assert found == expected(scene, caller, flag, start, end), (caller.name, flag)
            seen_something = seen_something or bool(found)
    assert seen_something or start > 5 or start > end > -1


@pytest.mark.parametrize("flag", [-5, -2147483648])
def test_there_are_no_other_flags(scene: Scene, flag: int) -> None:
    with pytest.raises(BadArgumentError, match="Incorrect filter_flag"):
        scene.ground.read(lambda tx: documents.pool_document(tx, ADMIN, flag, -1, -1, 200))


def test_the_model_tells_callers_apart(scene: Scene) -> None:
    """Else the comparison above would prove little."""
    everything = {caller.name: tuple(expected(scene, caller, -2, -1, -1)) for caller in scene.callers}
    assert everything["oneadmin"] == everything["dora"] == (5, 4, 3, 2, 1, 0)
    assert len({everything["alice"], everything["bob"], everything["carol"], everything["dora"]}) == 4

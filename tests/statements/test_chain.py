"""The chain depends on all that a commit says, and a run is taken only where it continues ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.statements.chain import Forked, Gap, check_commit, extend, verify_run
from koinon.statements.commits import GENESIS, Commit, Head, Position
from koinon.statements.rendering import GrammarError, render
from koinon.statements.schema import INT32, INT64, MAX_BODY_BYTES, Delete, Insert, SetCounter, Update
from tests.statements.changes import commit, commits


def _texts(made: Commit) -> list[str]:
    return [render(change) for change in made.changes]


def _chain(made: Commit, before: bytes = bytes(32)) -> bytes:
    return extend(before, made, _texts(made))


_OTHER_FIELDS: dict[str, Any] = {
    "commit_id": "0" * 31 + "1",
    "epoch": 2,
    "first_idx": 2,
    "origin_zone": 1,
    "request_id": "r2",
    "request_hash": bytes(31) + b"\x01",
    "outcome": b"\xc2",
    "digests": {"user_pool": bytes(31) + b"\x01"},
    "committed_at_ms": 1_700_000_000_001,
    "changes": (Delete("user_pool", 6), SetCounter("user_pool", 7)),
}


def test_every_field_of_a_commit_is_tried_below() -> None:
    assert tuple(_OTHER_FIELDS) == Commit.__struct_fields__


@pytest.mark.parametrize("field", _OTHER_FIELDS)
def test_any_other_field_gives_another_chain(field: str) -> None:
    assert _chain(commit(**{field: _OTHER_FIELDS[field]})) != _chain(commit())


@pytest.mark.parametrize(
    "digests", [{}, {"acl": bytes(32)}, {"user_pool": bytes(32), "acl": bytes(32)}, {"user_pool": b""}, {"user_poo": b"l" + bytes(31)}]
)
def test_any_other_digests_give_another_chain(digests: dict[str, bytes]) -> None:
    assert _chain(commit(digests=digests)) != _chain(commit())


def test_the_order_in_which_digests_were_noted_does_not_matter() -> None:
    one = commit(digests={"acl": bytes(32), "user_pool": bytes(32)})
    other = commit(digests={"user_pool": bytes(32), "acl": bytes(32)})
    assert _chain(one) == _chain(other)


def test_bytes_that_move_to_the_next_field_give_another_chain() -> None:
    assert _chain(commit(request_hash=b"ab", outcome=b"c")) != _chain(commit(request_hash=b"a", outcome=b"bc"))


def test_another_past_gives_another_chain() -> None:
    assert _chain(commit(), bytes(31) + b"\x01") != _chain(commit())


def test_the_same_statements_cut_into_other_commits_give_another_chain() -> None:
    first, second, third = Delete("user_pool", 1), Delete("user_pool", 2), Delete("user_pool", 3)

    def chained(*runs: tuple[Delete, ...]) -> bytes:
        chain, index = bytes(32), 1
        for run in runs:
            made = commit(first_idx=index, changes=run)
            chain, index = _chain(made, chain), made.last_idx + 1
        return chain

    cuts = [((first, second, third),), ((first, second), (third,)), ((first,), (second, third)), ((first,), (second,), (third,))]
    assert len({chained(*cut) for cut in cuts}) == 4


def test_the_order_of_statements_matters() -> None:
    changes = commit().changes
    assert _chain(commit(changes=changes[::-1])) != _chain(commit())


@given(commits(), commits())
def test_commits_have_one_chain_only_if_they_are_one(one: Commit, other: Commit) -> None:
    assert (_chain(one) == _chain(other)) is (one == other)


def test_the_chain_is_pinned() -> None:
    """Zones of all versions must compute this value; whoever changes it needs a new domain prefix and a migration."""
    assert _chain(commit()).hex() == "acdaaa461cc89a31fd9b894b4c73846d83ea26aef4f6d71a41d6615d24da2fd7"


@given(commits())
def test_a_true_commit_is_accepted(made: Commit) -> None:
    check_commit(made)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"commit_id": ""}, "commit id"),
        ({"commit_id": "A" * 32}, "commit id"),
        ({"commit_id": "0" * 32 + "\n"}, "commit id"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": INT64[1] + 1}, "epoch"),
        ({"first_idx": 0}, "first index"),
        ({"first_idx": INT64[1]}, "first index"),
        ({"origin_zone": INT32[1] + 1}, "origin zone"),
        ({"committed_at_ms": -1}, "commit time"),
        ({"request_id": "x" * 256}, "request id"),
        ({"request_id": "a\x00"}, "request id"),
        ({"request_id": "é"}, "request id"),
        ({"request_hash": bytes(65)}, "request hash"),
        ({"outcome": bytes(16 * 2**20 + 1)}, "outcome"),
        ({"digests": {"host_pool": bytes(32)}}, "digests"),
        ({"digests": {"acl": bytes(31)}}, "digests"),
        ({"changes": ()}, "changes nothing"),
        ({"changes": (Delete("host_pool", 5),)}, "not a shared table"),
        ({"changes": (Delete("acl", 5), Update("acl", 5, ("rights",), (2**63,)))}, "rights"),
        ({"changes": (Update("user_pool", 5, ("body",), ("\x00",)),)}, "U+0000"),
    ],
)
def test_a_commit_that_the_log_may_not_hold_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(GrammarError) as refused:
        check_commit(commit(**fields))
    assert reason in str(refused.value)


def _run(*sizes: int, after: Head = GENESIS) -> tuple[list[Commit], bytes]:
    made, chain, index = [], after.chain, after.position.index + 1
    for at, size in enumerate(sizes):
        made.append(commit(commit_id=f"{at:032x}", first_idx=index, changes=tuple(Delete("acl", oid) for oid in range(size))))
        chain, index = _chain(made[-1], chain), index + size
    return made, chain


def test_a_run_that_continues_the_head_is_rendered_commit_by_commit() -> None:
    head = Head(Position(1, 41), b"\x07" * 32)
    made, chain = _run(2, 1, 3, after=head)
    run = verify_run(head, made, chain)
    assert [one for one, _, _ in run] == made
    assert [statements for _, statements, _ in run][1] == ("DELETE FROM acl WHERE oid = 0",)
    assert run[-1][2] == chain
    assert run[0][2] == _chain(made[0], head.chain)


def test_no_commits_leave_the_chain_where_it_is() -> None:
    assert verify_run(GENESIS, [], GENESIS.chain) == []


@pytest.mark.parametrize("index", [0, 2])
def test_a_run_that_begins_elsewhere_is_a_gap(index: int) -> None:
    head = Head(Position(1, index), bytes(32))
    made, chain = _run(2, after=Head(Position(1, 1), bytes(32)))
    with pytest.raises(Gap, match=f"begins at index 2; {index + 1} must follow"):
        verify_run(head, made, chain)


@given(st.integers(0, 3))
def test_a_run_that_lacks_a_commit_is_refused(lost: int) -> None:
    made, chain = _run(1, 2, 1, 2)
    del made[lost]
    with pytest.raises((Gap, Forked)):
        verify_run(GENESIS, made, chain)


def test_a_commit_sent_twice_is_a_gap() -> None:
    made, chain = _run(1, 2)
    with pytest.raises(Gap):
        verify_run(GENESIS, [made[0], *made], chain)


def test_a_run_with_another_chain_is_a_fork() -> None:
    made, chain = _run(1, 2)
    with pytest.raises(Forked, match="at index 3"):
        verify_run(GENESIS, made, bytes(32))
    with pytest.raises(Forked):
        verify_run(Head(GENESIS.position, b"\x01" * 32), made, chain)


def test_a_commit_changed_on_its_way_is_a_fork() -> None:
    made, chain = _run(1, 2)
    made[0] = msgspec.structs.replace(made[0], outcome=b"forged")
    with pytest.raises(Forked):
        verify_run(GENESIS, made, chain)


def test_an_older_reign_never_follows_a_newer() -> None:
    old = commit(epoch=3)
    with pytest.raises(Forked, match="epoch 3, after epoch 4"):
        verify_run(Head(Position(4, 0), bytes(32)), [old], _chain(old))


def test_a_newer_reign_may_follow() -> None:
    new = commit(epoch=5)
    assert verify_run(Head(Position(4, 0), bytes(32)), [new], _chain(new))[0][0] == new


def test_a_commit_of_more_than_16_mib_is_refused() -> None:
    row = ("g", "x" * MAX_BODY_BYTES, 0, 0, 0, 0, 0)
    huge = commit(changes=tuple(Insert("group_pool", (oid, *row)) for oid in range(4)))
    check_commit(huge)
    with pytest.raises(GrammarError, match="16777216"):
        verify_run(GENESIS, [huge], _chain(huge))

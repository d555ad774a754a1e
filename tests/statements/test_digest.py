"""Row hashes tell rows apart; digests do not care about order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.statements import digest
from koinon.statements.schema import SHARED_TABLES, Insert
from tests.statements.changes import inserts

_ROW = (5, "bob", "<USER/>", 5, 1, 1, 0, 0)
_HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=8)


def _sum(hashes: list[bytes]) -> int:
    total = digest.EMPTY
    for row_hash in hashes:
        total = digest.add(total, row_hash)
    return total


@given(inserts(), inserts())
def test_two_rows_have_one_hash_only_if_they_are_one_row(one: Insert, other: Insert) -> None:
    same = (one.table, one.values) == (other.table, other.values)
    assert (digest.row_hash(one.table, one.values) == digest.row_hash(other.table, other.values)) is same


@pytest.mark.parametrize(
    "other",
    [
        (5, "bob", "<USER/>", 5, 1, 1, 0, 1),
        (5, "bo", "b<USER/>", 5, 1, 1, 0, 0),
        (5, "bob;t7:<USER/>", "", 5, 1, 1, 0, 0),
        (5, "Bob", "<USER/>", 5, 1, 1, 0, 0),
        (5, "bob ", "<USER/>", 5, 1, 1, 0, 0),
        (5, "bob", "<USER/>", 51, 1, 1, 0, 0),
        (-5, "bob", "<USER/>", 5, 1, 1, 0, 0),
    ],
)
def test_any_other_row_has_another_hash(other: tuple[int | str, ...]) -> None:
    assert digest.row_hash("user_pool", other) != digest.row_hash("user_pool", _ROW)


def test_a_row_in_another_table_has_another_hash() -> None:
    pools = [name for name in SHARED_TABLES if name != "acl"]
    assert len({digest.row_hash(name, _ROW) for name in pools}) == len(pools)


def test_a_hash_does_not_depend_on_how_the_row_came() -> None:
    assert digest.row_hash("user_pool", list(_ROW)) == digest.row_hash("user_pool", _ROW)


@pytest.mark.parametrize(
    "odd",
    [
        (5, "bob", "<USER/>", 5.0, 1, 1, 0, 0),
        (5, "bob", "<USER/>", 5.5, 1, 1, 0, 0),
        (5, "bob", "<USER/>", "5", 1, 1, 0, 0),
        (5, "bob", "<USER/>", None, 1, 1, 0, 0),
        (5, b"bob", "<USER/>", 5, 1, 1, 0, 0),
        (5, "bob", "<USER/>\ud800", 5, 1, 1, 0, 0),
        (5, "bob", "<USER/>", 5, True, 1, 0, 0),
        (5, "bob"),
    ],
)
def test_a_row_with_wrong_types_is_found_not_feared(odd: tuple[Any, ...]) -> None:
    """A hand edit in SQLite can store them; the scrub must see the difference and go on."""
    assert len(digest.row_hash("user_pool", odd)) == 32
    assert digest.row_hash("user_pool", odd) != digest.row_hash("user_pool", _ROW)


def test_counters_have_hashes_of_their_own() -> None:
    hashes = {digest.counter_hash(table, last) for table in SHARED_TABLES for last in (-1, 0, 1, 11)}
    assert len(hashes) == 4 * len(SHARED_TABLES)


def test_a_table_that_is_not_shared_has_no_hashes() -> None:
    with pytest.raises(KeyError):
        digest.row_hash("host_pool", _ROW)


@given(_HASHES, st.randoms())
def test_the_order_of_rows_does_not_matter(hashes: list[bytes], random: Any) -> None:
    shuffled = random.sample(hashes, len(hashes))
    assert _sum(shuffled) == _sum(hashes)


@given(_HASHES, _HASHES)
def test_rows_that_come_and_go_leave_the_digest_as_it_was(stay: list[bytes], visit: list[bytes]) -> None:
    total = start = _sum(stay)
    for row_hash in visit:
        total = digest.add(total, row_hash)
    for row_hash in reversed(visit):
        total = digest.subtract(total, row_hash)
    assert total == start


@given(_HASHES)
def test_a_digest_survives_its_bytes(hashes: list[bytes]) -> None:
    total = _sum(hashes)
    assert len(digest.to_bytes(total)) == 32
    assert digest.from_bytes(digest.to_bytes(total)) == total


def test_bytes_of_another_length_are_no_digest() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        digest.from_bytes(bytes(31))


def test_a_row_twice_is_not_a_row_once_nor_none() -> None:
    """An exclusive-or would forget pairs; a sum does not."""
    row_hash = digest.row_hash("user_pool", _ROW)
    assert len({_sum([]), _sum([row_hash]), _sum([row_hash, row_hash])}) == 3

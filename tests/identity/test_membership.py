"""group_member follows the users whatever is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from koinon.identity import membership
from koinon.identity.user_record import User
from koinon.objects.template import Template
from koinon.statements.schema import PoolRow
from tests.identity.site import Site


class Table:
    """Stands in for the transaction: notes which pairs are there."""

    def __init__(self) -> None:
        self.pairs: set[tuple[int, int]] = set()
        self.statements = 0

    def fetch(self, sql: str, parameters: object = ()) -> list[tuple[object, ...]]:
        raise AssertionError("nothing is read")

    def execute(self, sql: str, parameters: object = ()) -> int:
        raise AssertionError("nobody waits for an answer")

    def later_one(self, sql: str, parameters: object, /) -> None:
        raise AssertionError("what a hand edit took away must not stop the copying")

    def later(self, sql: str, /, *rows: Sequence[Any]) -> None:
        (pair,) = rows
        assert isinstance(pair, tuple)
        self.statements += 1
        if sql.startswith("INSERT"):
            assert pair not in self.pairs
            self.pairs.add(pair)
        else:
            self.pairs.discard(pair)


def row(groups: list[int], note: str = "") -> PoolRow:
    template = Template()
    template.set("NOTE", note)
    return User(7, groups[0], sorted(groups), "g", "ada", "***", "core", True, [], template).as_row()


@given(st.lists(st.lists(st.integers(0, 5) | st.sampled_from((10**9, 2**31 - 1)), min_size=1, unique=True) | st.none(), max_size=8))
def test_pairs_are_those_of_the_newest_row(history: list[list[int] | None]) -> None:
    table, before = Table(), None
    for groups in history:
        after = None if groups is None else row(groups)
        old = {gid for gid, _ in table.pairs}
        changed = set(membership.derive(table, before, after))
        assert table.pairs == {(gid, 7) for gid in groups or ()}
        assert changed == {("group_pool", gid) for gid in old ^ set(groups or ())}
        before = after


def test_other_changes_cost_nothing() -> None:
    table = Table()
    assert membership.derive(table, row([1, 2]), row([1, 2], "<GROUPS><ID>9</ID></GROUPS>")) == ()
    assert table.statements == 0


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"))), st.sets(st.integers(0, 99), min_size=1))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_a_user_reads_back_what_it_wrote(tmp_path: Path, note: str, groups: set[int]) -> None:
    stored = row(sorted(groups), "".join(char for char in note if char not in "\ufffe\uffff"))
    assert User.from_row(stored).as_row() == stored


def test_the_stored_table_equals_the_bodies(site: Site) -> None:
    lab = site.add_group("lab")
    for name in "abc":
        site.add_user(name, 1, lab)
    stored = site.read(lambda tx: tx.fetch("SELECT gid, uid FROM group_member ORDER BY gid, uid"))
    derived = site.read(lambda tx: [(gid, found.oid) for found in tx.rows("user_pool") for gid in User.from_row(found).groups])
    assert stored == sorted(derived)

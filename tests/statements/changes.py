"""What tests draw changes and commits from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from koinon.statements.commits import Commit
from koinon.statements.schema import DIGESTED, INT32, INT64, SHARED_TABLES, Column, Delete, Insert, RowChange, SetCounter, Update, Value

# Letters that break careless parsers come up often; the rest is all that XML 1.0 allows.
_XML_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, {*range(32)} - {9, 10, 13}), "\ufffe", "\uffff"])
TEXTS = st.text(st.one_of(st.sampled_from("''\\;-%\n\r\t, ()=x"), _XML_CHARACTERS), max_size=32)


def values(column: Column) -> st.SearchStrategy[Value]:
    if column.bounds is None:
        return TEXTS
    least, greatest = column.bounds
    return st.integers(least, greatest) | st.sampled_from([least, greatest, 0])


def oids() -> st.SearchStrategy[int]:
    return st.integers(*INT32)


@st.composite
def inserts(draw: st.DrawFn) -> Insert:
    table = draw(st.sampled_from(list(SHARED_TABLES.values())))
    return Insert(table.name, tuple(draw(values(column)) for column in table.columns))


@st.composite
def updates(draw: st.DrawFn) -> Update:
    table = draw(st.sampled_from(list(SHARED_TABLES.values())))
    wanted = draw(st.sets(st.sampled_from(table.columns[1:]), min_size=1))
    chosen = [column for column in table.columns if column in wanted]
    return Update(table.name, draw(oids()), tuple(column.name for column in chosen), tuple(draw(values(column)) for column in chosen))


def changes() -> st.SearchStrategy[RowChange]:
    tables = st.sampled_from(list(SHARED_TABLES))
    return st.one_of(inserts(), updates(), st.builds(Delete, tables, oids()), st.builds(SetCounter, tables, oids()))


@st.composite
def commits(draw: st.DrawFn, *, first_idx: int | None = None) -> Commit:
    return Commit(
        commit_id=draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
        epoch=draw(st.integers(0, INT64[1])),
        first_idx=draw(st.integers(1, 2**40)) if first_idx is None else first_idx,
        origin_zone=draw(st.integers(*INT32)),
        request_id=draw(st.text("abcdef0123456789-", max_size=36)),
        request_hash=draw(st.binary(max_size=32)),
        outcome=draw(st.binary(max_size=40)),
        digests=draw(st.dictionaries(st.sampled_from(DIGESTED), st.binary(min_size=32, max_size=32), max_size=3)),
        committed_at_ms=draw(st.integers(0, INT64[1])),
        changes=tuple(draw(st.lists(changes(), min_size=1, max_size=4))),
    )


def commit(**fields: Any) -> Commit:
    """One plain commit; name the fields that matter."""
    plain: dict[str, Any] = {
        "commit_id": "0" * 32,
        "epoch": 1,
        "first_idx": 1,
        "origin_zone": 0,
        "request_id": "r1",
        "request_hash": bytes(32),
        "outcome": b"\xc0",
        "digests": {"user_pool": bytes(32)},
        "committed_at_ms": 1_700_000_000_000,
        "changes": (Delete("user_pool", 5), SetCounter("user_pool", 7)),
    }
    return Commit(**(plain | fields))

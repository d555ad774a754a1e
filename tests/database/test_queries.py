"""SQL in an operator's own words, on every engine: what it yields, and that it does nothing but read, for a bounded time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koinon.database import database
from koinon.errors import ActionError
from tests.identity.site import Site

pytestmark = pytest.mark.engines

#: So many rows that no engine comes to the end of them: six rules, each with each.
WITHOUT_END = "acl a, acl b, acl c, acl d, acl e, acl f, acl g, acl h, acl i, acl j, acl k, acl l, acl m, acl n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("queries"))
    yield site
    site.close()


def everything(site: Site) -> tuple[Any, ...]:
    return site.database.state(), site.read(lambda tx: (tx.rows("user_pool"), tx.acl()))


def test_rows_come_in_order_under_the_names_of_their_columns(site: Site) -> None:
    names, rows = site.database.query("SELECT oid, name AS called FROM user_pool ORDER BY oid DESC")
    assert names == ["oid", "called"]
    assert [tuple(row) for row in rows] == [(1, "serveradmin"), (0, "oneadmin")]
    assert site.database.query("SELECT oid FROM user_pool WHERE oid = 99") == (["oid"], [])


def test_values_come_as_they_are(site: Site) -> None:
    ((body, row_hash, nothing, text),) = site.database.query(
        "SELECT body, row_hash, NULL AS nil, 'ä😀''%s %' AS words FROM group_pool WHERE oid = 1"
    ).rows
    assert body.startswith("<GROUP><ID>1</ID><NAME>users</NAME>")
    assert (type(row_hash), len(row_hash), nothing, text) == (bytes, 32, None, "ä😀'%s %")


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        "no sql",
        "SELECT ?",
        "SELECT * FROM no_such_table",
        "DELETE FROM user_pool",
        "UPDATE user_pool SET name = 'x'",
        "INSERT INTO acl (oid) VALUES (99)",
        "CREATE TABLE t (a INTEGER)",
        "CREATE TEMPORARY TABLE t (a INTEGER)",
        "DROP TABLE user_pool",
        "ALTER TABLE user_pool ADD COLUMN a INTEGER",
        "SELECT 1 AS one; DELETE FROM user_pool",
        "SELECT 1 AS one; COMMIT; DELETE FROM user_pool",
        "COMMIT",
        "WITH gone AS (DELETE FROM user_pool RETURNING oid) SELECT oid FROM gone",
        "SET x = 1",
        "EXPLAIN DELETE FROM user_pool",
        "SELECT 1 INTO OUTFILE '{file}'",
        "COPY user_pool TO '{file}'",
        "COPY user_pool TO PROGRAM 'touch {file}'",
        "VACUUM INTO '{file}'",
        "ATTACH DATABASE '{file}' AS other",
        "SELECT load_extension('x') AS x",
    ],
)
def test_what_is_not_one_query_is_refused_and_does_nothing(site: Site, sql: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # the server may write there
    before = everything(site)
    with pytest.raises(ActionError, match=r"The query was not answered: .+\. It must be one SELECT on this zone's tables\."):
        site.database.query(sql.format(file=tmp_path / "stolen"))
    assert everything(site) == before
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_takes_too_long_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "QUERY_S", 0.2)
    with pytest.raises(ActionError, match=r"The query took longer than 0\.2 s\. Ask for less\."):
        site.database.query(f"SELECT count(*) AS many FROM {WITHOUT_END}")
    with pytest.raises(ActionError, match="took longer"):
        site.database.query(f"SELECT a.oid AS oid FROM {WITHOUT_END}")
    assert site.database.query("SELECT 1 AS one").rows == [(1,)]


def test_a_result_that_is_too_long_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "QUERY_MIB", 1)
    with pytest.raises(ActionError, match=r"The query's result is longer than 1 MiB\. Ask for fewer rows or columns\."):
        site.database.query(f"SELECT '{'x' * 1000}' AS words FROM {WITHOUT_END}")
    assert site.database.query("SELECT 1 AS one").rows == [(1,)]

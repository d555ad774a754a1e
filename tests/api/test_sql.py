"""SQL of a caller's own: what user 0 may read, in which form, and all that is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from harness import engines
from koinon.settings import ServerSettings, Settings
from tests.api.desk import ACTION, AUTHORIZATION, INTERNAL, ONEADMIN, Desk, Failure, session

OFF = "SQL queries are off in this zone. An operator can set sql_queries = true in section [server] of its settings."


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("sql"))
    yield desk
    desk.close()


def ask(zone: Desk, sql: str) -> list[list[tuple[str, str]]]:
    """Names and values of each row."""
    root = etree.fromstring(zone.as_admin("one.system.sqlquery", sql))
    assert (root.tag, [child.tag for child in root]) == ("SQL_COMMAND", ["QUERY", "RESULT"])
    assert root.findtext("QUERY") == sql
    return [[(str(value.tag), value.text or "") for value in row] for row in root.findall("RESULT/ROW")]


def test_rows_come_in_opennebulas_form(zone: Desk) -> None:
    assert zone.as_admin("one.system.sqlquery", "SELECT oid, name FROM user_pool WHERE oid < 2 ORDER BY oid DESC") == (
        "<SQL_COMMAND><QUERY><![CDATA[SELECT oid, name FROM user_pool WHERE oid < 2 ORDER BY oid DESC]]></QUERY><RESULT>"
        "<ROW><oid><![CDATA[1]]></oid><name><![CDATA[serveradmin]]></name></ROW>"
        "<ROW><oid><![CDATA[0]]></oid><name><![CDATA[oneadmin]]></name></ROW></RESULT></SQL_COMMAND>"
    )
    assert ask(zone, "SELECT oid FROM user_pool WHERE oid = 99") == []


def test_documents_and_bytes_come_in_base64(zone: Desk) -> None:
    ((name, body), (hash_name, row_hash)) = ask(zone, "SELECT body, row_hash FROM group_pool WHERE oid = 1")[0]
    assert (name, hash_name) == ("body64", "row_hash64")
    assert base64.b64decode(body).startswith(b"<GROUP><ID>1</ID><NAME>users</NAME>")
    assert len(base64.b64decode(row_hash)) == 32


def test_every_value_is_told(zone: Desk) -> None:
    """Also what XML would not hold, and what would end a CDATA section."""
    bell = "chr(7)" if engines.current == "postgresql" else "char(7)"
    sql = f"SELECT NULL AS nil, 1.5 AS num, -9223372036854775808 AS low, ']]>&' AS words, {bell} AS bell, 'ä😀' AS ü"
    assert ask(zone, sql) == [
        [("nil", ""), ("num", "1.5"), ("low", "-9223372036854775808"), ("words", "]]>&"), ("bell64", "Bw=="), ("ü", "ä😀")]
    ]


def test_what_the_database_refuses_is_a_refusal(zone: Desk) -> None:
    """Which statements, and that nothing comes of them: tests/database/test_queries.py."""
    for sql in ("DELETE FROM user_pool", "PRAGMA query_only = 0", "ATTACH DATABASE '/etc/passwd' AS other", "SELECT 1; SELECT 2", "no sql"):
        failure = zone.failure(ONEADMIN, "one.system.sqlquery", sql)
        assert (failure.code, failure.object_id) == (ACTION, -1)
        assert failure.text.startswith("The query was not answered: ")


@pytest.mark.parametrize("sql", ["SELECT CAST(x'ff' AS TEXT) AS wrong", "SELECT zeroblob(100000000) AS big", "SELECT 9e999 AS endless"])
def test_odd_values_are_told_or_refused(zone: Desk, sql: str) -> None:
    reply = zone.call(ONEADMIN, "one.system.sqlquery", sql)
    assert reply[0] is True or reply[2] == ACTION


def test_a_column_that_cannot_name_an_element_must_be_renamed(zone: Desk) -> None:
    failure = zone.failure(ONEADMIN, "one.system.sqlquery", 'SELECT oid AS "a b" FROM user_pool')
    assert failure == Failure(ACTION, "The column 'a b' can't name an element of the answer. Give it another name with AS.", -1)
    assert ask(zone, "SELECT count(*) AS users FROM user_pool") == [[("users", "2")]]


def test_it_is_off_unless_the_settings_say_so(tmp_path: Path) -> None:
    assert not Settings().server.sql_queries
    desk = Desk(tmp_path, server=ServerSettings())
    assert desk.failure(ONEADMIN, "one.system.sqlquery", "SELECT 1 AS one") == Failure(ACTION, OFF, -1)
    desk.close()


def test_only_user_0_learns_even_that(zone: Desk) -> None:
    """Not the whole of group 0."""
    uid = zone.user("chief", 0)
    for call, *arguments in (("one.system.sqlquery", "SELECT 1 AS one"), ("one.system.sql", "DELETE FROM user_pool", True)):
        failure = zone.failure(session("chief"), call, *arguments)
        assert failure == Failure(AUTHORIZATION, f"User [{uid}] not authorized to perform action on -.", -1)


@pytest.mark.parametrize("federate", [False, True])
def test_sql_that_writes_is_refused_to_everybody(zone: Desk, federate: bool) -> None:
    before = zone.site.database.state()
    failure = zone.failure(ONEADMIN, "one.system.sql", "UPDATE user_pool SET name = 'x' WHERE oid = 1", federate)
    assert (failure.code, failure.object_id) == (ACTION, -1)
    assert failure.text == "SQL that writes is not taken: it would pass by all checks. Use the call that makes the change."
    assert zone.site.database.state() == before


def test_a_disabled_zone_answers_neither(zone: Desk) -> None:
    zone.as_admin("one.zone.enable", 0, False)
    for call, *arguments in (("one.system.sqlquery", "SELECT 1 AS one"), ("one.system.sql", "", False)):
        assert zone.failure(ONEADMIN, call, *arguments) == Failure(INTERNAL, "Cannot process request, zone disabled", -1)
    zone.as_admin("one.zone.enable", 0, True)

"""Only the canonical text of a change is read, and read as that change."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.statements.grammar import parse
from koinon.statements.rendering import GrammarError, render
from koinon.statements.schema import MAX_BODY_BYTES, Insert, RowChange, Update
from tests.statements.changes import changes

_USER = "INSERT INTO user_pool (oid, name, body, uid, gid, owner_u, group_u, other_u) VALUES (5, 'bob', '<USER/>', 5, 1, 1, 0, 0)"
_UPDATE = "UPDATE user_pool SET name = 'x', uid = 1 WHERE oid = 5"
_DELETE = "DELETE FROM user_pool WHERE oid = 5"
_COUNTER = "REPLACE INTO pool_control (tablename, last_oid) VALUES ('user_pool', 7)"
_ACL = "INSERT INTO acl (oid, userset, resource, rights, zone) VALUES (1, 2, 3, 4, 5)"
_CANONICAL = (_USER, _UPDATE, _DELETE, _COUNTER, _ACL)


@given(changes())
def test_a_change_comes_back_from_its_text(change: RowChange) -> None:
    assert parse(render(change)) == change


@pytest.mark.parametrize("text", _CANONICAL)
def test_a_text_comes_back_from_its_change(text: str) -> None:
    assert render(parse(text)) == text


@given(st.sampled_from(_CANONICAL), st.integers(0, 130), st.integers(0, 3), st.text(" '(),;=-+0159eEx\n\x00*/`\"OIUWH", max_size=3))
def test_a_text_tampered_with_is_refused_or_is_another_canonical_text(text: str, at: int, gone: int, put: str) -> None:
    """One to one: whatever is accepted is the only text of its change."""
    tampered = text[:at] + put + text[at + gone :]
    with contextlib.suppress(GrammarError):
        assert render(parse(tampered)) == tampered


@given(st.text())
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(GrammarError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        _DELETE + ";",
        _DELETE + "; DELETE FROM acl WHERE oid = 1",
        _DELETE + "\n",
        " " + _DELETE,
        _DELETE + " ",
        _DELETE + " OR 1 = 1",
        _DELETE + " -- gone",
        _DELETE + "\x00",
        "/* x */ " + _DELETE,
        "DELETE  FROM user_pool WHERE oid = 5",
        "DELETE\tFROM user_pool WHERE oid = 5",
        "delete from user_pool where oid = 5",
        "DELETE FROM user_pool",
        "DELETE FROM user_pool WHERE uid = 5",
        "DELETE FROM user_pool WHERE oid=5",
        "DELETE FROM user_pool WHERE oid = '5'",
        "DELETE FROM user_pool WHERE oid = (SELECT 5)",
        "DELETE FROM user_pool WHERE oid = ABS(5)",
        "DELETE FROM user_pool WHERE oid = 5 + 1",
        "DELETE FROM user_pool WHERE oid = NULL",
        "DELETE FROM user_pool WHERE oid = ",
        "DELETE FROM `user_pool` WHERE oid = 5",
        "DELETE FROM main.user_pool WHERE oid = 5",
        "DELETE FROM host_pool WHERE oid = 5",
        "DELETE FROM user_poolx WHERE oid = 5",
        "DELETE FROM pool_control WHERE oid = 5",
        "DROP TABLE user_pool",
        "SELECT body FROM user_pool",
        "REPLACE INTO user_pool (oid) VALUES (5)",
        "REPLACE INTO pool_control (tablename, last_oid) VALUES ('host_pool', 7)",
        "REPLACE INTO pool_control (last_oid, tablename) VALUES (7, 'user_pool')",
        "REPLACE INTO pool_control (tablename, last_oid) VALUES ('user_pool', '7')",
        "REPLACE INTO pool_control (tablename, last_oid) VALUES (user_pool, 7)",
        "INSERT INTO pool_control (tablename, last_oid) VALUES ('user_pool', 7)",
        "UPDATE pool_control SET last_oid = 7 WHERE tablename = 'user_pool'",
        "UPDATE user_pool SET WHERE oid = 5",
        "UPDATE user_pool SET oid = 6 WHERE oid = 5",
        "UPDATE user_pool SET row_hash = 6 WHERE oid = 5",
        "UPDATE user_pool SET uid = 1, name = 'x' WHERE oid = 5",
        "UPDATE user_pool SET uid = 1, uid = 1 WHERE oid = 5",
        "UPDATE user_pool SET uid = 1,  gid = 1 WHERE oid = 5",
        "UPDATE user_pool SET uid = 1,gid = 1 WHERE oid = 5",
        "UPDATE user_pool SET uid = 1 gid = 1 WHERE oid = 5",
        "UPDATE user_pool SET uid = 1, WHERE oid = 5",
        "UPDATE user_pool SET uid = 1,  WHERE oid = 5",
        "UPDATE user_pool SET , uid = 1 WHERE oid = 5",
        "UPDATE user_pool SET uid = '1' WHERE oid = 5",
        "UPDATE user_pool SET uid = uid + 1 WHERE oid = 5",
        "UPDATE user_pool SET name = 5 WHERE oid = 5",
        "UPDATE user_pool SET name = body WHERE oid = 5",
        "UPDATE user_pool SET name = 'x' || 'y' WHERE oid = 5",
        "UPDATE user_pool SET name = UPPER('x') WHERE oid = 5",
        "UPDATE user_pool SET name = 'x\\' WHERE oid = 5', uid = 1 WHERE oid = 5",
        "UPDATE user_pool SET name = 'x WHERE oid = 5",
        "UPDATE user_pool SET name = x' WHERE oid = 5",
        "UPDATE user_pool SET name = 'x''' ' WHERE oid = 5",
        "UPDATE user_pool SET name = 'x'' WHERE oid = 5",
        "UPDATE user_pool SET name = ''' WHERE oid = 5",
        'UPDATE user_pool SET name = "x" WHERE oid = 5',
        "UPDATE user_pool SET name = N'x' WHERE oid = 5",
        "UPDATE user_pool SET name = X'41' WHERE oid = 5",
        "UPDATE user_pool SET userset = 1 WHERE oid = 5",
        "UPDATE acl SET body = 'x' WHERE oid = 5",
        "UPDATE acl SET rights = 1",
        _USER.replace("oid, name", "name, oid"),
        _USER.replace("(5, 'bob'", "('bob', 5"),
        _USER.replace(", other_u)", ")"),
        _USER.replace(", 0, 0)", ", 0)"),
        _USER.replace(", 0, 0)", ", 0, 0, 0)"),
        _USER + ", (6, 'eve', '', 6, 1, 1, 0, 0)",
        _USER.replace("5, 'bob'", "5, (SELECT body FROM user_pool WHERE oid = 0)"),
        _USER.replace("INSERT INTO", "INSERT OR REPLACE INTO"),
        _USER + " ON CONFLICT DO NOTHING",
        _ACL.replace("acl", "user_pool"),
    ],
)
def test_what_is_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        parse(text)


@pytest.mark.parametrize(
    "number",
    [
        "01",
        "+1",
        "-0",
        "1e3",
        "1.0",
        "0x1",
        "1_000",
        " 1",
        "--1",
        "",
        "\u0661",
        "\uff11",
        "true",
        "2147483648",
        "-2147483649",
        "9" * 19,
        "9" * 5000,
    ],
)
def test_numbers_have_one_form_and_fit_their_column(number: str) -> None:
    for text in (f"DELETE FROM acl WHERE oid = {number}", f"UPDATE user_pool SET uid = {number} WHERE oid = 5"):
        with pytest.raises(GrammarError):
            parse(text)


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "9" * 20])
def test_numbers_of_acl_are_64_bit(number: str) -> None:
    with pytest.raises(GrammarError):
        parse(f"UPDATE acl SET resource = {number} WHERE oid = 5")


@pytest.mark.parametrize("char", ["\x00", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_characters_that_xml_forbids_are_refused_in_texts(char: str) -> None:
    with pytest.raises(GrammarError):
        parse(f"UPDATE user_pool SET body = 'a{char}b' WHERE oid = 5")


@pytest.mark.parametrize("unit", ["x", "'", "é"])
def test_a_body_of_4_mib_passes_and_one_byte_more_does_not(unit: str) -> None:
    body = unit * (MAX_BODY_BYTES // len(unit.encode()))
    change = Update("user_pool", 5, ("body",), (body,))
    assert parse(render(change)) == change
    with pytest.raises(GrammarError):
        parse(render(Update("user_pool", 5, ("body",), (body + "x",))))


def test_a_body_without_an_end_is_refused() -> None:
    """Eight million quotes: neither the stack nor the time may grow with their ways to pair."""
    with pytest.raises(GrammarError):
        parse("UPDATE user_pool SET body = '" + "''" * MAX_BODY_BYTES + " WHERE oid = 5")


def test_a_text_longer_than_any_statement_is_refused_unread() -> None:
    with pytest.raises(GrammarError, match="more than any statement"):
        parse("x" * (3 * MAX_BODY_BYTES))


def test_sql_inside_a_text_stays_text() -> None:
    change = parse("UPDATE user_pool SET name = 'x'', uid = 0 WHERE oid = 0; --' WHERE oid = 5")
    assert change == Update("user_pool", 5, ("name",), ("x', uid = 0 WHERE oid = 0; --",))


def test_a_whole_row_is_read_in_the_order_of_its_columns() -> None:
    assert parse(_USER) == Insert("user_pool", (5, "bob", "<USER/>", 5, 1, 1, 0, 0))

"""The canonical texts, and the limits of a change."""

from __future__ import annotations

import enum
import unicodedata

import pytest
from hypothesis import given

from koinon.objects.characters import forbidden_in
from koinon.statements.rendering import GrammarError, check, render
from koinon.statements.schema import INT32, INT64, MAX_BODY_BYTES, MAX_NAME_BYTES, Delete, Insert, RowChange, SetCounter, Update, Value
from tests.statements.changes import changes


class _Number(enum.IntEnum):
    FIVE = 5


class _Text(str):
    pass


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            Insert("user_pool", (5, "bob", "<USER><NAME>O'Hara</NAME></USER>", 5, 1, 1, 0, 0)),
            "INSERT INTO user_pool (oid, name, body, uid, gid, owner_u, group_u, other_u)"
            " VALUES (5, 'bob', '<USER><NAME>O''Hara</NAME></USER>', 5, 1, 1, 0, 0)",
        ),
        (
            Insert("acl", (0, 0x200000001, -1, 15, 0x400000000)),
            "INSERT INTO acl (oid, userset, resource, rights, zone) VALUES (0, 8589934593, -1, 15, 17179869184)",
        ),
        (
            Update("group_pool", 100, ("name", "gid"), ("100%d \\' %s", 3)),
            "UPDATE group_pool SET name = '100%d \\'' %s', gid = 3 WHERE oid = 100",
        ),
        (Update("acl", -1, ("rights",), (INT64[0],)), "UPDATE acl SET rights = -9223372036854775808 WHERE oid = -1"),
        (Delete("zone_pool", 0), "DELETE FROM zone_pool WHERE oid = 0"),
        (SetCounter("vdc_pool", -1), "REPLACE INTO pool_control (tablename, last_oid) VALUES ('vdc_pool', -1)"),
    ],
)
def test_each_change_has_its_text(change: RowChange, text: str) -> None:
    check(change)
    assert render(change) == text


@given(changes())
def test_whatever_check_accepts_is_rendered(change: RowChange) -> None:
    check(change)
    assert change.table in render(change)


def _user(name: Value = "bob", body: Value = "<USER/>", gid: Value = 1, oid: Value = 5) -> Insert:
    return Insert("user_pool", (oid, name, body, 5, gid, 1, 0, 0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Insert("host_pool", (5, "h", "", 0, 0, 0, 0, 0)), "not a shared table"),
        (Delete("pool_control", 5), "not a shared table"),
        (Delete("user_pool; DROP TABLE acl", 5), "not a shared table"),
        (SetCounter("host_pool", 5), "not a shared table"),
        (Update("user_quotas", 5, ("body",), ("",)), "not a shared table"),
        (Insert("user_pool", (5, "bob")), "2 values for 8"),
        (Update("acl", 5, ("rights", "zone"), (1,)), "1 values for 2"),
        (Update("acl", 5, (), ()), "an update names"),
        (Update("acl", 5, ("oid",), (1,)), "an update names"),
        (Update("acl", 5, ("row_hash",), (1,)), "an update names"),
        (Update("acl", 5, ("zone", "rights"), (1, 1)), "in their order"),
        (Update("acl", 5, ("rights", "rights"), (1, 1)), "an update names"),
        (Update("acl", 5, ("body",), ("",)), "an update names"),
        (_user(oid=INT32[1] + 1), "oid: the number is not within"),
        (_user(gid=INT32[0] - 1), "gid: the number is not within"),
        (Insert("acl", (1, INT64[1] + 1, 0, 0, 0)), "userset: the number is not within"),
        (Delete("acl", INT32[1] + 1), "oid: the number is not within"),
        (Update("acl", INT32[0] - 1, ("rights",), (1,)), "oid: the number is not within"),
        (SetCounter("acl", INT32[1] + 1), "last_oid: the number is not within"),
        (_user(gid="1"), "gid: a number is needed, not str"),
        (_user(gid=True), "gid: a number is needed, not bool"),
        (_user(gid=_Number.FIVE), "gid: a number is needed, not _Number"),
        (_user(name=5), "name: text is needed, not int"),
        (_user(name=_Text("bob")), "name: text is needed, not _Text"),
        (_user(body="a\x00b"), "U+0000"),
        (_user(body="a\x0bb"), "U+000B"),
        (_user(body="\ufffe"), "U+FFFE"),
        (_user(name="\uffff"), "U+FFFF"),
        (_user(name="x\ud800"), "surrogate U+D800"),
        (_user(name="é" * (MAX_NAME_BYTES // 2) + "e"), "129 bytes are more than the 128"),
        (_user(body="x" * (MAX_BODY_BYTES + 1)), "more than the 4194304"),
    ],
)
def test_what_the_log_may_not_hold_is_refused_with_the_reason(change: RowChange, reason: str) -> None:
    with pytest.raises(GrammarError) as refused:
        check(change)
    assert reason in str(refused.value)


@pytest.mark.parametrize("change", [_user(name="é" * (MAX_NAME_BYTES // 2)), _user(body="'" * MAX_BODY_BYTES), _user(name="", body="")])
def test_texts_of_exactly_the_limit_are_accepted(change: RowChange) -> None:
    check(change)


def test_text_is_what_xml_allows_for_every_character() -> None:
    def accepted(text: str) -> bool:
        try:
            check(_user(body=text))
        except GrammarError:
            return False
        return True

    every = map(chr, range(0x110000))
    doubtful = [char for char in every if unicodedata.category(char) in ("Cc", "Cs", "Cf", "Zl", "Zp") or char >= "\ufff0"]
    assert [char for char in doubtful[:4000] if accepted(char) != (forbidden_in(char) is None)] == []
    ordinary = "".join(char for char in map(chr, range(0x30000)) if forbidden_in(char) is None)
    assert accepted(ordinary)


def test_texts_are_not_normalised() -> None:
    change = _user(name="e\u0301\r\n")
    check(change)
    assert "e\u0301\r\n" in render(change)


@pytest.mark.parametrize(
    "change",
    [
        Insert("host_pool", (1,)),
        Insert("acl", (1, 2)),
        Insert("acl", ("x", 1, 1, 1, 1)),
        Update("acl", 1, ("zone", "rights"), (1, 1)),
        Delete("host_pool", 1),
        SetCounter("host_pool", 1),
    ],
)
def test_nothing_is_rendered_that_has_no_form(change: RowChange) -> None:
    with pytest.raises(GrammarError):
        render(change)

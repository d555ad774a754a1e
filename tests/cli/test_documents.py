"""Documents, tables and lists of ids by themselves."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.cli.documents import read, template_text, to_plain
from koinon.cli.references import parse_many, parse_one
from koinon.cli.tables import Column, print_table, state_colour, visible
from koinon.client.errors import NotAZoneError
from koinon.objects.template import Template

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: not name.startswith("XML"))
VALUES = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cn"), max_codepoint=0xFFFD), max_size=20).filter(
    lambda value: value == value.strip() and "]]>" not in value
)


@given(st.lists(st.tuples(NAMES, VALUES | st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)), max_size=4))
def test_what_an_editor_shows_is_read_back_as_the_same_template(attributes: list[tuple[str, str | dict[str, str]]]) -> None:
    template = Element("TEMPLATE")
    for name, value in attributes:
        child = SubElement(template, name)
        if isinstance(value, str):
            child.text = value
        else:
            for key, inner in value.items():
                SubElement(child, key).text = inner
    again = read(Template.parse(template_text(template)).to_xml())
    for name in {name for name, _ in attributes}:
        kept = [to_plain(child) for child in again.findall(name)]
        assert kept == [to_plain(child) for child in template.findall(name)]


@pytest.mark.parametrize(
    "text", ["", "no document", "<a>", "<!DOCTYPE a><a/>", '<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>', "<a>&b;</a>", 5]
)
def test_what_cannot_be_read_is_refused(text: str | int) -> None:
    with pytest.raises(NotAZoneError):
        read(text)


def test_json_has_arrays_where_something_may_repeat() -> None:
    assert to_plain(read("<USER_POOL><USER><ID>0</ID><GROUPS><ID>0</ID></GROUPS><TEMPLATE/></USER></USER_POOL>")) == {
        "USER": [{"ID": "0", "GROUPS": {"ID": ["0"]}, "TEMPLATE": ""}]
    }
    assert to_plain(read("<T><A>1</A><A>2</A><B>3</B></T>")) == {"A": ["1", "2"], "B": "3"}


@given(st.lists(st.integers(0, 500) | st.tuples(st.integers(0, 500), st.integers(0, 50)), min_size=1))
def test_lists_name_each_object_once_in_order(items: list[int | tuple[int, int]]) -> None:
    written = ",".join(str(item) if isinstance(item, int) else f"{item[0]}..{item[0] + item[1]}" for item in items)
    expected = [oid for item in items for oid in ([item] if isinstance(item, int) else range(item[0], item[0] + item[1] + 1))]
    assert parse_many(written) == list(dict.fromkeys(expected))


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        found = parse_many(text)
    except click.UsageError:
        return
    assert found
    assert all(isinstance(item, str) or 0 <= item <= 0x7FFFFFFF for item in found)


def test_digits_are_an_id_and_all_else_a_name() -> None:
    assert [parse_one(text) for text in ("7", "007", "7a", "-7", "٧")] == [7, 7, "7a", "-7", "٧"]


def test_columns_line_up_under_wide_and_combining_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column[str]("NAME", str), Column[str]("END", lambda _: "|")], ["ab", "日本", "e\u0301"])
    assert capsys.readouterr().out.splitlines() == ["NAME  END", "ab    |", "日本  |", "e\u0301     |"]


def test_colours_are_for_terminals_and_end_no_line_in_blanks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    columns = [Column[str]("STATE", str, colour=state_colour)]
    print_table(columns, ["yes"])
    assert capsys.readouterr().out == "STATE\nyes\n"
    with click.Context(click.Command("any"), color=True):  # as on a terminal
        print_table(columns, ["disabled", "yes", "odd"])
    assert capsys.readouterr().out == "STATE\n\x1b[31mdisabled\x1b[0m\n\x1b[32myes\x1b[0m\nodd\n"


@pytest.mark.parametrize(("name", "value", "coloured"), [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)])
def test_a_terminal_that_wants_no_colours_gets_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    with click.Context(click.Command("any"), color=True):
        print_table([Column[str]("STATE", str, colour=state_colour)], ["yes"])
    assert ("\x1b" in capsys.readouterr().out) == coloured


@given(st.text())
def test_shown_text_holds_no_control_characters(text: str) -> None:
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in visible(text))

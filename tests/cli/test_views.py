"""Which rows and columns of a list are shown, and how wide: the options that OpenNebula's lists have."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.cli.filters import Condition
from koinon.cli.main import NOUNS
from koinon.cli.tables import Column, print_table
from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn, User


@pytest.fixture
def users(zone: StandIn) -> None:
    for uid in (3, 20, 100):
        zone.users[uid] = User(uid, f"user{uid}", "x")


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("ID<3", "0 1"),
        ("ID>=20", "20 100"),
        ("ID>3,ID<=20", "20"),
        ("NAME>user2", "user20 user3"),
        ("NAME<p", "oneadmin"),
    ],
)
def test_numbers_are_compared_as_numbers_and_texts_as_texts(koinon: Koinon, condition: str, ids: str) -> None:
    column = "id" if condition.startswith("ID") else "name"
    shown = [line[0] for line in koinon("user", "list", "--no-header", "-l", column, "-f", condition).lines]
    assert sorted(shown) == sorted(ids.split())


@given(st.text(), st.text(), st.sampled_from([("<", ">="), (">", "<=")]))
def test_what_is_not_less_is_at_least(cell: str, wanted: str, operators: tuple[str, str]) -> None:
    less, at_least = operators
    assert Condition("A", less, wanted).holds(cell) != Condition("A", at_least, wanted).holds(cell)


@pytest.mark.usefixtures("users")
def test_one_condition_may_be_enough(koinon: Koinon) -> None:
    def names(*arguments: str) -> list[str]:
        return [line[0] for line in koinon("user", "list", "--no-header", "-l", "name", *arguments).lines]

    assert names("-f", "NAME=user3,ID=20", "--operator", "or") == ["user3", "user20"]
    assert names("-f", "NAME=user3,ID=20", "--operator", "AND") == []
    assert len(names("--operator", "OR")) == 5


def test_a_zone_that_does_not_answer_is_told_whatever_the_operator(koinon: Koinon, zone: StandIn) -> None:
    zone.zones[101] = ("gone", 0, "-")

    def zones(*conditions: str) -> list[str]:
        arguments = [word for condition in conditions for word in ("-f", condition)]
        return [line[0] for line in koinon("user", "list", "--all-zones", "--operator", "OR", "-l", "id", *arguments).lines[1:]]

    assert zones("ID=0", "ZONE=nowhere") == ["OpenNebula", "gone"]
    assert zones("ZONE=nowhere", "ANSWER=ok") == ["OpenNebula", "OpenNebula"]


def test_titles_can_be_left_out(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "list", "--no-header", "--no-pager", "-l", "id").lines == [["0"], ["1"]]
    assert koinon("user", "list", "--no-header", "--csv", "-l", "id").out == "0\n1\n"


def test_columns_are_cut_and_filled_only_where_asked(zone: StandIn, koinon: Koinon) -> None:
    outcome = koinon("user", "list", "-l", "name,auth,id", "-s", "name=4,auth=14")
    assert outcome.out == "NAME  AUTH            ID\nonea  core             0\nserv  server_cipher    1\n"
    outcome = koinon("user", "list", "-l", "name,auth", "--size", "name=4,auth=2", "--adjust", "NAME")
    assert outcome.out == "NAME         AU\noneadmin     co\nserveradmin  se\n"


@given(st.lists(st.text("aé日\u0301b", max_size=6), max_size=4), st.integers(1, 6))
def test_no_cell_is_wider_than_its_column(cells: list[str], width: int) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        print_table([Column[str]("NAME", str, width=width), Column[str]("END", lambda _: "|")], cells)
    wide = {"日": 2, "\u0301": 0}
    for line in out.getvalue().splitlines()[1:]:
        assert sum(wide.get(character, 1) for character in line[:-1]) == width + 2


def test_ids_instead_of_names(zone: StandIn, koinon: Koinon) -> None:
    assert koinon("user", "list", "-n", "-l", "id,group", "-f", "GROUP=0").lines == [["ID", "GROUP"], ["0", "0"], ["1", "0"]]
    assert koinon("user", "list", "-n", "--all-zones", "-l", "group,id").lines[1] == ["OpenNebula", "0", "0", "ok"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter(zone: StandIn, koinon: Koinon, delimiter: str) -> None:
    out = koinon("user", "list", "--csv", "--csv-del", delimiter, "-l", "id,groups").out
    assert list(csv.reader(io.StringIO(out), delimiter=delimiter))[1] == ["0", "0"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-s", "name"),
        ("-s", "name=0"),
        ("-s", "name=99999999999999"),
        ("-s", "name=x"),
        ("-s", "nmae=3"),
        ("--adjust", "nmae"),
        ("--csv-del", ";"),
        ("--csv", "--csv-del", ""),
        ("--csv", "--csv-del", "ab"),
        ("--csv", "--csv-del", '"'),
        ("--csv", "--csv-del", "\n"),
        ("--operator", "XOR"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_zone_is_asked(zone: StandIn, koinon: Koinon, arguments: tuple[str, ...]) -> None:
    assert koinon("user", "list", *arguments).code == 2
    assert zone.calls == []


@pytest.mark.parametrize("noun", [noun for noun, one in NOUNS.items() if any(row.verb == "list" for row in one.rows())])
def test_all_lists_take_the_same_options(noun: str) -> None:
    (row,) = (row for row in NOUNS[noun].rows() if row.verb == "list")
    names = {name for parameter in row.parameters for name in parameter.opts}
    wanted = "--operator --csv-del --no-header --no-pager --size --adjust --numeric"
    assert set(wanted.split()) <= names

"""The page of policies is true: its commands are run on two real zones, show what it shows, and the zones do as it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.GUIDES / "policies.md"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """North, the master, and south."""
    with Machines(tmp_path_factory.mktemp("recipes"), "north south").running(federated=2) as made:
        yield made


@pytest.fixture(scope="module")
def followed(machines: Machines) -> tuple[list[str], list[str]]:
    """What the commands of the page show, and what it says that they show."""
    made = guide_page.follow(PAGE, machines.do)
    machines.settled()
    return made


def test_the_page_shows_what_its_commands_show(followed: tuple[list[str], list[str]]) -> None:
    seen, shown = followed
    assert seen == shown


# What the page promises, asked of the zones themselves: user, zone, call, arguments, whether it is allowed.
PROMISES: Final[list[tuple[str, str, str, tuple[int | str, ...], bool]]] = [
    ("ada", "south", "one.user.info", (-1,), True),
    ("ada", "south", "one.user.info", (0,), False),
    ("bob", "south", "one.host.info", (1,), True),
    ("bob", "south", "one.host.info", (0,), False),
    ("bob", "north", "one.host.info", (0,), False),
    ("carl", "south", "one.host.info", (1,), False),
    ("zoe", "south", "one.host.info", (0,), True),
    ("zoe", "north", "one.host.info", (0,), False),
    ("zoe", "south", "one.user.info", (0,), True),
    ("zoe", "north", "one.user.info", (0,), False),
    ("zoe", "south", "one.user.update", (2, 'A="1"', 1), False),
    ("zoe", "south", "one.zone.update", (100, 'NOTE="x"', 1), True),
    ("zoe", "north", "one.zone.update", (100, 'NOTE="x"', 1), False),
    ("zoe", "south", "one.zone.update", (0, 'NOTE="x"', 1), False),
    ("carl", "south", "one.acl.info", (), False),
]


@pytest.mark.usefixtures("followed")
def test_zones_do_as_the_recipes_promise(machines: Machines) -> None:
    for user, zone, call, arguments, allowed in PROMISES:
        reply = machines[zone].caller(f"{user}:Secret1").call(call, *arguments)
        assert reply[0] is allowed, (user, zone, call, arguments, reply)
        assert allowed or reply[2] == 0x200


@pytest.mark.usefixtures("followed")
def test_a_zone_that_is_away_is_answered_for_by_another(machines: Machines) -> None:
    north, south = machines.zones
    question = ("explain", "ada", "CREATE", "VM/*", "--zone", "south")
    asked = north.command("oneacl", *question, session=north.secret)
    south.stop()
    try:
        again = north.command("oneacl", *question, session=north.secret)
        assert again.stdout == asked.stdout
        assert f"The zone at {north.endpoint} answers for it." in again.stderr
        hosts = north.command("oneacl", "explain", "ada", "USE", "HOST/#1", "--zone", "south", session=north.secret)
        assert "HOST/#1 is kept by zone 100 alone" in hosts.stderr
    finally:
        south.start()

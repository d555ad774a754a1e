"""The page of policies is true: its commands are run in its order, on two real zones, and show what it shows.

With KOINON_REWRITE_GUIDE=1 the page gets what the commands show now; read the difference before you keep it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from harness.zones import Federation, Zone, join
from tests.acceptance import guide_page
from tests.acceptance.guide_page import Step

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "policies.md"
STEPS = guide_page.steps(PAGE)
REWRITE = os.environ.get("KOINON_REWRITE_GUIDE") == "1"


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """North, the master, and south."""
    folder = tmp_path_factory.mktemp("recipes")
    made = Federation([Zone(folder / name, name, settings={"login": {"password_hash": "sha256"}}) for name in ("north", "south")], None)
    try:
        for zone in made.zones:
            zone.launch()
        for zone in made.zones:
            zone.await_answer()
        made.master.federation("init")
        join(made.master, made.slaves[0])
        made.settled()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def outputs(zones: Federation) -> list[str]:
    """What each command of the page shows, run in its order; the page gets it if that is wanted."""
    seen = [perform(zones, step) for step in STEPS]
    if REWRITE:
        guide_page.rewrite(PAGE, seen)
    zones.settled()
    return seen


def perform(zones: Federation, step: Step) -> str:
    zones.settled()  # what was written in one zone is there in the other
    (zone,) = (zone for zone in zones.zones if zone.name == step.zone)
    session = zones.secret if step.user == "oneadmin" else f"{step.user}:Secret1"
    program, *arguments = step.words
    done = zone.command(program, *arguments, session=session, check=False)
    return f"{done.stdout}{done.stderr}" + (f"(exit code {done.returncode})\n" if done.returncode else "")


def transcript(texts: Iterable[str]) -> list[str]:
    """The session as one text, line by line: a difference is then shown with the command that it belongs to."""
    pairs = zip(guide_page.steps(PAGE), texts, strict=True)
    return [line for step, text in pairs for line in (f"{step.user}@{step.zone}$ {step.command}", *guide_page.normal(text).splitlines())]


def test_the_page_shows_what_its_commands_show(outputs: list[str]) -> None:
    page = guide_page.steps(PAGE)
    assert len(page) > 30
    assert transcript(outputs) == transcript(step.shown for step in page)


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


def test_zones_do_as_the_recipes_promise(zones: Federation, outputs: list[str]) -> None:
    for user, zone, call, arguments, allowed in PROMISES:
        (there,) = (one for one in zones.zones if one.name == zone)
        reply = there.caller(f"{user}:Secret1").call(call, *arguments)
        assert reply[0] is allowed, (user, zone, call, arguments, reply)
        assert allowed or reply[2] == 0x200
    assert len(outputs) == len(STEPS)


def test_a_zone_that_is_away_is_answered_for_by_another(zones: Federation, outputs: list[str]) -> None:
    north, south = zones.zones
    question = ("explain", "ada", "CREATE", "VM/*", "--zone", "south")
    asked = north.command("oneacl", *question, session=zones.secret)
    south.stop()
    try:
        again = north.command("oneacl", *question, session=zones.secret)
        assert again.stdout == asked.stdout
        assert f"The zone at {north.endpoint} answers for it." in again.stderr
        hosts = north.command("oneacl", "explain", "ada", "USE", "HOST/#1", "--zone", "south", session=zones.secret)
        assert "HOST/#1 is kept by zone 100 alone" in hosts.stderr
    finally:
        south.start()
    assert outputs

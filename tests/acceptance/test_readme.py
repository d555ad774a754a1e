"""The first page is true: a zone runs and three zones federate as it says, and show what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.ROOT / "README.md"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Three machines with nothing on them."""
    made = Machines(tmp_path, "athens corinth thebes", logged_in=False, settings={"log": {"format": "json"}})
    for machine in made.by_name.values():
        machine.written = {"/home/you/.local/state/koinon": str(machine.zone.state_dir), **machine.written}

    def start_the_others() -> None:
        for name in ("corinth", "thebes"):
            made[name].start()

    made.happenings = {"zones run on corinth and thebes too": start_the_others}
    try:
        yield made
    finally:
        made.stop()


def test_the_page_shows_what_its_commands_show(machines: Machines) -> None:
    seen, shown = guide_page.follow(PAGE, machines.do)
    assert seen == shown

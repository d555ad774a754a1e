"""The page of federations is true: three zones found, join, work together and leave as it says, and show what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.GUIDES / "federate.md"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Three machines, each with a zone of its own that runs."""
    made = Machines(tmp_path, "athens corinth thebes")

    def employ_maria() -> None:
        made["athens"].command("oneuser", "create", "maria", "Secret1", "--group", "oneadmin", session=made["athens"].secret)
        (made.by_name["corinth"].home("oneadmin") / "maria.password").write_text("Secret1\n")

    made.happenings = {"maria has become an administrator at athens": employ_maria}
    with made.running():
        yield made


def test_the_page_shows_what_its_commands_show(machines: Machines) -> None:
    seen, shown = guide_page.follow(PAGE, machines.do)
    assert seen == shown

"""The page of backups is true: a zone is backed up, restored and moved as it says, and shows what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.GUIDES / "backup.md"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path, "athens").running() as made:
        yield made


def test_the_page_shows_what_its_commands_show(machines: Machines) -> None:
    seen, shown = guide_page.follow(PAGE, machines.do)
    assert seen == shown

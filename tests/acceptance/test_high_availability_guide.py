"""The page about several processes: what it tells to type is run by tests/federation/test_real_processes.py, on real database servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.acceptance import guide_page
from tests.acceptance.guide_page import Given, Meanwhile, NotRun, Step

PAGE: Final = guide_page.GUIDES / "high-availability.md"


def _only_what_runs_elsewhere(part: Step | Given | Meanwhile | NotRun, _agrees: Callable[[str], bool]) -> str:
    assert isinstance(part, NotRun), f"follow this part of the page: {part}"
    return ""


def test_the_page_holds_nothing_that_is_not_run_there() -> None:
    seen, shown = guide_page.follow(PAGE, _only_what_runs_elsewhere)
    assert seen == shown

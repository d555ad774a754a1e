"""What all tests share: the output of real zones goes with the report of a test that failed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from harness import zones


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last lines of every zone's log to the report of a failure."""
    report = yield
    if report.failed:
        for zone in sorted(zones.alive, key=lambda zone: zone.port):
            report.sections.append((f"log of {zone!r}", zone.tail()))
    return report

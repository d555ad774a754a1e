"""What all tests share: the engine they run on, and the output of real zones with the report of a test that failed.

Hypothesis tries the same examples each time and lets them take their time, so that what passes once passes again; one who wants to look
for others says ``--hypothesis-profile=default``.
Without ENGINE in the environment tests run on SQLite, those marked ``engines`` on each engine, or on those that it names: ``by_default``
where a test is long and what it shows hardly depends on the engine. With ENGINE all run on that one.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from harness import engines, zones
from tests.servers import needed

settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each engine that it is to run on; one that is for others than the chosen one is left out."""
    marker = metafunc.definition.get_closest_marker("engines")
    wanted = ["sqlite"] if marker is None else marker.args or marker.kwargs.get("by_default", engines.ENGINES)
    if chosen := os.environ.get("ENGINE"):
        wanted = [chosen] if marker is None or not marker.args or chosen in marker.args else []
    if wanted != ["sqlite"]:
        metafunc.parametrize("engine", wanted, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of this test; fixtures for a whole module ask for it too, or they would keep the first one.

    Where its server is missing, the test is left out, but not in CI.
    """
    engines.current = getattr(request, "param", "sqlite")
    if engines.current != "sqlite":
        with needed():
            engines.server(engines.current)
    return engines.current


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last lines of every zone's log to the report of a failure."""
    report = yield
    if report.failed:
        for zone in sorted(zones.alive, key=lambda zone: zone.port):
            report.sections.append((f"log of {zone!r}", zone.tail()))
    return report

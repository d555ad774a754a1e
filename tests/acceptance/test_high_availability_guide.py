"""The page of high availability has no commands, but settings: those of a zone are ones that it takes.

Not here: what the page says of failing databases (tests/database/test_failover.py, test_galera.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from koinon import settings
from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.GUIDES / "high-availability.md"


def test_the_settings_of_the_page_are_taken(tmp_path: Path) -> None:
    machines = Machines(tmp_path, "athens corinth each front")  # the files of the last two are run by tests/database/test_patroni.py
    seen, shown = guide_page.follow(PAGE, machines.do)
    assert seen == shown
    for zone, engine in ((machines["athens"], "postgresql"), (machines["corinth"], "mysql")):
        found = settings.load(zone.config, {})
        assert found.database.engine == engine
        assert found.database.url.count(",") == 2

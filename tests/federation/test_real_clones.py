"""A zone and its clone, database and keys, follow one master at two of its machines: one of them is served, and both machines say it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import engines
from harness.proxy import Link
from harness.zones import Federation, Zone, join, wait_until

pytestmark = pytest.mark.engines("postgresql")


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link(0)  # leads to one process of the master or the other
    yield made
    made.close()


def _clone_of(slave: Zone, folder: Path) -> Zone:
    """Everything that makes the (stopped) zone what it is, in another place."""
    clone = Zone(folder, slave.name)
    shutil.copytree(slave.state_dir, clone.state_dir)
    original, copy = engines.database_name(slave.database), engines.database_name(clone.database)
    engines.server("postgresql").administer(f"DROP DATABASE {copy}", f"CREATE DATABASE {copy} TEMPLATE {original}")
    return clone


def _says(machine: Zone) -> tuple[str, str]:
    """State and error of the one slave, as a machine of the master tells them."""
    (slave,) = (zone for zone in machine.status()["zones"] if zone["name"] == "slave")
    return slave["state"], slave["last_error"] or ""


def test_a_clone_that_follows_at_another_machine_of_the_master_is_caught(tmp_path: Path, link: Link) -> None:
    one = Zone(tmp_path / "master1", "master", federation_endpoint=link.address)
    two = Zone(tmp_path / "master2", "master", federation_endpoint=link.address, beside=one, apart=True)
    slave = Zone(tmp_path / "slave", "slave")
    zones = [one, two, slave]
    try:
        link.target = one.federation_port
        one.start().federation("init")
        shutil.copytree(one.state_dir / "federation", two.state_dir / "federation")
        for zone in (two, slave):
            zone.start()
        join(one, slave)
        made = Federation([one, slave], None)
        made.settled()
        slave.stop()
        clone = _clone_of(slave, tmp_path / "clone")
        zones.append(clone)

        link.target = two.federation_port
        slave.start()
        wait_until("the original follows at the second", lambda: _said(two, "zone follows"))
        made.settled()
        served = two.log.stat().st_size
        link.target = one.federation_port
        clone.start()
        wait_until("the clone follows at the first", lambda: clone.status()["state"] == "ok")
        link.target = two.federation_port
        told = wait_until("the original hears it", lambda: _refused(slave))
        assert "copy of the other" in told
        wait_until("the second refuses it too", lambda: '"reason": "cloned"' in two.log.read_text()[served:])
        wait_until("each machine names it", lambda: _says(one) == _says(two) == ("cloned", told))
        one.client().user.allocate("later", "x", "public", [])
        Federation([one, clone], None).settled()
        assert "later" not in {user.NAME for user in made.client(slave).userpool.info().USER}

        clone.stop()
        slave.restart()  # what the operator decides: this one stays
        made.settled()
        wait_until("each machine says that it is over", lambda: _says(one) == _says(two) == ("ok", ""))
        link.target = one.federation_port
        clone.start()  # newer again: it would win, as a zone that was moved does
        wait_until("the original hears it again", lambda: _refused(slave))
    finally:
        for zone in reversed(zones):
            zone.stop()


def _said(zone: Zone, text: str) -> bool:
    return text in zone.log.read_text()


def _refused(zone: Zone) -> str:
    status = zone.status()
    return str(status["last_error"]) if status["state"] == "cloned" else ""

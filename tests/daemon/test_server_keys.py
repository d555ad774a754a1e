"""``serveradmin_auth`` is compared at the start with what the zone was last started with, by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import engines
from harness.zones import Zone, federation

_CHANGED = "serveradmin_auth is not the one that this zone was last started with"
_NOBODY = "sessions of this zone's servers open nothing"


def said(zone: Zone) -> str:
    """What the zone has said since it was last asked."""
    text = zone.log.read_text()
    zone.log.write_text("")
    return text


def test_a_file_that_was_lost_is_told_once_and_again_when_the_database_is_set_back(tmp_path: Path) -> None:
    zone = Zone(tmp_path / "zone", "zone")
    path = zone.state_dir / "serveradmin_auth"
    try:
        zone.start()
        zone.restart()
        assert _CHANGED not in said(zone)
        key = path.read_text().strip().partition(":")[2]
        assert key.encode() not in engines.values(zone.database, zone.engine)  # but a verifier
        zone.stop()
        saved = engines.save(zone.database, zone.engine)
        path.unlink()
        zone.restart()
        told = said(zone)
        assert _CHANGED in told
        assert str(path) in told
        assert "put the former file there" in told
        assert path.read_text().strip().partition(":")[2] not in told
        zone.restart()
        assert _CHANGED not in said(zone)
        zone.stop()
        engines.restore(zone.database, saved, zone.engine)
        zone.start()
        assert _CHANGED in said(zone)
    finally:
        zone.stop()


@pytest.mark.engines("postgresql", "mariadb")
def test_a_second_machine_without_the_file_is_told_until_it_has_the_same(tmp_path: Path) -> None:
    first = Zone(tmp_path / "first", "zone")
    second = Zone(tmp_path / "second", "zone", beside=first, apart=True)
    try:
        first.start()
        second.start()
        assert _CHANGED in said(second)
        (second.state_dir / "serveradmin_auth").write_bytes((first.state_dir / "serveradmin_auth").read_bytes())
        second.restart()
        assert _CHANGED in said(second)  # until now it was the other one that counted last
        first.restart()
        assert _CHANGED not in said(first)
    finally:
        second.stop()
        first.stop()


def test_a_user_who_is_no_server_is_told(tmp_path: Path) -> None:
    zone = Zone(tmp_path / "zone", "zone")
    try:
        zone.start()
        assert _NOBODY not in said(zone)
        (zone.state_dir / "serveradmin_auth").write_text("gate:a-key-of-ours\n")
        zone.restart()
        told = said(zone)
        assert _NOBODY in told
        assert '"user": "gate"' in told
        assert "a-key-of-ours" not in told
    finally:
        zone.stop()


def test_a_slave_has_a_key_of_its_own_and_starts_with_another_one_too(tmp_path: Path) -> None:
    with federation(tmp_path, 2) as made:
        slave = made.slaves[0]
        slave.restart()
        assert _CHANGED not in said(slave)
        (slave.state_dir / "serveradmin_auth").write_bytes((made.master.state_dir / "serveradmin_auth").read_bytes())
        slave.restart()
        assert _CHANGED in said(slave)
        made.settled()

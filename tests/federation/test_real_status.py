"""What `koinon federation status` says of a link that is cut or silent, of a zone that hangs, and of one that can't go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from harness.proxy import Link
from harness.zones import Federation, Zone, federation, invite, join, wait_until


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A master, and one slave behind a link that we command."""
    settings = {"federation": {"master_silent_s": 2.0}}  # the default: a silence is told before the stream counts as dead
    with federation(tmp_path_factory.mktemp("status"), 2, through_proxy=True, settings=settings) as made:
        yield made


def says(zone: Zone) -> dict[str, str]:
    """The states that a zone tells: its own, and by name those of all zones."""
    status = zone.status()
    return {"self": status["state"], **{one["name"]: one["state"] for one in status["zones"]}}


WELL: Final = {"self": "ok", "master": "ok", "slave1": "ok"}


def soon(zone: Zone, **states: str) -> None:
    """Wait until a zone says this."""
    wait_until(f"{zone.name} says {states}", lambda: says(zone).items() >= states.items())


@contextmanager
def cut(zones: Federation) -> Iterator[None]:
    _link(zones).cut()
    try:
        yield
    finally:
        _link(zones).restore()


@contextmanager
def held(zones: Federation) -> Iterator[None]:
    _link(zones).hold()
    try:
        yield
    finally:
        _link(zones).restore()


@contextmanager
def master_stopped(zones: Federation) -> Iterator[None]:
    zones.master.pause()
    try:
        yield
    finally:
        zones.master.resume()


@contextmanager
def slave_stopped(zones: Federation) -> Iterator[None]:
    zones.slaves[0].pause()
    try:
        yield
    finally:
        zones.slaves[0].resume()


def _link(zones: Federation) -> Link:
    assert zones.link is not None
    return zones.link


Accident = Callable[[Federation], Any]


@pytest.mark.parametrize(
    ("accident", "at_master", "at_slave"),
    [
        (cut, [{"slave1": "away"}], [{"self": "connecting", "master": "away", "slave1": "connecting"}]),
        (held, [{"slave1": "silent"}], [{"self": "silent", "master": "silent"}, {"self": "connecting", "master": "away"}]),
        (master_stopped, [], [{"self": "silent", "master": "silent"}, {"self": "connecting", "master": "away"}]),
        (slave_stopped, [{"slave1": "silent"}], []),
    ],
)
def test_both_ends_say_it_within_seconds_and_not_any_more_once_it_is_over(
    zones: Federation, accident: Accident, at_master: list[dict[str, str]], at_slave: list[dict[str, str]]
) -> None:
    for zone in zones.zones:
        soon(zone, **WELL)
    with accident(zones):
        for zone, all_states in ((zones.slaves[0], at_slave), (zones.master, at_master)):
            for states in all_states:
                soon(zone, **states)
    for zone in zones.zones:
        soon(zone, **WELL)
    assert zones.slaves[0].status()["last_error"] in (None, "")


def test_the_command_tells_what_to_do(zones: Federation) -> None:
    with cut(zones):
        soon(zones.slaves[0], self="connecting")
        soon(zones.master, slave1="away")
        assert "TO DO\n  slave1: see that its server runs" in zones.master.federation("status").stdout
        assert "TO DO\n  See that the master runs" in zones.slaves[0].federation("status").stdout
    for zone in zones.zones:
        soon(zone, **WELL)
        assert "TO DO" not in zone.federation("status").stdout


def test_an_administrator_sees_which_zone_waits_joins_or_can_not_go_on_and_why(zones: Federation, tmp_path: Path) -> None:
    third = Zone(tmp_path / "third", "third")
    try:
        third.start()
        invite(zones.master, "third", third.endpoint)
        soon(zones.master, third="invited")
        join(zones.master, third)
        soon(zones.master, third="ok")
        third.write_settings(database={"disk_reserve_mib": 999_999_999})
        third.restart()
        zones.client(zones.master).user.allocate("unwritable", "x", "public", [])
        soon(third, self="stuck")
        soon(zones.master, third="stuck")
        soon(zones.slaves[0], third="stuck")
        (told,) = (zone for zone in json.loads(zones.master.federation("status", "--json").stdout)["zones"] if zone["name"] == "third")
        assert told["last_error"] == third.status()["last_error"]
        assert "are left on the disk" in told["last_error"]
        assert "third: remove the cause there" in zones.master.federation("status").stdout
        third.write_settings(database={"disk_reserve_mib": 0})
        third.restart()
        soon(zones.master, third="ok")
        third.kill()
        soon(zones.master, third="away")
    finally:
        third.stop()
        zones.master.federation("revoke", "third")
    soon(zones.master, third="revoked")

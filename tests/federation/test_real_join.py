"""Joining and leaving with the commands that people type: tokens, refusals, and what becomes of a zone's own users."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pyone
import pytest

from harness.zones import Federation, Zone, federation, invite, join

pytestmark = pytest.mark.engines

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    """A master alone; each test brings its own newcomer."""
    with federation(tmp_path_factory.mktemp("join"), 1) as made:
        yield made


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Zone]:
    """A standalone zone that runs."""
    zone = Zone(tmp_path / "newcomer", f"newcomer{next(_numbers)}")
    try:
        yield zone.start()
    finally:
        zone.stop()


def _trust(master: Zone, name: str) -> str:
    """What the master's status says of a zone."""
    (found,) = (zone["trust"] for zone in master.status()["zones"] if zone["name"] == name)
    return str(found)


def test_a_zone_joins_with_one_line_and_takes_the_federations_users(zones: Federation, newcomer: Zone) -> None:
    """Afterwards user 0 is the federation's, and the zone's old password is out of the way."""
    own = newcomer.secret
    uid = zones.client(zones.master).user.allocate(f"before{newcomer.name}", "Secret1", "", [])
    newcomer.federation("join", invite(zones.master, newcomer.name, newcomer.endpoint))
    Federation([zones.master, newcomer], None).settled()
    status = newcomer.status()
    assert status["role"] == "slave"
    assert status["zone_id"] >= 100
    assert newcomer.client(f"before{newcomer.name}", "Secret1").user.info(-1).ID == uid
    assert zones.client(newcomer).user.info(0).ID == 0
    with pytest.raises(pyone.OneAuthenticationException):
        newcomer.client(*own.split(":", 1)).user.info(-1)
    listed = {zone.NAME: zone for zone in zones.client(zones.master).zonepool.info().ZONE}
    assert listed[newcomer.name].TEMPLATE["ENDPOINT"] == newcomer.endpoint
    assert listed[newcomer.name].TEMPLATE["TRUST"] == "ENROLLED"


def test_a_zone_with_users_of_its_own_is_refused_with_their_names(zones: Federation, newcomer: Zone) -> None:
    """Nothing of either side changes; ``--plan`` tells as much, and whose documents would be; ``--replace`` says that it may go."""
    one = newcomer.client()
    hero = one.user.allocate("local-hero", "Secret1", "", [])
    notes = newcomer.client("local-hero", "Secret1").document.allocate("NAME = notes", 200)
    one.group.allocate("local-heroes")
    token = invite(zones.master, newcomer.name, newcomer.endpoint)
    refused = newcomer.federation("join", token, check=False)
    assert refused.returncode == 1
    for name in ("local-hero", "local-heroes"):
        assert name in refused.stdout + refused.stderr
    assert newcomer.status()["role"] == "standalone"
    assert _trust(zones.master, newcomer.name) == "INVITED"
    planned = newcomer.federation("join", token, "--plan")
    assert "local-hero" in planned.stdout
    assert f"documents {notes} of user {hero}, which is 'local-hero' here and" in planned.stdout
    assert _trust(zones.master, newcomer.name) == "INVITED"
    assert "local-hero" in {user.NAME for user in newcomer.client().userpool.info().USER}
    joined = newcomer.federation("join", token, "--replace")
    assert f"documents {notes} of user {hero}" in joined.stderr
    assert _trust(zones.master, newcomer.name) == "ENROLLED"
    Federation([zones.master, newcomer], None).settled()
    assert "local-hero" not in {user.NAME for user in zones.client(newcomer).userpool.info().USER}


def test_a_token_serves_one_zone_only(zones: Federation, newcomer: Zone, tmp_path: Path) -> None:
    """The first use binds it to that zone's key; the same zone may repeat, another may not."""
    token = invite(zones.master, newcomer.name, newcomer.endpoint)
    newcomer.federation("join", token)
    thief = Zone(tmp_path / "thief", f"thief{next(_numbers)}")
    try:
        thief.start()
        refused = thief.federation("join", token, check=False)
        assert refused.returncode != 0
        assert "used by another key" in refused.stdout + refused.stderr
        assert thief.status()["role"] == "standalone"
    finally:
        thief.stop()


@pytest.mark.parametrize("damage", ["cut short", "one character", "nonsense"])
def test_a_damaged_token_is_refused_without_a_trace(zones: Federation, newcomer: Zone, damage: str) -> None:
    """One plain sentence, exit code other than 0, nothing changed."""
    token = invite(zones.master, newcomer.name, newcomer.endpoint)
    middle = len(token) // 2
    broken = {
        "cut short": token[:middle],
        "one character": token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :],
        "nonsense": "this-is-no-token",
    }[damage]
    refused = newcomer.federation("join", broken, check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert said.strip()
    assert "Traceback" not in said
    assert newcomer.status()["role"] == "standalone"


def test_a_token_past_its_hour_is_refused(zones: Federation, newcomer: Zone) -> None:
    """The clock is turned in the master's table; nobody waits an hour for a test."""
    token = invite(zones.master, newcomer.name, newcomer.endpoint)
    with zones.master.by_hand() as database:
        assert database.execute("UPDATE invitation SET expires_at = 1 WHERE used_at IS NULL OR used_at = 0").rowcount
    refused = newcomer.federation("join", token, check=False)
    assert refused.returncode != 0
    assert "expired" in (refused.stdout + refused.stderr).lower()
    assert newcomer.status()["role"] == "standalone"


def test_a_zone_that_leaves_keeps_its_copy_and_stands_alone(zones: Federation, newcomer: Zone) -> None:
    """Shared objects stay readable, writes are its own again, and the master's word no longer reaches it."""
    join(zones.master, newcomer)
    name = f"stays{newcomer.name}"
    uid = zones.client(zones.master).user.allocate(name, "Secret1", "", [])
    Federation([zones.master, newcomer], None).settled()
    newcomer.federation("leave")
    assert newcomer.status()["role"] == "standalone"
    assert newcomer.client(name, "Secret1").user.info(-1).ID == uid
    one = zones.client(newcomer)
    made = one.user.allocate(f"own{newcomer.name}", "Secret1", "", [])
    later = zones.client(zones.master).user.allocate(f"later{newcomer.name}", "Secret1", "", [])
    assert f"later{newcomer.name}" not in {user.NAME for user in one.userpool.info().USER}
    assert made == later, "two histories that part go on from the same counter"
    listed = {zone.NAME: zone for zone in zones.client(zones.master).zonepool.info().ZONE}
    assert listed[newcomer.name].TEMPLATE["TRUST"] == "LEFT"


def test_a_zone_can_join_again_after_it_left(zones: Federation, newcomer: Zone) -> None:
    """With a new token and ``--replace``, for now it has rows of its own."""
    join(zones.master, newcomer)
    newcomer.federation("leave")
    again = invite(zones.master, f"{newcomer.name}-again", newcomer.endpoint)
    newcomer.federation("join", again, "--replace")
    Federation([zones.master, newcomer], None).settled()
    uid = zones.client(newcomer).user.allocate(f"again{newcomer.name}", "Secret1", "", [])
    assert zones.client(zones.master).user.info(uid).NAME == f"again{newcomer.name}"


def test_a_second_zone_cannot_open_a_federation_that_it_is_in(zones: Federation, newcomer: Zone) -> None:
    """``init`` on a slave, ``invite`` on a slave and ``join`` on a master are refused in plain words."""
    join(zones.master, newcomer)
    for zone, verb, *arguments in (
        (newcomer, "init"),
        (newcomer, "invite", "somebody"),
        (zones.master, "init"),
        (zones.master, "join", invite(zones.master, f"x{next(_numbers)}", "http://127.0.0.1:9/RPC2")),
    ):
        refused = zone.federation(verb, *arguments, check=False)
        assert refused.returncode != 0, f"{verb} on {zone.name} was accepted"
        assert (refused.stdout + refused.stderr).strip()
    assert newcomer.status()["role"] == "slave"

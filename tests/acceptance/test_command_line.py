"""The command line over two real zones: lists of all zones with one away, and changes of many objects through a slave."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness.zones import Federation, Zone, federation


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("zones"), 2, settings={"login": {"password_hash": "sha256"}}) as made:
        yield made


def run(zones: Federation, zone: Zone, words: str, *, code: int = 0, session: str = "") -> str:
    """What a command that must end with ``code`` prints; its messages after it."""
    program, *arguments = words.split()
    done = zone.command(program, *arguments, session=session or zones.secret, check=False)
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_many_users_are_changed_through_a_slave_and_read_in_the_master(zones: Federation) -> None:
    (slave,) = zones.slaves
    gid = run(zones, slave, "onegroup create physics --resources VM+NET -u chief -p Secret1").splitlines()[0].split()[1]
    for name in ("ada", "bob", "cyd"):
        run(zones, slave, f"oneuser create {name} Secret1 --group physics")
    run(zones, slave, "oneuser update ada,bob,cyd --set DEPARTMENT=physics --set OLD=1")
    run(zones, slave, "oneuser update ada,bob --unset OLD")
    run(zones, slave, "oneuser umask ada,cyd 077")
    assert "1 of 3" in run(zones, slave, "oneuser update ada,98,bob --set ROOM=7", code=1)
    zones.settled()
    own = run(zones, slave, "oneuser list --all-zones --list name", session="bob:Secret1").splitlines()
    assert [line.split() for line in own] == [["ZONE", "NAME", "ANSWER"], ["master", "bob", "ok"], ["slave1", "bob", "ok"]]

    listed = json.loads(run(zones, zones.master, "oneuser list --filter GROUP=physics --json"))["USER_POOL"]["USER"]
    kept = {
        user["NAME"]: {name: user["TEMPLATE"].get(name) for name in ("DEPARTMENT", "OLD", "ROOM", "UMASK")}
        for user in listed
        if user["NAME"] != "chief"
    }
    assert kept == {
        "ada": {"DEPARTMENT": "physics", "OLD": None, "ROOM": "7", "UMASK": "077"},
        "bob": {"DEPARTMENT": "physics", "OLD": None, "ROOM": "7", "UMASK": None},
        "cyd": {"DEPARTMENT": "physics", "OLD": "1", "ROOM": None, "UMASK": "077"},
    }
    assert len(run(zones, zones.master, f"onegroup list --filter ID={gid},ADMINS!= --csv").splitlines()) == 2
    assert f"@{gid} VM+NET/* CREATE" in run(zones, zones.master, "oneacl list --list rule --filter RULE~net")
    shown = run(zones, zones.master, "oneuser show ada --yaml")
    assert shown.startswith("USER:\n  ID: ")
    assert '\n    UMASK: "077"\n' in shown
    told = run(zones, slave, "oneacl list --all-zones --list resources --filter RESOURCES=VM+NET/*").splitlines()
    assert [line.split() for line in told[1:]] == [["master", "VM+NET/*", "ok"], ["slave1", "VM+NET/*", "ok"]]


def test_all_zones_are_asked_and_the_one_that_is_away_is_told(zones: Federation) -> None:
    (slave,) = zones.slaves
    run(zones, zones.master, "onehost create north0")
    run(zones, slave, "onehost create south0")
    run(zones, slave, "onehost create south1")
    shown = run(zones, slave, "onehost list --all-zones --list name").splitlines()
    assert [line.split() for line in shown] == [
        ["ZONE", "NAME", "ANSWER"], ["master", "north0", "ok"], ["slave1", "south0", "ok"], ["slave1", "south1", "ok"],
    ]  # fmt: skip
    slave.stop()
    try:
        away = run(zones, zones.master, "onehost list --all-zones --list name", code=3).splitlines()
        told = json.loads(run(zones, zones.master, "onehost list --all-zones --json", code=3).rpartition("}")[0] + "}")["ZONES"]
    finally:
        slave.start()
    assert away[1].split() == ["master", "north0", "ok"]
    assert away[2].split()[:3] == ["slave1", "-", "no:"]
    assert "connection refused" in away[2]
    assert away[3] == "1 of 2 zones did not answer: this list is not complete."
    assert [(zone["NAME"], zone["ANSWER"][:2]) for zone in told] == [("master", "ok"), ("slave1", "no")]
    assert len(run(zones, zones.master, "onehost list --all-zones --csv").splitlines()) == 4

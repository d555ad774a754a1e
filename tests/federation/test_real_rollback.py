"""A master whose database was set back: it notices by its own signature, stops shared writes, and goes on when an operator says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import engines
from harness.zones import Federation, Zone, federation, invite, wait_until

pytestmark = pytest.mark.engines


def _create(zones: Federation, zone: Zone, name: str) -> int:
    return int(zones.client(zone).user.allocate(name, "x", "public", []))


def _set_back(zones: Federation, lost: Sequence[str] = ("lost",)) -> None:
    """Lose shared writes of the master that a slave has."""
    master, slave = zones.master, zones.slaves[0]
    _create(zones, master, "kept")
    zones.settled()
    master.stop()
    nightly = engines.save(master.database)
    master.start()
    for name in lost:
        _create(zones, master, name)
    zones.settled()
    wait_until("the slave keeps the master's signature", lambda: _keeps_proof(slave))
    master.kill()
    engines.restore(master.database, nightly)
    master.start()
    wait_until("the master sees that it was set back", lambda: master.status()["state"] == "halted")


def test_a_master_set_back_stops_shared_writes_until_the_loss_is_accepted(tmp_path: Path) -> None:
    with federation(tmp_path, 2) as zones:
        master, slave = zones.master, zones.slaves[0]
        _set_back(zones)
        wait_until("the slave hears why", lambda: slave.status()["state"] == "ahead")
        for zone in (master, slave):
            reply = zones.caller(zone).call("one.user.allocate", "refused", "x", "public", [])
            assert reply[0] is False
            assert "was set back" in reply[1], reply
        assert {user.NAME for user in zones.client(slave).userpool.info().USER} >= {"kept", "lost"}
        assert "Given up" in master.federation("accept-loss").stderr
        _create(zones, master, "after")
        zones.settled()
        for zone in (master, slave):
            names = {user.NAME for user in zones.client(zone).userpool.info().USER}
            assert {"kept", "after"} <= names
            assert "lost" not in names
        (tail,) = (slave.state_dir / "forked").iterdir()
        assert "'lost'" in tail.read_text()


@pytest.mark.engines(by_default=("sqlite", "postgresql"))
@pytest.mark.parametrize("written", [False, True], ids=["shorter", "written on"])
def test_a_second_setback_inside_the_range_of_an_accepted_loss_is_noticed(tmp_path: Path, written: bool) -> None:
    """Its indices are those of the accepted loss; only the signature tells that they are of the new history."""
    with federation(tmp_path, 2) as zones:
        master, slave = zones.master, zones.slaves[0]
        _set_back(zones, lost=["lost", *(f"lost{number}" for number in range(5))])
        range_ends = slave.status()["position"]
        master.federation("accept-loss")
        zones.settled()
        master.stop()
        nightly = engines.save(master.database)
        master.start()
        _create(zones, master, "again")
        zones.settled()
        held = slave.status()["position"]
        assert held < range_ends
        slave.stop()
        master.kill()
        engines.restore(master.database, nightly)
        master.start()
        if written:  # past what the slave holds, so that it is not ahead but forked
            for number in range(3):
                _create(zones, master, f"other{number}")
        slave.start()
        wait_until("the master sees that it was set back again", lambda: master.status()["state"] == "halted")
        assert f"our signature over index {held}," in master.status()["last_error"]
        wait_until("the slave hears why", lambda: slave.status()["state"] == "ahead")
        assert slave.status()["position"] == held, "the slave gives nothing up before the operator has decided"
        assert zones.caller(slave).call("one.user.allocate", "refused", "x", "public", [])[0] is False
        master.federation("accept-loss")
        _create(zones, master, "after")
        zones.settled()
        names = {user.NAME for user in zones.client(slave).userpool.info().USER}
        assert {"kept", "after"} <= names
        assert not {"lost", "again"} & names
        assert len(list((slave.state_dir / "forked").iterdir())) == 2


def test_a_master_that_was_set_back_lets_no_zone_in_and_puts_one_out(tmp_path: Path) -> None:
    """Zone records are shared rows like others. Only a revocation is made: a stolen zone must not wait for a backup to be found."""
    newcomer = Zone(tmp_path / "newcomer", "newcomer")
    try:
        newcomer.start()
        with federation(tmp_path, 2) as zones:
            master, slave = zones.master, zones.slaves[0]
            token = invite(master, newcomer.name, newcomer.endpoint)
            _set_back(zones)
            position = master.status()["position"]
            for zone, verb, *arguments in (
                (master, "invite", "another"),
                (newcomer, "join", token),
                (newcomer, "join", token, "--plan"),
                (slave, "leave"),
            ):
                refused = zone.federation(verb, *arguments, check=False)
                assert refused.returncode == 1, verb
                assert "koinon federation accept-loss" in refused.stderr, verb
                assert "Traceback" not in refused.stderr
            assert "--force" in refused.stderr
            assert (master.status()["position"], newcomer.status()["role"], slave.status()["role"]) == (position, "standalone", "slave")
            slave.federation("leave", "--force")
            assert slave.status()["role"] == "standalone"
            assert "revoke it once more" in master.federation("revoke", slave.name).stderr
            assert master.status()["state"] == "halted"
            master.federation("accept-loss")
            newcomer.federation("join", token)
            Federation([master, newcomer], None).settled()
            (trust,) = (zone["trust"] for zone in newcomer.status()["zones"] if zone["name"] == slave.name)
            assert trust == "REVOKED"
    finally:
        newcomer.stop()


def test_what_a_federation_had_lost_is_over_with_it(tmp_path: Path) -> None:
    """A zone that was its master and stands alone now has nobody who could miss anything."""
    with federation(tmp_path, 2) as zones:
        master, slave = zones.master, zones.slaves[0]
        _set_back(zones)
        master.federation("revoke", slave.name)
        master.federation("leave")
        assert master.status()["state"] == "ok"
        _create(zones, master, "after")
        master.federation("init")
        assert master.status()["state"] == "ok"
        with master.by_hand() as database:
            kept = {name for (name,) in database.execute("SELECT name FROM federation_setting").fetchall()}
        assert kept == {"instance"}


def _keeps_proof(slave: Zone) -> bool:
    """Whether the slave has stored a frame that the master signed at the position that it holds."""
    with slave.by_hand() as database:
        return bool(
            database.execute("SELECT COUNT(*) FROM federation_setting WHERE name LIKE '%frame%' OR name LIKE '%proof%'").fetchone()[0]
        )


def test_nothing_to_accept_is_said_so(tmp_path: Path) -> None:
    with federation(tmp_path, 1) as zones:
        refused = zones.master.federation("accept-loss", check=False)
        assert refused.returncode == 1
        assert "has lost nothing" in refused.stderr

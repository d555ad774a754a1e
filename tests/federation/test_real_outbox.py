"""Real zones: what a slave's deleted objects leave in rules and VDCs goes away, whoever is killed; zones are asked what they have."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pyone
import pytest
from pyone.acl import OneAcl

from harness.zones import MASTER_SILENT_S, Federation, NotThereYet, Zone, federation, wait_until

pytestmark = pytest.mark.engines

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("outbox"), 3) as zones:
        yield zones


@pytest.fixture
def zones(made: Federation) -> Iterator[Federation]:
    """All of them there again after each test."""
    yield made
    for zone in made.zones:
        if not zone.running:
            zone.start()
    made.settled()


@pytest.fixture
def slave(zones: Federation) -> Zone:
    return zones.slaves[0]


def _id(zone: Zone) -> int:
    return int(zone.status()["zone_id"])


def _waiting(zone: Zone) -> list[str]:
    """Request ids of the operations in the zone's outbox, as its database has them."""
    with zone.by_hand() as database:
        return [request_id for (request_id,) in database.execute("SELECT request_id FROM outbox ORDER BY id")]


def _done(master: Zone, request_id: str) -> list[bool]:
    """For each time that the master answered an operation: whether that was a repetition."""
    lines = [json.loads(line) for line in master.log.read_text().splitlines() if request_id in line]
    return [line["repeated"] for line in lines if line["event"] == "zone operation done"]


class Hosts:
    """A host in each zone, all with one id, and for each a rule and a place in one VDC that is given to group 1.

    Attributes:
        oid: the hosts' id.
        vdc: the VDC.
    """

    def __init__(self, zones: Federation) -> None:
        self._admin = admin = zones.client(zones.master)
        self._zones = zones
        name = f"host{next(_numbers)}"
        clients = [zones.client(zone) for zone in zones.zones]
        made = [client.host.allocate(name, "kvm", "kvm", -1) for client in clients]
        while min(made) < max(made):  # earlier tests made more hosts in one zone than in another
            for number, client in enumerate(clients):
                if made[number] < max(made):
                    client.host.delete(made[number])
                    made[number] = client.host.allocate(name, "kvm", "kvm", -1)
        self.oid = made[0]
        self.vdc = admin.vdc.allocate(f'NAME="vdc{next(_numbers)}"', -1)
        admin.vdc.addgroup(self.vdc, 1)
        for zone in zones.zones:
            admin.vdc.addhost(self.vdc, _id(zone), self.oid)
            admin.acl.addrule(*OneAcl().parse_rule(f"#5 HOST/#{self.oid} USE #{_id(zone)}"))
        zones.settled()

    def members(self, zone: Zone) -> set[int]:
        """Zones whose hosts are in the VDC, as a zone shows it."""
        return {int(host.ZONE_ID) for host in self._zones.client(zone).vdc.info(self.vdc).HOSTS.HOST}

    def rules(self, zone: Zone) -> set[str]:
        """Rules about the host, as a zone shows them."""
        shown = self._zones.client(zone).acl.info().ACL
        return {rule.STRING for rule in shown if f"HOST/#{self.oid} " in rule.STRING}

    def gone_from(self, *gone: Zone) -> None:
        """Wait until nothing of these zones' hosts is left, in any zone; then hold that all of the others' is."""
        there = {_id(zone) for zone in self._zones.zones}
        kept = there - {_id(zone) for zone in gone}
        wait_until("the master has taken it", lambda: self.members(self._zones.master) <= kept)
        self._zones.settled()
        expected = {rule for zone_id in kept for rule in (f"#5 HOST/#{self.oid} USE #{zone_id}", f"@1 HOST/#{self.oid} MANAGE #{zone_id}")}
        for zone in self._zones.zones:
            assert self.members(zone) == kept
            assert {" ".join(rule.split()) for rule in self.rules(zone)} == expected
        wait_until("nothing is left to send", lambda: not any(_waiting(zone) for zone in gone))

    def delete(self, zone: Zone) -> None:
        self._zones.client(zone).host.delete(self.oid)


def test_a_deleted_object_takes_along_what_counts_in_its_zone_alone(zones: Federation, slave: Zone) -> None:
    hosts = Hosts(zones)
    hosts.delete(slave)
    hosts.gone_from(slave)
    hosts.delete(zones.master)
    hosts.gone_from(slave, zones.master)


def test_nothing_is_lost_when_the_slave_is_killed_before_it_could_send(zones: Federation, slave: Zone) -> None:
    hosts = Hosts(zones)
    zones.master.kill()
    hosts.delete(slave)
    slave.kill()
    (request_id,) = _waiting(slave)
    slave.start()
    assert _waiting(slave) == [request_id]
    told = slave.status()["outbox"]
    assert told["waiting"] == 1
    assert told["oldest_s"] > 0
    assert "OUTBOX     : 1 operation(s) wait" in slave.federation("status").stdout
    zones.master.start()
    hosts.gone_from(slave)
    assert _done(zones.master, request_id) == [False]


def _killed_after_sending(zones: Federation, slave: Zone, wait_s: float) -> tuple[Hosts, str] | None:
    """Stop the master, delete a host at the slave, kill the slave, let the master go on: that host and request, None if nothing was sent.

    A stopped master opens no new connection, and the one that is open may be busy just then.
    """
    hosts = Hosts(zones)
    os.kill(zones.master.pid, signal.SIGSTOP)
    try:
        hosts.delete(slave)
        time.sleep(wait_s)  # the request is in the master's socket by then, if it got a connection
        slave.kill()
    finally:
        os.kill(zones.master.pid, signal.SIGCONT)
    (request_id,) = _waiting(slave)
    try:
        wait_until("the master has done it", lambda: _done(zones.master, request_id), timeout_s=10)
    except NotThereYet:
        slave.start()
        hosts.gone_from(slave)
        return None
    return hosts, request_id


def test_it_is_done_once_when_the_slave_is_killed_between_sending_and_the_answer(zones: Federation, slave: Zone) -> None:
    """The master stands still when the operation reaches it, and does it after the slave is dead."""
    sent = next(filter(None, (_killed_after_sending(zones, slave, wait_s) for wait_s in (1, 1, 1, 1, 2, 4, 8, 8))))
    hosts, request_id = sent
    slave.start()
    hosts.gone_from(slave)
    assert _done(zones.master, request_id) == [False, True]


def test_deletes_of_a_slave_that_is_killed_again_and_again_all_arrive(zones: Federation, slave: Zone) -> None:
    several = [Hosts(zones) for _ in range(3)]
    for hosts in several:
        hosts.delete(slave)
        slave.kill()
        slave.start()
    for hosts in several:
        hosts.gone_from(slave)


def _refused(admin: Any, vdc: int, zone_id: int, oid: int) -> None:
    """It is added where the zone takes longer to say no than it is given, which happens on a busy machine: then it is asked again."""

    def refuses() -> str:
        try:
            admin.vdc.addcluster(vdc, zone_id, oid)
        except pyone.OneNoExistsException as refusal:
            return str(refusal)
        admin.vdc.delcluster(vdc, zone_id, oid)
        return ""

    assert f"[one.vdc.addcluster] Error getting cluster [{oid}]." in wait_until("it is refused", refuses)


def test_a_resource_that_its_zone_does_not_have_is_refused(zones: Federation, slave: Zone) -> None:
    """Whichever zone is asked to add it; what has no such objects yet is taken as it is."""
    cluster = zones.client(slave).cluster.allocate(f"east{next(_numbers)}")
    vdc = zones.client(zones.master).vdc.allocate(f'NAME="vdc{next(_numbers)}"', -1)
    zones.settled()
    for zone in zones.zones:
        _refused(zones.client(zone), vdc, _id(slave), 99_999)
    _refused(zones.client(zones.master), vdc, _id(zones.slaves[1]), cluster + 1000)
    admin = zones.client(zones.slaves[1])
    assert admin.vdc.addcluster(vdc, _id(slave), cluster) == vdc
    assert admin.vdc.adddatastore(vdc, _id(slave), 1) == vdc
    assert admin.vdc.addcluster(vdc, _id(zones.slaves[1]), -10) == vdc


def test_a_zone_that_does_not_answer_stops_nobody(zones: Federation, slave: Zone) -> None:
    """Off, or reachable and silent: added with a warning."""
    zone_id = _id(slave)
    admin = zones.client(zones.master)
    vdc = admin.vdc.allocate(f'NAME="vdc{next(_numbers)}"', -1)
    os.kill(slave.pid, signal.SIGSTOP)
    try:
        assert admin.vdc.addcluster(vdc, zone_id, 99_998) == vdc
    finally:
        os.kill(slave.pid, signal.SIGCONT)
    slave.stop()
    assert admin.vdc.addcluster(vdc, zone_id, 99_999) == vdc
    log = zones.master.log.read_text()
    for oid in (99_998, 99_999):
        assert any("could not be found out" in line and str(oid) in line for line in log.splitlines())


@pytest.mark.engines(by_default=("sqlite",))
def test_a_revoked_zone_changes_nothing_any_more(zones: Federation) -> None:
    """The last test of the module: the zone does not come back."""
    gone = zones.slaves[1]
    hosts = Hosts(zones)
    zones.master.federation("revoke", gone.name)
    before = (hosts.members(zones.master), hosts.rules(zones.master))
    zone_id = _id(gone)
    hosts.delete(gone)
    zones.zones.remove(gone)
    try:
        zones.settled()
        wait_until("the operation waits", lambda: len(_waiting(gone)) == 1)
        gone.restart()

        def hears_why() -> bool:
            said = zones.caller(gone).call("one.group.allocate", "never")
            assert said[0] is False
            assert "nothing was changed" in said[1].lower()
            return f"refuses this zone: zone {zone_id} was revoked" in said[1]

        wait_until("a user hears why the zone can't write", hears_why)
        time.sleep(MASTER_SILENT_S + 0.5)  # the master counts as silent from here on
        assert hears_why()
        assert len(_waiting(gone)) == 1
        assert zone_id in hosts.members(zones.master)
        assert (hosts.members(zones.master), hosts.rules(zones.master)) == before
    finally:
        gone.stop()

"""Links that are slow, silent or cut, zones that were away too long, and databases that went their own way."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pyone
import pytest

from harness.proxy import Direction, Link
from harness.zones import MASTER_SILENT_S, PATIENCE_S, Federation, Zone, federation, wait_until

pytestmark = pytest.mark.engines

_LOG_KEEP = 50
_REDIRECT_S = 25  # a master that was killed is there again long before


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    """A master that keeps little of its log, and one slave behind a link that we command."""
    settings = {"federation": {"log_keep": _LOG_KEEP, "log_cap": 2 * _LOG_KEEP, "redirect_timeout_s": _REDIRECT_S}}
    with federation(tmp_path_factory.mktemp("links"), 2, through_proxy=True, settings=settings) as made:
        yield made


@pytest.fixture
def link(zones: Federation) -> Iterator[Link]:
    """The link, whole again after each test."""
    assert zones.link is not None
    yield zones.link
    zones.link.restore()
    zones.link.delay_s = 0.0
    for zone in zones.zones:
        if not zone.running:
            zone.start()
    zones.settled()


@pytest.fixture
def slave(zones: Federation) -> Zone:
    return zones.slaves[0]


def _create(zones: Federation, zone: Zone, name: str) -> int:
    return int(zones.client(zone).user.allocate(name, "x", "public", []))


def _write_much(zones: Federation, statements: int) -> None:
    caller = zones.caller(zones.master)
    for number in range(statements):
        caller.value("one.user.update", 1, f"NUMBER={number}-{time.time_ns()}", 0)
    caller.close()


def _silent(slave: Zone) -> bool:
    """Whether the slave takes the master for gone."""
    age_s = slave.status()["master"]["heartbeat_age_s"]
    return age_s is None or age_s > MASTER_SILENT_S


class Background:
    """A call that runs while the test does something to the zones; ``result()`` gives its reply array."""

    def __init__(self, zones: Federation, zone: Zone, method: str, *arguments: Any) -> None:
        self._reply: Any = None
        self._error: BaseException | None = None
        caller = zones.caller(zone)

        def run() -> None:
            try:
                self._reply = caller.call(method, *arguments)
            except OSError as error:
                self._error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    @property
    def waiting(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE_S)
        assert not self.waiting, "the call waits without end"
        if self._error is not None:
            raise self._error
        return self._reply


def test_a_cut_link_heals_by_itself(zones: Federation, link: Link, slave: Zone) -> None:
    """Reads see the old state meanwhile, the new one after the link is back, without anybody's help."""
    for round_number in range(3):
        link.cut()
        uid = _create(zones, zones.master, f"unseen{round_number}")
        with pytest.raises(pyone.OneNoExistsException):
            zones.client(slave).user.info(uid)
        link.restore()
        zones.settled()
        assert zones.client(slave).user.info(uid).NAME == f"unseen{round_number}"


def test_a_link_that_breaks_in_the_middle_of_a_frame_loses_nothing(zones: Federation, link: Link, slave: Zone) -> None:
    """Whatever byte the stream ends at, the slave goes on from its last whole commit."""
    for count in (0, 1, 7, 100, 333, 1500):
        link.drop_after(count)
        _write_much(zones, 5)
        link.restore()
        zones.settled()


def test_a_slow_link_changes_nothing_but_time(zones: Federation, link: Link, slave: Zone) -> None:
    """A write through a slave 100 ms away is readable there when it is answered."""
    link.delay_s = 0.05
    for number in range(3):
        uid = _create(zones, slave, f"far{number}")
        assert zones.client(slave).user.info(uid).NAME == f"far{number}"
    zones.settled()


@pytest.mark.engines(by_default=("sqlite", "mariadb"))
def test_without_the_master_a_slave_serves_all_but_shared_writes(zones: Federation, link: Link, slave: Zone) -> None:
    """Reads and log-ins of known users go on, also of users never seen there before; a shared write fails at once and says why."""
    one = zones.client(zones.master)
    uid = one.user.allocate("known", "Secret1", "", [])
    zones.settled()
    before = slave.status()["position"]
    for break_it in (link.hold, link.cut):
        break_it()
        wait_until("the slave notices", lambda: _silent(slave))
        known = slave.client("known", "Secret1")
        assert uid == known.user.info(-1).ID
        assert len(zones.client(slave).userpool.info().USER) >= 3
        asked = time.monotonic()
        with pytest.raises(pyone.OneInternalException) as refused:
            _create(zones, slave, "never")
        assert "master" in str(refused.value).lower()
        # not a measurement: a call that the master may have taken is waited for longer, and this one never left
        assert time.monotonic() - asked < _REDIRECT_S
        link.restore()
        zones.settled()
    assert slave.status()["position"] == before
    assert "never" not in {user.NAME for user in one.userpool.info().USER}
    assert _create(zones, slave, "afterwards") > uid


@pytest.mark.parametrize("accident", ["link cut", "master killed"])
def test_a_write_whose_answer_was_lost_happens_once_and_is_answered_once(zones: Federation, link: Link, slave: Zone, accident: str) -> None:
    """Between COMMIT and answer: the slave asks again with the same request id and gets the first outcome."""
    name = "once-" + accident.replace(" ", "-")
    before = zones.master.status()["position"]
    link.hold(Direction.DOWN)
    call = Background(zones, slave, "one.user.allocate", name, "x", "public")
    wait_until("the master commits", lambda: zones.master.status()["position"] > before)
    assert call.waiting
    if accident == "master killed":
        zones.master.kill()
        zones.master.launch()
    link.cut()
    link.restore()
    if accident == "master killed":
        zones.master.await_answer()
    reply = call.result()
    assert reply[0] is True, reply
    zones.settled()
    for zone in zones.zones:
        assert [user.ID for user in zones.client(zone).userpool.info().USER if user.NAME == name] == [reply[1]]
    assert zones.master.status()["position"] == before + 2  # the user and the counter, once


@pytest.mark.engines(by_default=("sqlite",))
def test_a_write_whose_master_stays_away_ends_with_outcome_unknown(zones: Federation, link: Link, slave: Zone) -> None:
    """The slave can't know; it says so, with the request id to look for, and the write is there exactly as the master decided."""
    before = zones.master.status()["position"]
    link.hold(Direction.DOWN)
    call = Background(zones, slave, "one.user.allocate", "who-knows", "x", "public")
    wait_until("the master commits", lambda: zones.master.status()["position"] > before)
    reply = call.result()
    assert (reply[0], reply[2]) == (False, 0x2000)
    assert "outcome unknown" in reply[1].lower()
    link.restore()
    zones.settled()
    assert [user.NAME for user in zones.client(slave).userpool.info().USER].count("who-knows") == 1


def test_a_slave_that_was_away_longer_than_the_log_takes_a_snapshot(zones: Federation, link: Link, slave: Zone) -> None:
    """Past ``log_cap`` the master keeps the log for nobody; the slave comes back by itself, with every row equal."""
    gone = _create(zones, zones.master, "soon-gone")
    zones.settled()
    slave_at = slave.status()["position"]
    slave.stop()
    _write_much(zones, 4 * _LOG_KEEP)
    zones.client(zones.master).user.delete(gone)
    kept = _create(zones, zones.master, "came-meanwhile")
    zones.master.restart()  # it purges at start, else every half minute
    wait_until("the master purges its log", lambda: _oldest_kept(zones.master) > slave_at)
    slave.start()
    zones.settled()
    assert zones.client(slave).user.info(kept).NAME == "came-meanwhile"
    with pytest.raises(pyone.OneNoExistsException):
        zones.client(slave).user.info(gone)
    assert zones.client(slave).user.info(_create(zones, slave, "through-the-slave")).NAME == "through-the-slave"


def _oldest_kept(zone: Zone) -> int:
    with zone.by_hand() as database:
        (oldest,) = database.execute("SELECT min(idx) FROM federation_log").fetchone()
    return int(oldest or 0)


def test_a_slave_that_forked_comes_back_and_its_tail_is_kept(zones: Federation, link: Link, slave: Zone) -> None:
    """A hand in the database gave the slave a history of its own: it is set aside for the operator, the master's is taken."""
    zones.settled()
    slave.stop()
    forked = slave.state_dir / "forked"
    before = {path.name for path in forked.iterdir()} if forked.exists() else set()
    with slave.by_hand() as database:
        position, log_end = database.execute(
            "SELECT z.position, max(c.last_idx) FROM zone_state z, federation_commit c GROUP BY z.position"
        ).fetchone()
        assert position == log_end
        database.execute("UPDATE zone_state SET chain = ?", (bytes(32),))
        database.execute("UPDATE federation_commit SET chain = ? WHERE last_idx = ?", (bytes(32), position))
        database.execute("UPDATE user_pool SET name = 'mistake', body = replace(body, 'serveradmin', 'mistake') WHERE oid = 1")
    _create(zones, zones.master, "on-the-true-side")
    slave.start()
    zones.settled()
    assert zones.client(slave).user.info(1).NAME == "serveradmin"
    assert "on-the-true-side" in {user.NAME for user in zones.client(slave).userpool.info().USER}
    kept = [path for path in forked.iterdir() if path.name not in before]
    assert kept, "the forked tail was not kept"
    assert all(path.stat().st_size for path in kept)


def test_a_row_changed_by_hand_does_not_survive_the_next_copy_of_it(zones: Federation, link: Link, slave: Zone) -> None:
    """A statement that does not fit the slave's rows is a difference: the slave heals it and goes on."""
    uid = _create(zones, zones.master, "to-be-lost")
    zones.settled()
    slave.stop()
    with slave.by_hand() as database:
        database.execute("DELETE FROM user_pool WHERE oid = ?", (uid,))
    slave.start()
    zones.client(zones.master).user.update(uid, 'SEEN="yes"', 0)
    zones.settled()
    assert zones.client(slave).user.info(uid).TEMPLATE["SEEN"] == "yes"
    assert zones.caller(slave).value("one.userpool.info") == zones.caller(zones.master).value("one.userpool.info")

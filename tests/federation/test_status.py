"""What is said of each zone, on the master in whichever process of it, and on a slave for as long as it hears the master."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from koinon import clock
from koinon.database.transactions import SharedTx, ZoneTx
from koinon.federation import invitation, status
from koinon.federation.applier import Status
from koinon.federation.positions import AWAY_S, SILENT_S, Positions
from koinon.federation.reign import ReignRecord, sign, store
from koinon.federation.replies import Reply
from koinon.federation.retention import Retention
from koinon.federation.stream import Feed
from koinon.statements.commits import Position
from koinon.statements.schema import PoolRow
from koinon.wire.frames import ZoneReport
from koinon.wire.messages import PositionReport, encode, refusal
from tests.federation.copies import FEDERATION, HEARTBEAT_S, Origin
from tests.federation.test_stream import query

ONE, TWO = "1" * 32, "2" * 32


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def pass_s(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now_ms", lambda: made.ms)
    return made


def run(tmp_path: Path, test: Callable[[Origin], Awaitable[Any]]) -> None:
    async def inside() -> None:
        origin = Origin(tmp_path / "master")
        try:
            await origin.found()
            await test(origin)
        finally:
            await origin.close()

    (tmp_path / "master").mkdir()
    asyncio.run(inside())


async def record(origin: Origin, zone_id: int, trust: str = "ENROLLED") -> None:
    body = f"<ZONE><TEMPLATE><TRUST>{trust}</TRUST></TEMPLATE></ZONE>"
    await origin.write(lambda tx: tx.insert("zone_pool", PoolRow(zone_id, f"zone{zone_id}", body, 0, 0, 1, 0, 0)))


def master_says(
    origin: Origin, feed: Feed | None = None, positions: Positions | None = None, *, halted: str | None = None
) -> dict[int, tuple[str, str | None]]:
    """State and reason of each zone."""
    feed = feed or origin.feed
    with origin.database.read() as tx:
        seen = status.as_master(tx, positions or origin.positions, feed.following(), feed.refusals(), halted)
        return {zone["zone_id"]: (zone["state"], zone["last_error"]) for zone in status.shown(tx, seen)}


async def report(origin: Origin, zone_id: int, trouble: str = "") -> None:
    head = origin.database.state().head
    said = encode(PositionReport(head.position.epoch, head.position.index, head.chain, trouble))
    assert (await origin.positions.answer(zone_id, said)).status == 204


def dial(origin: Origin, feed: Feed, zone_id: int, run_id: str) -> str:
    """Have a zone follow: why it may not, or empty."""
    found = feed.open(zone_id, query(origin.database.state().head, run_id))
    return refusal(found.body).reason if isinstance(found, Reply) else ""


def test_the_master_calls_a_zone_ok_only_while_it_hears_of_it(tmp_path: Path, time: Clock) -> None:
    async def test(origin: Origin) -> None:
        await record(origin, 1)
        assert master_says(origin) == {0: ("ok", None), 1: ("joining", None)}
        assert master_says(origin, halted="set back")[0] == ("halted", "set back")
        await report(origin, 1)
        assert master_says(origin)[1] == ("away", None)
        assert dial(origin, origin.feed, 1, ONE) == ""
        time.pass_s(SILENT_S)
        assert master_says(origin)[1] == ("ok", None)
        time.pass_s(0.1)
        assert master_says(origin)[1] == ("silent", None)
        await report(origin, 1, "the disk\0is full")
        assert master_says(origin)[1] == ("stuck", "the disk is full")
        await origin.positions.store()
        assert master_says(origin, positions=Positions(origin.database, lambda _tx: [1]))[1] == ("stuck", "the disk is full")
        time.pass_s(SILENT_S + 0.1)
        assert master_says(origin)[1] == ("silent", "the disk is full")
        time.pass_s(AWAY_S)  # the stream may be noted by a process that was killed
        assert master_says(origin)[1] == ("away", "the disk is full")
        await report(origin, 1)
        assert master_says(origin)[1] == ("ok", None)

    run(tmp_path, test)


def test_a_zone_that_is_gone_for_longer_than_the_log_reaches_is_away_and_not_about_to_come(tmp_path: Path, time: Clock) -> None:
    async def test(origin: Origin) -> None:
        await record(origin, 1)
        await report(origin, 1)
        await origin.add_users(40)
        await Retention(origin.database, keep=5, cap=10, low_water=lambda _tx: None, pin=lambda _tx: None).purge()
        assert master_says(origin)[1] == ("needs snapshot", None)
        time.pass_s(AWAY_S + 0.1)
        assert master_says(origin)[1] == ("away", None)

    run(tmp_path, test)


def test_zones_that_are_not_in_say_so(tmp_path: Path, time: Clock) -> None:
    async def test(origin: Origin) -> None:
        for zone_id, trust in ((1, "INVITED"), (2, "LEFT"), (3, ""), (4, "ENROLLED")):
            await record(origin, zone_id, trust)
        await report(origin, 4)
        time.pass_s(10)

        def invite(tx: SharedTx) -> None:
            for zone_id in (1, 4):
                invitation.create(tx, zone_id, bytes(32), now_s=time.ms // 1000)

        def redeem(tx: ZoneTx) -> None:
            invitation.redeem(tx, 4, bytes(32), bytes(32), now_s=time.ms // 1000)

        await origin.write(invite)
        said = {0: ("ok", None), 1: ("invited", None), 2: ("left", None), 3: ("not enrolled", None)}
        assert master_says(origin) == said | {4: ("away", None)}
        await origin.database.write_zone("redeem", redeem)
        assert master_says(origin) == said | {4: ("joining", None)}  # what it reported, it reported before
        time.pass_s(invitation.VALID_S)
        await report(origin, 4)
        assert master_says(origin) == said | {1: ("invited", "its invitation has expired"), 4: ("away", None)}

    run(tmp_path, test)


def test_each_process_of_the_master_says_who_follows_and_who_is_refused_at_another(tmp_path: Path, time: Clock) -> None:
    async def test(origin: Origin) -> None:
        await record(origin, 1)
        one = origin.feed
        two = Feed(origin.database, lambda: origin.private_key, origin.guard, heartbeat_s=HEARTBEAT_S)
        heard_by_two = Positions(origin.database, lambda _tx: [1])

        async def agreed() -> tuple[str, str | None]:
            for feed in (one, two, one):
                await feed.agree()
            await origin.positions.store()
            with origin.database.read() as tx:
                heard_by_two.load(tx)
            says = master_says(origin, one), master_says(origin, two, heard_by_two)
            assert says[0] == says[1]
            return says[0][1]

        await report(origin, 1)
        assert dial(origin, one, 1, ONE) == ""
        assert await agreed() == ("ok", None)
        assert dial(origin, two, 1, TWO) == ""
        assert await agreed() == ("ok", None)
        one.left(one._streams[1])
        assert dial(origin, one, 1, ONE) == "cloned"
        state, error = await agreed()
        assert state == "cloned"
        assert "copy of the other" in str(error)
        before = origin.database.state().write_seq
        for _ in range(5):
            assert dial(origin, one, 1, ONE) == "cloned"
            assert (await agreed())[0] == "cloned"
        assert origin.database.state().write_seq == before, "a refusal that all know of is written again"
        time.pass_s(601)  # nobody has asked for so long
        await report(origin, 1)
        assert (await agreed())[0] == "ok"

        stream = two._streams[1]
        two.left(stream)
        assert await agreed() == ("away", None)
        assert dial(origin, one, 1, TWO) == ""
        assert await agreed() == ("ok", None)
        one.refused(1, "cloned", "enrolled with another database")
        assert await agreed() == ("cloned", "enrolled with another database")
        assert dial(origin, two, 1, TWO) == ""
        assert await agreed() == ("ok", None)
        assert one.refusals() == {}
        await two.close()

    run(tmp_path, test)


def slave_says(origin: Origin, following: Status) -> dict[int, tuple[str, float | None, int | None]]:
    """State, seconds since it was seen, and lag of each zone."""
    with origin.database.read() as tx:
        shown = status.shown(tx, status.as_slave(tx, following))
    return {zone["zone_id"]: (zone["state"], zone["seen_s_ago"], zone["lag_statements"]) for zone in shown}


def test_a_slave_calls_no_zone_ok_once_it_does_not_hear_the_master(tmp_path: Path) -> None:
    """What it was told ages; of itself it says what it knows."""

    async def test(origin: Origin) -> None:
        for zone_id in (1, 2, 3):
            await record(origin, zone_id)

        def become_slave(tx: ZoneTx) -> None:
            reign = ReignRecord(FEDERATION, 1, 0, 0, bytes(32), bytes(32), bytes(32), "recovery")
            store(tx, sign(reign, origin.private_key))
            tx.set_membership(zone_id=1, role="slave", federation_id=FEDERATION, epoch=1)

        await origin.database.write_zone("slave", become_slave)
        told = (ZoneReport(0, 1, 9, 0, 0.0, 0.0, "halted"), ZoneReport(1, 1, 5, 4, 0.0, 0.5, "ok"), ZoneReport(2, 1, 8, 1, 0.1, 1.5, "ok"))
        ok = Status("ok", "", True, 0.5, Position(1, 9), 0, 0.0, told)
        assert slave_says(origin, ok) == {0: ("halted", 0.5, 0), 1: ("ok", 0.0, 0), 2: ("ok", 2.0, 1), 3: ("unknown", None, None)}
        for state, master in (("silent", "silent"), ("connecting", "away"), ("stuck", "unknown")):
            lost = Status(state, "", False, 60.0, Position(1, 9), 4, None, told)  # type: ignore[arg-type] # a state is a word
            said = slave_says(origin, lost)
            assert said == {0: (master, 60.0, 0), 1: (state, 0.0, 4), 2: ("unknown", 61.5, 1), 3: ("unknown", None, None)}
        never = Status("connecting", "", False, None, None, None, None, ())
        assert slave_says(origin, never)[0] == ("away", None, None)
        assert slave_says(origin, never)[1] == ("connecting", 0.0, None)

    run(tmp_path, test)

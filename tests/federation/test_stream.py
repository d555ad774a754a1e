"""The master's side of the stream: who is refused, what is shared, who may hold whom up, what zones report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon import clock
from koinon.database.statement_log import head_at, read_commits
from koinon.errors import UnavailableError
from koinon.federation import frame_store
from koinon.federation.frame_store import FrameStore, StreamEnded, read_range
from koinon.federation.replies import Reply
from koinon.federation.retention import cut, readable_from
from koinon.federation.stream import Feed, LogStream
from koinon.statements.chain import verify_run
from koinon.statements.commits import GENESIS, Head, Position
from koinon.wire.frames import CommitsFrame, Frame, Heartbeat, Reader, ZoneReport
from koinon.wire.messages import Locate, MessageError, Point, PositionReport, encode, refusal
from tests.federation.copies import FEDERATION, HEARTBEAT_S, Copy, Origin, add_user, federation, pump, until

RUN = "a" * 32


def run(tmp_path: Path, test: Callable[[Origin, Copy], Awaitable[Any]], **options: Any) -> Any:
    async def inside() -> Any:
        async with federation(tmp_path, **options) as (origin, copy):
            return await test(origin, copy)

    return asyncio.run(inside())


def query(head: Head, run_id: str = RUN) -> dict[str, str]:
    return {"after": str(head.position), "chain": head.chain.hex(), "run": run_id}


def opened(origin: Origin, head: Head = GENESIS, zone_id: int = 1, run_id: str = RUN) -> LogStream:
    stream = origin.feed.open(zone_id, query(head, run_id))
    assert isinstance(stream, LogStream)
    return stream


def reason(origin: Origin, head: Head, zone_id: int = 1, run_id: str = RUN) -> str:
    reply = origin.feed.open(zone_id, query(head, run_id))
    assert isinstance(reply, Reply)
    assert reply.status == 409
    return refusal(reply.body).reason


async def frames(origin: Origin, pieces: AsyncIterator[bytes], until_index: int) -> list[Frame]:
    """Read and verify a stream until it has brought an index."""
    reader, found = Reader(origin.private_key.public_key().verify), []
    async with asyncio.timeout(60):
        async for piece in pieces:
            for frame in reader.feed(piece):
                found.append(frame)
                if isinstance(frame[0], CommitsFrame) and frame[0].commits[-1].last_idx >= until_index:
                    return found
    return found


def test_while_the_database_is_away_the_missing_heartbeats_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        asked, away = 0, False

        def reports() -> tuple[ZoneReport, ...]:
            nonlocal asked
            asked += 1
            if away:
                raise UnavailableError("The database does not answer.")
            return ()

        feed = Feed(origin.database, lambda: origin.private_key, origin.guard, heartbeat_s=HEARTBEAT_S, reports=reports)
        assert isinstance(feed.open(1, query(GENESIS)), LogStream)
        before, away = feed.beat, True
        beating = asyncio.create_task(feed.keep_beating())
        await until(lambda: asked >= 5)
        away = False
        await until(lambda: feed.beat != before)
        beating.cancel()

    run(tmp_path, test)
    said = capsys.readouterr().out
    assert said.count("no heartbeat made") == said.count("The database does not answer.") == 1
    assert "Traceback" not in said


def test_who_is_refused_hears_why(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        await origin.add_users(40)
        head = origin.database.state().head
        with origin.database.read() as tx:
            middle = head_at(tx, 3)
        assert middle is not None
        other = bytes([1]) * 32
        assert reason(origin, Head(head.position, other)) == "forked"
        assert reason(origin, Head(Position(0, 0), other)) == "forked"
        assert reason(origin, Head(Position(1, 4), middle.chain)) == "forked"
        assert reason(origin, Head(Position(1, head.position.index + 1), other)) == "ahead"
        assert reason(origin, Head(Position(0, head.position.index + 1), other)) == "forked"
        assert reason(origin, Head(Position(2, 1), other)) == "lower epoch"
        opened(origin, middle)
        await origin.retention.purge()
        assert reason(origin, middle) == "needs snapshot"
        assert reason(origin, Head(middle.position, other)) == "forked"
        assert origin.feed.refusals()[1].reason == "forked"
        opened(origin, head)
        assert origin.feed.refusals() == {}

    run(tmp_path, test, keep=10)


@pytest.mark.parametrize("bad", [{"after": "1"}, {"after": "1.-1"}, {"after": "1." + "9" * 40}, {"chain": "00"}, {"run": "x"}, {"run": ""}])
def test_a_malformed_question_is_refused(tmp_path: Path, bad: dict[str, str]) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        reply = origin.feed.open(1, query(GENESIS) | bad)
        assert isinstance(reply, Reply)
        assert reply.status == 400

    run(tmp_path, test)


def test_a_stream_is_the_log_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "RANGE_STATEMENTS", 16)

    async def test(origin: Origin, _copy: Copy) -> None:
        await origin.add_users(50)
        async with pump(opened(origin)) as pieces:
            read = asyncio.create_task(frames(origin, pieces, 120))
            await until(lambda: not origin.feed.frames._making)
            await origin.add_users(10)
            found = await read
        head = GENESIS
        for body, _, _ in found:
            assert body.federation_id == FEDERATION
            if isinstance(body, CommitsFrame):
                assert body.prev_chain == head.chain
                run_ = verify_run(head, body.commits, body.chain)
                head = Head(Position(run_[-1][0].epoch, run_[-1][0].last_idx), body.chain)
        assert head == origin.database.state().head
        assert isinstance(found[0][0], Heartbeat)

    run(tmp_path, test)


def test_a_frame_is_made_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zones that start at different places soon get the very same bytes, also while several ask at once."""
    monkeypatch.setattr(frame_store, "RANGE_STATEMENTS", 16)

    async def test(origin: Origin, _copy: Copy) -> None:
        await origin.add_users(60)
        store: FrameStore = origin.feed.frames
        with origin.database.read() as tx:
            start = head_at(tx, 9)
        assert start is not None

        async def walk(head: Head) -> list[bytes]:
            walked = []
            while (frame := await store.after(head)) is not None:
                walked.append(frame.data)
                head = frame.end
            return walked

        first, second, third = await asyncio.gather(walk(GENESIS), walk(GENESIS), walk(start))
        assert [id(data) for data in first] == [id(data) for data in second]
        assert [id(data) for data in third[1:]] == [id(data) for data in first[1:]]
        assert len(first) == 8

    run(tmp_path, test)


def test_zones_at_the_head_share_a_frame_per_batch(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        head = origin.database.state().head
        async with pump(opened(origin, head, 1)) as one, pump(opened(origin, head, 2)) as two:
            await until(lambda: bool(origin.feed.beat))
            await origin.add_users(5)
            last = origin.database.state().position
            first, second = await asyncio.gather(frames(origin, one, last), frames(origin, two, last))
        assert [f[2] for f in first if isinstance(f[0], CommitsFrame)] == [f[2] for f in second if isinstance(f[0], CommitsFrame)]
        assert {f[2] for f in first if isinstance(f[0], Heartbeat)} & {f[2] for f in second if isinstance(f[0], Heartbeat)}

    run(tmp_path, test)


def test_a_zone_that_does_not_read_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "RECENT_BYTES", 20_000)
    monkeypatch.setattr(frame_store, "CACHE_BYTES", 20_000)

    async def test(origin: Origin, _copy: Copy) -> None:
        head = origin.database.state().head
        async with pump(opened(origin, head, 1)) as idle, pump(opened(origin, head, 2)) as busy:
            reading = asyncio.create_task(frames(origin, busy, 1 + 2 * 100))
            for number in range(100):
                await origin.write(add_user(f"big{number}", f"<USER>{number}{'x' * 1000}</USER>"))
            await reading
            store = origin.feed.frames
            assert store._recent_bytes <= 20_000
            assert sum(len(frame.data) for frame in store._cache.values()) == store._cached_bytes
            assert store._cached_bytes <= 20_000
            late = await frames(origin, idle, 1 + 2 * 100)
        commits = [commit for body, _, _ in late if isinstance(body, CommitsFrame) for commit in body.commits]
        with origin.database.read() as tx:
            assert commits == [logged.commit for logged in read_commits(tx, 1, statements=10_000)]

    run(tmp_path, test)


def test_a_stream_whose_log_was_purged_ends(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        await origin.add_users(20)
        await origin.retention.purge()
        with pytest.raises(StreamEnded):
            await origin.feed.frames.after(GENESIS)
        with origin.database.read() as tx:
            assert read_range(tx, 0) == []

    run(tmp_path, test, keep=5)


def test_the_newest_process_of_a_zone_wins_and_an_older_one_is_a_clone(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        head = origin.database.state().head
        old = opened(origin, head, run_id="1" * 32)
        async with pump(old) as first:
            ending = asyncio.create_task(anext(first, b""))
            new = opened(origin, head, run_id="2" * 32)
            async with pump(new):
                await asyncio.wait_for(old.ended(), 60)
                await ending
                assert reason(origin, head, run_id="1" * 32) == "cloned"
                assert origin.feed.refusals()[1].reason == "cloned"
                assert origin.feed.following() == {1}
        # The same process may come back as often as it likes.
        opened(origin, head, run_id="2" * 32)

    run(tmp_path, test)


def test_closing_ends_every_stream_also_of_zones_that_do_not_read(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        stream = opened(origin)
        async with pump(stream):
            await origin.add_users(5)
            await origin.feed.close()
            await asyncio.wait_for(stream.ended(), 60)
        assert origin.feed.following() == frozenset()
        assert reason(origin, GENESIS) == "not master"

    run(tmp_path, test)


# Positions and retention ----------------------------------------------------------------------------------------------


def test_reports_count_only_if_their_history_is_ours(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        await origin.add_users(5)
        with origin.database.read() as tx:
            held = head_at(tx, 5)
        assert held is not None

        async def report(epoch: int, index: int, chain: bytes) -> int:
            return (await origin.positions.answer(1, encode(PositionReport(epoch, index, chain)))).status

        assert await report(1, 5, bytes(32)) == 409
        assert await report(1, 500, held.chain) == 409
        assert await report(2, 5, held.chain) == 409
        assert origin.positions.get(1) is None
        assert await report(1, 5, held.chain) == 204
        with pytest.raises(MessageError):
            await origin.positions.answer(1, b"\xff")
        with pytest.raises(MessageError):
            await origin.positions.answer(1, msgspec.msgpack.encode((1, 5)))
        for number in (-1, 2**63):
            with pytest.raises(MessageError):
                await origin.positions.answer(1, encode(PositionReport(1, number, held.chain)))
            with pytest.raises(MessageError):
                await origin.guard.locate(1, encode(Locate((Point(number, held.chain),))))
        with origin.database.read() as tx:
            now_ms = clock.now_ms()
            lag = origin.positions.lag(tx, 1, now_ms + 60_000)
            assert lag is not None
            assert lag.statements == origin.database.state().position - 5
            assert 60 <= lag.seconds < 120
            assert origin.positions.lag(tx, 2, now_ms) is None
            assert origin.positions.low_water(tx) == 5
        await origin.positions.store()
        await origin.feed.close()
        origin.serve()
        kept = origin.positions.get(1)
        assert kept is not None
        assert kept.position == Position(1, 5)

    run(tmp_path, test)


@given(
    last=st.integers(0, 500),
    keep=st.integers(0, 100),
    cap=st.integers(0, 200),
    low_water=st.none() | st.integers(0, 500),
    pin=st.none() | st.integers(0, 500),
)
def test_what_is_cut_is_needed_by_nobody(last: int, keep: int, cap: int, low_water: int | None, pin: int | None) -> None:
    through = cut(last=last, keep=keep, cap=cap, low_water=low_water, pin=pin)
    assert 0 <= through <= last
    assert through <= max(0, last - keep)
    if pin is not None:
        assert through <= pin
    if low_water is not None and through > low_water:
        assert last - through >= max(cap, keep) or through == max(0, last - max(cap, keep))
    if low_water is None and pin is None:
        assert through == max(0, last - keep)


def test_the_log_is_kept_for_the_slowest_zone_up_to_the_cap(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        await origin.add_users(10)
        with origin.database.read() as tx:
            origin.positions.heard(1, Position(1, 7))
            assert origin.positions.low_water(tx) == 7
        await origin.add_users(2)
        await origin.retention.purge()  # keeps 10, at most 20
        last = origin.database.state().position
        with origin.database.read() as tx:
            logged = read_commits(tx, 7, statements=100)
            assert logged[0].commit.first_idx == 8
            assert logged[-1].commit.last_idx == last
        await origin.add_users(10)
        await origin.retention.purge()
        last = origin.database.state().position
        with origin.database.read() as tx:
            assert readable_from(tx) > 7
            kept = tx.fetch("SELECT COUNT(*), MIN(idx) FROM federation_log")[0]
            first = tx.fetch("SELECT MIN(first_idx) FROM federation_commit WHERE first_idx >= ?", (kept[1],))[0][0]
        assert kept[1] == first
        assert 20 <= kept[0] <= 22
        assert last - kept[1] + 1 == kept[0]

    run(tmp_path, test, keep=10)

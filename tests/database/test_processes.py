"""Several processes on one database: what one commits the others see, and one of them holds the lease."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from harness import engines
from koinon.database import lease, recent, watch
from koinon.database.database import Database
from koinon.database.state import CommitNotice
from koinon.database.transactions import SharedTx
from koinon.errors import UnavailableError
from koinon.statements.schema import PoolRow
from tests.database.test_writer import add_user, assert_log_is_whole

pytestmark = pytest.mark.engines


@pytest.fixture
def servers(engine: str) -> None:
    if engine == "sqlite":
        pytest.skip("SQLite takes one process")


@contextlib.asynccontextmanager
async def opened(path: Path, count: int, hints: Path | None = None) -> AsyncIterator[list[Database]]:
    found: list[Database] = []
    try:
        for _ in range(count):
            found.append(Database.open(engines.url(path / "koinon.db"), hints=hints))
            found[-1].start()
        yield found
    finally:
        for database in found:
            await database.close()


async def until(check: Callable[[], object], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - what is looked at says nothing of itself
            await asyncio.sleep(0.005)


def rename(name: str, oid: int = 0) -> Callable[[SharedTx], None]:
    return lambda tx: tx.update("user_pool", PoolRow(oid, name, "<USER/>", oid, 1, 1, 0, 0))


def test_sqlite_takes_one_process(tmp_path: Path, engine: str) -> None:
    async def run() -> None:
        async with opened(tmp_path, 1) as (database,):
            assert database.lease.held
            with pytest.raises(UnavailableError, match="in use by another koinon server"):
                Database.open(engines.url(tmp_path / "koinon.db"))

    if engine != "sqlite":
        pytest.skip("servers take any number")
    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_processes_write_one_log_and_read_what_the_other_wrote_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 2) as (one, two):
            await one.write_shared("add", add_user("old"))
            for turn in range(20):
                writer, reader = (one, two) if turn % 2 else (two, one)
                with reader.read() as tx:  # so that it has the row at hand
                    assert tx.row("user_pool", 0)
                await writer.write_shared("rename", rename(f"name{turn}"))
                for database in (reader, writer):
                    with database.read() as tx:
                        row = tx.row("user_pool", 0)
                        assert row is not None
                        assert row.name == f"name{turn}"
            await asyncio.gather(*(database.write_shared("add", add_user()) for _ in range(100) for database in (one, two)))
            assert one.state().position == 2 * 201 + 20 or await two.reached(2 * 201 + 20, 60)
            assert_log_is_whole(one)
            assert_log_is_whole(two)

    asyncio.run(run())


def test_calls_that_came_in_together_ask_once_and_a_later_one_asks_anew(tmp_path: Path, engine: str) -> None:
    def name(database: Database, since: int) -> str:
        with database.read(since) as tx:
            row = tx.row("user_pool", 0)
        assert row is not None
        return row.name

    async def run() -> None:
        async with opened(tmp_path, 1 if engine == "sqlite" else 2) as databases:
            writer, reader = databases[0], databases[-1]
            await writer.write_shared("add", add_user("old"))
            came = reader.looks()
            assert name(reader, came) == "old"
            looked = reader.looks()
            assert looked > came
            assert name(reader, came) == "old"
            assert reader.looks() == looked
            await writer.write_shared("rename", rename("new"))
            assert name(reader, looked) == "new"

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_what_one_process_commits_releases_those_who_wait_in_another_and_names_the_rows(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 2) as (one, two):
            await one.write_shared("add", add_user())
            assert await two.reached(one.state().position, 60)
            heard: list[CommitNotice] = []
            two.on_commit(heard.append)
            waiting = asyncio.create_task(two.reached(one.state().position + 2, 60))
            await one.write_shared("add", add_user())
            assert await waiting
            assert [notice.changed for notice in heard] == [frozenset({("user_pool", 1)})]
            assert heard[0].state.head == one.state().head
            await two.write_shared("add", add_user())
            assert (heard[-1].changed, len(heard[-1].commits)) == (frozenset({("user_pool", 2)}), 1)

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_a_hint_makes_a_process_look_long_before_it_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seldom_s, times = 5.0, 6
    monkeypatch.setattr(watch, "OFTEN_S", seldom_s)
    monkeypatch.setattr(watch, "SELDOM_S", seldom_s)

    async def run() -> None:
        async with opened(tmp_path, 2, hints=tmp_path / "processes") as (one, two):
            async with asyncio.timeout((times - 1) * seldom_s):  # by looking alone only the first could take less than its 5 s
                for _ in range(times):
                    written = await one.write_shared("add", add_user())
                    assert await two.reached(written.head.index, 2 * seldom_s)

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_a_group_takes_along_what_comes_while_it_waits_for_another_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 1) as (database,):
            heard: list[int] = []
            database.on_commit(lambda notice: heard.append(len(notice.commits)))
            waiting = database._writer._queue
            with engines.session(engines.url(tmp_path / "koinon.db")) as other:
                other.execute("BEGIN")
                other.execute("UPDATE zone_state SET write_seq = write_seq WHERE id = 1")
                first = asyncio.create_task(database.write_shared("add", add_user()))
                await asyncio.sleep(0)
                await until(lambda: not waiting)
                later = [asyncio.create_task(database.write_shared("add", add_user())) for _ in range(3)]
                await until(lambda: len(waiting) == 3)
                other.execute("COMMIT")
            await asyncio.gather(first, *later)
            assert heard == [4]
            assert_log_is_whole(database)

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_a_process_drops_only_the_rows_that_another_changed(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 2) as (one, two):
            for _ in range(3):
                await one.write_shared("add", add_user())
            read: list[int] = []

            def look() -> None:
                with two.read() as tx:
                    for oid in range(3):
                        tx.memo("user_pool", oid, "looked", lambda row: read.append(row.oid))

            look()
            await one.write_shared("rename", rename("other", 1))
            await one.write_zone("touch", lambda tx: tx.touch("user_pool", 2))
            look()
            assert read == [0, 1, 2, 1, 2]

    asyncio.run(run())


def test_what_is_put_down_of_groups_is_bounded_and_says_when_it_does_not_know(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 1) as (database,):
            state = database.state()
        raw = b""
        for seq in range(10, 110):
            raw = recent.extended(raw, seq, {("user_pool", seq)})
        now = msgspec.structs.replace(state, write_seq=110, recent=raw, versions={**state.versions, "user_pool": 109})
        assert len(raw) < 2048
        assert recent.since(now, 107) == frozenset({("user_pool", 108), ("user_pool", 109)})
        assert recent.since(now, 109) == frozenset()
        assert recent.since(now, 20) is None  # too long ago
        assert recent.since(now, 111) is None  # from the future
        assert recent.since(msgspec.structs.replace(now, versions={**now.versions, "acl": 109}), 107) is None  # by hand
        large = recent.extended(raw, 110, {("acl", oid) for oid in range(5000)})
        assert len(large) < 64
        assert recent.since(msgspec.structs.replace(now, recent=large), 109) is None

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_one_process_holds_the_lease_and_another_has_it_at_once_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    length_s = 8.0  # a holder that gets no processor for as long as the usual one lasts would lose it
    monkeypatch.setattr(lease, "LENGTH_S", length_s)

    async def run() -> None:
        async with opened(tmp_path, 2) as (one, two):
            await until(lambda: one.lease.held or two.lease.held)
            holder, other = (one, two) if one.lease.held else (two, one)
            holder.lease.to_say = b"hello"
            await until(lambda: (other.lease.said() or (b"",))[0] == b"hello")
            assert other.lease.holder == holder.lease.holder != ""
            await asyncio.sleep(length_s)  # longer than it lasts unless it is renewed
            assert (holder.lease.held, other.lease.held) == (True, False)
            changes: list[bool] = []
            other.lease.on_change(lambda: changes.append(other.lease.held))
            await holder.close()
            await until(lambda: other.lease.held, length_s - 2)  # nor when it would have run out
            assert changes == [True]

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_a_holder_that_can_not_renew_stops_before_another_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with opened(tmp_path, 2) as (one, two):
            await until(lambda: one.lease.held or two.lease.held)
            holder, other = (one, two) if one.lease.held else (two, one)
            lost: list[bool] = []
            still_held: list[bool] = []
            holder.lease.on_change(lambda: lost.append(holder.lease.held))
            other.lease.on_change(lambda: still_held.append(holder.lease.held))
            assert holder._watch is not None
            failed = holder._dialect.driver_error("the network is cut")
            monkeypatch.setattr(holder._watch._dialect, "is_gone", lambda _: True)  # so that it dials again
            monkeypatch.setattr(holder._watch._dialect, "connect", Mock(side_effect=failed))
            await until(lambda: other.lease.held)
            await until(lambda: lost)
            assert (still_held, lost) == ([False], [False])

    asyncio.run(run())


@pytest.mark.usefixtures("servers")
def test_a_clock_that_was_set_back_does_not_keep_the_lease_for_hours(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 1):
            pass
        with engines.by_hand(tmp_path / "koinon.db") as connection:
            connection.execute("UPDATE lease SET holder = 'gone', until_ms = until_ms + 4102444800000")
        async with opened(tmp_path, 1) as (database,):
            await until(lambda: database.lease.held)

    asyncio.run(run())


def _open_once(url: str, barrier: object, done: object) -> None:
    barrier.wait()  # type: ignore[attr-defined] # the type of multiprocessing's barrier has no name

    async def run() -> int:
        database = Database.open(url)
        database.start()
        await database.write_shared("add", add_user())
        await database.close()
        return database.state().position

    done.put(asyncio.run(run()))  # type: ignore[attr-defined] # as above


@pytest.mark.usefixtures("servers")
def test_processes_that_start_at_once_on_an_empty_database_make_its_tables_once(tmp_path: Path) -> None:
    url = engines.url(tmp_path / "koinon.db")
    context = multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(3), context.Queue()
    children = [context.Process(target=_open_once, args=(url, barrier, done)) for _ in range(3)]
    for child in children:
        child.start()
    positions = sorted(done.get(timeout=300) for _ in children)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert positions[-1] == 6


@pytest.mark.usefixtures("servers")
def test_a_process_that_stops_in_a_transaction_does_not_hold_up_the_others_for_long(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, 2) as (one, two):
            paused = one._dialect.writer()
            one._dialect.begin(paused)
            paused.execute("UPDATE zone_state SET write_seq = write_seq + 1 WHERE id = 1")
            await two.write_shared("add", add_user())
            with pytest.raises(one._dialect.driver_error):
                paused.execute("COMMIT")
            paused.close()
            assert_log_is_whole(two)

    asyncio.run(run())

"""Outcomes of the zone's own writes: kept with the write, opened by their sender only, forgotten in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness import engines
from koinon import clock
from koinon.database.database import Database
from koinon.database.jobs import Request
from koinon.database.request_outcomes import expired, first_outcome, forget, remembering
from koinon.database.transactions import SharedTx, ZoneTx
from koinon.errors import ActionError, ReusedError, UnavailableError
from koinon.federation.forwarding import request_of
from koinon.federation.retention import Retention
from tests.database.test_writer import add_user, with_database

pytestmark = pytest.mark.engines

REQUEST = request_of(b"a call", 0, "0-aa", b"k" * 32)


def count_up(tx: ZoneTx) -> int:
    """A write of the zone's own whose outcome shows how often it was made."""
    count = int(tx.fetch("SELECT COUNT(*) FROM system_attributes")[0][0]) + 1
    tx.execute("INSERT INTO system_attributes (name, body) VALUES (?, '')", (f"count{count}",))
    return count


def change_nothing(tx: SharedTx) -> int:
    return len(tx.rows("user_pool"))


def test_a_write_of_the_zone_s_own_takes_effect_once(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        job = remembering(count_up, REQUEST, logged=False)
        assert await asyncio.gather(*(database.write_zone("count", job) for _ in range(3))) == [1, 1, 1]
        with database.read() as tx:
            assert first_outcome(tx, REQUEST) == (1, None)

    with_database(tmp_path, test)

    async def afterwards(database: Database) -> None:
        assert await database.write_zone("count", remembering(count_up, REQUEST, logged=False)) == 1

    with_database(tmp_path, afterwards)


def test_a_write_that_fails_leaves_no_outcome(tmp_path: Path) -> None:
    def fail(tx: ZoneTx) -> int:
        count_up(tx)
        raise ActionError("no")

    async def test(database: Database) -> None:
        with pytest.raises(ActionError, match="no"):
            await database.write_zone("fail", remembering(fail, REQUEST, logged=False))
        with database.read() as tx:
            assert first_outcome(tx, REQUEST) is None
        assert await database.write_zone("count", remembering(count_up, REQUEST, logged=False)) == 1

    with_database(tmp_path, test)


def test_what_the_log_tells_is_kept_there_only_and_what_changed_nothing_here(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        changed = await database.write_shared("add", remembering(add_user(), REQUEST, logged=True), request=REQUEST)
        other = request_of(b"another", 0, "0-bb", b"k" * 32)
        unchanged = remembering(change_nothing, other, logged=True)
        assert (await database.write_shared("nothing", unchanged, request=other)).value == 1
        await database.write_shared("add", add_user())
        assert (await database.write_shared("nothing", unchanged, request=other)).value == 1
        with database.read() as tx:
            assert first_outcome(tx, REQUEST) == (0, changed.head)
            assert first_outcome(tx, other) == (1, None)
            assert tx.fetch("SELECT request_id FROM request_outcome") == [("0-bb",)]

    with_database(tmp_path, test)


@pytest.mark.parametrize("logged", [False, True])
def test_an_id_belongs_to_one_request(tmp_path: Path, logged: bool) -> None:
    async def test(database: Database) -> None:
        if logged:
            await database.write_shared("add", add_user(), request=REQUEST)
        else:
            await database.write_zone("count", remembering(count_up, REQUEST, logged=False))
        for body, secret in ((b"another call", b"k" * 32), (b"a call", b"x" * 32)):
            other = request_of(body, 0, REQUEST.request_id, secret)
            with database.read() as tx, pytest.raises(ReusedError):
                first_outcome(tx, other)
            with pytest.raises(ReusedError):
                await database.write_shared("add", remembering(add_user(), other, logged=True), request=other)
        with database.read() as tx:
            assert len(tx.rows("user_pool")) == logged

    with_database(tmp_path, test)


def test_an_outcome_is_stored_sealed(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        job = remembering(lambda _tx: "a very secret token", REQUEST, logged=False)
        assert [await database.write_zone("token", job) for _ in range(2)] == ["a very secret token"] * 2

    with_database(tmp_path, test)
    with engines.by_hand(tmp_path / "koinon.db") as connection:
        ((outcome,),) = connection.execute("SELECT outcome FROM request_outcome").fetchall()
    assert len(outcome) > len("a very secret token")
    assert b"secret" not in outcome


def test_a_full_disk_does_not_stop_the_purge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fill(database: Database) -> None:
        await database.write_zone("count", remembering(count_up, REQUEST, logged=False))
        await asyncio.gather(*(database.write_shared("add", add_user()) for _ in range(5)))

    with_database(tmp_path, fill)

    async def test() -> None:
        database = Database.open(engines.url(tmp_path / "koinon.db"), reserve_bytes=1 << 60)
        monkeypatch.setattr(database._dialect, "free_bytes", lambda: 1 << 20)  # a server's disk can't be seen from here
        database.start()
        with pytest.raises(UnavailableError):
            await database.write_zone("count", count_up)
        retention = Retention(database, keep=1, cap=1)
        assert await retention.forget_outcomes(clock.now_ms() + 2 * 86_400_000) == 1
        assert await retention.purge() > 0
        await database.close()

    asyncio.run(test())


def test_a_write_that_nobody_repeats_leaves_nothing(tmp_path: Path) -> None:
    assert remembering(count_up, Request(0), logged=False) is count_up


def test_old_outcomes_and_too_many_are_forgotten(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        for number in range(6):
            request = request_of(b"a call", 0, f"0-{number}", b"k" * 32)
            await database.write_zone("count", remembering(lambda _tx: 0, request, logged=False))

        def age(tx: ZoneTx) -> None:
            for number, age_s in enumerate((500, 400, 300, 200, 100, 0)):
                made_at = clock.now_ms() - age_s * 1000
                tx.execute("UPDATE request_outcome SET made_at = ? WHERE request_id = ?", (made_at, f"0-{number}"))

        await database.write_zone("age", age)
        with database.read() as tx:
            now_ms = clock.now_ms()
            assert expired(tx, now_ms, kept_s=1000, kept=6) == []
            assert expired(tx, now_ms, kept_s=350, kept=6) == ["0-0", "0-1"]
            assert expired(tx, now_ms, kept_s=1000, kept=3) == ["0-0", "0-1", "0-2"]
            assert expired(tx, now_ms, kept_s=350, kept=1) == [f"0-{number}" for number in range(5)]
        await database.write_zone("forget", lambda tx: forget(tx, ["0-0", "0-5"]))
        retention = Retention(database, keep=1, cap=1)
        assert await retention.forget_outcomes(clock.now_ms()) == 0
        assert await retention.forget_outcomes(clock.now_ms() + 86_400_000 - 250_000) == 2
        with database.read() as tx:
            assert tx.fetch("SELECT request_id FROM request_outcome ORDER BY request_id") == [("0-3",), ("0-4",)]

    with_database(tmp_path, test)

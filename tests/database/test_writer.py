"""The writer: groups, savepoints, numbering, exactly once, lost transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness import engines
from koinon.database.database import Database
from koinon.database.jobs import Request, Written
from koinon.database.state import CommitNotice
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx, SharedTx, ZoneTx, read_state
from koinon.errors import ActionError, BadArgumentError, InternalError, UnavailableError
from koinon.statements import digest
from koinon.statements.chain import extend
from koinon.statements.commits import GENESIS, Head, Position
from koinon.statements.schema import PoolRow

pytestmark = pytest.mark.engines


def user(oid: int, name: str = "", body: str = "<USER/>") -> PoolRow:
    return PoolRow(oid, name or f"user{oid}", body, oid, 1, 1, 0, 0)


def with_database(tmp_path: Path, test: Callable[[Database], Awaitable[Any]]) -> Any:
    """Run ``test`` with an open database and close it again."""

    async def run() -> Any:
        database = Database.open(engines.url(tmp_path / "koinon.db"))
        database.start()
        try:
            return await test(database)
        finally:
            await database.close()

    return asyncio.run(run())


def add_user(name: str = "", body: str = "<USER/>") -> Callable[[SharedTx], int]:
    def job(tx: SharedTx) -> int:
        oid = tx.next_id("user_pool")
        tx.insert("user_pool", user(oid, name or f"user{oid}", body))
        return oid

    return job


def assert_log_is_whole(database: Database) -> None:
    """The log is contiguous from 1, its chain continues from the genesis, and digests equal those of the rows."""
    with database.read() as tx:
        head = GENESIS
        chain = head.chain
        index = 0
        for logged in read_commits(tx, 0, statements=100_000):
            assert logged.commit.first_idx == index + 1
            assert len(logged.statements) == len(logged.commit.changes) > 0
            chain = extend(chain, logged.commit, logged.statements)
            assert chain == logged.chain
            index = logged.commit.last_idx
        assert (index, chain) == (tx.state.position, tx.state.chain)
        totals = dict.fromkeys(tx.digests(), digest.EMPTY)
        for row in tx.fetch("SELECT oid, name, body, uid, gid, owner_u, group_u, other_u, row_hash FROM user_pool"):
            assert digest.row_hash("user_pool", row[:-1]) == row[-1]
            totals["user_pool"] = digest.add(totals["user_pool"], row[-1])
        for name, last_oid in tx.fetch("SELECT tablename, last_oid FROM pool_control"):
            totals["pool_control"] = digest.add(totals["pool_control"], digest.counter_hash(name, last_oid))
        assert {table: digest.from_bytes(value) for table, value in tx.digests().items()} == totals


def test_jobs_that_wait_together_become_one_commit_on_disk_and_one_log_entry_each(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        notices: list[CommitNotice] = []
        database.on_commit(notices.append)
        written = await asyncio.gather(*(database.write_shared("add", add_user()) for _ in range(20)))
        assert [one.value for one in written] == list(range(20))
        assert [one.head.index for one in written] == list(range(2, 42, 2))
        assert len(notices) == 1
        assert len(notices[0].commits) == 20
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_a_job_that_fails_inside_a_group_leaves_no_row_and_no_gap(tmp_path: Path) -> None:
    def fail(tx: SharedTx) -> int:
        add_user("ghost")(tx)
        raise BadArgumentError("no")

    async def test(database: Database) -> None:
        jobs = [add_user("first"), fail, add_user("second"), add_user("first"), add_user("third")]
        answers = await asyncio.gather(*(database.write_shared("job", job) for job in jobs), return_exceptions=True)
        assert isinstance(answers[1], BadArgumentError)
        assert isinstance(answers[3], InternalError)
        with database.read() as tx:
            assert [row.name for row in tx.rows("user_pool")] == ["first", "second", "third"]
            assert tx.named("user_pool", "ghost") is None
            assert tx.state.position == 6
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_a_group_in_which_every_job_fails_writes_nothing(tmp_path: Path) -> None:
    def fail(tx: SharedTx) -> int:
        add_user("ghost")(tx)
        raise BadArgumentError("no")

    async def test(database: Database) -> None:
        before = database.state()
        with pytest.raises(BadArgumentError):
            await database.write_shared("fail", fail)
        with database.read() as tx:
            assert tx.state == before

    with_database(tmp_path, test)


def test_a_request_id_is_done_once_and_answers_its_first_outcome(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        request = Request(7, "aa", b"h" * 32)
        first, again = await asyncio.gather(*(database.write_shared("add", add_user(), request=request) for _ in range(2)))
        assert (first.value, first.repeated) == (0, False)
        assert (again.value, again.repeated, again.head) == (0, True, first.head)
        with pytest.raises(ActionError):
            await database.write_shared("add", add_user(), request=Request(7, "aa", b"x" * 32))
        with database.read() as tx:
            assert len(tx.rows("user_pool")) == 1
            assert read_commits(tx, 0, statements=10)[0].commit.origin_zone == 7

    with_database(tmp_path, test)


def test_a_sealed_outcome_is_not_in_the_file_and_comes_back_to_who_can_open_it(tmp_path: Path) -> None:
    def flip(raw: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in raw)

    def job(tx: SharedTx) -> str:
        add_user()(tx)
        return "a very secret token"

    async def test(database: Database) -> None:
        request = Request(0, "bb", b"h" * 32, seal=flip, unseal=flip)
        assert (await database.write_shared("add", job, request=request)).value == "a very secret token"
        assert (await database.write_shared("add", job, request=request)).value == "a very secret token"

    with_database(tmp_path, test)
    with engines.by_hand(tmp_path / "koinon.db") as connection:
        ((outcome,),) = connection.execute("SELECT outcome FROM federation_commit").fetchall()
    assert flip(outcome).endswith(b"a very secret token")


def test_readers_see_a_write_only_when_it_is_durable_and_then_at_once(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        for number in range(50):
            write = asyncio.ensure_future(database.write_shared("add", add_user()))
            while not write.done():
                with database.read() as tx:
                    assert len(tx.rows("user_pool")) == tx.state.position // 2
                await asyncio.sleep(0)
            with database.read() as tx:
                assert tx.row("user_pool", number) is not None

    with_database(tmp_path, test)


def test_a_write_by_another_process_is_seen_by_cached_reads(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        await database.write_shared("add", add_user("old"))
        with database.read() as tx:
            assert tx.row("user_pool", 0) is not None
        with engines.by_hand(tmp_path / "koinon.db") as other:
            other.execute("BEGIN")
            other.execute("UPDATE zone_state SET v_user_pool = write_seq + 1")
            other.execute("UPDATE zone_state SET write_seq = write_seq + 1")
            other.execute("UPDATE user_pool SET name = 'new'")
            other.execute("COMMIT")
        with database.read() as tx:
            row = tx.row("user_pool", 0)
            assert row is not None
            assert row.name == "new"
            assert tx.named("user_pool", "old") is None

    with_database(tmp_path, test)


def test_the_state_that_a_group_leaves_is_the_one_that_is_stored(tmp_path: Path) -> None:
    """It is computed, and the next group goes on from it."""

    async def test(database: Database) -> None:
        with engines.by_hand(tmp_path / "koinon.db") as other:

            async def check(what: str, *writes: Awaitable[Any]) -> None:
                await asyncio.gather(*writes)
                assert database.state() == read_state(other), what

            await check("a commit", database.write_shared("add", add_user()))
            await check("commits", *(database.write_shared("add", add_user()) for _ in range(3)))
            await check("a document that reads differently", database.write_zone("touch", lambda tx: tx.touch("user_pool", 1)))
            await check("nothing shared", database.write_zone("nothing", lambda tx: None))
            await check(
                "another zone, beside a commit",
                database.write_zone("join", lambda tx: tx.set_membership(zone_id=5, role="master", federation_id="f" * 32, epoch=3)),
                database.write_shared("add", add_user()),
            )
            await check("another head", database.apply("load", lambda tx: tx.set_head(Head(Position(4, 90), bytes(range(32))))))
            await check("a commit behind that", database.write_shared("add", add_user()))
            assert database.state().position == 92

    with_database(tmp_path, test)


def test_the_writer_sees_what_another_process_has_made_of_the_zone(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        await database.write_shared("add", add_user())
        with engines.by_hand(tmp_path / "koinon.db") as other:
            other.execute("UPDATE zone_state SET write_seq = write_seq + 1, role = 'slave'")
            with pytest.raises(ActionError, match=r"a slave"):
                await database.write_shared("add", add_user())
            other.execute("UPDATE zone_state SET write_seq = write_seq + 1, role = 'standalone'")
        for _ in range(3):
            await database.write_shared("add", add_user())
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_a_position_that_was_moved_by_hand_is_not_written_over(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        before = (await database.write_shared("add", add_user())).head.index
        with engines.by_hand(tmp_path / "koinon.db") as other:
            other.execute("UPDATE zone_state SET position = position + 10")  # and nothing that says so
            assert (await database.write_shared("add", add_user())).head.index == before + 10 + 2
            assert database.state() == read_state(other)

    with_database(tmp_path, test)


def test_a_group_that_can_not_begin_leaves_no_transaction_open(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        with engines.by_hand(tmp_path / "koinon.db") as other:
            other.execute("UPDATE zone_state SET id = 2")
            with pytest.raises(InternalError):
                await database.write_shared("add", add_user())
            session = database._writer._session
            assert not session.dialect.in_transaction(session.connection)
            other.execute("UPDATE zone_state SET id = 1")
        assert (await database.write_shared("add", add_user())).value == 0
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_a_slave_cannot_write_shared_tables_and_can_write_its_own(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        await database.write_zone("become slave", lambda tx: tx.set_membership(zone_id=5, role="slave", federation_id="f" * 32, epoch=1))
        assert (database.state().zone_id, database.state().role) == (5, "slave")
        with pytest.raises(ActionError):
            await database.write_shared("add", add_user())
        await database.write_zone("set", lambda tx: tx.execute("INSERT INTO federation_setting VALUES ('a', ?)", (b"\x00",)))

    with_database(tmp_path, test)


def test_a_locked_database_refuses_plainly_and_the_job_can_be_made_again(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        with engines.by_hand(tmp_path / "koinon.db") as other:
            other.execute("BEGIN")
            other.execute("UPDATE zone_state SET write_seq = write_seq")
            with pytest.raises(UnavailableError, match=r"Another .* holds"):
                await database.write_shared("add", add_user())
            other.execute("ROLLBACK")
        assert (await database.write_shared("add", add_user())).value == 0
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_a_transaction_that_is_lost_in_mid_group_runs_its_jobs_again(tmp_path: Path) -> None:
    """A full disk or a deadlock can throw away what earlier jobs of the group had done: they must not be acknowledged unwritten."""
    lose = [True]

    async def test(database: Database) -> None:
        def losing(tx: SharedTx) -> int:
            if lose.pop() if lose else False:
                database._dialect.rollback(tx._connection)
                raise database._dialect.driver_error("disk I/O error")
            return add_user("third")(tx)

        jobs = [add_user("first"), add_user("second"), losing]
        answers = await asyncio.gather(*(database.write_shared("job", job) for job in jobs))
        assert [one.value for one in answers] == [0, 1, 2]
        with database.read() as tx:
            assert [row.name for row in tx.rows("user_pool")] == ["first", "second", "third"]
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_writes_stop_below_the_disk_reserve_but_what_frees_space_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        database = Database.open(engines.url(tmp_path / "koinon.db"), reserve_bytes=1 << 60)
        monkeypatch.setattr(database._dialect, "free_bytes", lambda: 1 << 20)  # a server's disk can't be seen from here
        database.start()
        with pytest.raises(UnavailableError, match="left on the disk"):
            await database.write_shared("add", add_user())

        def purge(tx: ZoneTx) -> int:
            return tx.execute("DELETE FROM federation_log")

        assert await database.write_zone("purge", purge, frees_space=True) == 0
        await database.close()

    asyncio.run(run())


def test_a_body_over_the_limit_and_text_that_xml_forbids_are_refused(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        for body in ("x" * (4 * 2**20 + 1), "a\x00b", "\ud800", "\uffff"):
            with pytest.raises(InternalError):
                await database.write_shared("add", add_user(body=body))
        at_limit = "x" * (4 * 2**20)
        await database.write_shared("add", add_user(body=at_limit))
        with database.read() as tx:
            row = tx.row("user_pool", 0)
            assert row is not None
            assert row.body == at_limit
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_waiting_for_a_position_ends_when_it_is_there_or_after_the_time_limit(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        waiting = asyncio.ensure_future(database.reached(2, 60.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        await database.write_shared("add", add_user())
        assert await waiting
        assert not await database.reached(3, 0.01)

    with_database(tmp_path, test)


def test_what_was_computed_from_a_shared_row_is_dropped_when_a_row_of_the_zone_that_enters_it_changes(tmp_path: Path) -> None:
    """Also for other processes, and for jobs later in the same group."""

    def note(name: str) -> Callable[[ZoneTx], str]:
        def job(tx: ZoneTx) -> str:
            tx.execute("DELETE FROM user_quotas")
            tx.execute("INSERT INTO user_quotas (user_oid, body) VALUES (0, ?)", (name,))
            tx.touch("user_pool", 0)
            return shown(tx)

        return job

    def shown(tx: ReadTx) -> str:
        made = tx.memo("user_pool", 0, "shown", lambda row: f"{row.name} {tx.fetch('SELECT body FROM user_quotas')}")
        assert made is not None
        return made

    async def test(database: Database) -> None:
        await database.write_shared("add", add_user("ada"))
        with database.read() as tx:
            assert shown(tx) == "ada []"
            before = tx.state
        assert await asyncio.gather(*(database.write_zone("note", note(name)) for name in "xy")) == ["ada [('x',)]", "ada [('y',)]"]
        with database.read() as tx:
            assert shown(tx) == "ada [('y',)]"
            assert tx.state.versions["user_pool"] == tx.state.write_seq > before.write_seq
            assert tx.state.head == before.head

    with_database(tmp_path, test)


def test_a_local_write_sees_what_the_group_has_changed_before_it(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        await database.write_shared("add", add_user("ada"))
        with database.read() as tx:
            assert tx.row("user_pool", 0) == user(0, "ada")

        def rename(tx: SharedTx) -> None:
            tx.update("user_pool", user(0, "bob"))

        seen = await asyncio.gather(database.write_shared("rename", rename), database.write_zone("look", lambda tx: tx.row("user_pool", 0)))
        assert seen[1] == user(0, "bob")

    with_database(tmp_path, test)


def appending(letter: str, *, fail: bool = False) -> Callable[[SharedTx], str]:
    def job(tx: SharedTx) -> str:
        row = tx.row("user_pool", 0)
        assert row is not None
        tx.update("user_pool", user(0, row.name, row.body + letter))
        if fail:
            raise ActionError("not this time")
        return row.body

    return job


def test_what_jobs_know_of_rows_without_reading_them_is_what_is_there(tmp_path: Path) -> None:
    """Jobs after it see what a job wrote, in its group and later on; what a failed one wrote nobody sees."""

    async def test(database: Database) -> None:
        await database.write_shared("add", add_user("ada", ""))
        jobs = [appending("a"), appending("b", fail=True), appending("c"), appending("d")]
        answers = await asyncio.gather(*(database.write_shared("append", job) for job in jobs), return_exceptions=True)
        assert [answer.value if isinstance(answer, Written) else type(answer) for answer in answers] == ["", ActionError, "a", "ac"]
        with pytest.raises(ActionError):
            await database.write_shared("append", appending("e", fail=True))
        assert (await database.write_shared("append", appending("f"))).value == "acd"
        with database.read() as tx:
            assert [row.body for row in tx.rows("user_pool")] == ["acdf"]
        await database.write_shared("drop", lambda tx: tx.delete("user_pool", 0))
        with pytest.raises(InternalError, match="no row 0"):
            await database.write_shared("drop again", lambda tx: tx.delete("user_pool", 0))
        assert_log_is_whole(database)

    with_database(tmp_path, test)


def test_a_row_that_a_hand_has_taken_away_is_missed_when_it_is_to_change(tmp_path: Path) -> None:
    """Though this process still knows it. Nothing must enter the log of which the table has nothing."""

    async def test(database: Database) -> None:
        await database.write_shared("add", add_user("ada"))
        with database.read() as tx:
            assert tx.row("user_pool", 0)
        with engines.by_hand(tmp_path / "koinon.db") as hand:
            hand.execute("DELETE FROM user_pool WHERE oid = 0")
        before = database.state().position
        for job in (appending("a"), lambda tx: tx.delete("user_pool", 0)):
            with pytest.raises(InternalError, match="the row is gone"):
                await database.write_shared("change", job)
        assert database.state().position == before
        await database.write_shared("add", add_user("bob"))

    with_database(tmp_path, test)

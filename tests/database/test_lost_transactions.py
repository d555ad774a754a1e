"""What takes a transaction away, each made to happen by a real server: jobs are run again, once; what can't be known is said.

Not here: that a group, a log and a cache are right where nothing goes wrong (test_writer.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness import engines
from koinon.database import commit
from koinon.database.database import Database
from koinon.database.dialects import servers
from koinon.database.dialects.protocol import Connection
from koinon.database.state import CommitNotice
from koinon.database.transactions import SharedTx, ZoneTx
from koinon.database.write_group import GroupRun
from koinon.database.write_session import WriteSession
from koinon.errors import OutcomeUnknownError, UnavailableError
from tests.database.test_processes import rename, until
from tests.database.test_writer import add_user, assert_log_is_whole, user

pytestmark = pytest.mark.engines("postgresql", "mariadb")  # what SQLite can lose is in test_writer.py

#: codes that the drivers report
DEADLOCK = {"postgresql": {"40P01"}, "mariadb": {1213}}
TIMEOUT = {"postgresql": {"55P03"}, "mariadb": {1205}}
CHANGED = {"postgresql": {"40001"}, "mariadb": {1020}}
NO_SAVEPOINT = {"postgresql": {"25P01"}, "mariadb": {1305}}
KILLED: dict[str, set[int | str | None]] = {"postgresql": {"57P01", None}, "mariadb": {2006, 2013, 1927, 1053, 0}}
#: how many sessions wait for a lock
LOCKED = {
    "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mariadb": "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
#: of an engine, and where it says who a session is and how to end it
SESSION = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    "mariadb": ("SELECT CONNECTION_ID()", "KILL {}"),
}


def code(error: BaseException) -> Any:
    return getattr(error, "sqlstate", None) if engines.current == "postgresql" else error.args[0]


class Trial:
    """An open database with users 0 to 59, and the codes of the errors that its jobs have seen."""

    def __init__(self, path: Path, url: str = "") -> None:
        self.path = path
        self.engine = engines.current
        self.database = Database.open(url or engines.url(path))
        self.seen: list[Any] = []
        self.runs = 0

    async def fill(self) -> None:
        def job(tx: SharedTx) -> None:
            for oid in range(60):
                tx.insert("user_pool", user(tx.next_id("user_pool"), f"user{oid}"))

        await self.database.write_shared("fill", job)

    def noting(self, job: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The job, which tells what errors go through it."""

        def run(tx: Any) -> Any:
            self.runs += 1
            try:
                return job(tx)
            except self.database._dialect.driver_error as error:
                self.seen.append(code(error))
                raise

        return run

    def end_session(self, number: Any) -> None:
        with engines.by_hand(self.path) as hand:
            hand.execute(SESSION[self.engine][1].format(number))

    def session_of(self, connection: Connection) -> int:
        return int(connection.execute(SESSION[self.engine][0]).fetchone()[0])


def trial(path: Path, test: Callable[[Trial], Awaitable[Any]], url: str = "") -> None:
    async def run() -> None:
        made = Trial(path, url)
        made.database.start()
        try:
            await made.fill()
            await test(made)
            assert_log_is_whole(made.database)
        finally:
            await made.database.close()

    asyncio.run(run())


def touch_row(tx: ZoneTx, oid: int) -> None:
    tx.execute("UPDATE user_pool SET uid = uid WHERE oid = ?", (oid,))


def names(trial: Trial) -> set[str]:
    with trial.database.read() as tx:
        return {row.name for row in tx.rows("user_pool")}


def test_a_deadlock_loses_nobodys_work(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends our transaction: what earlier jobs of the group did is gone too, and is done again."""
    monkeypatch.setattr(servers, "LOCK_WAIT_S", 15)  # on a busy machine two seconds are over before the other session crosses ours
    begun, waits = threading.Event(), threading.Event()

    def other_session() -> None:
        with engines.by_hand(tmp_path / "koinon.db") as hand:
            hand.execute("BEGIN")
            # The greater work of the two is spared, or the one that has waited for a shorter time.
            hand.later("UPDATE user_pool SET uid = uid + 1 WHERE oid = ?", *[(oid,) for oid in range(10, 60)])
            begun.set()
            waits.wait(60)
            while not hand.execute(LOCKED[engine]).fetchone()[0]:
                time.sleep(0.2)  # MariaDB shows what it showed last to whoever looks again within a tenth of a second
            hand.execute("UPDATE user_pool SET uid = uid WHERE oid = 0")
            hand.execute("ROLLBACK")

    async def test(trial: Trial) -> None:
        other = threading.Thread(target=other_session)
        other.start()
        await asyncio.to_thread(begun.wait, 60)

        def crossing(tx: SharedTx) -> str:
            touch_row(tx, 0)
            waits.set()
            touch_row(tx, 10)
            return "done"

        jobs = (add_user("before"), trial.noting(crossing), add_user("after"))
        answers = await asyncio.gather(*(trial.database.write_shared("job", job) for job in jobs))
        await asyncio.to_thread(other.join)
        assert set(trial.seen) == DEADLOCK[engine]
        assert answers[1].value == "done"
        assert trial.runs == 2
        assert {"before", "after"} <= names(trial)

    trial(tmp_path / "koinon.db", test)


def test_a_row_that_is_held_for_long_is_waited_for_and_then_given_up(tmp_path: Path, engine: str) -> None:
    async def test(trial: Trial) -> None:
        with engines.by_hand(trial.path) as hand:
            hand.execute("BEGIN")
            hand.execute("UPDATE user_pool SET uid = uid WHERE oid = 7")

            def job(tx: SharedTx) -> None:
                if trial.seen:
                    hand.execute("ROLLBACK")
                touch_row(tx, 7)

            jobs = (add_user("before"), trial.noting(job))
            await asyncio.gather(*(trial.database.write_shared("job", job) for job in jobs))
        assert set(trial.seen) == TIMEOUT[engine]
        assert trial.runs == 2
        assert "before" in names(trial)

    trial(tmp_path / "koinon.db", test)


def test_those_who_come_together_while_all_writes_are_held_up_are_refused_together(tmp_path: Path) -> None:
    """One by one, each would wait for the same row three times."""

    async def test(trial: Trial) -> None:
        with engines.by_hand(trial.path) as hand:
            hand.execute("BEGIN")
            hand.execute("UPDATE zone_state SET write_seq = write_seq WHERE id = 1")
            async with asyncio.timeout(60):  # and not three minutes
                jobs = (trial.database.write_shared("add", add_user(f"late{number}")) for number in range(30))
                outcomes = await asyncio.gather(*jobs, return_exceptions=True)
            hand.execute("ROLLBACK")
        assert {type(outcome) for outcome in outcomes} == {UnavailableError}
        assert not {name for name in names(trial) if name.startswith("late")}
        await trial.database.write_shared("add", add_user("after"))

    trial(tmp_path / "koinon.db", test)


def test_a_row_that_someone_else_has_changed_meanwhile_is_read_again(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """READ COMMITTED has no such failure; an administrator who sets another level by force must not lose writes."""

    async def test(trial: Trial) -> None:
        dialect = trial.database._dialect
        plain = dialect.begin

        def stricter(connection: Connection) -> None:
            if engine == "postgresql":
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                return
            connection.execute("SET SESSION innodb_snapshot_isolation = ON")
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            plain(connection)

        monkeypatch.setattr(dialect, "begin", stricter)

        def job(tx: SharedTx) -> None:
            tx.fetch("SELECT uid FROM user_pool WHERE oid = 5")
            if not trial.seen:
                with engines.by_hand(trial.path) as hand:
                    hand.execute("UPDATE user_pool SET uid = uid + 1 WHERE oid = 5")
                    hand.execute("UPDATE user_pool SET uid = uid - 1 WHERE oid = 5")
            touch_row(tx, 5)

        await asyncio.gather(*(trial.database.write_shared("job", one) for one in (add_user("before"), trial.noting(job))))
        assert set(trial.seen) == CHANGED[engine]
        assert trial.runs == 2
        assert "before" in names(trial)

    trial(tmp_path / "koinon.db", test)


def test_a_transaction_that_ended_unnoticed_is_noticed_at_the_savepoint(tmp_path: Path, engine: str) -> None:
    """What MariaDB does after a deadlock whose error a job has swallowed: the transaction is over, and no statement says so."""

    async def test(trial: Trial) -> None:
        told: list[str] = []
        explain = trial.database._dialect.explain

        def noting(error: BaseException, *, serving: bool = True) -> str:
            trial.seen.append(code(error))
            return explain(error, serving=serving)

        def job(tx: SharedTx) -> None:
            if not told:
                told.append("lost")
                tx._connection.execute("ROLLBACK")

        trial.database._dialect.explain = noting  # type: ignore[method-assign] # to see the code
        await asyncio.gather(*(trial.database.write_shared("job", one) for one in (add_user("before"), job, add_user("after"))))
        assert set(trial.seen) == NO_SAVEPOINT[engine]
        assert {"before", "after"} <= names(trial)

    trial(tmp_path / "koinon.db", test)


def test_a_transaction_that_ended_unnoticed_is_noticed_before_commit(tmp_path: Path) -> None:
    """A job that is alone has no savepoint, and its log would go with COMMIT."""

    async def test(trial: Trial) -> None:
        def job(tx: SharedTx) -> int:
            trial.runs += 1
            made: int = add_user("alone")(tx)
            if trial.runs == 1:
                tx._connection.execute("ROLLBACK")
            return made

        assert (await trial.database.write_shared("job", job)).value == 60
        assert trial.runs == 2
        assert "alone" in names(trial)

    trial(tmp_path / "koinon.db", test)


@pytest.mark.parametrize("others", [True, False], ids=["in-a-group", "alone"])
def test_a_statement_that_was_left_for_later_and_fails_is_its_own_job_s_failure(tmp_path: Path, others: bool) -> None:
    """Sent together with what others left, nobody can tell whose it was: each job runs again by itself, its statements one by one."""

    async def test(trial: Trial) -> None:
        def job(tx: SharedTx) -> None:
            trial.runs += 1
            add_user("never")(tx)
            tx.later("INSERT INTO user_quotas (user_oid, body) VALUES (?, ?)", (1, "a"), (1, "b"))

        jobs = [add_user("before"), job, add_user("after")] if others else [job]
        answers = await asyncio.gather(*(trial.database.write_shared("job", one) for one in jobs), return_exceptions=True)
        assert isinstance(answers[len(jobs) // 2], UnavailableError)
        assert trial.runs == 2
        assert names(trial) - {f"user{oid}" for oid in range(60)} == ({"before", "after"} if others else set())

    trial(tmp_path / "koinon.db", test)


def test_a_job_that_swallows_the_loss_can_not_write_outside_of_a_transaction(tmp_path: Path) -> None:
    async def test(trial: Trial) -> None:
        def job(tx: SharedTx) -> None:
            if not trial.seen:
                trial.end_session(trial.session_of(tx._connection))
            with contextlib.suppress(trial.database._dialect.driver_error):
                trial.noting(lambda tx: tx.fetch("SELECT 1"))(tx)
            add_user(f"swallowed{len(trial.seen)}")(tx)

        await asyncio.gather(*(trial.database.write_shared("job", one) for one in (add_user("before"), job)))
        assert trial.seen
        assert {"before", "swallowed1"} <= names(trial)
        assert len(names(trial)) == 62

    trial(tmp_path / "koinon.db", test)


def test_a_session_killed_in_the_middle_of_a_group_is_replaced(tmp_path: Path, engine: str) -> None:
    async def test(trial: Trial) -> None:
        def job(tx: SharedTx) -> None:
            if not trial.seen:
                trial.end_session(trial.session_of(tx._connection))
            touch_row(tx, 1)

        jobs = (add_user("before"), trial.noting(job), add_user("after"))
        await asyncio.gather(*(trial.database.write_shared("job", one) for one in jobs))
        assert set(trial.seen) <= KILLED[engine]
        assert trial.runs == 2
        assert {"before", "after"} <= names(trial)

    trial(tmp_path / "koinon.db", test)


def test_a_process_that_stops_dead_in_the_middle_of_sending_holds_up_nobody_for_long(tmp_path: Path, engine: str) -> None:
    """It holds the row that orders all writers, and for the server it is not idle."""

    async def test(trial: Trial) -> None:
        dialect, before = trial.database._dialect, trial.database.state().write_seq
        stopped: Any = dialect.writer()
        try:
            stopped.execute("BEGIN")
            stopped.execute("UPDATE zone_state SET write_seq = write_seq + 1 WHERE id = 1")
            if engine == "postgresql":
                stopped.raw.pgconn.send_query_params(b"SELECT 1", None)
                stopped.raw.pgconn.send_flush_request()
                while stopped.raw.pgconn.flush():
                    pass
            else:
                stopped.raw._sock.sendall((2**16).to_bytes(3, "little") + b"\0\3SELECT 1")
            await asyncio.gather(*(trial.database.write_shared("job", add_user(name)) for name in ("one", "two")))
            assert {"one", "two"} <= names(trial)
            assert trial.database.state().write_seq == before + 2
            with pytest.raises(dialect.driver_error):
                stopped.execute("COMMIT")
        finally:
            stopped.close()

    trial(tmp_path / "koinon.db", test)


def test_an_error_in_one_job_that_costs_no_transaction_stays_its_own(tmp_path: Path) -> None:
    async def test(trial: Trial) -> None:
        jobs = (add_user("before"), trial.noting(lambda tx: tx.execute("SELECT * FROM no_such_table")), add_user("after"))
        answers = await asyncio.gather(*(trial.database.write_shared("job", one) for one in jobs), return_exceptions=True)
        assert isinstance(answers[1], UnavailableError)
        assert trial.runs == 1
        assert {"before", "after"} <= names(trial)

    trial(tmp_path / "koinon.db", test)


# COMMIT ---------------------------------------------------------------------------------------------------------------


_COMMIT = re.compile(rb"COMMIT(?!TED)")


class Cutter:
    """Stands between us and the server, and cuts the session at a COMMIT.

    Attributes:
        mode: ``before``: the server never hears of it; ``after``: it does, we don't hear its answer; empty: nothing is cut.
        closed: new sessions are cut at once too.
        cuts: COMMITs that were cut.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self.mode = ""
        self.closed = False
        self.cuts = 0
        self._mute: socket.socket | None = None  # the end at which an answer comes that nobody is to hear
        self._answered = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            if self.closed:
                ours.close()
                continue
            theirs = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._up, args=(ours, theirs), daemon=True).start()
            threading.Thread(target=self._down, args=(theirs, ours), daemon=True).start()

    def _up(self, ours: socket.socket, theirs: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := ours.recv(1 << 16):
                if self.mode and _COMMIT.search(data):
                    self.cuts += 1
                    if self.mode == "after":
                        self._mute = theirs
                        theirs.sendall(data)
                        self._answered.wait(60)
                    self.mode = ""
                    break
                theirs.sendall(data)
        for end in (ours, theirs):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _down(self, theirs: socket.socket, ours: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := theirs.recv(1 << 16):
                if self._mute is theirs:
                    self._answered.set()
                    break
                ours.sendall(data)
        for end in (ours, theirs):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # or who waits there for the next session would do so for ever
        self._listener.close()


@pytest.fixture
def cutter(engine: str) -> Iterator[Cutter]:
    made = Cutter(engines.server(engine).port)
    yield made
    made.close()


def through(cutter: Cutter, path: Path) -> str:
    """The address of a database by way of the cutter."""
    parts = urlsplit(engines.url(path))
    return f"{parts.scheme}://{parts.username}@127.0.0.1:{cutter.port}{parts.path}"


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("kind", ["shared", "zone"])
def test_a_session_that_dies_in_commit_is_looked_up_and_nothing_is_done_twice(tmp_path: Path, cutter: Cutter, mode: str, kind: str) -> None:
    def count(tx: ZoneTx) -> int:
        tx.execute("INSERT INTO outbox (request_id, kind, body, made_at) VALUES ('r', 'k', ?, 0)", (b"",))
        return int(tx.fetch("SELECT COUNT(*) FROM outbox")[0][0])

    async def test(trial: Trial) -> None:
        cutter.mode = mode
        if kind == "shared":
            written = await asyncio.gather(*(trial.database.write_shared("add", add_user(name)) for name in ("one", "two")))
            assert [one.value for one in written] == [60, 61]
            assert {"one", "two"} <= names(trial)
        else:
            assert await trial.database.write_zone("count", count) == 1
            assert await trial.database.write_zone("count", count) == 2
        assert cutter.cuts == 1

    trial(tmp_path / "koinon.db", test, through(cutter, tmp_path / "koinon.db"))


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_commit_is_told_from_those_that_other_processes_have_made_meanwhile(
    tmp_path: Path, cutter: Cutter, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """For what is not in the log their numbers would do for ours."""

    def count(tx: ZoneTx) -> int:
        tx.execute("INSERT INTO outbox (request_id, kind, body, made_at) VALUES ('r', 'k', ?, 0)", (b"",))
        return int(tx.fetch("SELECT COUNT(*) FROM outbox")[0][0])

    async def test(trial: Trial) -> None:
        dialect = trial.database._dialect
        plain = dialect.await_own_end

        def late(connection: Connection) -> None:
            with engines.by_hand(trial.path) as other:
                other.execute("UPDATE zone_state SET write_seq = write_seq + 3 WHERE id = 1")
            plain(connection)

        monkeypatch.setattr(dialect, "await_own_end", late)
        cutter.mode = mode
        assert await trial.database.write_zone("count", count) == 1
        assert await trial.database.write_zone("count", count) == 2
        assert cutter.cuts == 1

    trial(tmp_path / "koinon.db", test, through(cutter, tmp_path / "koinon.db"))


def test_a_commit_of_which_nothing_can_be_learned_is_said_to_be_unknown(
    tmp_path: Path, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not said to have failed: the user is there when the server can be reached again."""

    async def test(trial: Trial) -> None:
        monkeypatch.setattr(trial.database._dialect, "doubt_patience_s", 0.5)
        before = trial.database.state().position
        cutter.mode = "after"
        cutter.closed = True
        with pytest.raises(OutcomeUnknownError, match="Outcome unknown"):
            await trial.database.write_shared("add", add_user("in-doubt"))
        with pytest.raises(UnavailableError, match="can't be reached"):
            await trial.database.write_shared("add", add_user("refused"))
        cutter.closed = False
        await until(lambda: trial.database.state().position == before + 2)  # those who follow the log need not wait for the next write
        assert (await trial.database.write_shared("add", add_user("later"))).value == 61
        assert "in-doubt" in names(trial)
        assert "refused" not in names(trial)

    trial(tmp_path / "koinon.db", test, through(cutter, tmp_path / "koinon.db"))


def test_a_commit_that_fails_while_another_process_gets_its_number_hides_nothing_of_that_from_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers would drop the rows that ours was to change, and keep those that the other one has changed."""
    ready, go_on = threading.Event(), threading.Event()
    plain = commit.prepare

    def held(session: WriteSession, run: GroupRun) -> None:
        plain(session, run)
        if threading.current_thread() is not threading.main_thread() and not ready.is_set():
            ready.set()
            go_on.wait(60)

    async def test(trial: Trial) -> None:
        database, other = trial.database, Database.open(engines.url(trial.path))
        heard: list[CommitNotice] = []
        database.on_commit(heard.append)
        assert "user5" in names(trial)
        number = trial.session_of(database._writer._session.connection)
        monkeypatch.setattr(commit, "prepare", held)
        other.start()
        try:
            ours = asyncio.create_task(database.write_shared("rename", rename("ours", 4)))
            await asyncio.to_thread(ready.wait, 60)
            trial.end_session(number)
            await other.write_shared("rename", rename("theirs", 5))
            assert "theirs" in names(trial)
            await until(lambda: any(("user_pool", 5) in (notice.changed or ()) for notice in heard))
            go_on.set()
            await ours
            assert {"ours", "theirs"} < names(trial)
        finally:
            go_on.set()
            await other.close()

    trial(tmp_path / "koinon.db", test)


def test_a_commit_that_still_hangs_in_the_server_is_waited_for_before_it_is_looked_up(tmp_path: Path, engine: str) -> None:
    """Looked up too early it would seem lost, be made again, and then be there twice."""
    url = engines.url(tmp_path / "koinon.db")

    async def test(trial: Trial) -> None:
        dialect = trial.database._dialect
        hanging = dialect.connect()
        dialect.begin(hanging)
        hanging.execute("UPDATE zone_state SET write_seq = write_seq WHERE id = 1")
        fresh = dialect.connect()
        waiting = asyncio.create_task(asyncio.to_thread(dialect.await_own_end, fresh))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        hanging.execute("COMMIT")
        await asyncio.wait_for(waiting, 60)
        for connection in (hanging, fresh):
            dialect.rollback(connection)
            connection.close()

    trial(tmp_path / "koinon.db", test, url)

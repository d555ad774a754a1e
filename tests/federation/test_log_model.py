"""Log, stream and applier against a plain model: whatever happens, a copy holds a prefix of the master's history, cut between commits.

The model says what the tables hold after each commit. All else is real: databases, frames, signatures, snapshots, purge.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from harness import engines
from koinon.database.state import LoggedCommit
from koinon.database.statement_log import read_commits
from koinon.database.transactions import SharedTx
from koinon.errors import ActionError, CloudError
from koinon.federation.intake import Declined, Unfit
from koinon.federation.link import Interrupted, LinkError
from koinon.statements.chain import extend
from koinon.statements.schema import AclRow
from tests.federation.copies import Copy, Origin, federation, tables, user

pytestmark = pytest.mark.engines

T = TypeVar("T")

NAMES = st.sampled_from(["anna", "bob", "Bob", "émile", "😀", "o'neil", "z\n"])
BODIES = st.sampled_from(["<USER/>", "<USER><A>1</A></USER>", "<USER>" + "x" * 3000 + "</USER>", "<USER>it''s; --</USER>"])

Model = dict[str, dict[int, Any]]


class Refused(ActionError):
    """What a job of the test raises on purpose."""


class Change:
    """One change of a job, made on the real tables and on the model alike."""

    def __init__(self, what: str, pick: int, name: str, body: str) -> None:
        self.what, self.pick, self.name, self.body = what, pick, name, body

    def apply(self, tx: SharedTx, model: Model) -> None:
        users, rules = model["user_pool"], model["acl"]
        known = sorted(users)
        if self.what == "add":
            oid = tx.next_id("user_pool")
            model["pool_control"][0] = oid
            row = user(oid, f"{self.name}{oid}", self.body)
            tx.insert("user_pool", row)
            users[oid] = row
        elif self.what == "edit" and known:
            oid = known[self.pick % len(known)]
            row = user(oid, users[oid].name if self.pick % 2 else f"{self.name}{oid}", self.body)
            tx.update("user_pool", row)
            users[oid] = row
        elif self.what == "drop" and known:
            oid = known[self.pick % len(known)]
            tx.delete("user_pool", oid)
            del users[oid]
        elif self.what == "swap" and len(known) > 1:
            one, two = users[known[0]], users[known[-1]]
            for row in (user(one.oid, "parked", one.body), user(two.oid, one.name, two.body), user(one.oid, two.name, one.body)):
                tx.update("user_pool", row)
                users[row.oid] = row
        elif self.what == "rule":
            rule_id = self.pick
            if rule_id in rules:
                tx.delete("acl", rule_id)
                del rules[rule_id]
            else:
                rules[rule_id] = AclRow(rule_id, rule_id, 2**62, -1, 2**33)
                tx.insert("acl", rules[rule_id])
        elif self.what == "fail":
            raise Refused("on purpose")


JOBS = st.lists(
    st.builds(Change, st.sampled_from(["add", "add", "edit", "edit", "drop", "swap", "rule", "fail"]), st.integers(0, 7), NAMES, BODIES),
    min_size=1,
    max_size=4,
)


def copy_of(model: Model) -> Model:
    return {table: dict(rows) for table, rows in model.items()}


class Federation(RuleBasedStateMachine):
    """A master, a slave, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.manager = federation(Path(self.folder.name), keep=5)
        self.history: dict[int, Model] = {}
        self.digests: dict[int, dict[str, bytes]] = {}
        self.chains: dict[int, bytes] = {}
        self.held = 0

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        self.origin: Origin
        self.slave: Copy
        self.origin, self.slave = self.wait(self.manager.__aenter__())
        self.model: Model = {"user_pool": {}, "acl": {}, "pool_control": {}}
        self.history = {0: copy_of(self.model)}
        self.remember()
        self.write([[Change("add", 0, name, "<USER/>")] for name in ("anna", "bob", "émile", "😀")])
        assert self.pull(chunk=100_000, limit=10**9, batch=1000) == "arrived"

    def remember(self) -> None:
        state = self.origin.database.state()
        with self.origin.database.read() as tx:
            self.history[state.position] = copy_of(self.model)
            self.digests[state.position] = tx.digests()
            self.chains[state.position] = state.chain

    # What happens on the master

    @rule(jobs=st.lists(JOBS, min_size=1, max_size=5))
    def write_group(self, jobs: list[list[Change]]) -> None:
        self.write(jobs)

    @rule(oid=st.integers(0, 7), body=BODIES)
    def edit_one(self, oid: int, body: str) -> None:
        self.write([[Change("edit", 2 * oid + 1, "", body)]])

    @rule(oid=st.integers(0, 7), name=NAMES, body=BODIES)
    def replace_some(self, oid: int, name: str, body: str) -> None:
        self.write([[Change("drop", oid, "", "")], [Change("swap", 0, "", "")], [Change("add", 0, name, body)]])

    def write(self, jobs: list[list[Change]]) -> None:
        """Jobs that arrive together and so form a group; those that fail must leave nothing, not even a gap.

        A job may run again, when another one's failure costs the group its transaction: what counts is its last run.
        """
        left: list[tuple[Model, int] | None] = [None] * len(jobs)  # what each job's last run made of the model, and its statements

        async def make() -> None:
            known: list[LoggedCommit] = []
            unsubscribe = self.origin.database.on_commit(lambda notice: known.extend(notice.commits))
            runs = (self.origin.database.write_shared("job", run(number)) for number in range(len(jobs)))
            finished = await asyncio.gather(*runs, return_exceptions=True)
            unsubscribe()
            for result in finished:
                assert not isinstance(result, BaseException) or isinstance(result, CloudError), result
            for logged in known:
                self.chains[logged.commit.last_idx] = logged.chain

        def run(number: int) -> Any:
            def inside(tx: SharedTx) -> None:
                left[number] = None
                before = [done[0] for done in left[:number] if done is not None]
                trial = copy_of(before[-1] if before else self.model)
                for change in jobs[number]:
                    change.apply(tx, trial)
                left[number] = trial, len(tx.statements)

            return inside

        end = self.origin.database.state().position
        self.wait(make())
        for done in left:
            if done is not None:
                self.model, statements = done
                end += statements
                self.history[end] = copy_of(self.model)
        assert self.origin.database.state().position == end
        self.remember()

    @rule()
    def purge(self) -> None:
        self.wait(self.origin.retention.purge())

    # What happens between them

    def pull(self, *, chunk: int, limit: int, batch: int) -> str:
        """Let the stream run until the slave holds what came, or the connection breaks after ``limit`` bytes. What ended it."""
        arrived = asyncio.Event()
        target = self.origin.database.state().position

        async def pieces(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            left = limit
            async for piece in source:
                for start in range(0, len(piece), chunk):
                    part = piece[start : start + chunk][:left]
                    left -= len(part)
                    if part:
                        yield part
                    if left <= 0:
                        raise Interrupted("cut")
                if self.slave.database.state().position == target:
                    arrived.set()

        async def run() -> str:
            intake, master = self.slave.applier._intake, self.slave.link.master()
            intake._batch_statements = batch
            self.slave.link.cut = pieces
            unsubscribe = self.slave.database.on_commit(lambda notice: arrived.set() if notice.state.position == target else None)
            taking = asyncio.ensure_future(intake.run(master.link, master.key, master.federation_id, master.epoch))
            waiting = asyncio.ensure_future(arrived.wait())
            try:
                async with asyncio.timeout(20):
                    await asyncio.wait((taking, waiting), return_when=asyncio.FIRST_COMPLETED)
            finally:
                unsubscribe()
                waiting.cancel()
                taking.cancel()
                (outcome, _) = await asyncio.gather(taking, waiting, return_exceptions=True)
            async with self.slave.applier._turn:  # a batch under way comes to its end
                pass
            if isinstance(outcome, Declined):
                return outcome.reason
            assert isinstance(outcome, asyncio.CancelledError | LinkError), repr(outcome)
            return "arrived" if arrived.is_set() else "cut"

        return self.wait(run())

    @rule(chunk=st.sampled_from([1, 7, 64, 100_000]), batch=st.sampled_from([1, 3, 1000]))
    def deliver(self, chunk: int, batch: int) -> None:
        """In any pieces, in any batches: all arrives, or the master says that the log is gone."""
        ended = self.pull(chunk=chunk, limit=10**9, batch=batch)
        assert ended in ("arrived", "needs snapshot")
        if ended == "arrived":
            assert self.slave.database.state().head == self.origin.database.state().head

    @rule(limit=st.integers(1, 2000), batch=st.sampled_from([1, 1000]))
    def deliver_and_cut(self, limit: int, batch: int) -> None:
        assert self.pull(chunk=100_000, limit=limit, batch=batch) in ("arrived", "cut", "needs snapshot")

    @rule(batch=st.sampled_from([1, 1000]))
    def deliver_twice(self, batch: int) -> None:
        """The same bytes a second time are refused, whether or not the first are applied yet."""
        # not a precondition: how much of a stream that was cut is applied is a matter of time on a server, and rules must not depend on it
        if self.slave.database.state().position == self.origin.database.state().position:
            return

        async def twice(_source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            frame = await self.origin.feed.frames.after(self.slave.database.state().head)
            assert frame is not None
            yield frame.data
            yield frame.data

        async def run() -> None:
            self.slave.link.cut = twice
            self.slave.applier._intake._batch_statements = batch
            master = self.slave.link.master()
            with pytest.raises((Unfit, Declined)):
                await self.slave.applier._intake.run(master.link, master.key, master.federation_id, master.epoch)
            async with self.slave.applier._turn:
                pass

        self.wait(run())

    @staticmethod
    def kept_after(tx: Any) -> int:
        first = tx.fetch("SELECT MIN(idx) FROM federation_log")[0][0]
        return int(first) - 1 if first else int(tx.state.position)

    async def snapshot(self) -> None:
        await self.slave.applier._load_snapshot(self.slave.link.master())

    @rule()
    def load_snapshot(self) -> None:
        self.slave.link.cut = lambda pieces: pieces
        self.wait(self.snapshot())

    @rule(limit=st.integers(1, 300))
    def load_and_cut(self, limit: int) -> None:
        async def pieces(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for piece in source:
                yield piece[:limit]
                raise Interrupted("cut")

        self.slave.link.cut = pieces
        with contextlib.suppress(LinkError):
            self.wait(self.snapshot())

    @rule()
    def crash(self) -> None:
        """A new process of the slave, with nothing but its files."""
        self.wait(self.slave.close())
        self.wait(self.reopen())

    async def reopen(self) -> None:
        self.slave.open()

    # What must hold after each step

    @invariant()
    def the_copy_is_a_prefix(self) -> None:
        if not self.history:
            return
        with self.slave.database.read() as tx:
            state, found, digests = tx.state, tables(tx), tx.digests()
            users = {row.oid: row for row in tx.rows("user_pool")}
            rules = {row.oid: row for row in tx.acl()}
            log = read_commits(tx, self.kept_after(tx), statements=100_000) if self.kept_after(tx) < tx.state.position else []
        assert state.position >= self.held, "a copy never goes back"
        self.held = state.position
        assert state.position in self.history, "cut inside a commit"
        model = self.history[state.position]
        assert users == model["user_pool"]
        assert rules == model["acl"]
        assert dict(found["pool_control"]) == ({"user_pool": model["pool_control"][0]} if model["pool_control"] else {})
        if state.position:
            assert state.chain == self.chains[state.position]
        if state.position in self.digests:
            assert digests == self.digests[state.position]
        for before, after in pairwise(log):
            assert after.commit.first_idx == before.commit.last_idx + 1
            assert after.chain == extend(before.chain, after.commit, after.statements) == self.chains[after.commit.last_idx]

    @invariant()
    def the_master_is_the_model(self) -> None:
        if not self.history:
            return
        with self.origin.database.read() as tx:
            assert {row.oid: row for row in tx.rows("user_pool")} == self.model["user_pool"]
            assert {row.oid: row for row in tx.acl()} == self.model["acl"]

    def teardown(self) -> None:
        try:
            if self.history:
                if self.pull(chunk=100_000, limit=10**9, batch=1000) == "needs snapshot":
                    self.load_snapshot()
                    assert self.pull(chunk=100_000, limit=10**9, batch=1000) == "arrived"
                with self.origin.database.read() as theirs, self.slave.database.read() as ours:
                    assert ours.state.head == theirs.state.head
                    assert tables(ours) == tables(theirs)
        finally:
            if self.history:
                self.wait(self.manager.__aexit__(None, None, None))
            self.runner.close()
            self.folder.cleanup()


def test_a_copy_is_a_prefix_of_the_history_whatever_happens() -> None:
    bounds = settings(
        max_examples=30 if engines.current == "sqlite" else 10,  # each makes two databases, which takes a server its time
        stateful_step_count=40,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Federation, settings=bounds)

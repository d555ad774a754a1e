"""Run a group of jobs in one transaction, each in a savepoint, up to its COMMIT.

Path:     group_drivers.py -> steps() -> the jobs' own code -> group_log.py -> GroupRun, for commit.py
Holds:    the first statement orders the processes that write: the state is read behind it. A failed job leaves nothing, not even a gap in
          the log: statements are numbered after the last savepoint.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

import msgspec

from koinon.database import group_log
from koinon.database.cache import Changes
from koinon.database.jobs import Job
from koinon.database.row_changes import Derivation
from koinon.database.state import LoggedCommit, ZoneState
from koinon.database.statement_log import outcome_of
from koinon.database.transactions import ApplyTx, SharedTx, ZoneTx
from koinon.database.write_session import WriteSession
from koinon.errors import ActionError, InvalidError, ReusedError, UnavailableError
from koinon.statements.rendering import render
from koinon.statements.schema import MAX_COMMIT_BYTES


class GroupRun(msgspec.Struct, frozen=True):
    """A group that has run and is not durable yet.

    Attributes:
        survivors: its jobs that made it; nothing is to be made durable without any.
        after: the state that it leaves.
        commits: what it adds to the log.
        changes: what it wrote.
        digests: those of the shared tables that it leaves, if it knows.
    """

    survivors: list[Job]
    after: ZoneState
    commits: tuple[LoggedCommit, ...]
    changes: Changes
    digests: Mapping[str, int] | None


class WriteGroup:
    """One transaction of several jobs.

    Args:
        session: where it runs.
        derivations: who keeps rows that follow from shared rows.
        jobs: a GroupRun tells which of them made it.
        defers: whether statements may wait for the next one. If not, one that fails is known to be its job's.
    """

    def __init__(self, session: WriteSession, derivations: Sequence[Derivation], jobs: list[Job], *, defers: bool) -> None:
        self._session = session
        self._dialect = session.dialect
        self._connection = session.connection
        self._derivations = derivations
        self._jobs = jobs
        self._defers = defers
        self._changes = Changes()

    def steps(self, take_along: Callable[[list[Job]], None]) -> Generator[None, None, GroupRun]:
        """Run it; who drives this may do something else at each step.

        Args:
            take_along: adds the jobs that came while the first statement waited for other processes.

        Raises:
            Lost: nothing of it is left in the database.
            Closed: the database is another one than this process serves; nothing was done.
        """
        try:
            state = self._begin()
            if self._defers and self._dialect.waits:
                take_along(self._jobs)
            self._session.cache.advance(msgspec.structs.replace(state, write_seq=state.write_seq - 1))
            for job in self._jobs:
                yield from self._run_job(job, state)
                yield
            run = self._finish(state)
        except self._dialect.driver_error as error:
            self._session.rollback()
            raise self._session.lost(error) from error
        except BaseException:
            self._session.rollback()
            raise
        if not run.survivors:
            self._session.rollback()
        return run

    def _begin(self) -> ZoneState:
        self._connection.defers = self._defers
        self._dialect.begin(self._connection)
        self._connection.later("UPDATE zone_state SET write_seq = write_seq + 1 WHERE id = 1", ())
        return self._session.read_state()

    def _finish(self, state: ZoneState) -> GroupRun:
        """Write the log for the jobs that made it, and see that nothing waits but COMMIT."""
        survivors = [job for job in self._jobs if job.error is None]
        if not survivors:
            return GroupRun(survivors, state, (), self._changes, None)
        self._session.require_transaction()  # or the log would be written outside of one
        commits, after, digests = group_log.write(self._session, survivors, state, self._changes.touched)
        self._connection.flush()  # not with COMMIT: that a row was not found is known only here
        return GroupRun(survivors, after, commits, self._changes, survivors[0].digests or digests)

    def _run_job(self, job: Job, state: ZoneState) -> Generator[None, None, None]:
        """Run one job in its savepoint; its failure stays its own, unless it has cost the transaction. One that is alone needs none."""
        connection = self._connection
        alone = len(self._jobs) == 1
        job.reset()
        if not alone:
            connection.later("SAVEPOINT job", ())
        try:
            if job.kind is SharedTx:
                self._run_shared(job, state)
            elif job.kind is ApplyTx:
                yield from self._run_apply(job, state)
            else:
                tx = ZoneTx(connection, state, self._session.cache, self._changes)
                job.value = job.run(tx)
                job.zone = tx.changed_state
        except Exception as error:
            if self._dialect.lost_transaction(connection):
                raise self._session.lost(error) from error
            if not alone:
                connection.execute("ROLLBACK TO job")
            job.error = UnavailableError(self._dialect.explain(error)) if isinstance(error, self._dialect.driver_error) else error
        if not alone:
            connection.later("RELEASE SAVEPOINT job", ())

    def _run_apply(self, job: Job, state: ZoneState) -> Generator[None, None, None]:
        tx = ApplyTx(self._connection, state, self._dialect, self._derivations, self._changes, self._session.digests_before(state))
        value = job.run(tx)
        job.value = (yield from value) if isinstance(value, Generator) else value
        job.digests = tx.left_digests
        job.zone = tx.changed_state

    def _run_shared(self, job: Job, state: ZoneState) -> None:
        if state.role == "slave":
            raise ActionError("This zone is a slave: it does not change shared data itself.")
        of_job = self._changes.of_job()
        tx = SharedTx(self._connection, state, self._session.cache, self._dialect, self._derivations, of_job)
        request = job.request
        if request is not None and request.request_id:
            known = outcome_of(tx, request.request_id)
            if known is not None:
                if known.request_hash != request.request_hash:
                    raise ReusedError
                job.value = msgspec.msgpack.decode(request.unseal(known.outcome) if request.unseal else known.outcome)
                job.repeated = known.head
                return
        job.value = job.run(tx)
        job.zone = tx.changed_state
        job.statements = tx.statements
        job.texts = tuple(render(change) for change in tx.statements)
        job.deltas = dict(tx.deltas)
        size = sum(len(text.encode()) for text in job.texts)
        if size > MAX_COMMIT_BYTES:
            raise InvalidError(f"This call changes {size} bytes at once; {MAX_COMMIT_BYTES} are the most. Split it.")
        self._changes.rows = of_job.rows

"""Run write jobs in groups: one transaction, a savepoint for each job, one COMMIT for all, then all are answered.

Path:     Database.write_* -> Writer.submit() -> run group -> COMMIT -> the callers' futures, then whoever listens.
Holds:    a failed job leaves nothing, not even a gap in the log: statements are numbered after the last savepoint. A transaction that an
          error has thrown away is run again, job by job. If COMMIT fails in doubt, the commit is looked up; what can't be found out is
          said to be unknown.
Threads:  a group is a generator. On SQLite the loop drives it, in slices of two milliseconds, and makes its COMMIT while the disk syncs
          within one; for a slower disk COMMIT goes to a thread. Elsewhere than on the loop jobs would fight the readers for the
          interpreter lock at each statement (docs/decisions/0003-writer-on-the-loop.md). On a server each statement waits for the
          network: there the writer's one thread runs the whole group, with a cache of rows of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog

from koinon import clock
from koinon.database import recent
from koinon.database.cache import Changes, Notes, RowCache
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.row_changes import Derivation, Different
from koinon.database.state import CommitNotice, LoggedCommit, ZoneState
from koinon.database.statement_log import outcome_of, write_log
from koinon.database.transactions import SET_DIGEST, ApplyTx, Overtaken, SharedTx, ZoneTx, read_state
from koinon.errors import ActionError, CloudError, DefectError, InvalidError, OutcomeUnknownError, ReusedError, UnavailableError
from koinon.statements import digest
from koinon.statements.chain import extend
from koinon.statements.commits import Commit, Head, Position
from koinon.statements.rendering import render
from koinon.statements.schema import MAX_COMMIT_BYTES, RowChange

T = TypeVar("T")
log = structlog.get_logger(__name__)

GROUP_SIZE: Final = 64
_SLICE_S: Final = 0.002
#: A disk that syncs faster than this on average may hold the loop; the hop to a thread and back costs more beside busy readers.
_FAST_COMMIT_S: Final = 0.001
_NEWEST_WEIGHT: Final = 0.1
#: One in so many commits is made on the loop though the disk was slow, to notice when it no longer is.
_PROBE_EVERY: Final = 128
_TRIES: Final = 3
_SPACE_CHECK_S: Final = 1.0
_DOUBT_PAUSE_S: Final = 0.1
#: A writer that signed its last group so many groups ago is thought to have ended.
_SIGNED_KEPT: Final = 100_000


class Request(msgspec.Struct, frozen=True):
    """A write that must happen once however often it is sent.

    Attributes:
        origin_zone: id of the zone where the caller made it.
        request_id: chosen at random by the sender; stored in the log.
        request_hash: 32 bytes, keyed by what only the sender knows; a repetition must match.
        seal: encrypts the outcome before it is stored, for outcomes that hold a secret.
        unseal: the reverse.
    """

    origin_zone: int
    request_id: str = ""
    request_hash: bytes = b""
    seal: Callable[[bytes], bytes] | None = None
    unseal: Callable[[bytes], bytes] | None = None


class Written(msgspec.Struct, Generic[T], frozen=True):
    """What a write answered.

    Attributes:
        value: the job's value, or the first outcome if ``repeated``.
        head: the position that holds the write; the present one if it changed nothing shared.
        repeated: the request was in the log already.
    """

    value: T
    head: Position
    repeated: bool = False


class _Job:
    """One waiting job, and what its last run left."""

    __slots__ = (
        "alone", "deltas", "digests", "error", "frees_space", "future", "head", "keeps_state", "kind", "repeated", "request", "run",
        "statements", "texts", "value", "what",
    )  # fmt: skip

    def __init__(self, kind: type[ZoneTx], what: str, run: Callable[[Any], Any], request: Request | None, frees_space: bool) -> None:
        self.kind = kind
        self.what = what
        self.run = run
        self.request = request
        self.frees_space = frees_space
        self.alone = kind is ApplyTx
        self.future: asyncio.Future[Written[Any]] = asyncio.get_running_loop().create_future()
        self.reset()

    @property
    def request_id(self) -> str:
        return self.request.request_id if self.request is not None else ""

    def groups_with(self, other: _Job, ids: set[str]) -> bool:
        """Whether ``other`` may join this job's group. One request twice in a group would not see its own first outcome."""
        return not self.alone and not other.alone and not (other.request_id and other.request_id in ids)

    def reset(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.statements: list[RowChange] = []
        self.texts: tuple[str, ...] = ()
        self.deltas: dict[str, int] = {}
        self.digests: Mapping[str, int] | None = None  # all that are stored once it is durable, if it says so
        self.keeps_state = self.kind is SharedTx  # what the zone is stays as it was: only its position and versions move
        self.head: Position | None = None
        self.repeated: Position | None = None


class _Lost(Exception):
    """The whole transaction is gone, through no fault of the job that was running."""


class _Unreachable(_Lost):
    """There is no session with the server, and none can be had now."""


class _Run(msgspec.Struct, frozen=True):
    """A group that has run and is not durable yet.

    Attributes:
        survivors: its jobs that made it; nothing is to be made durable without any.
        after: the state that it leaves.
        commits: what it adds to the log.
        changes: what it wrote.
    """

    survivors: list[_Job]
    after: ZoneState
    commits: tuple[LoggedCommit, ...]
    changes: Changes


class Writer:
    """The one place where this process writes.

    Args:
        dialect: the engine.
        derivations: who keeps rows that follow from shared rows.
        notes: where to tell the cache what changed.
        cache: rows that jobs may read from: the loop's, if they run there.
        reserve_bytes: refuse writes, but those that free space, when less than this is left on the disk.
        listener: is told of each durable group, on the event loop.
    """

    def __init__(
        self,
        dialect: Dialect,
        derivations: Sequence[Derivation],
        notes: Notes,
        cache: RowCache,
        *,
        reserve_bytes: int,
        listener: Callable[[CommitNotice], None],
    ) -> None:
        self._dialect = dialect
        self._derivations = derivations
        self._notes = notes
        self._cache = cache
        self._reserve_bytes = reserve_bytes
        self._listener = listener
        self._connection: Connection = dialect.writer()
        self._name = token_hex(16)
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._slice_began = 0.0
        self._sync_s = 0.0  # how long the disk takes, as a moving mean
        self._commits = 0
        self._space_checked_at = -_SPACE_CHECK_S
        self._space_left = True
        self._digests: dict[str, int] = {}  # of the shared tables, right while ``_digests_at`` is the database's write_seq
        self._digests_at = -1

    def start(self) -> None:
        """Begin to work; needs the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="writer")

    async def close(self) -> None:
        """Finish the jobs that wait, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()
        self._connection.close()

    async def submit(
        self, kind: type[ZoneTx], what: str, run: Callable[[Any], Any], request: Request | None = None, *, frees_space: bool = False
    ) -> Written[Any]:
        """Run a job in one of the next groups and wait until it is durable.

        Args:
            kind: ZoneTx, SharedTx, or ApplyTx (never grouped with others).
            what: for the log and for errors.
            run: does no I/O, may be run again; what it raises is raised here and leaves no trace in the database.
            request: for shared writes.
            frees_space: may run on a full disk.

        Raises:
            UnavailableError: the database can't write now (full disk, lock); nothing was changed.
            OutcomeUnknownError: COMMIT failed and it could not be found out whether it took effect.
        """
        if self._closing:
            raise UnavailableError("This zone is stopping. Try again in a moment.")
        job = _Job(kind, what, run, request, frees_space)
        self._waiting.append(job)
        self._wake.set()
        return await job.future

    async def _work(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            group = [self._waiting.popleft()]
            self._fill(group)
            self._slice_began = time.perf_counter()
            try:
                await self._run_to_end(group)
            except Exception as error:  # a fault of ours must not leave callers waiting for ever
                log.exception("write group failed", jobs=[job.what for job in group])
                for job in group:
                    self._fail(job, DefectError(f"The write could not be made ({type(error).__name__}). The server's log says why."))

    def _fill(self, group: list[_Job]) -> None:
        """Take along what waits and may be in the same group."""
        ids = {job.request_id for job in group}
        while self._waiting and len(group) < GROUP_SIZE and group[0].groups_with(self._waiting[0], ids):
            ids.add(self._waiting[0].request_id)
            group.append(self._waiting.popleft())

    async def _run_to_end(self, group: list[_Job]) -> None:
        """Run a group; if its transaction gets lost, run its jobs again one by one."""
        try:
            await self._run_group(group)
        except _Lost as lost:
            log.warning("transaction lost, jobs run again one by one", cause=str(lost), jobs=len(group))
            if self._dialect.waits:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._end_stalled)
            for at, job in enumerate(group):
                if isinstance(unreachable := await self._run_alone(job, lost), _Unreachable):
                    for other in group[at + 1 :]:  # they would only wait for the same
                        self._fail(other, UnavailableError(str(unreachable)))
                    return

    def _end_stalled(self) -> None:
        """If a process that is stopped holds what the transaction needed, let the jobs have it."""
        try:
            if ended := self._dialect.end_stalled():
                log.warning("ended sessions of processes that are stopped in the middle of a transaction", sessions=ended)
        except self._dialect.driver_error as error:
            log.debug("can't look for stalled sessions", error=self._dialect.explain(error))

    async def _run_alone(self, job: _Job, lost: _Lost) -> _Lost | None:
        """Run one job again; what lost it in the end, if it did not succeed."""
        for attempt in range(_TRIES):
            try:
                await self._run_group([job], defers=False)
            except _Lost as again:
                lost = again
                await asyncio.sleep(0.05 * 4**attempt)
            else:
                return None
        self._fail(job, UnavailableError(str(lost)))
        return lost

    async def _run_group(self, group: list[_Job], *, defers: bool = True) -> None:
        """Run a group and answer it; raises _Lost.

        Args:
            group: its jobs.
            defers: whether statements may wait for the next one. If not, one that fails is known to be its job's.
        """
        group = self._refuse_without_space(group)
        if not group:
            return
        if self._dialect.waits:
            run = await asyncio.get_running_loop().run_in_executor(self._thread, self._run_in_thread, group, defers)
        else:
            run = await self._in_slices(self._steps(group, defers))
            if run.survivors:
                self._prepare(run)
                try:
                    await self._sync()
                except self._dialect.driver_error as error:
                    self._settle(run, error)
                else:
                    self._cache.learn(run.after, run.changes.rows)
        self._keep_digests(run)
        self._answer(group, run)
        if any(job.error is None for job in run.survivors):
            self._listener(CommitNotice(run.after, run.commits, frozenset(run.changes.touched)))

    def _run_in_thread(self, group: list[_Job], defers: bool) -> _Run:
        """Run a group from BEGIN to COMMIT without the loop."""
        if self._dialect.is_gone(self._connection):
            self._connect_anew()
        steps = self._steps(group, defers)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                run: _Run = end.value
                break
        if run.survivors:
            self._prepare(run)
            try:
                self._connection.execute("COMMIT")
            except self._dialect.driver_error as error:
                self._settle(run, error)
            else:
                self._cache.learn(run.after, run.changes.rows)
        return run

    def _connect_anew(self) -> None:
        """Get another session; what was remembered from the last one may not be true of the server that answers now."""
        self._connection.close()
        self._cache.forget()
        self._digests_at = -1
        try:
            self._connection = self._dialect.writer()
        except self._dialect.driver_error as error:
            raise _Unreachable(self._dialect.explain(error)) from error
        except UnavailableError as error:
            raise _Unreachable(error.text) from error

    def _steps(self, group: list[_Job], defers: bool) -> Generator[None, None, _Run]:
        """Run a group up to its COMMIT; who drives this may do something else at each step."""
        connection = self._connection
        connection.defers = defers
        try:
            self._dialect.begin(connection)
            connection.later("UPDATE zone_state SET write_seq = write_seq + 1 WHERE id = 1", ())
            state = read_state(connection)
        except self._dialect.driver_error as error:
            self._dialect.rollback(connection)
            raise _Lost(self._dialect.explain(error)) from error
        if defers and self._dialect.waits:
            self._fill(group)  # with what came while this process waited for its turn
        self._cache.advance(msgspec.structs.replace(state, write_seq=state.write_seq - 1))
        changes = Changes()
        try:
            for job in group:
                yield from self._run_job(job, state, changes, alone=len(group) == 1)
                yield
            survivors = [job for job in group if job.error is None]
            commits: tuple[LoggedCommit, ...] = ()
            after = state
            if survivors:
                self._require_transaction()  # or the log would be written outside of one
                if not any(job.statements for job in survivors):
                    self._sign(state.write_seq)
                commits, after = self._log_survivors(survivors, state, changes.touched)
                connection.flush()  # not with COMMIT: that a row was not found is known only here
        except self._dialect.driver_error as error:
            self._dialect.rollback(connection)
            raise _Lost(self._dialect.explain(error)) from error
        except BaseException:
            self._dialect.rollback(connection)
            raise
        if not survivors:
            self._dialect.rollback(connection)
        return _Run(survivors, after, commits, changes)

    def _run_job(self, job: _Job, state: ZoneState, changes: Changes, *, alone: bool) -> Generator[None, None, None]:
        """Run one job in its savepoint; its failure stays its own, unless it has cost the transaction. One that is alone needs none."""
        connection = self._connection
        job.reset()
        if not alone:
            connection.later("SAVEPOINT job", ())
        try:
            if job.kind is SharedTx:
                self._run_shared(job, state, changes)
            elif job.kind is ApplyTx:
                tx = ApplyTx(connection, state, self._dialect, self._derivations, changes, self._known_digests(state))
                value = job.run(tx)
                job.value = (yield from value) if isinstance(value, Generator) else value
                job.digests = tx.left_digests
            else:
                job.value = job.run(ZoneTx(connection, state, self._cache, changes))
        except Exception as error:
            if self._dialect.lost_transaction(connection):
                raise _Lost(self._dialect.explain(error)) from error
            if not alone:
                connection.execute("ROLLBACK TO job")
            known = isinstance(error, CloudError | Different | Overtaken) or not isinstance(error, self._dialect.driver_error)
            job.error = error if known else UnavailableError(self._dialect.explain(error))
        if not alone:
            connection.later("RELEASE SAVEPOINT job", ())

    async def _in_slices(self, steps: Generator[None, None, _Run]) -> _Run:
        """Drive a group on the loop, and let readers have it once a slice is used up."""
        try:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    run: _Run = end.value
                    return run
                if time.perf_counter() - self._slice_began > _SLICE_S:
                    await asyncio.sleep(0)
                    self._slice_began = time.perf_counter()
        finally:
            steps.close()

    def _run_shared(self, job: _Job, state: ZoneState, changes: Changes) -> None:
        if state.role == "slave":
            raise ActionError("This zone is a slave: it does not change shared data itself.")
        of_job = changes.of_job()
        tx = SharedTx(self._connection, state, self._cache, self._dialect, self._derivations, of_job)
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
        job.keeps_state = tx.state is state
        job.statements = tx.statements
        job.texts = tuple(render(change) for change in tx.statements)
        job.deltas = dict(tx.deltas)
        size = sum(len(text.encode()) for text in job.texts)
        if size > MAX_COMMIT_BYTES:
            raise InvalidError(f"This call changes {size} bytes at once; {MAX_COMMIT_BYTES} are the most. Split it.")
        changes.rows = of_job.rows

    def _log_survivors(
        self, survivors: list[_Job], state: ZoneState, touched: set[tuple[str, int]]
    ) -> tuple[tuple[LoggedCommit, ...], ZoneState]:
        """Number the statements of the jobs that made it, and write the log, the digests and the zone's new position.

        Returns:
            The commits, and the state that this leaves.
        """
        head = state.head
        commits = []
        writing = [job for job in survivors if job.statements]
        tx = ZoneTx(self._connection, state, None, Changes())
        changes = {f"v_{table} = write_seq" for table, _ in touched}
        values: tuple[Any, ...] = ()
        if writing:
            digests = self._present_digests(tx, state)
            for job in writing:
                logged = self._make_commit(job, state, head, digests)
                head = Head(Position(state.epoch, logged.commit.last_idx), logged.chain)
                commits.append(logged)
            write_log(tx, commits)
            changed = {table for job in writing for table in job.deltas}
            tx.later(SET_DIGEST, *[(digest.to_bytes(digests[table]), table) for table in changed])
            values = (head.position.index, head.chain)
        noted = recent.extended(state.recent, state.write_seq, touched) if self._dialect.shared and touched else state.recent
        if noted is not state.recent:
            values = (noted, *values)
        if writing or touched:
            assignments = [
                *(("recent = ?",) if noted is not state.recent else ()),
                *(("position = ?", "chain = ?") if writing else ()),
                *sorted(changes),
            ]
            tx.later(f"UPDATE zone_state SET {', '.join(assignments)} WHERE id = 1", values)
        known = all(job.keeps_state for job in survivors)
        return tuple(commits), _after(state, head, touched, noted) if known else read_state(self._connection)

    def _known_digests(self, state: ZoneState) -> dict[str, int] | None:
        """The digests before this group, if this writer's own last group left them."""
        return self._digests if self._digests_at == state.write_seq - 1 else None

    def _present_digests(self, tx: ZoneTx, state: ZoneState) -> dict[str, int]:
        """The digests before this group, to be changed in place."""
        known = self._known_digests(state)
        self._digests_at = -1  # until the group is durable
        self._digests = {table: digest.from_bytes(value) for table, value in tx.digests().items()} if known is None else known
        return self._digests

    def _keep_digests(self, run: _Run) -> None:
        """Remember the digests that a group has left, if it is durable and said which."""
        if not run.survivors or any(job.error for job in run.survivors):
            return
        applied = run.survivors[0].digests
        if applied is not None:
            self._digests = dict(applied)
        if run.commits or applied is not None:
            self._digests_at = run.after.write_seq

    @staticmethod
    def _make_commit(job: _Job, state: ZoneState, head: Head, digests: dict[str, int]) -> LoggedCommit:
        request = job.request or Request(state.zone_id)
        for table, delta in job.deltas.items():
            digests[table] = digest.add(digests[table], digest.to_bytes(delta))
        outcome = b""
        if request.request_id:
            outcome = msgspec.msgpack.encode(job.value)
            if request.seal is not None:
                outcome = request.seal(outcome)
        commit = Commit(
            commit_id=token_hex(16),
            epoch=state.epoch,
            first_idx=head.position.index + 1,
            origin_zone=request.origin_zone,
            request_id=request.request_id,
            request_hash=request.request_hash,
            outcome=outcome,
            digests={table: digest.to_bytes(digests[table]) for table in job.deltas},
            committed_at_ms=clock.now_ms(),
            changes=tuple(job.statements),
        )
        job.head = Position(commit.epoch, commit.last_idx)
        return LoggedCommit(commit, job.texts, extend(head.chain, commit, job.texts))

    def _sign(self, write_seq: int) -> None:
        """Let a group be known again that is not in the log, should its COMMIT fail in doubt."""
        connection = self._connection
        connection.later("DELETE FROM signed_group WHERE writer = ? OR write_seq < ?", (self._name, write_seq - _SIGNED_KEPT))
        connection.later("INSERT INTO signed_group (writer, write_seq) VALUES (?, ?)", (self._name, write_seq))

    def _require_transaction(self) -> None:
        if not self._dialect.in_transaction(self._connection):
            self._dialect.rollback(self._connection)
            raise _Lost("the database dropped the transaction before COMMIT")

    def _prepare(self, run: _Run) -> None:
        """Make sure that COMMIT would make this group durable, and tell the cache what it changes; raises _Lost."""
        self._require_transaction()
        self._notes.leave(run.after.write_seq, frozenset(run.changes.touched))

    def _settle(self, run: _Run, error: Exception) -> None:
        """COMMIT has failed: find out whether the group is durable all the same; raises _Lost if it certainly is not."""
        self._dialect.rollback(self._connection)
        durable = self._look_up(run) if self._dialect.commit_in_doubt(self._connection) else False
        if durable is False:
            self._notes.take_back(run.after.write_seq)
            raise _Lost(self._dialect.explain(error)) from error
        log.error("commit failed in doubt", durable=durable, cause=str(error))
        if durable is None:
            for job in run.survivors:
                job.error = OutcomeUnknownError(
                    f"Outcome unknown: the database failed while it made the change durable ({error}). Look before you try again."
                )

    async def _sync(self) -> None:
        """COMMIT, on the loop if the disk is fast, in a thread if not."""
        self._commits += 1
        if self._sync_s > _FAST_COMMIT_S and self._commits % _PROBE_EVERY:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.execute, "COMMIT")
            return
        began = time.perf_counter()
        self._connection.execute("COMMIT")
        self._sync_s += _NEWEST_WEIGHT * (time.perf_counter() - began - self._sync_s)

    def _look_up(self, run: _Run) -> bool | None:
        """Whether a group whose COMMIT failed is in the database after all; None if the database does not say."""
        deadline = time.monotonic() + self._dialect.doubt_patience_s
        while True:
            try:
                connection = self._dialect.writer()
                try:
                    self._dialect.await_own_end(connection)
                    sql, ours = self._mark_of(run)
                    return connection.execute(sql, ours).fetchone() is not None
                finally:
                    self._dialect.rollback(connection)
                    connection.close()
            except (self._dialect.driver_error, UnavailableError):
                if time.monotonic() > deadline:
                    return None
            time.sleep(_DOUBT_PAUSE_S)

    def _mark_of(self, run: _Run) -> tuple[str, tuple[int | str, ...]]:
        """A query that finds what no other group leaves, whoever has written since."""
        if run.commits:
            first = run.commits[0].commit
            return "SELECT 1 FROM federation_commit WHERE last_idx = ? AND commit_id = ?", (first.last_idx, first.commit_id)
        return "SELECT 1 FROM signed_group WHERE writer = ? AND write_seq = ?", (self._name, run.after.write_seq)

    def _answer(self, group: list[_Job], run: _Run) -> None:
        for job in group:
            if job.future.done():  # the caller has gone away
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                head = job.repeated or job.head or run.after.head.position
                job.future.set_result(Written(job.value, head, job.repeated is not None))

    @staticmethod
    def _fail(job: _Job, error: CloudError) -> None:
        if not job.future.done():
            job.future.set_exception(error)

    def _refuse_without_space(self, group: list[_Job]) -> list[_Job]:
        now = time.monotonic()
        if now - self._space_checked_at > _SPACE_CHECK_S:
            self._space_checked_at = now
            free = self._dialect.free_bytes()
            self._space_left = free is None or free >= self._reserve_bytes
        if self._space_left:
            return group
        for job in group:
            if not job.frees_space:
                self._fail(job, UnavailableError(
                    f"Less than {self._reserve_bytes >> 20} MiB are left on the disk of the database. Writes are refused until space is "
                    "freed there; reads go on. Nothing was changed."
                ))  # fmt: skip
        return [job for job in group if job.frees_space]


def _after(state: ZoneState, head: Head, touched: set[tuple[str, int]], noted: bytes) -> ZoneState:
    """The state that a group leaves which moved nothing but the position and the versions of tables."""
    versions = {**state.versions, **{table: state.write_seq for table, _ in touched}}
    return msgspec.structs.replace(state, position=head.position.index, chain=head.chain, versions=versions, recent=noted)

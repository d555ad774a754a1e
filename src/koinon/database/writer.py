"""Run write jobs in groups: one transaction, a savepoint for each job, one COMMIT for all, then all are answered.

Path:     Database.write_* -> Writer.submit() -> jobs.py -> group_drivers.py -> the callers' futures, then whoever listens.
Holds:    a transaction that an error has thrown away is run again, job by job. Each job is answered once, whatever happens, also while a
          server holds its group up.
Not here: what is in a group's transaction (write_group.py), on which thread it runs (group_drivers.py), a COMMIT that fails (commit.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from koinon.database.cache import Notes, RowCache
from koinon.database.closed import Closed
from koinon.database.dialects.protocol import Dialect
from koinon.database.fence import Fence
from koinon.database.group_drivers import Driver, InThread, OnLoop
from koinon.database.jobs import Job, Queue, Request, Written
from koinon.database.row_changes import Derivation
from koinon.database.state import CommitNotice
from koinon.database.transactions import ZoneTx
from koinon.database.write_session import Full, Lost, Unreachable, WriteSession
from koinon.errors import DefectError, OutcomeUnknownError, UnavailableError

log = structlog.get_logger(__name__)

_TRIES: Final = 3
_SPACE_CHECK_S: Final = 1.0
#: A group whose transaction was lost gives up so long after that: what fails its jobs one by one would fail the rest as well.
_AGAIN_PATIENCE_S: Final = 5.0
#: A server is asked what holds a group up that takes so long: more than a lock is waited for. And how often.
_HELD_UP_AFTER_S: Final = 3.0
_HELD_UP_EVERY_S: Final = 1.0


class Writer:
    """The one place where this process writes.

    Args:
        dialect: the engine.
        fence: see there.
        derivations: who keeps rows that follow from shared rows.
        notes: where to tell the cache what changed.
        cache: rows that jobs may read from: the loop's, if they run there.
        reserve_bytes: refuse writes, but those that free space, when less than this is left on the disk.
        listener: is told of each durable group, on the event loop.

    Attributes:
        held_up: what the server lets no write end for, when it was last asked; empty since one has ended.
    """

    def __init__(
        self,
        dialect: Dialect,
        fence: Fence,
        derivations: Sequence[Derivation],
        notes: Notes,
        cache: RowCache,
        *,
        reserve_bytes: int,
        listener: Callable[[CommitNotice], None],
    ) -> None:
        self._dialect = dialect
        self._fence = fence
        self._reserve_bytes = reserve_bytes
        self._listener = listener
        self._queue = Queue()
        self._session = WriteSession(dialect, fence, notes, cache)
        self._driver: Driver = (InThread if dialect.waits else OnLoop)(self._session, derivations, self._queue.fill)
        self._task: asyncio.Task[None] | None = None
        self._lookout: asyncio.Task[None] | None = None
        self._running: list[Job] = []  # the group at work, and since when
        self._running_since = 0.0
        self.held_up = ""
        self._space_checked_at = -_SPACE_CHECK_S
        self._space_left = True

    def start(self) -> None:
        """Begin to work; needs the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="writer")
        if self._dialect.waits:
            self._lookout = asyncio.get_running_loop().create_task(self._look_out(), name="writer's lookout")

    async def close(self) -> None:
        """Finish the jobs that wait, then stop."""
        self._queue.close()
        if self._task is not None:
            await self._task
        if self._lookout is not None:
            self._lookout.cancel()
        self._driver.close()
        self._session.close()

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
        if self._queue.closed:
            raise UnavailableError("This zone is stopping. Try again in a moment.")
        job = Job(kind, what, run, request, frees_space)
        self._queue.put(job)
        return await job.future

    async def _work(self) -> None:
        while group := await self._queue.next_group():
            self._running, self._running_since = group, time.monotonic()
            try:
                await self._run_to_end(group)
            except Closed as closed:
                for job in group:
                    job.fail(closed)
            except Exception as error:  # a fault of ours must not leave callers waiting for ever
                log.exception("write group failed", jobs=[job.what for job in group])
                for job in group:
                    job.fail(DefectError(f"The write could not be made ({type(error).__name__}). The server's log says why."))
            finally:
                self._running = []

    async def _look_out(self) -> None:
        """Answer those whose writes a server holds up, if it says what for: it may do so for hours."""
        while True:
            await asyncio.sleep(_HELD_UP_EVERY_S)
            group = self._running
            if not group or time.monotonic() - self._running_since < _HELD_UP_AFTER_S:
                continue
            why = await asyncio.to_thread(self._ask_what_holds_up)
            if not why or group is not self._running:
                continue
            if not self.held_up:
                log.warning("the database lets no write end", cause=why)
            self.held_up = why
            for job in self._queue.give_up():
                job.fail(UnavailableError(f"{why} Nothing was changed."))
            for job in tuple(group):
                job.fail(OutcomeUnknownError(f"Outcome unknown: {why} Look before you try again."))

    def _ask_what_holds_up(self) -> str:
        try:
            return self._dialect.held_up()
        except (self._dialect.driver_error, UnavailableError) as error:
            log.debug("can't ask what holds writes up", error=str(error))
            return ""

    async def _run_to_end(self, group: list[Job]) -> None:
        """Run a group; if its transaction gets lost, run its jobs again one by one."""
        try:
            await self._run(group)
        except Lost as lost:
            self._fence.require()
            log.warning("transaction lost, jobs run again one by one", cause=str(lost), jobs=len(group))
            self._session.distrust_state()
            if self._dialect.waits and not isinstance(lost, Unreachable):
                await self._driver.aside(self._end_stalled)
                self.held_up = await asyncio.to_thread(self._ask_what_holds_up)
                if self.held_up:
                    for job in group:
                        job.fail(UnavailableError(f"{self.held_up} Nothing was changed."))
                    return
            give_up_at = time.monotonic() + _AGAIN_PATIENCE_S
            for at, job in enumerate(group):
                lost_again = await self._run_alone(job, lost)
                if isinstance(lost_again, Unreachable) or (lost_again is not None and time.monotonic() > give_up_at):
                    for other in group[at + 1 :]:  # they would only wait for the same
                        other.fail(UnavailableError(str(lost_again)))
                    return

    def _end_stalled(self) -> None:
        """If a process that is stopped holds what the transaction needed, let the jobs have it."""
        try:
            if ended := self._dialect.end_stalled():
                log.warning("ended sessions of processes that are stopped in the middle of a transaction", sessions=ended)
        except self._dialect.driver_error as error:
            log.debug("can't look for stalled sessions", error=self._dialect.explain(error))

    async def _run_alone(self, job: Job, lost: Lost) -> Lost | None:
        """Run one job again; what lost it in the end, if it did not succeed."""
        for attempt in range(_TRIES):
            try:
                await self._run([job], defers=False)
            except Full as full:
                lost = full
                break
            except Lost as again:
                lost = again
                await asyncio.sleep(0.05 * 4**attempt)
            else:
                return None
        job.fail(UnavailableError(str(lost)))
        return lost

    async def _run(self, group: list[Job], *, defers: bool = True) -> None:
        """Run a group once and answer it.

        Args:
            group: its jobs; those that came while it waited for its turn are in it afterwards.
            defers: see ``WriteGroup``.

        Raises:
            Lost: nothing of it is left in the database.
            Closed: this process may write there no more.
        """
        self._fence.require()
        self._refuse_without_space(group)
        if not group:
            return
        run = await self._driver.run(group, defers=defers)
        for job in group:
            job.answer(run.after.head.position)
        if any(job.error is None for job in run.survivors):
            self.held_up = ""
            self._listener(CommitNotice(run.after, run.commits, frozenset(run.changes.touched)))

    def _refuse_without_space(self, group: list[Job]) -> None:
        """Refuse what is not to be written to a disk that is nearly full, and take it out of the group."""
        now = time.monotonic()
        if now - self._space_checked_at > _SPACE_CHECK_S:
            self._space_checked_at = now
            free = self._dialect.free_bytes()
            self._space_left = free is None or free >= self._reserve_bytes
        if self._space_left:
            return
        for job in group:
            if not job.frees_space:
                job.fail(UnavailableError(
                    f"Less than {self._reserve_bytes >> 20} MiB are left on the disk of the database. Writes are refused until space is "
                    "freed there; reads go on. Nothing was changed."
                ))  # fmt: skip
        group[:] = [job for job in group if job.frees_space]

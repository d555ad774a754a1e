"""Where a write group runs: on the event loop, or in a thread beside it. Both drive the same steps.

Path:     writer.py -> run() -> write_group.py, step by step -> commit.py
Holds:    one group at a time; the session is never used by two threads at once.
Why:      on SQLite statements touch memory: elsewhere than on the loop jobs would fight the readers for the interpreter lock at each of
          them (docs/decisions/0003-writer-on-the-loop.md). On a server each waits for the network.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from koinon.database import commit
from koinon.database.jobs import Job
from koinon.database.row_changes import Derivation
from koinon.database.write_group import GroupRun, WriteGroup
from koinon.database.write_session import WriteSession

_SLICE_S: Final = 0.002
#: A disk that syncs faster than this on average may hold the loop; the hop to a thread and back costs more beside busy readers.
_FAST_COMMIT_S: Final = 0.001
_NEWEST_WEIGHT: Final = 0.1
#: One in so many commits is made on the loop though the disk was slow, to notice when it no longer is.
_PROBE_EVERY: Final = 128


class Driver(Protocol):
    """What runs groups, one after the other."""

    async def run(self, group: list[Job], *, defers: bool) -> GroupRun:
        """Run a group and make it durable.

        Args:
            group: its jobs; it may get more while it waits for its turn.
            defers: see ``WriteGroup``.

        Raises:
            Lost: nothing of it is left in the database.
        """

    async def aside(self, work: Callable[[], None]) -> None:
        """Do something that blocks, between two groups."""

    def close(self) -> None: ...


class _Driver:
    def __init__(self, session: WriteSession, derivations: Sequence[Derivation], take_along: Callable[[list[Job]], None]) -> None:
        """Say what the groups share.

        Args:
            session: where they run.
            derivations: who keeps rows that follow from shared rows.
            take_along: see ``WriteGroup.steps``.
        """
        self._session = session
        self._derivations = derivations
        self._take_along = take_along
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")

    async def aside(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        self._thread.shutdown()


class InThread(_Driver):
    """The writer's one thread runs a whole group, with a cache of rows of its own."""

    async def run(self, group: list[Job], *, defers: bool) -> GroupRun:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, group, defers)

    def _run(self, group: list[Job], defers: bool) -> GroupRun:
        session = self._session
        session.renew_if_gone()
        steps = WriteGroup(session, self._derivations, group, defers=defers).steps(self._take_along)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                run: GroupRun = end.value
                break
        if run.survivors:
            commit.prepare(session, run)
            try:
                session.connection.execute("COMMIT")
            except session.dialect.driver_error as error:
                commit.failed(session, run, error)
            else:
                commit.done(session, run)
        return run


class OnLoop(_Driver):
    """The loop runs a group in slices of two milliseconds, and makes its COMMIT while the disk syncs within one; else a thread does."""

    _sync_s = 0.0  # how long the disk takes, as a moving mean
    _commits = 0

    async def run(self, group: list[Job], *, defers: bool) -> GroupRun:
        session = self._session
        run = await self._in_slices(WriteGroup(session, self._derivations, group, defers=defers))
        if run.survivors:
            commit.prepare(session, run)
            try:
                await self._sync()
            except session.dialect.driver_error as error:
                commit.failed(session, run, error)
            else:
                commit.done(session, run)
        return run

    async def _in_slices(self, group: WriteGroup) -> GroupRun:
        """Run it up to COMMIT, and let readers have the loop once a slice is used up."""
        steps = group.steps(self._take_along)
        began = time.perf_counter()
        try:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    run: GroupRun = end.value
                    return run
                if time.perf_counter() - began > _SLICE_S:
                    await asyncio.sleep(0)
                    began = time.perf_counter()
        finally:
            steps.close()

    async def _sync(self) -> None:
        self._commits += 1
        if self._sync_s > _FAST_COMMIT_S and self._commits % _PROBE_EVERY:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._session.connection.execute, "COMMIT")
            return
        began = time.perf_counter()
        self._session.connection.execute("COMMIT")
        self._sync_s += _NEWEST_WEIGHT * (time.perf_counter() - began - self._sync_s)

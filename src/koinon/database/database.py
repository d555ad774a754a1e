"""One zone's database: hands out the kinds of transaction, and tells who listens what was committed.

Path:     api and federation -> read()/write_*()/apply() -> transactions.py, writer.py
Holds:    all methods are called on the event loop's thread; only ``read_in_thread`` leaves it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import structlog

from koinon.database import migrations
from koinon.database.cache import Notes, RowCache
from koinon.database.dialects.sqlite import SQLite
from koinon.database.row_changes import Derivation
from koinon.database.state import CommitNotice, ZoneState
from koinon.database.transactions import ApplyTx, ReadTx, SharedTx, ZoneTx, newest_state, read_state
from koinon.database.writer import Request, Writer, Written
from koinon.errors import UnavailableError

T = TypeVar("T")

_READ_THREADS: Final = 2
_TIDY_EVERY_S: Final = 0.25
log = structlog.get_logger(__name__)


class Database:
    """The open database of this zone. Use ``open``; then ``start`` in the running loop.

    Args:
        dialect: engine and place.
        derivations: who keeps rows that follow from shared rows.
        reserve_bytes: see Writer.
    """

    def __init__(self, dialect: SQLite, derivations: Sequence[Derivation], reserve_bytes: int) -> None:
        self._dialect = dialect
        notes = Notes()
        self._cache = RowCache(notes)
        self._reader = dialect.reader()
        self._state = read_state(self._reader)
        self._threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read")
        self._listeners: list[Callable[[CommitNotice], None]] = []
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._tidying: asyncio.Task[None] | None = None
        self._writer = Writer(dialect, derivations, notes, self._cache, reserve_bytes=reserve_bytes, listener=self._committed)

    @classmethod
    def open(cls, path: Path, *, derivations: Sequence[Derivation] = (), reserve_bytes: int = 0) -> Database:
        """Open a SQLite database, bring its schema up to date, and claim it for this process.

        Raises:
            UnavailableError: another process serves it, it is newer than this program, or it can't be opened.
        """
        dialect = SQLite(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            dialect.claim()
            connection = dialect.writer()
            found = migrations.version(connection)
            connection.close()
            if found > migrations.HEAD:
                dialect.release()
                raise UnavailableError(
                    f"{path} was written by a newer koinon (schema {found}, this one knows {migrations.HEAD}). Upgrade koinon."
                )
            if found != migrations.HEAD:
                migrations.upgrade(dialect.url)
            return cls(dialect, derivations, reserve_bytes)
        except (dialect.driver_error, OSError) as error:
            dialect.release()
            raise UnavailableError(f"The database {path} can't be opened: {error}.") from error

    def start(self) -> None:
        """Let the writer begin; needs the running loop."""
        self._writer.start()
        self._tidying = asyncio.get_running_loop().create_task(self._keep_tidy(), name="tidy")

    async def close(self) -> None:
        """Finish waiting writes, then let go of the database."""
        if self._tidying is not None:
            self._tidying.cancel()
        await self._writer.close()
        self._threads.shutdown()
        self._reader.close()
        self._dialect.release()

    def state(self) -> ZoneState:
        """The newest committed state that this process knows of."""
        return self._state

    def read(self) -> ReadTx:
        """A short read, inline on the loop, for a ``with``: cached rows, checked against the database's present state."""
        state = newest_state(self._reader, self._cache.state)
        self._cache.advance(state)
        return ReadTx(self._reader, state, self._cache)

    async def read_in_thread(self, job: Callable[[ReadTx], T]) -> T:
        """A long read in a thread: its own connection, one snapshot for all of its queries, no cache."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_snapshot, job)

    def _read_snapshot(self, job: Callable[[ReadTx], T]) -> T:
        connection = self._dialect.reader()
        try:
            self._dialect.begin_snapshot(connection)
            return job(ReadTx(connection, read_state(connection), None))
        finally:
            connection.close()

    async def write_zone(self, what: str, job: Callable[[ZoneTx], T], *, frees_space: bool = False) -> T:
        """Write this zone's own tables. See ``Writer.submit`` for what a job may do and what is raised."""
        value: T = (await self._writer.submit(ZoneTx, what, job, frees_space=frees_space)).value
        return value

    async def write_shared(self, what: str, job: Callable[[SharedTx], T], *, request: Request | None = None) -> Written[T]:
        """Write shared tables, and so the log. Only on a master or a standalone zone."""
        return await self._writer.submit(SharedTx, what, job, request)

    async def apply(self, what: str, job: Callable[[ApplyTx], T | Generator[None, None, T]]) -> T:
        """Take over what the master's log or snapshot says, in a transaction of its own. A long job is a generator."""
        value: T = (await self._writer.submit(ApplyTx, what, job)).value
        return value

    async def reached(self, index: int, timeout_s: float) -> bool:
        """Wait until this zone's position is at least ``index``.

        Returns:
            False if it was not within ``timeout_s`` seconds.
        """
        if self._state.position >= index:
            return True
        arrived = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (index, next(self._order), arrived))
        try:
            await asyncio.wait_for(arrived, timeout_s)
        except TimeoutError:
            return False
        return True

    async def _keep_tidy(self) -> None:
        """Do the database's own housekeeping while there are writes, off the loop."""
        seen = self._state.write_seq
        while True:
            await asyncio.sleep(_TIDY_EVERY_S)
            if self._state.write_seq != seen:
                seen = self._state.write_seq
                try:
                    await asyncio.get_running_loop().run_in_executor(self._threads, self._dialect.tidy)
                except self._dialect.driver_error as error:
                    log.warning("housekeeping of the database failed, will retry", error=self._dialect.explain(error))

    def on_commit(self, hear: Callable[[CommitNotice], None]) -> Callable[[], None]:
        """Call ``hear`` on the loop after each durable write group.

        Returns:
            A function that ends it.
        """
        self._listeners.append(hear)
        return lambda: self._listeners.remove(hear)

    def _committed(self, notice: CommitNotice) -> None:
        self._state = notice.state
        while self._waiting and self._waiting[0][0] <= notice.state.position:
            arrived = heapq.heappop(self._waiting)[2]
            if not arrived.done():
                arrived.set_result(None)
        for hear in tuple(self._listeners):
            hear(notice)

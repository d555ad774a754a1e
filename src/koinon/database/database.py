"""One zone's database: hands out the kinds of transaction, and tells who listens what was committed.

Path:     api and federation -> read()/write_*()/apply() -> transactions.py, writer.py
Holds:    all methods are called on the event loop's thread; only ``read_in_thread`` leaves it. When a server is away, reads and writes
          fail plainly at once, and a new session is sought beside the loop. Once the database was closed or replaced, they fail for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from koinon.database import migrations, recent
from koinon.database.cache import Notes, RowCache
from koinon.database.closed import Closed, require_open
from koinon.database.dialects import choose
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.dialects.queries import Table
from koinon.database.fence import Fence
from koinon.database.jobs import Request, Written
from koinon.database.lease import Lease
from koinon.database.row_changes import Derivation
from koinon.database.state import CommitNotice, ZoneState
from koinon.database.transactions import ApplyTx, ReadTx, SharedTx, ZoneTx, read_state
from koinon.database.watch import Watch, process_name
from koinon.database.writer import Writer
from koinon.errors import ActionError, UnavailableError

T = TypeVar("T")

QUERY_S: Final = 10.0
QUERY_MIB: Final = 16
_READ_THREADS: Final = 2
_TIDY_EVERY_S: Final = 0.25
#: A write that finds no row: what takes no writes says so at the start.
_WRITE: Final = "UPDATE zone_state SET write_seq = write_seq WHERE 1 = 0"
log = structlog.get_logger(__name__)


class _ShortRead(ReadTx):
    """A read whose driver errors come out of its ``with`` as ours."""

    def __init__(
        self,
        connection: Connection,
        state: ZoneState,
        cache: RowCache,
        driver_error: type[Exception],
        failed: Callable[[Exception], UnavailableError],
    ) -> None:
        super().__init__(connection, state, cache)
        self._driver_error = driver_error
        self._failed = failed

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None and isinstance(error, self._driver_error):
            raise self._failed(error) from error


def _settle(arrived: asyncio.Future[bool], value: bool) -> None:
    if not arrived.done():  # given up, or its caller has gone
        arrived.set_result(value)


class Database:
    """The open database of this zone. Use ``open``; then ``start`` in the running loop.

    Args:
        dialect: engine and place.
        fence: see there.
        derivations: who keeps rows that follow from shared rows.
        reserve_bytes: see Writer.
        hints: see ``Hints``.

    Attributes:
        asks: whether a read of the present state has to ask a server.
        lease: which process does the work that only one should do.
    """

    def __init__(self, dialect: Dialect, fence: Fence, derivations: Sequence[Derivation], reserve_bytes: int, hints: Path | None) -> None:
        self._dialect = dialect
        self._fence = fence
        self._notes = Notes()
        self._cache = RowCache(self._notes)
        self._reader = fence.session(dialect.reader)
        self._reader_lost = ""  # why there is none now
        self._idle: list[Connection] = []  # readers for threads
        self._state = fence.newest(self._reader)
        self._untold = self._state  # the newest that was seen to be the writer's own
        self._threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read")
        self._listeners: list[Callable[[CommitNotice], None]] = []
        self._closed_listeners: list[Callable[[], None]] = []
        self._looks = 0
        self.asks = dialect.waits
        self._waiting: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._order = count()
        self._tidying: asyncio.Task[None] | None = None
        cache = RowCache(self._notes) if dialect.waits else self._cache
        self._writer = Writer(dialect, fence, derivations, self._notes, cache, reserve_bytes=reserve_bytes, listener=self._committed)
        self.lease = Lease(alone=not dialect.shared)
        self._watch = Watch(dialect, fence, self.lease, self._others_committed, hints) if dialect.shared else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        accept: Collection[str] = (),
        derivations: Sequence[Derivation] = (),
        reserve_bytes: int = 0,
        hints: Path | None = None,
    ) -> Database:
        """Open a database, bring its schema up to date, and on SQLite claim it for this process.

        Args:
            url: see ``dialects.choose``.
            accept: see there.
            derivations: see the class.
            reserve_bytes: see Writer.
            hints: see ``Hints``.

        Raises:
            UnavailableError: another process serves it, it is newer than this program, it can't be opened, or is not fit.
        """
        dialect = choose(url, accepted=accept)
        try:
            dialect.claim()
            fence = Fence(dialect, _make_ready(dialect))
            return cls(dialect, fence, derivations, reserve_bytes, hints)
        except (dialect.driver_error, OSError) as error:
            dialect.release()
            raise UnavailableError(f"The database can't be opened. {dialect.explain(error, serving=False)}") from error
        except BaseException:
            dialect.release()
            raise

    def start(self) -> None:
        """Let the writer and the watch begin; needs the running loop."""
        self._writer.start()
        if self._watch is not None:
            self._watch.start()
        self._tidying = asyncio.get_running_loop().create_task(self._keep_tidy(), name="tidy")

    async def close(self) -> None:
        """Finish waiting writes, then let go of the database."""
        if self._tidying is not None:
            self._tidying.cancel()
        self.lease.close()
        await self._writer.close()
        if self._watch is not None:
            await self._watch.close()
        self._threads.shutdown()
        for reader in (self._reader, *self._idle):
            reader.close()
        self._dialect.release()

    @property
    def process(self) -> str:
        """This process's name among those that serve the zone."""
        return process_name()

    def state(self) -> ZoneState:
        """The newest committed state that this process knows of."""
        return self._state

    def looks(self) -> int:
        """How often the present state was looked at: what to give ``read`` for ``since``."""
        return self._looks

    def read(self, since: int | None = None) -> ReadTx:
        """A short read, inline on the loop, for a ``with``: cached rows, checked against the database's present state.

        Args:
            since: what ``looks`` was when the call came for which this is. Whoever has looked since then has looked for it too: calls that
                come in together ask a server once.

        Raises:
            UnavailableError: (also inside the ``with``) the database does not answer.
        """
        self._fence.require()
        if self._reader_lost:
            raise UnavailableError(self._reader_lost)
        state = self._cache.state
        if state is None or since is None or self._looks == since:
            state = self._look()
        return _ShortRead(self._reader, state, self._cache, self._dialect.driver_error, self._read_failed)

    def _look(self) -> ZoneState:
        """Ask for the present state, and make the cache right for it."""
        known = self._cache.state
        if known is None or known.write_seq < self._state.write_seq:
            known = self._state
        try:
            state = self._fence.newest(self._reader, known)
        except self._dialect.driver_error as error:
            raise self._read_failed(error) from error
        self._looks += 1
        self._cache.advance(state)
        if state.write_seq > self._state.write_seq and self._watch is not None:
            asyncio.get_running_loop().call_soon(self._others_committed, state)
        return state

    def _read_failed(self, error: Exception) -> UnavailableError:
        reason = self._dialect.explain(error)
        if self._dialect.is_gone(self._reader):
            self._reader_lost = reason
        return UnavailableError(reason)

    async def read_in_thread(self, job: Callable[[ReadTx], T]) -> T:
        """A long read in a thread: its own connection, one snapshot for all of its queries, no cache.

        Raises:
            UnavailableError: the database does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_snapshot, job)

    def _read_snapshot(self, job: Callable[[ReadTx], T]) -> T:
        dialect = self._dialect
        try:
            try:
                reader = self._idle.pop()
            except IndexError:
                reader = self._fence.session(dialect.reader)
            try:
                if dialect.is_gone(reader):
                    reader.close()
                    reader = self._fence.session(dialect.reader)
                dialect.begin_snapshot(reader)
                value = job(ReadTx(reader, self._fence.newest(reader), None))
                dialect.rollback(reader)
            except BaseException:
                reader.close()
                raise
        except dialect.driver_error as error:
            raise UnavailableError(dialect.explain(error)) from error
        self._idle.append(reader)
        return value

    def query(self, sql: str) -> Table:
        """Run one SELECT in an operator's own words. Blocks: call it in a thread.

        Raises:
            ActionError: it can't be run, does more than read, or takes or yields too much.
        """
        self._fence.require()
        try:
            return self._dialect.query(sql, seconds=QUERY_S, most_bytes=QUERY_MIB << 20)
        except OverflowError as error:
            raise ActionError(f"The query's result is longer than {QUERY_MIB} MiB. Ask for fewer rows or columns.") from error
        except TimeoutError as error:
            raise ActionError(f"The query took longer than {QUERY_S:g} s. Ask for less.") from error
        except self._dialect.driver_error as error:
            why = " ".join(" ".join(map(str, error.args)).split())
            raise ActionError(f"The query was not answered: {why}. It must be one SELECT on this zone's tables.") from error

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
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[bool] = loop.create_future()
        heapq.heappush(self._waiting, (index, next(self._order), arrived))
        given_up = loop.call_later(timeout_s, _settle, arrived, False)
        try:
            return await arrived
        finally:
            given_up.cancel()

    async def _keep_tidy(self) -> None:
        """Do the database's own housekeeping while there are writes, and look after the session for reads, off the loop.

        Ends with a word to all when the database was closed.
        """
        seen = self._state.write_seq
        while True:
            await asyncio.sleep(_TIDY_EVERY_S)
            if self._watch is None:
                self._look_at_fence()
            if self._fence.reason:
                self._end_serving()
                return
            self._others_committed(self._untold)
            if self._reader_lost or self._dialect.is_gone(self._reader):
                await self._connect_reader()
            if self._state.write_seq != seen:
                seen = self._state.write_seq
                try:
                    await asyncio.get_running_loop().run_in_executor(self._threads, self._dialect.tidy)
                except self._dialect.driver_error as error:
                    log.warning("housekeeping of the database failed, will retry", error=self._dialect.explain(error))

    async def _connect_reader(self) -> None:
        """Get another session for reads. The server that answers may be one that lacks what the last one had: nothing is kept."""
        self._reader_lost = self._reader_lost or f"{self._dialect.place} has ended the session. This zone goes on when it is back."
        log.warning("session with the database lost, connecting again", cause=self._reader_lost)
        while True:
            try:
                self._fence.require()
                reader, state = await asyncio.get_running_loop().run_in_executor(self._threads, self._open_reader)
                break
            except Closed:
                return
            except self._dialect.driver_error as error:
                self._reader_lost = self._dialect.explain(error)
                await asyncio.sleep(_TIDY_EVERY_S)
        self._reader.close()
        self._reader = reader
        self._cache.forget()
        self._notes.forget()
        self._untold = state
        self._reader_lost = ""
        self._tell(CommitNotice(state, (), None))
        log.info("the database answers again")

    def _open_reader(self) -> tuple[Connection, ZoneState]:
        reader = self._fence.session(self._dialect.reader)
        try:
            return reader, self._fence.newest(reader)
        except BaseException:
            reader.close()
            raise

    def _look_at_fence(self) -> None:
        """See whether the database was closed, where nobody reads or writes and there is no watch."""
        with contextlib.suppress(Closed, self._dialect.driver_error):
            self._fence.newest(self._reader)

    def _end_serving(self) -> None:
        log.error("the database was closed or replaced, this process has stopped serving", cause=self._fence.reason)
        for hear in self._closed_listeners:
            hear()

    @property
    def closed(self) -> str:
        """Why this process may not use the database any more, and what to do; empty as long as it may."""
        return self._fence.reason

    def on_closed(self, hear: Callable[[], None]) -> None:
        """Call ``hear`` on the loop, once, when it is found out that the database was closed or replaced."""
        self._closed_listeners.append(hear)

    def silence_s(self) -> float:
        """Seconds since the database last answered, as far as is known without asking it."""
        if self._reader_lost:
            return math.inf
        return 0.0 if self._watch is None else self._watch.silence_s()

    @property
    def held_up(self) -> bool:
        """Whether the server lets no write end, and has said what for."""
        return bool(self._writer.held_up)

    def on_commit(self, hear: Callable[[CommitNotice], None]) -> Callable[[], None]:
        """Call ``hear`` on the loop after each durable write group of this process, and when those of others are seen.

        Returns:
            A function that ends it.
        """
        self._listeners.append(hear)
        return lambda: self._listeners.remove(hear)

    def _committed(self, notice: CommitNotice) -> None:
        """This process has made a group durable."""
        if self._watch is not None:
            self._watch.we_wrote()
        before, after = self._state.write_seq, notice.state.write_seq
        if after <= before:  # a later one, of another process, was seen first
            notice = msgspec.structs.replace(notice, state=self._state)
        elif after > before + 1:  # others came between, and their rows count too
            notice = msgspec.structs.replace(notice, changed=recent.since(notice.state, before))
        self._tell(notice)

    def _others_committed(self, state: ZoneState) -> None:
        """A state was seen; if it is our own, the writer is about to tell more, unless it gets lost in doubt whether it is."""
        before = self._state.write_seq
        if state.write_seq <= before:
            return
        if self._notes.holds(state):
            self._untold = state
            return
        if self._watch is not None:
            self._watch.others_write()
        self._tell(CommitNotice(state, (), recent.since(state, before)))

    def _tell(self, notice: CommitNotice) -> None:
        self._state = notice.state
        while self._waiting and self._waiting[0][0] <= notice.state.position:
            _settle(heapq.heappop(self._waiting)[2], True)
        for hear in tuple(self._listeners):
            hear(notice)


def _make_ready(dialect: Dialect) -> int:
    """Bring a database's schema up to date and see that we may write to it; one process at a time does. Returns its generation."""
    connection = dialect.writer()
    try:
        dialect.alone(connection)
        dialect.require_fit(connection)
        require_open(dialect, connection)
        if dialect.has_table(connection, migrations.TABLE):
            dialect.require_rights(connection, (migrations.TABLE,))
        found = migrations.version(dialect, connection)
        if found > migrations.HEAD:
            raise UnavailableError(
                f"{dialect.place} was written by a newer koinon (schema {found}, this one knows {migrations.HEAD}). Upgrade koinon."
            )
        if found != migrations.HEAD:
            migrations.upgrade(dialect)
        dialect.require_rights(connection, migrations.TABLES)
        dialect.begin(connection)
        connection.execute(_WRITE)
        return read_state(connection).generation
    finally:
        dialect.rollback(connection)
        connection.close()

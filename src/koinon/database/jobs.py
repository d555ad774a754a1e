"""Write jobs: what a caller asks for, what it is answered, and those that wait for their turn.

Path:     Database.write_* -> Writer.submit() -> Queue -> a group (write_group.py) -> Job.answer() or Job.fail()
Holds:    jobs run in the order in which they came; what may not share a transaction with others gets one of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from koinon.database.state import ZoneState
from koinon.database.transactions import ApplyTx, ZoneTx
from koinon.statements.commits import Position
from koinon.statements.schema import RowChange

T = TypeVar("T")

GROUP_SIZE: Final = 64


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


class Job:
    """One waiting job, and what its last run left."""

    __slots__ = (
        "alone", "deltas", "digests", "error", "frees_space", "future", "head", "kind", "repeated", "request", "run", "statements",
        "texts", "value", "what", "zone",
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

    def groups_with(self, other: Job, ids: set[str]) -> bool:
        """Whether ``other`` may join this job's group. One request twice in a group would not see its own first outcome."""
        return not self.alone and not other.alone and not (other.request_id and other.request_id in ids)

    def reset(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.statements: list[RowChange] = []
        self.texts: tuple[str, ...] = ()
        self.deltas: dict[str, int] = {}
        self.digests: Mapping[str, int] | None = None  # all that are stored once it is durable, if it says so
        self.zone: ZoneState | None = None  # what it has made of the zone, if that is not as it was
        self.head: Position | None = None
        self.repeated: Position | None = None

    def answer(self, present: Position) -> None:
        """Tell the caller what came of it.

        Args:
            present: the zone's position behind its group.
        """
        if self.error is not None:
            self.fail(self.error)
        elif not self.future.done():
            self.future.set_result(Written(self.value, self.repeated or self.head or present, self.repeated is not None))

    def fail(self, error: Exception) -> None:
        if not self.future.done():  # or the caller has gone away
            self.future.set_exception(error)


class Queue:
    """The jobs that wait."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._taking = threading.Lock()  # the writer's thread takes jobs too
        self._filled = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def closed(self) -> bool:
        """Whether nothing more may be put."""
        return self._closed

    def put(self, job: Job) -> None:
        self._jobs.append(job)
        self._filled.set()

    def close(self) -> None:
        """Let ``next_group`` give what waits, and then nothing any more."""
        self._closed = True
        self._filled.set()

    async def next_group(self) -> list[Job]:
        """Wait for jobs; those at the front that may share a transaction. None are left and none will come if it is empty."""
        while not self._jobs:
            if self._closed:
                return []
            self._filled.clear()
            await self._filled.wait()
        group = [self._jobs.popleft()]
        self.fill(group)
        return group

    def fill(self, group: list[Job]) -> None:
        """Take along what waits and may be in the same group."""
        ids = {job.request_id for job in group}
        with self._taking:
            while self._jobs and len(group) < GROUP_SIZE and group[0].groups_with(self._jobs[0], ids):
                ids.add(self._jobs[0].request_id)
                group.append(self._jobs.popleft())

    def give_up(self) -> list[Job]:
        """All that wait, which wait no longer."""
        with self._taking:
            waiting = list(self._jobs)
            self._jobs.clear()
        return waiting

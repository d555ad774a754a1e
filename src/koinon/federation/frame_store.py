"""The log as signed, compressed frames: each made once, for all zones that stand at its start.

Zones at the head find their commits in memory. For zones that are behind, frames are read from the log in aligned ranges, so that zones
that started at different places soon stand at the same ones.
Holds:    memory is bounded, by bytes, whatever the zones do; a frame is made by one task while the others wait for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from koinon import clock
from koinon.database.database import Database
from koinon.database.state import LoggedCommit, ZoneState
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx
from koinon.statements.commits import Head, Position
from koinon.wire.frames import CommitsFrame, encode

RANGE_STATEMENTS: Final = 1024
FRAME_BYTES: Final = 4 * 2**20
CACHE_BYTES: Final = 32 * 2**20
RECENT_BYTES: Final = 8 * 2**20
#: Up to this many characters of statements a frame is made at once; hopping to a thread would cost more.
_INLINE: Final = 2**17


class StreamEnded(Exception):
    """The log no longer continues what this stream has sent: its zone must dial again."""


class Frame(msgspec.Struct, frozen=True):
    """One frame as it goes on the wire.

    Attributes:
        start: what its first commit continues.
        end: the head after its last.
        data: the bytes.
    """

    start: bytes
    end: Head
    data: bytes


class FrameStore:
    """Frames of one zone's log.

    Args:
        database: whose log.
        key: signs them.
        losses: how many losses have been accepted.
    """

    def __init__(self, database: Database, key: Callable[[], Ed25519PrivateKey], losses: Callable[[], int]) -> None:
        self._database = database
        self._key = key
        self._losses = losses
        self._cache: OrderedDict[int, Frame] = OrderedDict()
        self._cached_bytes = 0
        self._recent: dict[int, LoggedCommit] = {}  # by first index
        self._recent_bytes = 0
        self._making: dict[int, asyncio.Future[Frame | None]] = {}

    def add(self, commits: Iterable[LoggedCommit]) -> None:
        """Keep new commits at hand for the zones that wait for them."""
        for logged in commits:
            self._recent[logged.commit.first_idx] = logged
            self._recent_bytes += _size(logged)
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= _size(self._recent.pop(next(iter(self._recent))))

    def clear(self) -> None:
        """Forget everything: this zone is the master no more."""
        self._cache.clear()
        self._recent.clear()
        self._cached_bytes = self._recent_bytes = 0

    async def after(self, head: Head) -> Frame | None:
        """The frame that continues a head, None if there is nothing after it yet.

        Raises:
            StreamEnded: the log there is gone, or is another one.
        """
        index = head.position.index
        frame = self._cache.get(index)
        if frame is not None:
            self._cache.move_to_end(index)
        elif index >= self._database.state().position:
            return None
        else:
            frame = self._make_now(head) or await self._make_once(head)
        if frame is None or frame.start != head.chain:
            raise StreamEnded(f"the log after {head.position} is gone")
        return frame

    async def _make_once(self, head: Head) -> Frame | None:
        index = head.position.index
        making = self._making.get(index)
        if making is None:
            making = self._making[index] = asyncio.ensure_future(self._make(head))
            making.add_done_callback(lambda _: self._making.pop(index, None))
        return await asyncio.shield(making)  # one zone going away must not take the frame from the others

    def _make_now(self, head: Head) -> Frame | None:
        """The frame if its commits are in memory and few."""
        run = self._run_from(head.position.index + 1)
        if not run or sum(map(_size, run)) > _INLINE:
            return None
        return self._keep(head, self._builder(head)(run))

    async def _make(self, head: Head) -> Frame | None:
        build = self._builder(head)
        run = self._run_from(head.position.index + 1)
        if run:
            return self._keep(head, await asyncio.to_thread(build, run))
        return self._keep(head, await self._database.read_in_thread(lambda tx: build(read_range(tx, head.position.index))))

    def _builder(self, head: Head) -> Callable[[Sequence[LoggedCommit]], Frame | None]:
        state, key, losses = self._database.state(), self._key(), self._losses()

        def build(commits: Sequence[LoggedCommit]) -> Frame | None:
            return _build(commits, head.chain, state, losses, key) if commits else None

        return build

    def _run_from(self, first_idx: int) -> list[LoggedCommit]:
        """Commits in memory from an index on, as many as fit one frame."""
        run: list[LoggedCommit] = []
        size = 0
        last = first_idx + RANGE_STATEMENTS
        while (logged := self._recent.get(first_idx)) is not None:
            size += _size(logged)
            if run and (size > FRAME_BYTES or logged.commit.last_idx >= last):
                break
            run.append(logged)
            first_idx = logged.commit.last_idx + 1
        return run

    def _keep(self, head: Head, frame: Frame | None) -> Frame | None:
        if frame is not None:
            self._cache[head.position.index] = frame
            self._cached_bytes += len(frame.data)
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1].data)
        return frame


def read_range(tx: ReadTx, after: int) -> list[LoggedCommit]:
    """Commits directly after an index, to the end of the one that reaches the next multiple of ``RANGE_STATEMENTS``, or to ``FRAME_BYTES``.

    Returns:
        Nothing if the log there is gone.
    """
    boundary = (after // RANGE_STATEMENTS + 1) * RANGE_STATEMENTS
    reached = tx.fetch("SELECT MIN(last_idx) FROM federation_commit WHERE last_idx >= ?", (boundary,))[0][0]
    end = reached if reached is not None else tx.state.position
    size, until = 0, after
    for idx, length in tx.fetch("SELECT idx, LENGTH(statement) FROM federation_log WHERE idx > ? AND idx <= ? ORDER BY idx", (after, end)):
        size += length
        if idx != until + 1 or (size > FRAME_BYTES and until > after):
            break
        until = idx
    return read_commits(tx, after, statements=until - after, until=until) if until > after else []


def _build(commits: Sequence[LoggedCommit], start: bytes, state: ZoneState, losses: int, key: Ed25519PrivateKey) -> Frame:
    last = commits[-1]
    body = CommitsFrame(
        federation_id=state.federation_id,
        epoch=state.epoch,
        prev_chain=start,
        chain=last.chain,
        commits=tuple(logged.commit for logged in commits),
        head_index=state.position,
        sent_at_ms=clock.now_ms(),
        losses=losses,
    )
    end = Head(Position(last.commit.epoch, last.commit.last_idx), last.chain)
    return Frame(start, end, encode(body, key.sign))


def _size(logged: LoggedCommit) -> int:
    return sum(map(len, logged.statements)) + len(logged.commit.outcome) + 256

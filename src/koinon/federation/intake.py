"""One open stream: frames in, whole commits applied in batches, positions reported.

Path:     Link.stream() -> Reader -> verify_run() -> waiting commits -> ApplyTx -> POST /federation/v1/position
Holds:    only what the master signed, in this federation and reign, and what continues our own chain, reaches the database; a report goes
          out only after what it says is durable; what waits is bounded by bytes.
Not here: what to do when the stream ends (applier.py).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from koinon import clock
from koinon.database.database import Database
from koinon.database.state import LoggedCommit
from koinon.database.transactions import ApplyTx, Overtaken
from koinon.federation import proof
from koinon.federation.link import Interrupted, Link, LinkError, Refused, error_text
from koinon.statements.chain import RunError, verify_run
from koinon.statements.commits import Head, Position
from koinon.statements.rendering import GrammarError
from koinon.wire.frames import CommitsFrame, FrameError, Heartbeat, Reader, ZoneReport
from koinon.wire.messages import MAX_TROUBLE, MessageError, PositionReport, Reason, SignedFrame, encode, refusal

LOG_PATH: Final = "/federation/v1/log"
POSITION_PATH: Final = "/federation/v1/position"

_CHUNK: Final = 2**18
_WAITING_BYTES: Final = 16 * 2**20
_BATCH_BYTES: Final = 8 * 2**20
#: A stream that is silent for this many heartbeats is dead, but never sooner than this many seconds.
_SILENT_BEATS: Final = 5
_SILENT_LEAST_S: Final = 3.0
_REPORT_TIMEOUT_S: Final = 10.0
#: The master counts a zone as silent by it (positions.py).
REPORT_AT_LEAST_EVERY_S: Final = 2.0
#: Between two reports: lag needs no more, and each costs the master a signature check.
_REPORT_PAUSE_S: Final = 0.05
_RETRY_S: Final = 1.0
_CANCEL_AGAIN_S: Final = 1.0


class Declined(Exception):
    """The master does not stream to us.

    Attributes:
        reason: why, for programs.
        error: why, for people.
    """

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(f"{reason}: {error}")
        self.reason: Reason = reason
        self.error = error


class Unfit(Exception):
    """What the master signed does not continue our history, though it agreed to stream from there."""


class Intake:
    """The slave's end of the stream; used for one stream after the other.

    Args:
        database: this zone's.
        turn: held while this zone's position is moved.
        heartbeat_s: how often the master speaks.
        batch_statements: how many statements to apply in one transaction, about.
        on_ok: called when a batch was applied, and at a heartbeat if there is nothing to apply.
        trouble: why this zone could not go on so far, empty if it could.

    Attributes:
        run_id: 32 hex digits, random; of two that follow as this zone the master serves the one that it heard of last.
        connected: whether a stream is open.
        streamed: whether the master has agreed to stream to us since somebody set this to False.
        heard_at: when the master last spoke, on the monotonic clock; None if it never did.
        master_head: the position that it last named.
        zones: what it last said of all zones.
    """

    def __init__(
        self,
        database: Database,
        turn: asyncio.Lock,
        *,
        heartbeat_s: float,
        batch_statements: int,
        on_ok: Callable[[], None],
        trouble: Callable[[], str] = str,
    ) -> None:
        self._database = database
        self._turn = turn
        self.run_id = secrets.token_hex(16)
        self._silence_s = max(_SILENT_LEAST_S, _SILENT_BEATS * heartbeat_s)
        self._batch_statements = batch_statements
        self._on_ok = on_ok
        self._trouble = trouble
        self._waiting: deque[tuple[LoggedCommit, int]] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._moved = asyncio.Event()
        self._proof = SignedFrame()
        self._proof_index = 0
        self._stored_index = -1
        self._clock_ahead_ms = 0
        self.connected = self.streamed = False
        self.heard_at: float | None = None
        self.master_head: Position | None = None
        self.zones: tuple[ZoneReport, ...] = ()

    def lag_s(self) -> float | None:
        """Age of the oldest commit that waits here, on the master's clock; None if none has arrived yet."""
        if not self._waiting:
            return None
        age_ms = clock.now_ms() + self._clock_ahead_ms - self._waiting[0][0].commit.committed_at_ms
        return max(0.0, age_ms / 1000)

    async def run(self, link: Link, key: Ed25519PublicKey, federation_id: str, epoch: int) -> None:
        """Open a stream and take what comes until it ends, which it does by an exception.

        Raises:
            Declined: the master says why.
            Unfit, Different: what came does not fit what we have.
            Overtaken: this zone's position was moved by someone else.
            LinkError: the connection broke, or what came is not from our master.
            CloudError: the database refused.
        """
        async with self._turn:  # a batch of an earlier stream may still be under way
            with self._database.read() as tx:
                head, kept = tx.state.head, proof.load(tx)
        self._waiting.clear()
        self._waiting_bytes = 0
        if not kept.payload or max(self._proof_index, self._stored_index) > head.position.index:
            # It may vouch for a history that we have given up since; if not, the like of it comes again.
            self._proof, self._proof_index, self._stored_index = SignedFrame(), 0, -1
        query = f"?after={head.position}&chain={head.chain.hex()}&run={self.run_id}"
        async with link.stream(LOG_PATH + query, silence_s=self._silence_s) as response:
            if response.status != 200:
                raise _declined(response.status, await response.content.read(_CHUNK))
            self.connected = self.streamed = True
            try:
                await _first_to_end(
                    self._apply_waiting(head),
                    self._receive(response, Reader(key.verify), federation_id, epoch, head),
                    self._keep_reporting(link),
                )
            finally:
                self.connected = False

    async def _receive(self, response: aiohttp.ClientResponse, reader: Reader, federation_id: str, epoch: int, head: Head) -> None:
        """Read frames, check that they continue what came before, and let their commits wait."""
        async for data in response.content.iter_any():
            try:
                for body, signature, payload in reader.feed(data):
                    if (body.federation_id, body.epoch) != (federation_id, epoch):
                        raise Interrupted(f"the stream is of federation {body.federation_id}, epoch {body.epoch}; we follow epoch {epoch}")
                    if isinstance(body, CommitsFrame):
                        head = self._take(body, head)
                    self._note(body, SignedFrame(payload, signature), len(payload))
                    if isinstance(body, Heartbeat) and not self._waiting and body.head_index <= head.position.index:
                        self._on_ok()
            except FrameError as error:
                raise Interrupted(f"the stream can't be read on: {error}") from error
            while self._waiting_bytes > _WAITING_BYTES:
                self._room.clear()
                await self._room.wait()
        raise Interrupted("the master ended the stream")

    def _take(self, body: CommitsFrame, head: Head) -> Head:
        if body.prev_chain != head.chain:
            raise Unfit(f"a frame of the master does not continue our chain at {head.position}")
        try:
            run = verify_run(head, body.commits, body.chain)
        except (RunError, GrammarError) as error:
            raise Unfit(f"a frame of the master does not fit: {error}") from error
        for commit, statements, chain in run:
            size = sum(map(len, statements)) + len(commit.outcome)
            self._waiting.append((LoggedCommit(commit, statements, chain), size))
            self._waiting_bytes += size
        self._arrived.set()
        last = body.commits[-1]
        return Head(Position(last.epoch, last.last_idx), body.chain)

    def _note(self, body: CommitsFrame | Heartbeat, signed: SignedFrame, size: int) -> None:
        """Remember that the master lives, where it stands, and its signature over that."""
        self.heard_at = clock.monotonic_s()
        head = Position(body.epoch, body.head_index)
        if isinstance(body, Heartbeat):
            self.zones = body.zones
            self._clock_ahead_ms = body.master_time_ms - clock.now_ms()
            self.master_head, index = head, body.head_index
        else:  # made once for all zones, and so maybe long ago
            self._clock_ahead_ms = max(self._clock_ahead_ms, body.sent_at_ms - clock.now_ms())
            self.master_head, index = max(self.master_head or head, head), body.commits[-1].last_idx
        if size <= proof.MAX_BYTES and index >= self._proof_index:
            self._proof, self._proof_index = signed, index

    async def _apply_waiting(self, head: Head) -> None:
        while True:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            # To its end even if the stream breaks: then the next one starts behind it.
            batch = asyncio.ensure_future(self._apply_batch(head))
            batch.add_done_callback(_look_at)
            head = await asyncio.shield(batch)
            self._on_ok()  # not when it comes: a zone that can't apply it is not well
            self._moved.set()

    async def _apply_batch(self, head: Head) -> Head:
        async with self._turn:
            if self._database.state().head != head:
                raise Overtaken(f"this zone is no longer at {head.position}")
            batch, size = self._next_batch()
            signed, index = self._proof, self._proof_index

            def job(tx: ApplyTx) -> Generator[None, None, Head]:
                tx.claim(head)
                if index > self._stored_index:
                    proof.keep(tx, signed)
                return (yield from tx.apply(batch))

            head = await self._database.apply("log", job)
            self._stored_index = index
            self._drop(len(batch), size)
            return head

    def _next_batch(self) -> tuple[list[LoggedCommit], int]:
        batch: list[LoggedCommit] = []
        statements = size = 0
        for logged, length in self._waiting:
            if batch and (statements + len(logged.statements) > self._batch_statements or size + length > _BATCH_BYTES):
                break
            batch.append(logged)
            statements += len(logged.statements)
            size += length
        return batch, size

    def _drop(self, count: int, size: int) -> None:
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()
        self._waiting_bytes -= size
        self._room.set()

    async def _keep_reporting(self, link: Link) -> None:
        """Tell the master what is durable here: one report at a time, always the newest; and at times again, as a sign of life."""
        while True:
            self._moved.clear()
            try:
                await report(link, self._database.state().head, self._trouble())
                await asyncio.sleep(_REPORT_PAUSE_S)
            except LinkError:
                await asyncio.sleep(_RETRY_S)
                continue
            try:
                # not wait_for(): in Python 3.11 it loses a cancellation that comes as the wait ends
                async with asyncio.timeout(REPORT_AT_LEAST_EVERY_S):
                    await self._moved.wait()
            except TimeoutError:
                await self._store_proof()

    async def _store_proof(self) -> None:
        """Keep the master's signature over what we hold when no batch is there to take it along."""
        signed, index = self._proof, self._proof_index
        if index > self._stored_index and self._stored_index < self._database.state().position <= index:
            await self._database.write_zone("keep signed frame", lambda tx: proof.keep(tx, signed))
            self._stored_index = index


async def report(link: Link, head: Head, trouble: str = "") -> None:
    """Tell the master what is durable here, and why no more will be, if that is so. Raises LinkError."""
    said = PositionReport(head.position.epoch, head.position.index, head.chain, trouble[:MAX_TROUBLE])
    await link.request("POST", POSITION_PATH, encode(said), timeout_s=_REPORT_TIMEOUT_S)


def _declined(status: int, body: bytes) -> Exception:
    if status == 409:
        try:
            found = refusal(body)
            return Declined(found.reason, found.error)
        except MessageError:
            pass
    return Refused(status, error_text(status, body))


def _look_at(batch: asyncio.Future[Head]) -> None:
    """A batch whose stream is gone may fail unheard: the next stream meets the same, and says so."""
    if not batch.cancelled():
        batch.exception()


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel all and wait until they have ended; again if one missed it, because following must never hang on a part of a dead stream."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


async def _first_to_end(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, end the others, and raise what it raised; of several, the first part's counts."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in tasks:
        if task in done:
            task.result()

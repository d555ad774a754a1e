"""The master's side of the stream: the log as signed frames, made once for all zones that follow.

Path:     GET /federation/v1/log -> Feed.open() -> LogStream, which pulls frames and heartbeats from the Feed at its zone's own pace
Holds:    a stream sends whole commits without a gap from where it was opened; a zone that does not read holds one frame and blocks only
          itself; of two processes that follow as one zone, the newer is served.
Not here: cutting a zone whose trust is gone (listener.py, for every answer alike); the frames' form (wire/frames.py); where they are
          kept (frame_store.py); what a refused zone does (applier.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Receive, Scope, Send

from koinon import clock
from koinon.database.database import Database
from koinon.database.state import CommitNotice
from koinon.database.statement_log import head_at
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import CloudError
from koinon.federation import followers
from koinon.federation.followers import Follower, Refusal
from koinon.federation.frame_store import FrameStore
from koinon.federation.replies import Reply, bad_request, refuse
from koinon.federation.retention import readable_from
from koinon.federation.rollback import RollbackGuard
from koinon.statements.commits import GENESIS, Head, Position
from koinon.wire.frames import Heartbeat, ZoneReport, encode
from koinon.wire.messages import Reason

log = structlog.get_logger(__name__)

_AFTER: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")
_CHAIN: Final = re.compile(r"[0-9a-f]{64}")
_RUN: Final = re.compile(r"[0-9a-f]{32}")
#: How long a cut stream may take to end politely before its connection is dropped.
_FAREWELL_S: Final = 0.5
#: A refusal is told for so long after the last time; a zone that is refused asks again sooner, each 390 s at least (applier.py).
_REFUSAL_COUNTS_MS: Final = 600_000
#: Nobody needs to hear more often that a zone is refused for the same reason as before.
_REFUSAL_AGAIN_MS: Final = 60_000


class LogStream:
    """One zone's endless response, an ASGI application for one request.

    Attributes:
        zone_id: who follows.
        run: the process that follows.
        head: up to where it has been sent.
    """

    def __init__(self, feed: Feed, zone_id: int, run: str, head: Head) -> None:
        self._feed = feed
        self.zone_id = zone_id
        self.run = run
        self.head = head
        self._cut = asyncio.Event()
        self._done = asyncio.Event()

    def cut(self) -> None:
        """End it, whatever it is doing."""
        self._cut.set()

    async def ended(self) -> None:
        """Wait until nothing more is sent."""
        await self._done.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/vnd.koinon.log"), (b"cache-control", b"no-store"), (b"connection", b"close")]
        sending = asyncio.create_task(self._send_frames(send, headers))
        gone = asyncio.create_task(_disconnected(receive))
        cut = asyncio.create_task(self._cut.wait())
        try:
            await asyncio.wait((sending, gone, cut), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.left(self)
            for task in (sending, gone, cut):
                task.cancel()
            outcomes = await asyncio.gather(sending, gone, cut, return_exceptions=True)
            self._done.set()
        if isinstance(outcomes[0], Exception):
            log.error("stream failed", zone=self.zone_id, error=str(outcomes[0]), kind=type(outcomes[0]).__name__)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_frames(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        feed = self._feed
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sent_beat = b""
        while not self._cut.is_set():
            bell = feed.bell  # taken before looking, so that what comes meanwhile is not missed
            if feed.beat is not sent_beat:
                sent_beat = feed.beat
                await send({"type": "http.response.body", "body": sent_beat, "more_body": True})
                continue
            frame = await feed.frames.after(self.head)
            if frame is None:
                await bell.wait()
                await asyncio.sleep(0)  # the callers whose writes rang are answered before a frame is made
            elif not self._cut.is_set():
                await send({"type": "http.response.body", "body": frame.data, "more_body": True})
                self.head = frame.end


class Feed:
    """What the master tells all zones that follow it.

    Args:
        database: the master's.
        key: the zone's private key; asked for when needed, because a zone may become master while it runs.
        guard: knows of losses that an operator has accepted, which count in all that is signed.
        heartbeat_s: time between heartbeats.
        reports: how far each zone is; goes along with each heartbeat.

    Attributes:
        bell: set, and replaced, when there is something new.
        beat: the newest heartbeat frame.
        frames: the log as frames.
    """

    def __init__(
        self,
        database: Database,
        key: Callable[[], Ed25519PrivateKey],
        guard: RollbackGuard,
        *,
        heartbeat_s: float,
        reports: Callable[[], tuple[ZoneReport, ...]] = tuple,
    ) -> None:
        self._database = database
        self._key = key
        self._guard = guard
        self._heartbeat_s = heartbeat_s
        self._reports = reports
        self._streams: dict[int, LogStream] = {}
        self._ending: set[LogStream] = set()
        self._current: dict[int, str] = {}
        self._agreed: dict[int, Follower] = {}  # who follows, as all processes of ours know it
        self._told: dict[int, str] = {}  # the runs that we have told them of as following us
        self._refusals: dict[int, Refusal] = {}
        self._unsaid: dict[int, Refusal] = {}  # those that the others have not heard of
        self._served: set[int] = set()  # zones that the others may still take for refused
        self._runs: dict[int, deque[str]] = {}
        self._closed = False
        self._beat_at = -heartbeat_s
        self._rung_at = 0
        self.bell = asyncio.Event()
        self.beat = b""
        self.frames = FrameStore(database, key, lambda: guard.losses)
        self._unsubscribe = database.on_commit(self._hear)

    def open(self, zone_id: int, query: Mapping[str, str]) -> LogStream | Reply:
        """Answer GET /federation/v1/log of a zone whose assertion was verified.

        Args:
            zone_id: who asks.
            query: ``after`` (EPOCH.INDEX that it holds), ``chain`` (hex, there), ``run`` (32 hex digits, random per process).

        Returns:
            The stream, or 400 or 409 with the reason.
        """
        after, chain, run = query.get("after", ""), query.get("chain", ""), query.get("run", "")
        matched = _AFTER.fullmatch(after)
        if matched is None or _CHAIN.fullmatch(chain) is None or _RUN.fullmatch(run) is None:
            return bad_request("after=EPOCH.INDEX, chain (64 hex digits) and run (32 hex digits) are needed")
        head = Head(Position(int(matched[1]), int(matched[2])), bytes.fromhex(chain))
        with self._database.read() as tx:
            refused = self._refusal(tx, zone_id, run, head)
        if refused is not None:
            return refused
        self._supersede(zone_id, run)
        self._refusals.pop(zone_id, None)
        self._unsaid.pop(zone_id, None)
        self._served.add(zone_id)
        stream = self._streams[zone_id] = LogStream(self, zone_id, run, head)
        if clock.monotonic_s() - self._beat_at >= self._heartbeat_s:
            self._make_beat()
        log.info("zone follows", zone=zone_id, after=after)
        return stream

    def following(self) -> frozenset[int]:
        """Ids of the zones with an open stream, at whichever process of this zone."""
        return frozenset(self._streams) | {zone_id for zone_id, follower in self._agreed.items() if follower.gone_at_ms is None}

    def refused(self, zone_id: int, reason: str, error: str) -> None:
        """Take note that a zone, which has proved to be that zone, was not served."""
        refusal, known = Refusal(reason, error, clock.now_ms()), self._refusals.get(zone_id)
        self._refusals[zone_id] = refusal
        if known is None or known.error != error or known.at_ms + _REFUSAL_AGAIN_MS < refusal.at_ms:
            self._unsaid[zone_id] = refusal

    def refusals(self) -> dict[int, Refusal]:
        """Why zones are refused, at whichever process of this zone; gone when they are served again, or no longer ask."""
        since_ms = clock.now_ms() - _REFUSAL_COUNTS_MS
        return {zone_id: refusal for zone_id, refusal in self._refusals.items() if refusal.at_ms > since_ms}

    def left(self, stream: LogStream) -> None:
        """A stream has ended."""
        self._ending.discard(stream)
        if self._streams.get(stream.zone_id) is stream:
            del self._streams[stream.zone_id]
            log.info("zone no longer follows", zone=stream.zone_id, sent=str(stream.head.position))

    async def keep_beating(self) -> None:
        """Make a heartbeat each ``heartbeat_s`` while anyone follows, until cancelled."""
        said = ""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if self._streams:
                try:
                    self._make_beat()
                    said = ""
                except CloudError as error:
                    if error.text != said:
                        said = error.text
                        log.warning("no heartbeat made, will retry", error=said)
                except Exception:  # one that can't be made must not be the last
                    log.exception("no heartbeat made")

    async def agree(self) -> None:
        """Where several processes serve this zone: tell the others who follows or is refused here, and cut whom they have superseded.

        Raises:
            UnavailableError: the database does not answer.
        """
        await self._tell()
        with self._database.read() as tx:
            self._agreed, refusals = followers.load(tx), followers.load_refusals(tx)
        self._refusals = {zone_id: refusal for zone_id, refusal in refusals.items() if zone_id not in self._served} | self._unsaid
        for zone_id, follower in self._agreed.items():
            runs = self._runs.setdefault(zone_id, deque(maxlen=followers.REMEMBERED))
            runs.extend(run for run in follower.superseded if run not in runs)
            stream = self._streams.get(zone_id)
            if stream is not None and stream.run in follower.superseded:
                log.warning("another process of a zone follows now, at another process of ours", zone=zone_id)
                stream.cut()

    async def _tell(self) -> None:
        """Write what the other processes do not know yet; most times that is nothing."""
        here = {zone_id: stream.run for zone_id, stream in self._streams.items()}
        opened = {zone_id: run for zone_id, run in here.items() if not self._is_agreed(zone_id, run)}
        gone = {zone_id: run for zone_id, run in self._told.items() if here.get(zone_id) != run}
        refused, served = self._unsaid.copy(), self._served.copy()
        if not (opened or gone or refused or served):
            return

        def write(tx: ZoneTx) -> None:
            followers.note_gone(tx, gone, now_ms=clock.now_ms())
            followers.note_opened(tx, opened)
            followers.note_refusals(tx, refused, served)

        await self._database.write_zone("streams", write)
        self._told = here
        self._served -= served
        self._unsaid = {zone_id: refusal for zone_id, refusal in self._unsaid.items() if refused.get(zone_id) != refusal}

    def _is_agreed(self, zone_id: int, run: str) -> bool:
        known = self._agreed.get(zone_id)
        return known is not None and (run in known.superseded or (known.run == run and known.gone_at_ms is None))

    async def close(self) -> None:
        """End all streams and take no new ones."""
        if not self._closed:
            self._closed = True
            self._unsubscribe()
        ending = [*self._ending, *self._streams.values()]
        self._cut_all()
        for stream in ending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stream.ended(), 2 * _FAREWELL_S)

    def _cut_all(self) -> None:
        for stream in self._streams.values():
            stream.cut()

    def _refusal(self, tx: ReadTx, zone_id: int, run: str, head: Head) -> Reply | None:
        """409 if a zone can't be streamed to, None if it can."""
        found = self._why_not(tx, run in self._runs.get(zone_id, ()), head)
        if found is None:
            return None
        reason, error = found
        log.warning("zone refused", zone=zone_id, at=str(head.position), reason=reason, error=error)
        self.refused(zone_id, reason, error)
        return refuse(reason, error)

    def _why_not(self, tx: ReadTx, superseded: bool, head: Head) -> tuple[Reason, str] | None:
        state, index, epoch = tx.state, head.position.index, head.position.epoch
        if self._closed or state.role != "master":
            return "not master", "this zone is not the master, or is stopping"
        if epoch > state.epoch:
            return "lower epoch", f"you know epoch {epoch}; this zone is in epoch {state.epoch}"
        if superseded:
            return (
                "cloned",
                "another process follows as this zone since then; if one is a copy of the other, stop it and let it join anew",
            )
        if index > state.position:
            if epoch < state.epoch or self._guard.knows_surplus(index):
                return "forked", f"you hold index {index} of a history that ended; ours goes on from {state.position}"
            return "ahead", f"you hold index {index}; the master's log ends at {state.position}"
        known = GENESIS if index == 0 else state.head if index == state.position else head_at(tx, index)
        if known is not None and known.chain != head.chain:
            return "forked", f"at index {index} your history is another than ours"
        oldest = readable_from(tx)
        if index < oldest or (index == oldest and known is None):
            return "needs snapshot", f"the log is kept after index {oldest}; you hold {index}"
        if known is None:
            return "forked", f"no commit of ours ends at index {index}"
        return None

    def _supersede(self, zone_id: int, run: str) -> None:
        """The newest stream of a zone wins; an older process of it that comes back later is refused."""
        before = self._streams.pop(zone_id, None)
        if before is not None:
            before.cut()
            self._ending.add(before)
        runs = self._runs.setdefault(zone_id, deque(maxlen=followers.REMEMBERED))
        current = self._current.get(zone_id)
        if current is not None and current != run:
            runs.append(current)
        self._current[zone_id] = run

    def _hear(self, notice: CommitNotice) -> None:
        if notice.state.role != "master":
            self.frames.clear()
            self._cut_all()
            self._forget()
            return
        if self._guard.halted is not None:
            self._guard.look_again()  # before this commit is signed: another process may have heard that the loss is accepted
        if self._streams:
            self.frames.add(notice.commits)
            if notice.commits or notice.state.position > self._rung_at:
                self._rung_at = notice.state.position
                self._ring()

    def _forget(self) -> None:
        """What was known of zones is no more true: this zone has left the federation."""
        for known in (self._agreed, self._told, self._refusals, self._unsaid, self._served):
            known.clear()

    def _make_beat(self) -> None:
        state = self._database.state()
        reports, losses = self._reports(), self._guard.losses
        body = Heartbeat(state.federation_id, state.epoch, state.position, state.chain, clock.now_ms(), reports, losses)
        self.beat = encode(body, self._key().sign)
        self._beat_at = clock.monotonic_s()
        self._ring()

    def _ring(self) -> None:
        self.bell.set()
        self.bell = asyncio.Event()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

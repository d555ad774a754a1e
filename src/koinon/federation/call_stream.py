"""The master's end of a slave's channel: calls come in, each is done by itself, and each answer goes back when it is there.

Path:     POST /federation/v1/calls -> CallStream -> forwarding.receive() -> api.dispatch -> the writer -> the answer on the channel
Holds:    one zone has a bounded number of channels here, and on all of them together a bounded number of calls, and of bytes of them,
          that are coming in or under way; on one channel a bounded number of answers was not read yet. A call that was begun is brought
          to its end also when the channel breaks, for the zone will ask for its outcome under the same request id. The channel ends
          when it is silent, and when the zone loses its trust (listener.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec
import structlog
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from koinon.federation.forwarding import Take, receive
from koinon.federation.seldom import Seldom
from koinon.wire.redirects import DEAD_AFTER, MAX_PIECE, SIGN_OF_LIFE, SIGN_OF_LIFE_S, Answered, Asked, Pieces, Result, piece

log = structlog.get_logger(__name__)

#: Of one zone: each process of a zone has one, and perhaps one that broke and was not found silent yet.
MAX_CHANNELS: Final = 32
#: Calls of one channel that are under way or whose answer was not sent yet; more are not read off the connection.
_AT_ONCE: Final = 512
#: Calls of one zone that are under way. More than one channel's, so that one that nobody reads holds up no other process of the zone.
_ZONE_AT_ONCE: Final = 2048
#: Bytes of one zone's calls that are coming in or under way, unless one alone has more.
_ZONE_BYTES: Final = MAX_PIECE
#: How long a channel waits for room. Those who wait at its other end have given up by then, and it may be gone: nobody listens meanwhile.
_ROOM_S: Final = 15.0
#: How long a channel that is ended may take to say so.
_FAREWELL_S: Final = 0.5
_asked: Final = msgspec.msgpack.Decoder(Asked)
#: Calls that go on without their channel; the loop itself holds tasks only weakly.
_under_way: Final[set[asyncio.Task[None]]] = set()


_refusals: Final = Seldom()
_unreadable: Final = Seldom()


class Share:
    """What one zone may take of this process with its calls, on however many channels: who has its keys can open as many as they like.

    Attributes:
        zone_id: whose.
        channels: how many are open.
        calls: as many as may still be under way.
    """

    def __init__(self, zone_id: int) -> None:
        self.zone_id = zone_id
        self.channels = 0
        self.calls = asyncio.Semaphore(_ZONE_AT_ONCE)
        self._bytes = 0
        self._fewer = asyncio.Event()
        self._turn = asyncio.Lock()

    async def take(self, size: int) -> None:
        """Wait until there is room for a call of so many bytes, and take it; who came first is first."""
        async with self._turn:
            while self._bytes and self._bytes + size > _ZONE_BYTES:
                self._fewer.clear()
                await self._fewer.wait()
            self._bytes += size

    def give_back(self, size: int) -> None:
        """The call is done, or does not come."""
        self._bytes -= size
        self._fewer.set()


class Shares:
    """Every zone's share."""

    def __init__(self) -> None:
        self._by_zone: dict[int, Share] = {}

    def of(self, zone_id: int) -> Share:
        """The share of a zone, the same each time."""
        return self._by_zone.setdefault(zone_id, Share(zone_id))


class CallStream:
    """One zone's channel, an ASGI application for one request whose body and answer both go on.

    Args:
        share: that of the zone that opened it.
        take: does a redirected call (api.dispatch).
    """

    def __init__(self, share: Share, take: Take) -> None:
        self._share = share
        self._zone_id = share.zone_id
        self._take = take
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._coming = 0  # bytes taken for the call that is coming in
        self._outgoing: list[bytes] = []
        self._answers = 0  # among what is outgoing
        self._something = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._share.channels >= MAX_CHANNELS:
            why = f"zone {self._zone_id} has {MAX_CHANNELS} channels for calls open here, the most that one zone may have"
            if times := _refusals.due(self._zone_id):
                log.warning("a zone opens too many channels, no more are let in", zone=self._zone_id, most=MAX_CHANNELS, times=times)
            await JSONResponse({"error": why}, 429, {"connection": "close"})(scope, receive, send)
            return
        self._share.channels += 1
        try:
            await self._serve(receive, send)
        finally:
            self._share.channels -= 1
            self._share.give_back(self._coming)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _serve(self, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/vnd.koinon.calls"), (b"cache-control", b"no-store"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": SIGN_OF_LIFE, "more_body": True})  # so that the head goes out now
        sending = asyncio.create_task(self._send_answers(send))
        living = asyncio.create_task(self._live())
        try:
            await self._read_calls(receive)
        except TimeoutError:
            pass  # nothing comes, or nothing more can be taken
        except (ValueError, msgspec.MsgspecError) as error:
            if times := _unreadable.due(self._zone_id):
                log.warning("a zone's channel can't be read on, it is closed", zone=self._zone_id, error=str(error), times=times)
        finally:
            sending.cancel()
            living.cancel()
            await asyncio.gather(sending, living, return_exceptions=True)

    async def _read_calls(self, receive: Receive) -> None:
        coming = Pieces()
        while True:
            async with asyncio.timeout(DEAD_AFTER * SIGN_OF_LIFE_S):
                message = await receive()
            if message["type"] != "http.request":
                return
            for raw in coming.feed(message.get("body", b"")):
                asked = _asked.decode(raw)
                async with asyncio.timeout(_ROOM_S):
                    await self._expect(len(raw))
                    await self._room.acquire()
                    await self._share.calls.acquire()
                task = asyncio.create_task(self._answer(asked, self._coming))
                self._coming = 0
                _under_way.add(task)
                task.add_done_callback(_under_way.discard)
            async with asyncio.timeout(_ROOM_S):
                await self._expect(coming.announced)
            if not message.get("more_body"):
                return

    async def _expect(self, size: int) -> None:
        """Take the room for a call before the rest of it is read, unless it was taken when it began to come."""
        if size and not self._coming:
            await self._share.take(size)
            self._coming = size

    async def _answer(self, asked: Asked, size: int) -> None:
        result: Result | None = None
        try:
            result = await receive(asked.redirect, self._zone_id, self._take)
        except Exception:
            log.exception("redirected call failed", method=asked.redirect.method, request=asked.redirect.request_id)
        self._share.calls.release()
        self._share.give_back(size)
        self._answers += 1
        self._queue(piece(Answered(asked.number, result)))

    def _queue(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._something.set()

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(SIGN_OF_LIFE_S)
            if not self._outgoing:
                self._queue(SIGN_OF_LIFE)

    async def _send_answers(self, send: Send) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            data, answers = b"".join(self._outgoing), self._answers
            self._outgoing.clear()
            self._answers = 0
            await send({"type": "http.response.body", "body": data, "more_body": True})
            for _ in range(answers):
                self._room.release()

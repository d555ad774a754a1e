"""The master's end of a slave's channel: calls come in, each is done by itself, and each answer goes back when it is there.

Path:     POST /federation/v1/calls -> CallStream -> forwarding.receive() -> api.dispatch -> the writer -> the answer on the channel
Holds:    on one channel a bounded number of calls, and of bytes of them, is under way or has answers that were not read yet. A call that
          was begun is brought to its end also when the channel breaks, for the zone will ask for its outcome under the same request id.
          The channel ends when the zone loses its trust (listener.py).
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from koinon.federation.forwarding import Take, receive
from koinon.wire.redirects import MAX_PIECE, SIGN_OF_LIFE, SIGN_OF_LIFE_S, Answered, Asked, Pieces, Result, piece

log = structlog.get_logger(__name__)

#: Calls of one channel that are under way or whose answer was not sent yet; more are not read off the connection.
_AT_ONCE: Final = 512
#: Bytes of the calls that are under way, unless one alone has more.
_MOST_BYTES: Final = MAX_PIECE
_asked: Final = msgspec.msgpack.Decoder(Asked)
#: Calls that go on without their channel; the loop itself holds tasks only weakly.
_under_way: Final[set[asyncio.Task[None]]] = set()


class CallStream:
    """One zone's channel, an ASGI application for one request whose body and answer both go on.

    Args:
        zone_id: who opened it.
        take: does a redirected call (api.dispatch).
    """

    def __init__(self, zone_id: int, take: Take) -> None:
        self._zone_id = zone_id
        self._take = take
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._bytes = 0  # of the calls that are under way
        self._fewer = asyncio.Event()
        self._outgoing: list[bytes] = []
        self._answers = 0  # among what is outgoing
        self._something = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/vnd.koinon.calls"), (b"cache-control", b"no-store"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": SIGN_OF_LIFE, "more_body": True})  # so that the head goes out now
        sending = asyncio.create_task(self._send_answers(send))
        living = asyncio.create_task(self._live())
        try:
            await self._read_calls(receive)
        except (ValueError, msgspec.MsgspecError) as error:
            log.warning("a zone's channel can't be read on, it is closed", zone=self._zone_id, error=str(error))
        finally:
            sending.cancel()
            living.cancel()
            await asyncio.gather(sending, living, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read_calls(self, receive: Receive) -> None:
        coming = Pieces()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            for raw in coming.feed(message.get("body", b"")):
                asked = _asked.decode(raw)
                await self._room.acquire()
                while self._bytes and self._bytes + len(raw) > _MOST_BYTES:
                    self._fewer.clear()
                    await self._fewer.wait()
                self._bytes += len(raw)
                task = asyncio.create_task(self._answer(asked, len(raw)))
                _under_way.add(task)
                task.add_done_callback(_under_way.discard)
            if not message.get("more_body"):
                return

    async def _answer(self, asked: Asked, size: int) -> None:
        result: Result | None = None
        try:
            result = await receive(asked.redirect, self._zone_id, self._take)
        except Exception:
            log.exception("redirected call failed", method=asked.redirect.method, request=asked.redirect.request_id)
        self._bytes -= size
        self._fewer.set()
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

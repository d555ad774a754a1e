"""A slave's end of the channel to the master: one open request, on which calls go and answers come, in whatever order they are ready.

Path:     Forwarding -> CallChannel.ask() -> POST /federation/v1/calls, kept open -> call_stream.py on the master
Holds:    a call whose answer did not come is said to be Interrupted, for the master may have made it; one that was never handed to the
          connection is not. What waits to be sent at one moment goes in one piece of the connection.
Why:      signing, a request's head and its parsing cost both zones more than the write itself (docs/decisions/0014-call-channel.md).
Not here: when to ask again (forwarding.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Final

import msgspec
import structlog

from koinon import clock
from koinon.federation.link import Interrupted, Link, LinkError, Refused, Unreachable, error_text
from koinon.wire.redirects import DEAD_AFTER, PATH, SIGN_OF_LIFE, SIGN_OF_LIFE_S, Answered, Asked, Pieces, Redirect, Result, piece

log = structlog.get_logger(__name__)

_ERROR_BYTES: Final = 65_536
_answered: Final = msgspec.msgpack.Decoder(Answered)


class _Opening:
    """One opened request, for as long as it lives."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._outgoing: list[bytes] = []
        self._something = asyncio.Event()
        self.heard_at: float | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.opened.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting
        self.task = loop.create_task(self._run(), name="calls to the master")
        self._live()  # the head of the request goes out with the first piece of its body

    def send(self, redirect: Redirect) -> tuple[int, asyncio.Future[Result]]:
        """Hand a call to the connection; the number under which it may be forgotten, and what its answer will be."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._queue(piece(Asked(number, redirect)))
        return number, answer

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    async def _run(self) -> None:
        why = "the channel was closed"
        try:
            async with self._link.channel(PATH, self._pieces, silence_s=DEAD_AFTER * SIGN_OF_LIFE_S) as response:
                if response.status != 200:
                    raise Refused(response.status, error_text(response.status, await response.content.read(_ERROR_BYTES)))
                self.opened.set_result(None)
                coming = Pieces()
                async for data in response.content.iter_any():
                    self.heard_at = clock.monotonic_s()
                    for raw in coming.feed(data):
                        self._deliver(_answered.decode(raw))
                why = "the master ended the channel"
        except LinkError as error:
            why = str(error)
            if not self.opened.done():
                self.opened.set_exception(error if isinstance(error, Refused) else Unreachable(why))
        except (ValueError, msgspec.MsgspecError) as error:
            why = f"the master's answer can't be read: {error}"
        finally:
            self._alive.cancel()
            if not self.opened.done():
                self.opened.set_exception(Unreachable(why))
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(Interrupted(why))
            self._waiting.clear()

    def _deliver(self, answered: Answered) -> None:
        answer = self._waiting.pop(answered.number, None)
        if answer is None or answer.done():
            return  # the caller has gone
        if answered.result is None:
            answer.set_exception(Interrupted("the master failed in the middle of the call"))
        else:
            answer.set_result(answered.result)

    def _queue(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._something.set()

    def _live(self) -> None:
        self._queue(SIGN_OF_LIFE)
        self._alive = asyncio.get_running_loop().call_later(SIGN_OF_LIFE_S, self._live)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            await self._something.wait()
            self._something.clear()
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            yield data


class CallChannel:
    """The calls of this zone to one master; the request is opened when there is something to ask, and again after it broke.

    Attributes:
        link: the way there.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._opening: _Opening | None = None

    async def ask(self, redirect: Redirect, *, timeout_s: float) -> Result:
        """Have the master do a call.

        Args:
            redirect: the call.
            timeout_s: for everything together.

        Raises:
            Unreachable: the channel could not be opened; nothing was sent.
            Refused: the master does not open it for this zone; nothing was sent.
            Interrupted: no answer came, and the master may have made the call.
        """
        opening = self._opening
        if opening is None or opening.task.done():
            opening = self._opening = _Opening(self.link)
        try:
            async with asyncio.timeout(timeout_s):
                if not opening.opened.done():
                    await asyncio.wait((opening.opened,))
                opening.opened.result()
                if opening.task.done():  # it ended as soon as it was open: nobody would answer, and nothing was sent
                    raise Unreachable(f"zone {self.link.zone_id} at {self.link.endpoint}: the channel ended")
                number, answer = opening.send(redirect)
                try:
                    return await answer
                finally:
                    opening.forget(number)
        except TimeoutError as error:
            why = f"zone {self.link.zone_id} at {self.link.endpoint}: it did not answer in time"
            raise (Interrupted(why) if opening.opened.done() else Unreachable(why)) from error

    def silence_s(self) -> float | None:
        """Seconds since the master was last heard on it, None if it is not open."""
        opening = self._opening
        if opening is None or opening.task.done() or opening.heard_at is None:
            return None
        return clock.monotonic_s() - opening.heard_at

    def abandon(self) -> None:
        """End it, from where nothing can be awaited."""
        if self._opening is not None:
            self._opening.task.cancel()

    async def close(self) -> None:
        """End it."""
        if self._opening is not None:
            self._opening.task.cancel()
            await asyncio.wait((self._opening.task,))

"""A client's connection, with a short way for what nearly every request is: a whole XML-RPC call with nothing unusual in its head.

Path:     bytes -> is it a plain call at the start of a request? -> Door.begin() -> the answer, often before this function returns
                -> anything else -> uvicorn's parser and the ASGI application
Holds:    a head is plain only if each of its lines is; whatever could be read in two ways goes to the full parser. One call is under way
          per connection: bytes behind it wait, and a client that does not read its answers is not read from.
Measured: half the processor time of a small read over the full parser and ASGI (docs/decisions/0001-http.md).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import structlog

from koinon.api.dispatch import Answer
from koinon.daemon.bounded_http import BoundedHttpProtocol

log = structlog.get_logger(__name__)

_LINES: Final = rb"(?:(?!content-length|transfer-encoding|connection|expect|upgrade)[0-9a-z-]+: ?[ -~]*\r\n|connection: ?keep-alive\r\n)*"
_PLAIN: Final = re.compile(rb"POST /RPC2 HTTP/1\.1\r\n(?i:" + _LINES + rb"content-length: ?([0-9]{1,9})\r\n" + _LINES + rb")\r\n")
_HEAD: Final = b"HTTP/1.1 200 OK\r\n%bcontent-type: text/xml; charset=utf-8\r\ncontent-length: %d\r\n%b\r\n"
#: Bytes of further requests that may wait behind one that is under way.
_MAX_BEHIND: Final = 64 * 1024
#: Up to this length an answer is joined with its head: one piece to send.
_JOINED: Final = 64 * 1024


class Door(Protocol):
    """What answers calls (api.dispatch)."""

    def begin(self, body: bytes) -> Answer | Coroutine[Any, Any, Answer]: ...


class PlainCallProtocol(BoundedHttpProtocol):
    """One connection of a client of XML-RPC or JSON.

    Args:
        door: answers calls.
        max_request_bytes: longer calls are left to the application, which refuses them.
        config: uvicorn's, as all others.
    """

    def __init__(self, *config: Any, door: Door, max_request_bytes: int, **more_config: Any) -> None:
        super().__init__(*config, **more_config)
        self._door = door
        self._max = max_request_bytes
        self._parsing = False  # uvicorn's parser is in the middle of a request
        self._parts: list[bytes] = []  # of a plain call whose body is still coming
        self._missing = 0
        self._behind = b""  # bytes behind a call that is under way
        self._under_way = False
        self._ending = False
        self._idle_since = 0.0
        self._idle: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._under_way or self._behind or self.flow.write_paused:
            self._behind += data
            if len(self._behind) > _MAX_BEHIND:
                self.flow.pause_reading()
            return
        if self._missing:
            self._continue(data)
            return
        if not self._in_full_parser():
            plain = _PLAIN.match(data)
            if plain is not None and int(plain[1]) <= self._max:
                self._unset_keepalive_if_required()
                self._missing = int(plain[1])
                self._continue(data[plain.end() :])
                return
        super().data_received(data)

    def _continue(self, data: bytes) -> None:
        """Take more of a plain call's body; answer once it is whole."""
        size = len(data)
        if size < self._missing:
            self._parts.append(data)
            self._missing -= size
            self._unfinished = True
            self._heard()
            return
        if size > self._missing:
            self._behind = data[self._missing :]
            data = data[: self._missing]
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts.clear()
        self._missing = 0
        self._unfinished = False
        answer = self._door.begin(data)
        if isinstance(answer, Answer):
            self._reply(answer)
        else:
            self._under_way = True
            task = self.loop.create_task(self._finish(answer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _finish(self, coming: Coroutine[Any, Any, Answer]) -> None:
        try:
            answer = await coming
        except BaseException:
            self.transport.close()  # there is no answer to give; the client must not wait for one
            raise
        self._under_way = False
        if not self.transport.is_closing():
            self._reply(answer)

    def _reply(self, answer: Answer) -> None:
        lines = b"".join([b"%b: %b\r\n" % line for line in self.server_state.default_headers])
        position = b"" if answer.position is None else b"koinon-position: %b\r\n" % str(answer.position).encode()
        head = _HEAD % (lines, len(answer.body), position)
        if len(answer.body) <= _JOINED:
            self.transport.write(head + answer.body)
        else:
            self.transport.write(head)
            self.transport.write(answer.body)
        if self._ending:
            self.transport.close()
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_at(self._idle_since + self.timeout_keep_alive, self._look_idle)
        if self._behind:
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read what came behind a call that has been answered."""
        if self._under_way or self.flow.write_paused or self.transport.is_closing():
            return
        data, self._behind = self._behind, b""
        self.flow.resume_reading()
        if data:
            self.data_received(data)

    def _look_idle(self) -> None:
        """Close a connection that has been kept for nothing. One timer for many calls: setting one for each costs more than a look."""
        self._idle = None
        if self.transport.is_closing() or self.timeout_keep_alive_task is not None:
            return  # the full parser has taken over the watch
        busy = self._under_way or self._missing or self._in_full_parser()
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0 and not busy:
            self.transport.close()
        else:
            self._idle = self.loop.call_later(max(left_s, 1.0), self._look_idle)

    def _in_full_parser(self) -> bool:
        return self._parsing or bool(self.pipeline) or not (self.cycle is None or self.cycle.response_complete)

    def on_message_begin(self) -> None:
        self._parsing = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._parsing = False
        super().on_message_complete()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._behind:
            self.loop.call_soon(self._go_on)

    def shutdown(self) -> None:
        if self._under_way:
            self._ending = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._behind = b""
        self._parts.clear()
        super().connection_lost(exc)

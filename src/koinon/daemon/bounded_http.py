"""uvicorn's HTTP protocol with the bounds that it lacks: how long a request's head may be, and how long a request may be unfinished.

Holds:    a stranger's connection costs a bounded amount of memory, and is closed when it says nothing in the middle of a request.
Not here: how long a body may be (the applications know before they read it); the short way for plain calls (plain_calls.py).
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from koinon.federation.listener import ABORT

MAX_HEAD_BYTES: Final = 64 * 1024
#: Silence in the middle of a request, or before the first one, after which the connection is closed.
SILENT_S: Final = 30.0

_TOO_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection of a client."""

    max_head_bytes = MAX_HEAD_BYTES
    silent_s = SILENT_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(transport)
        self._in_head = True
        self._unfinished = True
        self._head_bytes = 0
        self._heard_at = self.loop.time()
        self._silence: asyncio.TimerHandle | None = None
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()
                return
        if self._unfinished and self._silence is None:
            self._watch()

    def _heard(self) -> None:
        """A piece of an unfinished request came, past the parser."""
        self._heard_at = self.loop.time()
        if self._silence is None:
            self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"now": self.transport.abort}}
        self._in_head = self._unfinished = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unfinished = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._silence is not None:
            self._silence.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Look again when the silence could have lasted too long: one timer for many pieces of a request."""
        self._silence = self.loop.call_at(self._heard_at + self.silent_s, self._look)

    def _look(self) -> None:
        self._silence = None
        if not self._unfinished or self.transport.is_closing():
            return
        if self.loop.time() - self._heard_at >= self.silent_s:
            self.transport.close()
        else:
            self._watch()

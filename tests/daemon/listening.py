"""An open connection to a listener whose application says a request's body back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from harness.processes import free_port
from koinon.daemon.bounded_http import BoundedHttpProtocol
from koinon.daemon.listeners import HttpListener

Test = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The application."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def listening(test: Test, protocol: Callable[..., BoundedHttpProtocol] = BoundedHttpProtocol) -> None:
    """Run ``test`` with the two ends of a connection."""

    async def run() -> None:
        port = free_port()
        listener = HttpListener("test", "127.0.0.1", port, echo, protocol=protocol)
        await listener.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await test(reader, writer)
        finally:
            writer.close()
            await listener.stop()

    asyncio.run(run())

"""The clients' door: plain ASGI at ``/RPC2``, nothing between the socket and the dispatcher; ``/api/v1`` and health checks beside it.

Holds:    200 for every XML-RPC answer, faults too; 404, 405, 411 and 413 as OpenNebula's server gives them.
Source:   OpenNebula src/rm/xml-rpc/RequestManagerXRPC.cc with xmlrpc-c's Abyss server: paths, methods, lengths.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from koinon.api import health
from koinon.api.dispatch import Dispatcher
from koinon.api.health import Health

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_XML: Final = (b"content-type", b"text/xml; charset=utf-8")


class XmlRpcApp:
    """The ASGI application of the clients' port.

    Args:
        dispatcher: answers calls.
        max_request_bytes: longer requests are refused unread.
        json: answers what is under ``/api/v1``.
        health: answers load balancers.
    """

    def __init__(self, dispatcher: Dispatcher, max_request_bytes: int, json: App, health: Health) -> None:
        self._dispatcher = dispatcher
        self._max = max_request_bytes
        self._json = json
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return None
        if scope["path"] != "/RPC2":
            if f"{scope['path']}/".startswith("/api/v1/"):
                return await self._json(scope, receive, send)
            if scope["path"] in health.PATHS:
                return await self._answer_balancer(scope, send)
            return await _refuse(send, 404, b"Not found: XML-RPC calls go to /RPC2, JSON is under /api/v1.")
        if scope["method"] != "POST":
            return await _refuse(send, 405, b"XML-RPC calls are POST requests.")
        length = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
        if length is None or not length.isdigit():
            return await _refuse(send, 411, b"Send the length of the request in Content-Length; chunks are not taken.")
        if int(length) > self._max:
            return await _refuse(send, 413, b"The request is longer than this server allows ([server] max_request_mib).")
        message = await receive()
        body = message.get("body", b"")
        if message.get("more_body"):
            parts = [body]
            while message.get("more_body"):
                message = await receive()
                parts.append(message.get("body", b""))
            body = b"".join(parts)
        if message["type"] == "http.disconnect":
            return None  # the caller left before the request was whole
        answer = await self._dispatcher.answer(body)
        headers = [_XML, (b"content-length", b"%d" % len(answer.body))]
        if answer.position is not None:
            headers.append((b"koinon-position", str(answer.position).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return await send({"type": "http.response.body", "body": answer.body})

    async def _answer_balancer(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            return await _refuse(send, 405, b"Ask with GET or HEAD.")
        status, body = self._health.answer(scope["path"])
        headers = [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": headers})
        return await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _refuse(send: Send, status: int, text: bytes) -> None:
    # The body was not read, so the connection can't be used again.
    headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(text)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})

"""What other zones may ask of this one, and how a request is found to be a zone's own before anything looks at it.

Path:     TLS -> application() -> Gate.asserted() -> a handler of this or another module (request, body, assertion)
Holds:    no body is read before its sender is proved; a zone that loses its trust loses the streams that are under way too.
Not here: what the other routes do (stream, snapshot, call: wiring adds them); TLS itself (keys.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from koinon import clock
from koinon.database.database import Database
from koinon.database.state import CommitNotice
from koinon.database.transactions import ReadTx
from koinon.errors import CloudError, UnavailableError
from koinon.federation import reign, trust
from koinon.federation.assertion import HEADER, Assertion, AssertionRefused, VerifiedCache, verify_head
from koinon.federation.keys import KeyFileError, KeyStore
from koinon.federation.link import NOW_HEADER, REFUSED_HEADER
from koinon.federation.membership import JoinRequest, Membership

log = structlog.get_logger(__name__)

#: Of an enrolled zone's requests: the longest shows 256 points and a frame (wire/messages.py). Calls have a channel of their own.
MAX_BODY: Final = 2**17
#: Of requests whose sender is unknown.
MAX_STRANGER_BODY: Final = 4096
STRANGER_S: Final = 10.0
#: How long an answer that is cut may take to end politely.
_FAREWELL_S: Final = 0.5
#: The server's ASGI extension that drops a connection (daemon/bounded_http.py).
ABORT: Final = "koinon.abort"
PREFIX: Final = "/federation/v1"
MSGPACK: Final = "application/vnd.msgpack"

#: What answers behind the gate: a response, or any ASGI application (the stream is one).
Handler = Callable[[Request, bytes, Assertion], Awaitable[ASGIApp]]


def error_response(status: int, text: str, *, reason: str = "", headers: dict[str, str] | None = None) -> Response:
    """An error as every zone and person reads it."""
    body = {"error": text} | ({"reason": reason} if reason else {})
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body. Raises HTTPException (413) when it is longer than ``limit`` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise HTTPException(413, f"a body may have {limit} bytes here")
        parts.append(part)
    return b"".join(parts)


def signed_path(request: Request) -> str:
    """Path and query exactly as they came over the wire, which is what was signed."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (raw.split(b"?", 1)[0] + (b"?" + query if query else b"")).decode("latin-1")


class Gate:
    """Lets through what an enrolled zone asked for.

    Args:
        database: this zone's.
        on_clone: told of a zone that has proved to hold the key of an enrolled one, and is refused for its database.
        now_s: this zone's clock.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_clone: Callable[[int, str], None] = lambda _zone, _error: None,
        now_s: Callable[[], int] = clock.now_s,
    ) -> None:
        self._database = database
        self._on_clone = on_clone
        self._now_s = now_s
        self._cache = VerifiedCache()
        self._open: dict[int, set[asyncio.Future[None]]] = {}
        self._unsubscribe = database.on_commit(self._heard)

    def asserted(self, handler: Handler, *, any_epoch: bool = False, max_body: int | None = MAX_BODY) -> Asserted:
        """Put a handler behind the gate; use the result as a route's endpoint.

        Args:
            handler: called with the request, its whole body and who proved to have sent it. Its response is sent inside the gate.
            any_epoch: also hear zones that know only an older reign, as they must be to learn of the newer one.
            max_body: longest body in bytes; None for a body that goes on, which the handler's application reads itself.
        """
        return Asserted(self, handler, any_epoch=any_epoch, max_body=max_body)

    async def admit(self, request: Request, *, any_epoch: bool, max_body: int | None) -> tuple[Assertion, bytes]:
        """Prove who sent a request, then read it. Raises AssertionRefused, HTTPException."""
        state = self._database.state()
        if not state.federation_id:
            raise HTTPException(404, "this zone is in no federation")
        with self._database.read() as tx:
            assertion = verify_head(
                request.headers.get(HEADER, ""),
                key_of=lambda zone_id: trust.require_key(tx, zone_id),
                method=request.method,
                path=signed_path(request),
                audience_zone=state.zone_id,
                federation_id=state.federation_id,
                now_s=self._now_s(),
                least_epoch=0 if any_epoch else state.epoch,
                cache=self._cache,
            )
            try:
                trust.require_instance(tx, assertion)
            except AssertionRefused as refusal:
                self._on_clone(assertion.zone_id, str(refusal))
                raise
        body = b"" if max_body is None else await read_body(request, max_body)
        assertion.covers(body)
        return assertion, body

    def still_trusted(self, assertion: Assertion) -> bool:
        """False once the zone was revoked, left, or its database changed."""
        with self._database.read() as tx:
            return _is_trusted(tx, assertion.zone_id)

    def refused(self, refusal: AssertionRefused) -> Response:
        """The answer to a request that was not let through; tells the sender our clock."""
        headers = {REFUSED_HEADER: refusal.reason, NOW_HEADER: str(self._now_s())}
        return error_response(refusal.status, str(refusal), reason=refusal.reason, headers=headers)

    @contextlib.contextmanager
    def under_way(self, zone_id: int, task: asyncio.Future[None]) -> Any:
        """Count a task as a stream to this zone, to be cut when the zone loses its trust."""
        self._open.setdefault(zone_id, set()).add(task)
        try:
            yield
        finally:
            self._open[zone_id].discard(task)
            if not self._open[zone_id]:
                del self._open[zone_id]

    def cut(self, zone_id: int) -> None:
        """End every stream to this zone that is under way."""
        for task in self._open.get(zone_id, set()).copy():
            task.cancel()

    def cut_all(self) -> None:
        """End every stream to every zone: before the listener stops, and when this zone leaves."""
        for zone_id in list(self._open):
            self.cut(zone_id)

    def close(self) -> None:
        """Hear of no more commits."""
        self._unsubscribe()
        self.cut_all()

    def _heard(self, notice: CommitNotice) -> None:
        if notice.changed is None:
            changed = list(self._open)
        else:
            changed = [zone_id for table, zone_id in notice.changed if table == "zone_pool" and zone_id in self._open]
        if not changed:
            return
        try:
            with self._database.read() as tx:
                lost = [zone_id for zone_id in changed if not _is_trusted(tx, zone_id)]
        except UnavailableError as error:  # a zone that is still trusted dials again
            log.warning("whether zones are still trusted can't be looked up, their streams are cut", zones=changed, error=error.text)
            lost = changed
        else:
            for zone_id in lost:
                log.warning("zone lost its trust, its streams are cut", zone=zone_id)
        for zone_id in lost:
            self.cut(zone_id)


def _is_trusted(tx: ReadTx, zone_id: int) -> bool:
    return trust.trusted_key(tx, zone_id) is not None


class Asserted:
    """An ASGI application: one handler behind the gate."""

    def __init__(self, gate: Gate, handler: Handler, *, any_epoch: bool, max_body: int | None) -> None:
        self._gate = gate
        self._handler = handler
        self._any_epoch = any_epoch
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            assertion, body = await self._gate.admit(request, any_epoch=self._any_epoch, max_body=self._max_body)
            response = await self._handler(request, body, assertion)
        except AssertionRefused as refusal:
            log.warning("request refused", reason=refusal.reason, path=request.url.path, peer=request.client and request.client.host)
            await self._gate.refused(refusal)(scope, receive, send)
            return
        if isinstance(response, Response) and not isinstance(response, StreamingResponse):
            # what was asked while the zone was trusted is answered, also when this very request ended the trust (leave)
            await response(scope, receive, send)
        else:
            await self._stream(response, assertion, scope, receive, send)

    async def _stream(self, response: ASGIApp, assertion: Assertion, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.ensure_future(response(scope, receive, send))
        with self._gate.under_way(assertion.zone_id, task):
            try:
                if not self._gate.still_trusted(assertion):  # it may have gone since the request was let in
                    task.cancel()
                await asyncio.wait({task})
            finally:
                task.cancel()
        if not task.cancelled():
            task.result()
            return
        # The peer sees an end, asks again, and is told why then. Before the first byte there is nothing to end, a length that was announced
        # can't be kept, and a peer that does not read would never see it: then the connection goes.
        with contextlib.suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        abort = scope.get("extensions", {}).get(ABORT)
        if abort is not None:
            abort["now"]()
            while (await receive())["type"] != "http.disconnect":
                pass


class TrustRoutes:
    """The routes of membership and trust."""

    def __init__(self, database: Database, store: KeyStore, membership: Membership, gate: Gate) -> None:
        self._database = database
        self._store = store
        self._membership = membership
        self._gate = gate

    def routes(self) -> list[BaseRoute]:
        """All of them: ``ca`` and ``join`` for those who are not members yet, the rest behind the gate."""
        gate = self._gate
        return [
            Route(f"{PREFIX}/ca", self.ca, methods=["GET"]),
            Route(f"{PREFIX}/join", self.join, methods=["POST"]),
            Route(f"{PREFIX}/reign", gate.asserted(self.reign, any_epoch=True), methods=["GET"]),
            Route(f"{PREFIX}/leave", gate.asserted(self.leave, any_epoch=True), methods=["POST"]),
            Route(f"{PREFIX}/withdraw", gate.asserted(self.withdraw, any_epoch=True), methods=["POST"]),
            Route(f"{PREFIX}/certificate", gate.asserted(self.certificate), methods=["POST"]),
        ]

    async def ca(self, _request: Request) -> Response:
        """The CA's certificate: public, and worth nothing without a hash or a reign record to check it against."""
        return Response(self._store.ca_pem(), media_type="application/x-pem-file")

    async def join(self, request: Request) -> Response:
        """Let a zone in that has an invitation; the request is signed with the very key that it brings."""
        try:
            async with asyncio.timeout(STRANGER_S):
                body = await read_body(request, MAX_STRANGER_BODY)
        except TimeoutError:
            return error_response(408, f"the request took longer than {STRANGER_S:.0f} s to arrive")
        try:
            wanted = msgspec.msgpack.decode(body, type=JoinRequest)
        except (msgspec.MsgspecError, ValueError) as error:
            return error_response(400, f"not a request to join: {error}")
        state = self._database.state()
        key = trust.read_raw_key(wanted.public_key)
        try:
            assertion = verify_head(
                request.headers.get(HEADER, ""),
                key_of=lambda zone_id: key if zone_id == wanted.zone_id else None,
                method=request.method,
                path=signed_path(request),
                audience_zone=state.zone_id,
                federation_id=state.federation_id,
                now_s=clock.now_s(),
            )
            assertion.covers(body)
        except AssertionRefused as refusal:
            return self._gate.refused(refusal)
        reply = await self._membership.accept(wanted)
        log.info("zone let in", zone=wanted.zone_id)
        return Response(msgspec.msgpack.encode(reply), media_type=MSGPACK)

    async def reign(self, _request: Request, _body: bytes, _assertion: Assertion) -> Response:
        """Every reign record that this zone knows, oldest first."""
        with self._database.read() as tx:
            records = reign.load_all(tx)
        return Response(msgspec.msgpack.encode(records), media_type=MSGPACK)

    async def leave(self, _request: Request, _body: bytes, assertion: Assertion) -> Response:
        """Mark the zone as gone."""
        await self._membership.accept_leave(assertion.zone_id)
        log.info("zone left", zone=assertion.zone_id)
        return Response(status_code=200)

    async def withdraw(self, _request: Request, _body: bytes, assertion: Assertion) -> Response:
        """Mark the zone as invited again: it was let in, and did not come."""
        await self._membership.accept_withdrawal(assertion.zone_id)
        log.info("zone did not come", zone=assertion.zone_id)
        return Response(status_code=200)

    async def certificate(self, _request: Request, _body: bytes, assertion: Assertion) -> Response:
        """A fresh certificate for the key that the zone is enrolled with."""
        with self._database.read() as tx:
            return Response(self._membership.certify(tx, assertion.zone_id), media_type="application/x-pem-file")


async def _on_cloud_error(_request: Request, error: Exception) -> Response:
    return error_response(error.status if isinstance(error, CloudError) else 500, str(error))


async def _on_http_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return error_response(error.status_code, error.detail, headers=dict(error.headers or {}))
    return error_response(500, "internal error")


async def _on_key_error(request: Request, error: Exception) -> Response:
    log.error("keys can't be used", path=request.url.path, error=str(error))
    return error_response(503, "this zone has no usable keys for a federation")


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return error_response(400, "the request ended early")


async def _on_any_error(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return error_response(500, "internal error; the log of this zone says more")


def application(routes: Sequence[BaseRoute]) -> Starlette:
    """The listener's ASGI application over all routes; every error becomes ``{"error": text}``."""
    return Starlette(
        routes=list(routes),
        exception_handlers={
            CloudError: _on_cloud_error,
            HTTPException: _on_http_error,
            KeyFileError: _on_key_error,
            ClientDisconnect: _on_disconnect,
            Exception: _on_any_error,
        },
    )

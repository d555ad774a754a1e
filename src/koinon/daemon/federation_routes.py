"""The paths that zones ask each other, put together: trust first, then what only enrolled zones get.

Not here: what is answered (federation/); who may ask (federation/listener.py).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from koinon.database.database import Database
from koinon.federation import existence, operations
from koinon.federation.assertion import Assertion
from koinon.federation.call_stream import CallStream, Shares
from koinon.federation.existence import Existence
from koinon.federation.forwarding import Take
from koinon.federation.listener import PREFIX, Gate, TrustRoutes, error_response
from koinon.federation.positions import Positions
from koinon.federation.replies import Reply
from koinon.federation.rollback import RollbackGuard
from koinon.federation.snapshot import Snapshots, is_snapshot_id
from koinon.federation.stream import Feed
from koinon.wire import redirects
from koinon.wire.messages import MessageError


class LogRoutes:
    """The log, positions, snapshots and redirects of a master.

    Args:
        gate: lets only enrolled zones through.
        feed: the stream.
        positions: takes reports.
        guard: takes questions about history.
        snapshots: offers the tables.
        take: does a redirected call.
    """

    def __init__(self, gate: Gate, feed: Feed, positions: Positions, guard: RollbackGuard, snapshots: Snapshots, take: Take) -> None:
        self._gate = gate
        self._feed = feed
        self._positions = positions
        self._guard = guard
        self._snapshots = snapshots
        self._take = take
        self._shares = Shares()

    def routes(self) -> list[BaseRoute]:
        """All of them, behind the gate."""
        asserted = self._gate.asserted
        # A zone that knows only an older reign must be able to copy, or it would never learn of the newer one; it may not have things done.
        return [
            Route(f"{PREFIX}/log", asserted(self.log, any_epoch=True), methods=["GET"]),
            Route(f"{PREFIX}/position", asserted(self.position, any_epoch=True), methods=["POST"]),
            Route(f"{PREFIX}/locate", asserted(self.locate, any_epoch=True), methods=["POST"]),
            Route(f"{PREFIX}/snapshot", asserted(self.snapshot, any_epoch=True), methods=["POST"]),
            Route(f"{PREFIX}/snapshot/{{snapshot_id}}", asserted(self.download, any_epoch=True), methods=["GET"]),
            Route(redirects.PATH, asserted(self.calls, max_body=None), methods=["POST"]),
        ]

    async def log(self, request: Request, _body: bytes, assertion: Assertion) -> ASGIApp:
        """The endless stream of frames."""
        found = self._feed.open(assertion.zone_id, request.query_params)
        return _response(found) if isinstance(found, Reply) else found

    async def position(self, _request: Request, body: bytes, assertion: Assertion) -> ASGIApp:
        """A zone says what it holds durably."""
        try:
            return _response(await self._positions.answer(assertion.zone_id, body))
        except MessageError as error:
            return error_response(400, str(error))

    async def locate(self, _request: Request, body: bytes, assertion: Assertion) -> ASGIApp:
        """A zone asks where its history left ours."""
        try:
            return _response(await self._guard.locate(assertion.zone_id, body))
        except MessageError as error:
            return error_response(400, str(error))

    async def snapshot(self, _request: Request, body: bytes, assertion: Assertion) -> ASGIApp:
        """A zone asks for a snapshot."""
        try:
            return _response(await self._snapshots.offer(assertion.zone_id, body))
        except MessageError as error:
            return error_response(400, str(error))

    async def download(self, request: Request, _body: bytes, assertion: Assertion) -> ASGIApp:
        """A zone loads a snapshot from some byte on."""
        snapshot_id, offset = request.path_params["snapshot_id"], request.query_params.get("offset", "0")
        if not is_snapshot_id(snapshot_id) or not (offset.isascii() and offset.isdigit() and len(offset) < 19):
            return error_response(400, "a snapshot's id and offset=N are needed")
        return self._snapshots.download(assertion.zone_id, snapshot_id, int(offset))

    async def calls(self, _request: Request, _body: bytes, assertion: Assertion) -> ASGIApp:
        """A zone opens the channel on which it redirects callers' writes."""
        return CallStream(self._shares.of(assertion.zone_id), self._take)


class ObjectRoutes:
    """What zones tell and ask each other about the objects that each has for itself.

    Args:
        gate: lets only enrolled zones through.
        database: this zone's.
        guard: says when shared writes are stopped.
        objects: answers questions about this zone's objects.
    """

    def __init__(self, gate: Gate, database: Database, guard: RollbackGuard, objects: Existence) -> None:
        self._gate = gate
        self._database = database
        self._guard = guard
        self._objects = objects

    def routes(self) -> list[BaseRoute]:
        """All of them, behind the gate."""
        asserted = self._gate.asserted
        return [
            Route(operations.PATH, asserted(self.operation, max_body=operations.MAX_BODY), methods=["POST"]),
            Route(existence.PATH, asserted(self.exists), methods=["GET"]),
        ]

    async def operation(self, _request: Request, body: bytes, assertion: Assertion) -> ASGIApp:
        """A zone has shared data changed that concerns that zone alone."""
        halted, zone_id, request_id = lambda: self._guard.halted, assertion.zone_id, assertion.request_id
        return _response(await operations.receive(self._database, halted, body, zone_id, request_id))

    async def exists(self, request: Request, _body: bytes, assertion: Assertion) -> ASGIApp:
        """The master asks whether this zone has an object."""
        return _response(self._objects.answer(request.query_params, assertion.zone_id))


def all_paths(trust: TrustRoutes, log: LogRoutes, objects: ObjectRoutes) -> list[BaseRoute]:
    """Every path of the listener."""
    return [*trust.routes(), *log.routes(), *objects.routes()]


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, media_type=reply.media_type)

"""Administration on this machine: a UNIX socket that only its owner can open, HTTP with JSON on it.

Path:     `koinon federation ...` -> client/admin.py -> here -> federation/membership.py, status.py
Holds:    whoever can open the socket owns this zone's files, so nothing else is asked. Of several processes that serve a zone from one
          directory one has the socket; when it ends, another.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from koinon.errors import CloudError, UnavailableError

log = structlog.get_logger(__name__)

_TURN_EVERY_S: Final = 0.25

#: Answers one request: takes the body's fields, returns what is sent back.
Operation = Callable[[Any], Awaitable[dict[str, Any]]]


class Refusal(CloudError):
    """A refusal that says more than one text can: ``fields`` go into the answer beside it."""

    status = 409

    def __init__(self, text: str, **fields: Any) -> None:
        super().__init__(text)
        self.fields = fields


class Invite(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of POST /federation/invite."""

    name: str
    endpoint: str | None = None


class Join(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of POST /federation/join."""

    token: str
    replace: bool = False
    plan: bool = False


class Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of POST /federation/revoke."""

    name: str


class Leave(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of POST /federation/leave."""

    force: bool = False


class Nothing(msgspec.Struct):
    """No fields."""


class AdminListener:
    """The socket and its paths.

    Args:
        path: where the socket is put; a stale one there is removed.
        operations: (method, path) -> type of the fields, operation.
    """

    def __init__(self, path: Path, operations: dict[tuple[str, str], tuple[type[msgspec.Struct], Operation]]) -> None:
        self._path = path
        self._lock: int | None = None
        self._turn: asyncio.Task[None] | None = None
        app = web.Application(middlewares=[_errors_as_json])
        for (method, where), (fields, operation) in operations.items():
            app.router.add_route(method, where, _handler(fields, operation))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen, as soon as no other process does at this path. Raises UnavailableError."""
        await self._runner.setup()
        if not await self._listen():
            self._turn = asyncio.create_task(self._await_turn(), name="admin socket")

    async def stop(self) -> None:
        """Close and remove the socket, if it is ours."""
        if self._turn is not None:
            self._turn.cancel()
            await asyncio.gather(self._turn, return_exceptions=True)
        await self._runner.cleanup()
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)

    async def _await_turn(self) -> None:
        while not await self._listen():  # noqa: ASYNC110 - the kernel does not say when a lock is let go
            await asyncio.sleep(_TURN_EVERY_S)

    async def _listen(self) -> bool:
        """Listen, unless another process that serves this zone from this directory does; the kernel says when it has ended."""
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)  # the socket must never be open to others, not even while it is made
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        except OSError as error:
            raise UnavailableError(f"The admin socket {self._path} can't be made: {error}.") from error
        finally:
            os.umask(before)
        return True


def _handler(fields: type[msgspec.Struct], operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            wanted = msgspec.json.decode(body or b"{}", type=fields)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _json(400, {"error": f"the request can't be read: {error}"})
        return _json(200, await operation(wanted))

    return handle


@web.middleware
async def _errors_as_json(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as error:
        return _json(error.status, {"error": error.text, **error.fields})
    except CloudError as error:
        return _json(error.status, {"error": error.text})
    except web.HTTPException as error:
        return _json(error.status, {"error": error.reason})
    except Exception as error:
        log.exception("administration failed", path=request.path)
        return _json(500, {"error": f"unexpected {type(error).__name__}; the server's log says more"})


def _json(status: int, fields: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(fields), content_type="application/json")

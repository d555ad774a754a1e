"""Administration on this machine: a UNIX socket that only its owner can open, HTTP with JSON on it.

Path:     `koinon federation ...` -> client/admin.py -> here -> federation/membership.py, status.py
Holds:    whoever can open the socket owns this zone's files, so nothing else is asked.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from koinon.errors import CloudError, UnavailableError

log = structlog.get_logger(__name__)

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
        app = web.Application(middlewares=[_errors_as_json])
        for (method, where), (fields, operation) in operations.items():
            app.router.add_route(method, where, _handler(fields, operation))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen. Raises UnavailableError."""
        self._path.unlink(missing_ok=True)
        await self._runner.setup()
        before = os.umask(0o177)  # the socket must never be open to others, not even while it is made
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        except OSError as error:
            raise UnavailableError(f"The admin socket {self._path} can't be made: {error}.") from error
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close and remove the socket."""
        await self._runner.cleanup()
        self._path.unlink(missing_ok=True)


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

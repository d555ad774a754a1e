"""Sockets and the HTTP servers on them, each startable and stoppable while the process runs.

Holds:    uvicorn runs on uvloop and httptools or not at all: without them it would quietly be six times slower.
Not here: what is answered (the applications given to it); when to stop (server.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from koinon.daemon.bounded_http import BoundedHttpProtocol
from koinon.errors import UnavailableError

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
_STOP_S: Final = 3


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpListener:
    """One port with one application.

    Args:
        name: in log lines and errors.
        address: IP address to listen on.
        port: TCP port.
        app: ASGI application.
        tls: server context, None for plain HTTP.
        share: let other processes of the same user listen there too; the kernel divides connections among them.
        protocol: makes the protocol of each connection, from uvicorn's arguments.
    """

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        app: Any,
        tls: ssl.SSLContext | None = None,
        *,
        protocol: Callable[..., BoundedHttpProtocol] = BoundedHttpProtocol,
        share: bool = False,
    ) -> None:
        self.name = name
        self._address = address
        self._port = port
        self._share = share
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_S,
            backlog=_BACKLOG,
        )
        config.load()
        config.ssl = tls
        config.http_protocol_class = protocol  # type: ignore[assignment] # it is only called
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and return once connections are taken.

        Raises:
            UnavailableError: the address can't be listened on.
        """
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._share:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listening.bind((self._address, self._port))
        except OSError as error:
            listening.close()
            raise UnavailableError(
                f"The {self.name} can't listen on {self._address} port {self._port}: {error.strerror}. Stop what listens there, or set "
                "another port in the settings."
            ) from error
        self._task = asyncio.get_running_loop().create_task(self._server.serve([listening]), name=self.name)
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn says it by a flag only
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Take no new connections, let the answers under way finish for some seconds, close."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task])

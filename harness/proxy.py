"""A link between two zones that can be slow, silent or cut: a TCP proxy that knows nothing of what it carries.

Path:     slave -> Link (its own thread and event loop) -> the master's federation listener
Holds:    bytes keep their order; delay does not limit throughput (what is under way is bounded at 16 MiB a direction).
Not here: the zones at both ends (zones.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Final, TypeVar

from harness.processes import free_port

_CHUNK: Final = 64 * 1024
_CHUNKS_UNDER_WAY: Final = 256

T = TypeVar("T")


class Direction(Enum):
    """Which way bytes go, seen from the one who dialled."""

    UP = "up"
    DOWN = "down"


class _Connection:
    """One accepted connection and its twin to the target."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._client = (reader, writer)
        self._writers = [writer]
        self._aborted = False
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._link.target)
        except OSError:
            self.abort()
            return
        self._writers.append(server[1])
        if self._aborted:  # while we dialled
            self.abort()
            return
        self.tasks = [
            asyncio.ensure_future(self._carry(Direction.UP, self._client[0], server[1])),
            asyncio.ensure_future(self._carry(Direction.DOWN, server[0], self._client[1])),
        ]
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    async def _carry(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_UNDER_WAY)

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                if (wait_s := due - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                await self._link.flowing[direction].wait()
                if not data:
                    break
                if (allowed := self._link.take(direction, len(data))) < len(data):
                    writer.write(data[:allowed])
                    self.abort()
                    return
                writer.write(data)
                await writer.drain()
            with contextlib.suppress(OSError):
                if writer.can_write_eof():
                    writer.write_eof()
                else:  # TLS knows no half of an end
                    writer.close()

        delivery = asyncio.ensure_future(deliver())
        try:
            while data := await reader.read(_CHUNK):
                await waiting.put((loop.time() + self._link.delay_s, data))
            await waiting.put((loop.time() + self._link.delay_s, b""))
            await delivery
        except OSError:
            self.abort()
        finally:
            delivery.cancel()

    def abort(self) -> None:
        """Reset both sides."""
        self._aborted = True
        for writer in self._writers:
            writer.transport.abort()
        for task in self.tasks:
            task.cancel()


class Link:
    """A proxy on a loopback port in front of one target port.

    Attributes:
        port: where to dial.
        target: the port behind it.
        delay_s: how long each byte is under way, one way; may be changed at any time.
        tls: with it, whoever dials must speak TLS; the target gets what was said, in clear.
    """

    def __init__(self, target: int, *, delay_s: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay_s = delay_s
        self.tls = tls
        self.port = free_port()
        self.flowing: dict[Direction, asyncio.Event] = {}
        self._budget: dict[Direction, int | None] = dict.fromkeys(Direction)
        self._connections: dict[_Connection, asyncio.Task[Any]] = {}
        self._open = True
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link-{self.port}", daemon=True)
        self._thread.start()
        self._wait(self._listen())

    @property
    def address(self) -> str:
        """``host:port`` to give to whoever dials."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset all connections and refuse new ones, as when the listener's host is gone."""
        self._do(self._cut)

    def hold(self, *directions: Direction) -> None:
        """Carry nothing more in these directions (none: both) and say nothing about it, as when packets are lost."""

        def stop_flow() -> None:
            for direction in directions or Direction:
                self.flowing[direction].clear()

        self._do(stop_flow)

    def drop_after(self, count: int, direction: Direction = Direction.DOWN) -> None:
        """Carry ``count`` more bytes in ``direction``, then reset the connection that carries the next one; once."""
        self._do(lambda: self._budget.update({direction: count}))

    def restore(self) -> None:
        """Carry everything again."""
        self._do(self._restore)

    def close(self) -> None:
        """End the proxy and its thread."""
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def take(self, direction: Direction, count: int) -> int:
        """How many of ``count`` bytes may still pass; for the connections."""
        left = self._budget[direction]
        if left is None:
            return count
        if left < count:
            self._budget[direction] = None
            return left
        self._budget[direction] = left - count
        return count

    async def _listen(self) -> None:
        for direction in Direction:
            self.flowing[direction] = asyncio.Event()
            self.flowing[direction].set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        self._cut()
        if self._connections:
            await asyncio.wait(self._connections.values())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        if not self._open:
            connection.abort()
            return
        task = asyncio.current_task()
        assert task is not None, "asyncio accepts each connection in a task"
        self._connections[connection] = task
        try:
            await connection.run()
        finally:
            del self._connections[connection]

    def _cut(self) -> None:
        self._open = False
        for connection in tuple(self._connections):
            connection.abort()

    def _restore(self) -> None:
        self._open = True
        for flowing in self.flowing.values():
            flowing.set()
        self._budget = dict.fromkeys(Direction)

    def _do(self, action: Callable[[], Any]) -> None:
        async def act() -> None:
            action()

        self._wait(act())

    def _wait(self, job: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(60)

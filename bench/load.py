"""Send prepared HTTP requests over keep-alive connections and count, with little processor time of our own.

Path:     run() -> one epoll loop over non-blocking sockets -> replies judged by a few bytes -> Result
Holds:    request bytes are made before the clock starts; one request is under way per connection.
Not here: what is asked (calls.py), of whom (scenarios.py).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from harness.processes import cpu_s

_RECEIVE: Final = 1 << 20
_LENGTH: Final = b"content-length:"
_HEAD_END: Final = b"\r\n\r\n"


class Load(msgspec.Struct):
    """One kind of request from some connections.

    Attributes:
        name: what the report calls it.
        port: loopback port of the server.
        requests: whole requests, made ready; the load ends early when they run out.
        connections: how many send them.
        good: a reply without these bytes is counted as failed.
    """

    name: str
    port: int
    requests: Iterator[bytes]
    connections: int
    good: bytes = b"<boolean>1</boolean>"


class Result(msgspec.Struct):
    """What one load did.

    Attributes:
        seconds: from the first request to the last reply.
        latencies_us: one per reply, ascending.
        cpu_us: processor time of each watched process per reply of all loads together, by name.
    """

    name: str
    connections: int
    seconds: float
    latencies_us: list[float]
    failed: int
    first_failure: bytes
    cpu_us: dict[str, float]

    @property
    def per_second(self) -> float:
        return len(self.latencies_us) / self.seconds if self.seconds else 0.0

    def percentile_us(self, share: float) -> float:
        """The latency below which ``share`` of the replies came."""
        if not self.latencies_us:
            return float("nan")
        return self.latencies_us[min(len(self.latencies_us) - 1, int(share * len(self.latencies_us)))]


class _Connection:
    __slots__ = ("_got", "_needed", "_parts", "load", "sent_at", "socket")

    def __init__(self, load: _Running) -> None:
        self.load = load
        self.socket = socket.create_connection(("127.0.0.1", load.load.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(30)
        self._parts: list[bytes] = []
        self._got = self._needed = 0
        self.sent_at = 0

    @property
    def reply(self) -> bytes:
        return b"".join(self._parts)

    def reply_starts_with(self, mark: bytes) -> bool:
        """Whether ``mark`` stands near the start of the reply."""
        return self._parts[0].find(mark, 0, 4096) >= 0 or (len(self._parts) > 1 and self.reply.find(mark, 0, 4096) >= 0)

    @property
    def beginning(self) -> bytes:
        return self._parts[0] if self._parts else b""

    def send(self, request: bytes) -> None:
        self._parts, self._got, self._needed = [], 0, 0
        self.sent_at = time.perf_counter_ns()
        self.socket.sendall(request)

    def received(self) -> bool:
        """Take what is there; whether the reply is whole now."""
        data = self.socket.recv(_RECEIVE)
        if not data:
            raise ConnectionError(f"{self.load.load.name}: the server closed the connection in the middle")
        self._parts.append(data)
        self._got += len(data)
        if not self._needed:
            self._parts = [self.reply]
            end = self.beginning.find(_HEAD_END)
            if end < 0:
                return False
            head = self.beginning[:end].lower()
            at = head.find(_LENGTH)
            if at < 0:
                raise ConnectionError(f"{self.load.load.name}: a reply without length: {head[:300]!r}")
            self._needed = end + len(_HEAD_END) + int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        return self._got >= self._needed


class _Running:
    __slots__ = ("ended_at", "failed", "first_failure", "latencies", "load")

    def __init__(self, load: Load) -> None:
        self.load = load
        self.latencies: list[int] = []
        self.failed = 0
        self.first_failure = b""
        self.ended_at = 0


def run(loads: Sequence[Load], seconds: float, *, watched: dict[str, int] | None = None) -> list[Result]:
    """Keep every connection of every load busy for ``seconds`` or until its requests run out.

    Args:
        loads: run together.
        watched: process ids by name, whose processor time is reported per reply.
    """
    running = [_Running(load) for load in loads]
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    try:
        for load in running:
            for _ in range(load.load.connections):
                connection = _Connection(load)
                connections[connection.socket.fileno()] = connection
                poll.register(connection.socket, select.EPOLLIN)
        cpu_before = {name: cpu_s(pid) for name, pid in (watched or {}).items()}
        started = time.perf_counter_ns()
        deadline = started + int(seconds * 1e9)
        busy = sum(_next(connection, deadline) for connection in connections.values())
        while busy:
            ready = poll.poll(60)
            if not ready:
                raise TimeoutError(f"no reply for 60 s from {', '.join(load.name for load in loads)}")
            for number, _ in ready:
                connection = connections[number]
                if connection.received():
                    _count(connection)
                    busy -= not _next(connection, deadline)
        cpu = {name: cpu_s(pid) - cpu_before[name] for name, pid in (watched or {}).items()}
    finally:
        for connection in connections.values():
            connection.socket.close()
        poll.close()
    total = max(1, sum(len(load.latencies) for load in running))
    return [
        Result(
            name=load.load.name,
            connections=load.load.connections,
            seconds=(load.ended_at - started) / 1e9,
            latencies_us=sorted(latency / 1e3 for latency in load.latencies),
            failed=load.failed,
            first_failure=load.first_failure,
            cpu_us={name: used / total * 1e6 for name, used in cpu.items()},
        )
        for load in running
    ]


def _next(connection: _Connection, deadline: int) -> bool:
    if time.perf_counter_ns() >= deadline:
        return False
    request = next(connection.load.load.requests, None)
    if request is None:
        return False
    connection.send(request)
    return True


def _count(connection: _Connection) -> None:
    now = time.perf_counter_ns()
    load = connection.load
    load.latencies.append(now - connection.sent_at)
    load.ended_at = now
    if connection.reply_starts_with(load.load.good):
        return
    load.failed += 1
    load.first_failure = load.first_failure or connection.reply[:1000]


class Exchange:
    """One connection for one request at a time, for those who measure single replies."""

    def __init__(self, port: int) -> None:
        self._connection = _Connection(_Running(Load("exchange", port, iter(()), 1)))

    def ask(self, request: bytes) -> bytes:
        """Send ``request`` and return the whole reply, head included."""
        self._connection.send(request)
        while not self._connection.received():
            pass
        return self._connection.reply

    def close(self) -> None:
        self._connection.socket.close()


def repeated(make: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    """``count`` different requests, made now; they are given out one by one."""
    return iter([make(number) for number in range(count)])


def forever(request: bytes) -> Iterator[bytes]:
    """The same request without end."""
    while True:
        yield request

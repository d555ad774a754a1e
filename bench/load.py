"""Send prepared HTTP requests over keep-alive connections and count, with little processor time of our own.

Path:     run() -> one epoll loop over non-blocking sockets -> replies judged by a few bytes -> Result
Holds:    request bytes are made before the clock starts; one request is under way per connection; of a long reply only the start is
          copied, the rest is dropped in the kernel. A call costs this process about 3 us beside its system calls.
Not here: what is asked (calls.py), of whom (bench.py).
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from harness.processes import cpu_s

#: as much of a reply's start as is looked at
_START: Final = 4096
#: most bytes to drop in one system call; nothing is written to this memory
_REST: Final = bytearray(1 << 20)
_LENGTH: Final = b"content-length:"
_HEAD_END: Final = b"\r\n\r\n"
_PATIENCE_S: Final = 60


class Load(msgspec.Struct):
    """One kind of request from some connections.

    Attributes:
        name: what the report calls it.
        port: loopback port of the server.
        requests: whole requests, made ready; the load ends early when they run out.
        connections: how many send them.
        good: a reply without these bytes near its start is counted as failed.
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
        cpu_us: processor time of each watched party, and of this process as ``generator``, per reply of all loads together.
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

    def percentile_ms(self, share: float) -> float:
        """The latency below which ``share`` of the replies came."""
        return percentile(self.latencies_us, share) / 1e3


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ascending`` lies; not a number if there are none."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else float("nan")


class _Connection:
    __slots__ = ("_got", "_left", "_start", "load", "sent_at", "socket")

    def __init__(self, load: _Running) -> None:
        self.load = load
        self.socket = socket.create_connection(("127.0.0.1", load.load.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._start = bytearray(_START)
        self._got = self._left = 0
        self.sent_at = 0

    def send(self, request: bytes, now: int) -> None:
        self._got = self._left = 0
        self.sent_at = now
        if self.socket.send(request) < len(request):
            raise ConnectionError(f"{self.load.load.name}: the server does not read; a request of {len(request)} bytes did not fit")

    def received(self) -> bool:
        """Take what is there; whether the reply is whole now."""
        if self._left:
            self._left -= self._taken(self.socket.recv_into(_REST, min(self._left, len(_REST)), socket.MSG_TRUNC))
            return not self._left
        into = memoryview(self._start)[self._got :] if self._got else self._start
        self._got += self._taken(self.socket.recv_into(into))
        end = self._start.find(_HEAD_END, 0, self._got)
        if end < 0:
            if self._got == _START:
                raise ConnectionError(f"{self.load.load.name}: a reply without an end of its head: {self.start[:300]!r}")
            return False
        whole = end + len(_HEAD_END) + _length(bytes(self._start[:end]))
        if self._got == _START:
            self._left = whole - _START
            return not self._left
        return self._got >= whole

    def _taken(self, count: int) -> int:
        if not count:
            raise ConnectionError(f"{self.load.load.name}: the server closed the connection in the middle")
        return count

    @property
    def start(self) -> bytes:
        """As much of the reply's start as was kept."""
        return bytes(self._start[: self._got])

    def holds(self, mark: bytes) -> bool:
        """Whether ``mark`` stands in the reply's start."""
        return self._start.find(mark, 0, self._got) >= 0


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(_LENGTH)
    if at < 0:
        raise ConnectionError(f"a reply without length: {head[:300]!r}")
    return int(lowered[at + len(_LENGTH) :].partition(b"\r\n")[0])


class _Running:
    __slots__ = ("ended_at", "failed", "first_failure", "latencies", "load")

    def __init__(self, load: Load) -> None:
        self.load = load
        self.latencies: list[int] = []
        self.failed = 0
        self.first_failure = b""
        self.ended_at = 0


def run(loads: Sequence[Load], seconds: float, *, watched: Mapping[str, Iterable[int]] | None = None) -> list[Result]:
    """Keep every connection of every load busy for ``seconds`` or until its requests run out.

    Args:
        loads: run together.
        watched: process ids of each party whose processor time is reported.

    Raises:
        OSError: a connection broke.
        TimeoutError: no reply came for a minute.
    """
    running = [_Running(load) for load in loads]
    parties = {**{name: list(pids) for name, pids in (watched or {}).items()}, "generator": [os.getpid()]}
    connections: dict[int, _Connection] = {}
    poll = select.epoll()
    try:
        for load in running:
            for _ in range(load.load.connections):
                connection = _Connection(load)
                connections[connection.socket.fileno()] = connection
                poll.register(connection.socket, select.EPOLLIN)
        before = {name: sum(map(cpu_s, pids)) for name, pids in parties.items()}
        started = time.perf_counter_ns()
        _drive(connections, poll, started, started + int(seconds * 1e9))
        used_s = {name: sum(map(cpu_s, pids)) - before[name] for name, pids in parties.items()}
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
            cpu_us={name: used / total * 1e6 for name, used in used_s.items()},
        )
        for load in running
    ]


def _drive(connections: dict[int, _Connection], poll: select.epoll, started: int, deadline: int) -> None:
    busy = 0
    for connection in connections.values():
        if (request := next(connection.load.load.requests, None)) is not None:
            connection.send(request, time.perf_counter_ns())
            busy += 1
    while busy:
        ready = poll.poll(_PATIENCE_S)
        if not ready:
            raise TimeoutError(f"no reply for {_PATIENCE_S} s")
        for number, _ in ready:
            connection = connections[number]
            if not connection.received():
                continue
            now = time.perf_counter_ns()
            load = connection.load
            load.latencies.append(now - connection.sent_at)
            load.ended_at = now
            if not connection.holds(load.load.good):
                load.failed += 1
                load.first_failure = load.first_failure or connection.start
            if now < deadline and (request := next(load.load.requests, None)) is not None:
                connection.send(request, now)
            else:
                busy -= 1


class Exchange:
    """One connection for one request at a time, for those who measure single replies.

    Raises:
        OSError: nobody listens, or the connection broke; from every method.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        """Send ``request`` and return the whole reply, head included."""
        self._socket.sendall(request)
        reply = b""
        whole = -1
        while whole < 0 or len(reply) < whole:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server closed the connection in the middle")
            reply += data
            if whole < 0 and (end := reply.find(_HEAD_END)) >= 0:
                whole = end + len(_HEAD_END) + _length(reply[:end])
        return reply

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def repeated(make: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    """``count`` different requests, made now; they are given out one by one."""
    return iter([make(number) for number in range(count)])

"""The short way for plain calls answers as the full parser does, whatever comes in which pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.processes import free_port
from koinon.api.dispatch import Answer
from koinon.daemon import plain_calls
from koinon.daemon.listeners import HttpListener
from koinon.daemon.plain_calls import PlainCallProtocol
from tests.daemon.listening import echo as application
from tests.daemon.listening import listening

PLAIN = "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{}"
#: Heads that the short way must leave alone, though the application answers them alike.
UNUSUAL = (
    "POST /RPC2?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
    "POST /RPC2 HTTP/1.1\r\nHost: x\r\nX-Odd: \x80\r\nContent-Length: {}\r\n\r\n{}",
    "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length : {}\r\n\r\n{}".replace("Length :", "Length:\t"),
)


class Echo:
    """A door that says a call back: at once, or later if the call begins with ``late``."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    def begin(self, body: bytes) -> Answer | Coroutine[Any, Any, Answer]:
        self.begun.set()
        return self._later(body) if body.startswith(b"late") else Answer(body)

    async def _later(self, body: bytes) -> Answer:
        await asyncio.sleep(0.002)
        return Answer(body)


def protocol(door: Any, limit: int = 2**20) -> Callable[..., PlainCallProtocol]:
    return partial(PlainCallProtocol, door=door, max_request_bytes=limit)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert head.startswith(b"HTTP/1.1 200 ")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await asyncio.wait_for(reader.readexactly(int(length.split(b":")[1])), 60)


calls = st.lists(
    st.tuples(st.sampled_from((PLAIN, PLAIN, *UNUSUAL)), st.sampled_from(("", "late")), st.text("abc<>&\r\n", max_size=40)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(calls, st.lists(st.integers(1, 60), max_size=30))
def test_answers_come_in_order_however_the_bytes_are_cut(requests: list[tuple[str, str, str]], cuts: list[int]) -> None:
    bodies = [late + text for _, late, text in requests]
    raw = "".join(head.format(len(body), body) for (head, _, _), body in zip(requests, bodies, strict=True)).encode("latin-1")

    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = 0
        for size in [*cuts, len(raw)]:
            writer.write(raw[at : at + size])
            at += size
            await asyncio.sleep(0)
        for body in bodies:
            assert await answer(reader) == body.encode()

    listening(test, protocol(Echo()))


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nConnection: close\r\n",
        b"Content-Length: 2\r\nExpect: 100-continue\r\n",
        b"Content-Length: 2\r\n folded\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: 2\nX: y\r\n",
        b"X: y\0\r\nContent-Length: 2\r\n",
        b"Content-Length: 9999999999\r\n",
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_not_plain(head: bytes) -> None:
    assert plain_calls._PLAIN.match(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nhi") is None


def test_a_client_that_reads_no_answers_is_not_read_from() -> None:
    """What it costs stays bounded: some answers in the buffers, then its requests wait in the kernel."""
    taken = 0

    class Long:
        def begin(self, _body: bytes) -> Answer:
            nonlocal taken
            taken += 1
            return Answer(b"x" * 2**20)

    async def test(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = PLAIN.format(2, "hi").encode() * 100
        for _ in range(30):
            writer.write(request)
            await asyncio.sleep(0.01)
        assert 0 < taken < 100

    listening(test, protocol(Long()))


def test_a_body_that_stops_in_the_middle_is_cut_after_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainCallProtocol, "silent_s", 1.0)

    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN.format(2, "hi").encode())
        assert await answer(reader) == b"hi"
        writer.write(PLAIN.format(10, "half").encode())
        assert await asyncio.wait_for(reader.read(), 60) == b""

    listening(test, protocol(Echo()))


def test_a_connection_kept_for_nothing_is_closed_and_one_in_use_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koinon.daemon.listeners._KEEP_ALIVE_S", 3)

    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pause_s in (0.0, 1.6, 1.6):
            await asyncio.sleep(pause_s)
            writer.write(PLAIN.format(2, "hi").encode())
            assert await answer(reader) == b"hi"
        assert await asyncio.wait_for(reader.read(), 60) == b""

    listening(test, protocol(Echo()))


def test_a_call_under_way_is_answered_before_the_listener_stops() -> None:
    async def run() -> None:
        port, echo = free_port(), Echo()
        listener = HttpListener(
            "test", "127.0.0.1", port, application, protocol=partial(PlainCallProtocol, door=echo, max_request_bytes=99)
        )
        await listener.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PLAIN.format(4, "late").encode())
        await asyncio.wait_for(echo.begun.wait(), 60)
        await listener.stop()
        assert await answer(reader) == b"late"
        assert await reader.read() == b""
        writer.close()

    asyncio.run(run())

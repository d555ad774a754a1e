"""A stranger's connection is bounded: in the length of a request's head, and in how long it may be silent in the middle of one."""

from __future__ import annotations

import asyncio

import pytest

from koinon.daemon import bounded_http
from tests.daemon.listening import listening

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


def test_a_head_that_never_ends_is_refused_and_cut() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nX: ")
        sent = 0
        try:
            while sent < 16 * 2**20:
                writer.write(b"y" * 65536)
                await asyncio.wait_for(writer.drain(), 60)
                sent += 65536
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        assert sent < 16 * 2**20

    listening(test)


def test_many_requests_on_one_connection_are_not_counted_together() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        padded = REQUEST.replace(b"Host: x", b"Host: x\r\nX: " + b"y" * 20_000)
        for _ in range(10):
            writer.write(padded)
            answer = await asyncio.wait_for(reader.readuntil(b"hi"), 60)
            assert answer.startswith(b"HTTP/1.1 200")

    listening(test)


@pytest.mark.parametrize("begun", [b"", b"POST / HT", REQUEST[:-1]], ids=["nothing", "half a head", "half a body"])
def test_silence_in_the_middle_of_a_request_ends_the_connection(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http.BoundedHttpProtocol, "silent_s", 0.3)

    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        assert await asyncio.wait_for(reader.read(), 60) == b""

    listening(test)


def test_a_connection_that_waits_between_requests_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http.BoundedHttpProtocol, "silent_s", 1.0)

    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pause_s in (0.0, 1.5):
            await asyncio.sleep(pause_s)
            writer.write(REQUEST)
            assert (await asyncio.wait_for(reader.readuntil(b"hi"), 60)).startswith(b"HTTP/1.1 200")

    listening(test)

"""``python -m bench.echo PORT BYTES``: the least an HTTP server does; it reads requests whole and answers each with so many bytes.

Holds:    it takes the requests of calls.py and no others: nothing is parsed but their length.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

import uvloop

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"Content-Length: "


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(_HEAD_END)) >= 0:
            at = self._got.index(_LENGTH, 0, end) + len(_LENGTH)
            whole = end + len(_HEAD_END) + int(self._got[at : self._got.find(b"\r", at)])
            if len(self._got) < whole:
                return
            self._got = self._got[whole:]
            self._write(self._reply)


async def serve(port: int, size: int) -> None:
    """Listen on the loopback address until the process is ended."""
    body = b"<boolean>1</boolean>".ljust(size, b".")[:size]
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: %d\r\n\r\n%s" % (size, body)
    server = await asyncio.get_running_loop().create_server(lambda: Echo(reply), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), int(sys.argv[2])))

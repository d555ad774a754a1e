"""Read a zone's administration socket: HTTP/1.1 over a UNIX socket, JSON inside.

Written apart from the product's own client on purpose: what tests and load reports see does not pass through the code they judge.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, what: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """GET ``what`` from the socket at ``path``.

    Raises:
        OSError: nobody listens.
        ValueError: the answer is not 200 with a JSON object.
    """
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("GET", what)
        reply = connection.getresponse()
        body = reply.read()
    except http.client.HTTPException as broken:
        raise OSError(f"{path}: broken answer: {broken!r}") from broken
    finally:
        connection.close()
    if reply.status != 200:
        raise ValueError(f"{what}: {reply.status} {body[:500]!r}")
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError(f"{what}: not an object: {body[:200]!r}")
    return value

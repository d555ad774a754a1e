"""A bare client of the JSON face of one zone, for tests that look at the wire."""

from __future__ import annotations

import http.client
import json
import socket
from base64 import b64encode
from email.message import Message
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What came back; ``body`` is decoded JSON."""

    status: int
    headers: Message
    body: Any


class JsonClient:
    """One user of one zone; each request has a connection of its own."""

    def __init__(self, port: int, session: str) -> None:
        self._port = port
        self._basic = "Basic " + b64encode(session.encode()).decode()

    def ask(self, method: str, path: str, body: Any = None, /, **headers: str) -> Answer:
        """Send one request; ``If_Match`` and the like are headers, an empty one is not sent."""
        sent = {"Authorization": self._basic} | ({} if body is None else {"Content-Type": "application/json"})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, f"/api/v1{path}", raw, {name: value for name, value in sent.items() if value})
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, json.loads(response.read() or b"null"))
        finally:
            connection.close()
        kind = None if answer.status == 304 else "application/json" if answer.status < 400 else "application/problem+json"
        assert answer.headers["content-type"] == kind, answer
        assert (answer.body is None) == (method == "HEAD" or answer.status == 304), answer
        return answer

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """Status and all of the answer to a request as it is written, with the caller's Authorization added."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            head, _, rest = request.partition(b"\r\n")
            connection.sendall(b"%s\r\nHost: x\r\nAuthorization: %s\r\n%s" % (head, self._basic.encode(), rest))
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return int(answer.split(b" ", 2)[1]), answer

    def refused(self, status: int, method: str, path: str, body: Any = None, /, **headers: str) -> str:
        """What a request that must be refused is told."""
        answer = self.ask(method, path, body, **headers)
        assert answer.status == status, answer
        assert answer.body["status"] == status
        assert set(answer.body) == {"type", "title", "status", "detail", "code", "object_id"}
        return str(answer.body["detail"])

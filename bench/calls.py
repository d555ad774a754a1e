"""The calls that are measured, as whole HTTP requests ready to send."""

from __future__ import annotations

import xmlrpc.client
from typing import Any


def request(method: str, *arguments: Any) -> bytes:
    """One XML-RPC call as the bytes of an HTTP request."""
    return post(xmlrpc.client.dumps(arguments, method, encoding="utf-8").encode())


def post(body: bytes, path: str = "/RPC2") -> bytes:
    """``body`` as the bytes of an HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Prepared:
    """A call whose one argument changes: everything else is rendered once.

    Args:
        method: full name of the call.
        arguments: the one that changes is ``Prepared.HERE``, which may stand inside a longer text.
    """

    HERE = "HERE-IS-THE-PART-THAT-CHANGES"

    def __init__(self, method: str, *arguments: Any) -> None:
        body = xmlrpc.client.dumps(arguments, method, encoding="utf-8")
        before, _, after = body.partition(self.HERE)
        self._before, self._after = before.encode(), after.encode()

    def with_text(self, text: str) -> bytes:
        """The request with ``text`` (needs no escaping in XML) in its place."""
        return post(self._before + text.encode() + self._after)

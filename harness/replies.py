"""A bare XML-RPC client: it returns reply arrays as they came, for tests that look at the wire.

Not here: pyone, the client that people use (zones.py hands it out).
"""

from __future__ import annotations

import http.client
import xmlrpc.client
from typing import Any, Final

_TIMEOUT_S: Final = 60.0


class Caller:
    """One keep-alive connection to a zone's client port, as one user; not for several threads at once."""

    def __init__(self, port: int, session: str) -> None:
        self.session = session
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)

    def call(self, method: str, *arguments: Any, session: bool = True) -> Any:
        """Make one call and return its reply as it came.

        Args:
            method: full name, ``one.user.info``.
            arguments: what follows the session.
            session: whether our session goes first.

        Raises:
            xmlrpc.client.Fault: the zone refused the form of the call.
            OSError: the connection failed; whether the call took place is unknown.
        """
        body = xmlrpc.client.dumps((self.session, *arguments) if session else arguments, method, encoding="utf-8").encode()
        try:
            self._connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            reply = self._connection.getresponse()
            raw = reply.read()
        except http.client.HTTPException as broken:
            self._connection.close()
            raise OSError(f"broken answer: {broken!r}") from broken
        except OSError:
            self._connection.close()
            raise
        if reply.status != 200:
            raise OSError(f"HTTP status {reply.status}: {raw[:200]!r}")
        values, _ = xmlrpc.client.loads(raw)
        return values[0]

    def value(self, method: str, *arguments: Any) -> Any:
        """Make one call that must succeed and return its value. Raises AssertionError with the reply otherwise."""
        reply = self.call(method, *arguments)
        assert reply[0] is True, f"{method}{arguments}: {reply}"
        return reply[1]

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._connection.close()

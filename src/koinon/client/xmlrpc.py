"""Calls to one zone over XML-RPC, one connection kept between them.

Path:     cli/connection.py -> Client.call() -> wire/xmlrpc.py (bytes) -> http.client -> the zone's /RPC2
Holds:    a call is sent at most once: what may have been carried out is never repeated by us, and the text says so.
Not here: which zone and which user (contexts.py); what the documents in the answers mean (cli/documents.py).
Source: OpenNebula's reply arrays: [true, value, 0] and [false, text, code, object id, ...], lengths not to be relied on.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from koinon.client.contexts import Endpoint
from koinon.client.errors import ClientError, NotAZoneError, RefusedError, SetupError, UnreachableError
from koinon.wire.values import Fault, Malformed  # not from wire.xmlrpc: it brings what only a server needs
from koinon.wire.xmlrpc_reading import decode_reply
from koinon.wire.xmlrpc_writing import encode_call

CONNECT_S = 5.0
MAX_REPLY_BYTES = 1 << 30  # what OpenNebula's server allows a message to be

_IDLE_S = 5.0  # servers hang up on idle connections (15 s is common); a person may have been typing meanwhile
_PIECE = 1 << 18

Value = str | int | bool | Sequence[int]


class Client:
    """One user's calls to one zone. Not to be shared between threads."""

    def __init__(self, endpoint: Endpoint, session: str, *, answer_s: float) -> None:
        """``session`` is ``user:secret``; ``answer_s`` bounds each call from sending to the last byte of the answer."""
        self.endpoint = endpoint
        self._session = session
        self._answer_s = answer_s
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, method: str, *parameters: Value) -> str | int:
        """Call ``method`` with the session and ``parameters``; return what the zone answered.

        Raises:
            RefusedError: the zone said no: its own text and code.
            UnreachableError: no answer, or not in time; the text says whether the call may have been carried out.
            NotAZoneError: what answered is not an XML-RPC server.
            SetupError: XML-RPC can't carry one of the values.
        """
        try:
            body = encode_call(method, [self._session, *parameters])
        except ValueError as error:
            raise SetupError(f"Nothing was sent: {error}.") from error
        status, reply = self._exchange(method, body)
        try:
            if status != 200:
                raise ValueError(f"it answered with HTTP status {status} {http.client.responses.get(status, '')}".rstrip())
            answer = decode_reply(reply)
        except (Malformed, ValueError) as error:
            raise NotAZoneError(
                f"{self._where()} is not an OpenNebula XML-RPC server: {str(error).rstrip('.')}. Check the address."
            ) from error
        except Fault as fault:
            raise RefusedError(f"[{method}] {fault.text}", code=fault.code) from fault
        return self._value_of(answer)

    def _value_of(self, answer: object) -> str | int:
        match answer:
            case [True, (str() | int()) as value, *_]:
                return value
            case [False, str() as text, int() as code, int() as object_id, *_]:
                raise RefusedError(text, code=code, object_id=object_id)
            case [False, str() as text, *rest]:
                raise RefusedError(text, code=next((item for item in rest if isinstance(item, int)), 0))
        raise NotAZoneError(f"{self._where()} speaks XML-RPC, but not as an OpenNebula zone does. Check the address.")

    def _exchange(self, method: str, body: bytes) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._answer_s
        connection = self._open(deadline)
        try:
            connection.request("POST", self.endpoint.path, body, {"Content-Type": "text/xml", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            reply = self._read(connection, response, deadline)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise self._no_answer(method, error) from error
        except BaseException:  # Ctrl-C too: a half-read connection must not serve the next call
            self.close()
            raise
        self._used_at = time.monotonic()
        if response.will_close:
            self.close()
        return response.status, reply

    def _read(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float) -> bytes:
        pieces, size = [], 0
        while True:
            if connection.sock is not None:
                connection.sock.settimeout(max(0.01, deadline - time.monotonic()))
            piece = response.read1(_PIECE)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise http.client.HTTPException(f"the answer is larger than {MAX_REPLY_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise TimeoutError
        if response.length or (not pieces and response.length is None):  # cut in the body, or so early that the length itself is missing
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # read1() doesn't, and the connection waits for it before the next call
        return b"".join(pieces)

    def _open(self, deadline: float) -> http.client.HTTPConnection:
        kept = self._connection
        if kept is not None and kept.sock is not None and time.monotonic() - self._used_at < _IDLE_S and not _hung_up(kept.sock):
            kept.sock.settimeout(self._answer_s)
            return kept
        self.close()
        connection = self._new()
        try:
            connection.connect()
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            connection.close()
            raise UnreachableError(f"{self._where()} can't be reached: {_cause(error)}. {_ADVICE}") from error
        connection.sock.settimeout(max(0.01, deadline - time.monotonic()))
        self._connection = connection
        return connection

    def _new(self) -> http.client.HTTPConnection:
        limit = min(CONNECT_S, self._answer_s)
        if self.endpoint.scheme == "https":
            return http.client.HTTPSConnection(self.endpoint.host, self.endpoint.port, timeout=limit, context=ssl.create_default_context())
        return http.client.HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=limit)

    def _no_answer(self, method: str, error: Exception) -> ClientError:
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
            return NotAZoneError(f"{self._where()} is not a web server: it answered something else than HTTP. Check the address.")
        done = "" if method.endswith(".info") else " The call may have been carried out: look before you repeat it."
        if isinstance(error, TimeoutError):
            return UnreachableError(f"{self._where()} gave no answer within {self._answer_s:g} s.{done or ' Try again, or use --timeout.'}")
        return UnreachableError(
            f"The connection to {self._where()} was cut before the answer came: {_cause(error)}.{done or ' Try again.'}"
        )

    def _where(self) -> str:
        return f"{self.endpoint.url} (from {self.endpoint.source})"


_ADVICE = "Check the address (--endpoint, ONE_XMLRPC, ~/.one/one_endpoint) and that the zone is running."


def _hung_up(sock: socket.socket) -> bool:
    """Between calls nothing may arrive: a readable socket means that the server closed it."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))


def _cause(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message} (SSL_CERT_FILE names your own authorities)"
        case socket.gaierror():
            return f"the host name is not known ({error.strerror})"
        case TimeoutError():
            return "no connection in time"
        case ConnectionRefusedError():
            return "connection refused, nobody listens there"
        case http.client.RemoteDisconnected():
            return "the server hung up"
        case http.client.IncompleteRead():
            return "the answer is not complete"
        case OSError():
            return (error.strerror or str(error)).lower()
    return str(error) or type(error).__name__

"""One zone's way to ask another: signed requests over TLS to the zone that the certificate proves.

Path:     stream, snapshot, forwarding, joining -> Link.request() / Link.stream() -> the other zone's listener
Holds:    an error says whether the other zone may have heard the request; nothing is sent before its certificate is checked.
Not here: what is asked; when to try again, but for a wrong clock.
"""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Final, NamedTuple

import aiohttp
import msgspec
from yarl import URL

from koinon import clock
from koinon.federation.assertion import HEADER, Signer
from koinon.federation.keys import server_name

#: Set on every answer with which a listener refuses an assertion; its value is the reason.
REFUSED_HEADER: Final = "Koinon-Refused"
#: The refusing zone's clock, seconds since 1970.
NOW_HEADER: Final = "Koinon-Now"

CONNECT_S: Final = 5.0
MAX_ANSWER: Final = 64 * 2**20
#: Below the listener's own keep-alive time, so that a connection is rarely closed under a request.
KEEP_ALIVE_S: Final = 30.0
_ENDPOINT: Final = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_CHUNK: Final = 2**16


class LinkError(Exception):
    """The other zone did not answer as a zone should; the text says why."""


class Unreachable(LinkError):
    """No connection, or not to the zone we meant: the request was not sent."""


class Interrupted(LinkError):
    """The connection broke or fell silent after the request may have been sent: the other zone may have acted on it."""


class Refused(LinkError):
    """The other zone answered, and did nothing.

    Attributes:
        status: HTTP status.
        reason: one word if the assertion was refused (``revoked``, ``left``, ``lower epoch``...), else empty.
        text: what the other zone says.
    """

    def __init__(self, status: int, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.text = text


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def expect(self, status: int = 200) -> bytes:
        """The body of an answer with this status. Raises Refused for any other."""
        if self.status != status:
            raise Refused(self.status, error_text(self.status, self.body))
        return self.body


class _ErrorBody(msgspec.Struct):
    error: str


def error_text(status: int, body: bytes) -> str:
    """What another zone's error answer says, bounded and printable."""
    try:
        text = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.MsgspecError, ValueError):
        return f"HTTP status {status}"
    return "".join(letter if letter.isprintable() else " " for letter in text[:2000])


def check_endpoint(endpoint: str) -> str:
    """The text itself if it is ``host:port``. Raises ValueError."""
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None or not 0 < int(match.group(1)) < 65536:
        raise ValueError(f"{endpoint!r} is not an address of the form host:port")
    return endpoint


class _Progress:
    """How far a request got."""

    may_be_sent = False


async def _on_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    progress = context.trace_request_ctx
    if isinstance(progress, _Progress):
        progress.may_be_sent = True


def _watch_connection() -> aiohttp.TraceConfig:
    # from the moment a connection is at hand, not from the first byte: too early is safe, too late is not
    watch = aiohttp.TraceConfig()
    watch.on_connection_create_end.append(_on_connection)
    watch.on_connection_reuseconn.append(_on_connection)
    return watch


class Link:
    """The connections of this zone to one other zone."""

    def __init__(
        self,
        endpoint: str,
        zone_id: int,
        federation_id: str,
        *,
        context: ssl.SSLContext,
        signer: Signer | None,
        epoch: Callable[[], int],
        now_s: Callable[[], int] = clock.now_s,
    ) -> None:
        """Nothing is connected yet.

        Args:
            endpoint: host:port of the other zone's federation listener.
            zone_id: the zone that must answer there.
            federation_id: the federation both are in.
            context: from ``keys.client_context``.
            signer: this zone's; None for the one request of a zone that has no identity yet.
            epoch: the newest reign that this zone knows, asked for each request.
            now_s: this zone's clock.

        Raises:
            ValueError: the endpoint is not host:port.
        """
        self.endpoint = check_endpoint(endpoint)
        self.zone_id = zone_id
        self._server_name = server_name(zone_id, federation_id)
        self._context = context
        self._signer = signer
        self._epoch = epoch
        self._now_s = now_s
        self._ahead_s = 0  # how far the other zone's clock is ahead of ours, once it has told us
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        request_id: str = "",
        timeout_s: float,
        max_answer: int = MAX_ANSWER,
    ) -> Answer:
        """Ask and read the whole answer, whatever its status.

        Args:
            method: HTTP method.
            path: with its query, as it goes over the wire (already quoted).
            body: bytes to send.
            request_id: goes into the assertion of a redirected call.
            timeout_s: for everything together.
            max_answer: give up on an answer longer than this.

        Raises:
            Unreachable: nothing was sent.
            Interrupted: the other zone may have acted on it.
            Refused: it did not take our assertion and did nothing; any other status is returned.
        """
        limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        async with self._ask(method, path, body, request_id, limits) as response:
            parts, size = [], 0
            async for part in response.content.iter_chunked(_CHUNK):
                size += len(part)
                if size > max_answer:
                    raise Interrupted(f"zone {self.zone_id} sent an answer of more than {max_answer} bytes")
                parts.append(part)
            return Answer(response.status, b"".join(parts), response.headers)

    @asynccontextmanager
    async def stream(self, path: str, *, silence_s: float | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET an answer that goes on; its status and body are the caller's to read, inside the ``async with``.

        Args:
            path: with its query.
            silence_s: how long the other zone may send nothing; None for ever.

        Raises:
            Unreachable: as ``request``.
            Interrupted: as ``request``, also while the caller reads the body.
            Refused: as ``request``.
        """
        async with self._ask(
            "GET", path, b"", "", aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s)
        ) as response:
            yield response

    @asynccontextmanager
    async def channel(
        self, path: str, outgoing: Callable[[], AsyncIterator[bytes]], *, silence_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """POST a body that goes on for as long as the answer does; the answer is the caller's to read, as with ``stream``.

        The assertion covers the opening only (its body hash is that of no bytes); what follows is bound to it by the TLS connection.

        Args:
            path: with its query.
            outgoing: makes the body, piece by piece; called again if the opening must be signed again.
            silence_s: how long the other zone may send nothing.

        Raises:
            Unreachable, Interrupted, Refused: as ``stream``.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s)
        async with self._ask("POST", path, b"", "", limits, outgoing) as response:
            yield response

    async def close(self) -> None:
        """Close every connection to the zone; what is asked from now on is Unreachable."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes,
        request_id: str,
        limits: aiohttp.ClientTimeout,
        outgoing: Callable[[], AsyncIterator[bytes]] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        progress = _Progress()
        try:
            response = await self._send(method, path, body, request_id, limits, progress, outgoing)
            if response.headers.get(REFUSED_HEADER) == "stale" and self._learn_clock(response):
                response.release()
                response = await self._send(method, path, body, request_id, limits, progress, outgoing)
            async with response:
                reason = response.headers.get(REFUSED_HEADER)
                if reason is not None:
                    raise Refused(response.status, error_text(response.status, await response.content.read(_CHUNK)), reason)
                yield response
        except TimeoutError as error:
            raise self._failure(progress, "it did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(progress, _plain(error)) from error

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        request_id: str,
        limits: aiohttp.ClientTimeout,
        progress: _Progress,
        outgoing: Callable[[], AsyncIterator[bytes]] | None,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/octet-stream"}
        if self._signer is not None:
            now = self._now_s() + self._ahead_s
            headers[HEADER] = self._signer.sign(method, path, body, self.zone_id, self._epoch(), request_id, now)
        return await self._open_session().request(
            method,
            URL(f"https://{self.endpoint}{path}", encoded=True),
            data=outgoing() if outgoing is not None else io.BytesIO(body) if body else None,
            headers=headers,
            ssl=self._context,
            server_hostname=self._server_name,
            allow_redirects=False,
            timeout=limits,
            trace_request_ctx=progress,
        )

    def _learn_clock(self, response: aiohttp.ClientResponse) -> bool:
        """Take over the other zone's clock; it can gain nothing by lying, as what we sign counts for that zone only."""
        try:
            self._ahead_s = int(response.headers.get(NOW_HEADER, "")) - self._now_s()
        except ValueError:
            return False
        return True

    def _failure(self, progress: _Progress, why: str) -> LinkError:
        kind = Interrupted if progress.may_be_sent else Unreachable
        return kind(f"zone {self.zone_id} at {self.endpoint}: {why}")

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unreachable(f"zone {self.zone_id} at {self.endpoint}: this zone has closed its link")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_S, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[_watch_connection()],
            )
        return self._session


def _plain(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not that of the zone we meant ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or error.os_error})"
    return str(error) or type(error).__name__

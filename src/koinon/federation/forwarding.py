"""Send a caller's shared write to the master, exactly once however often the connection breaks; on the master, take it.

Path:     api.dispatch on a slave -> Forwarding.redirect() -> the channel (call_channel.py) -> POST /federation/v1/calls (call_stream.py)
          -> receive() on the master -> api.dispatch there -> this zone's copy holds it -> the caller's answer
Holds:    without a sign of life from the master nothing is sent and the caller hears it at once. What the master may have heard is sent
          again under the same request id until it answers or the time is up; then the outcome is unknown, and said to be.
Not here: who the caller is and what they may do (both zones decide that in api/ and identity/).
Source:   the text for a lost master is OpenNebula's, src/rm/xml-rpc/RequestManagerProxy.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from koinon import clock
from koinon.database.database import Database
from koinon.database.jobs import Request, Written
from koinon.errors import CloudError, DefectError, InvalidError, OutcomeUnknownError, RemoteError, UnavailableError
from koinon.federation.call_channel import CallChannel
from koinon.federation.link import Interrupted, LinkError, Refused, Unreachable
from koinon.federation.links import Links
from koinon.settings import FederationSettings
from koinon.statements.commits import Position
from koinon.wire.redirects import Failure, Redirect, Result, Success

log = structlog.get_logger(__name__)

_NO_MASTER: Final = "Could not connect to the federation master oned"
_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5)
_NONCE: Final = 12


class Redirected(NamedTuple):
    """What the master answered, and whether this zone's copy holds it already."""

    value: int | str | bool
    position: Position
    readable: bool


class Forwarding:
    """The slave's side.

    Args:
        database: this zone's.
        links: the way to the master.
        silence_s: seconds since the master's last sign of life, None if there was none yet.
        settings: time limits.
        refusal: why the master does not stream to this zone, in its own words; empty if it does, or gave no reason.
    """

    def __init__(
        self,
        database: Database,
        links: Links,
        silence_s: Callable[[], float | None],
        settings: FederationSettings,
        refusal: Callable[[], str] = str,
    ) -> None:
        self._database = database
        self._links = links
        self._silence_s = silence_s
        self._settings = settings
        self._refusal = refusal
        self._channel: CallChannel | None = None

    async def close(self) -> None:
        """Close the channel: whoever still waits on it hears that it broke, and asks again if this zone still follows a master."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def redirect(self, method: str, body: bytes, request_id: str, *, secret: bytes = b"", if_match: str = "") -> Redirected:
        """Have the master do a write and wait until this zone's copy holds it.

        Args:
            method: name of the call.
            body: the caller's XML-RPC body.
            request_id: 32 hex digits; the log on both sides and the federation's log carry it.
            secret: 32 bytes that a repetition will carry too; made here unless given.
            if_match: versions of the object, one of which it must have on the master.

        Raises:
            UnavailableError: the master is away; nothing was sent, or nothing was taken.
            OutcomeUnknownError: the master may have done it; the text carries the request id.
            CloudError: the master refused it.
        """
        silence_s = self._master_silent_s()
        if silence_s is None or silence_s > self._settings.master_silent_s:
            since = "since this zone started" if silence_s is None else f"for {silence_s:.0f} s"
            refusal = self._refusal()
            why, until = (refusal, "this zone follows it again") if refusal else (f"no sign of life {since}.", "the master is back")
            raise UnavailableError(f"{_NO_MASTER}: {why} Shared data can be read but not changed here until {until}; nothing was changed.")
        message = Redirect(method, body, request_id, secret or secrets.token_bytes(32), if_match)
        result = await self._ask(message)
        if isinstance(result, Failure):
            raise RemoteError(result.text, result.code, result.object_id, result.status)
        readable = await self._database.reached(result.position.index, self._settings.read_your_writes_s)
        return Redirected(result.value, result.position, readable)

    def _master_silent_s(self) -> float | None:
        """Seconds since its last sign of life, on the stream or on our channel, whichever was the later."""
        heard = (self._silence_s(), None if self._channel is None else self._channel.silence_s())
        return min((silence_s for silence_s in heard if silence_s is not None), default=None)

    async def _ask(self, message: Redirect) -> Result:
        """Send until there is an answer, or the time is up."""
        deadline = clock.monotonic_s() + self._settings.redirect_timeout_s
        taken = False
        attempt = 0
        while (left := deadline - clock.monotonic_s()) > 0:
            try:
                return await self._open_channel().ask(message, timeout_s=left)
            except Refused as error:
                if not taken:
                    raise UnavailableError(f"{_NO_MASTER}: it refuses this zone: {error.text}. Nothing was changed.") from error
                cause = error.text
            except Interrupted as error:
                taken, cause = True, str(error)
            except UnavailableError as error:  # this zone can't ask any more, but what it has asked may be done
                if not taken:
                    raise
                cause = error.text
            except (Unreachable, LinkError) as error:
                if not taken:
                    raise UnavailableError(f"{_NO_MASTER}: {error}. Nothing was changed.") from error
                cause = str(error)
            log.warning("redirect interrupted, same request again", method=message.method, cause=cause)
            pause_s = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
            attempt += 1
            await asyncio.sleep(min(pause_s, max(0.0, deadline - clock.monotonic_s())))
        raise OutcomeUnknownError(
            f"Outcome unknown: the master was reached and did not answer within {self._settings.redirect_timeout_s:.0f} s. It may have "
            f"made the change. Look before you try again; the request id is {message.request_id}."
        )

    def _open_channel(self) -> CallChannel:
        """The channel to the zone that rules now. Raises UnavailableError."""
        link = self._links.master()
        if self._channel is None or self._channel.link is not link:
            if self._channel is not None:
                self._channel.abandon()
            self._channel = CallChannel(link)
        return self._channel


Take = Callable[[bytes, Request, str], Awaitable[Written[Any]]]


async def receive(message: Redirect, origin_zone: int, take: Take) -> Result:
    """The master's side: do what a slave's caller asks, once.

    Args:
        message: the call.
        origin_zone: the zone that proved to have sent it.
        take: does the call (api.dispatch), given the caller's body, the request, and versions of which the object must have one.
    """
    try:
        if len(message.request_secret) != 32 or not 16 <= len(message.request_id) <= 64:
            raise InvalidError("The redirected call carries no proper request id.")
        request = request_of(message.body, origin_zone, message.request_id, message.request_secret)
        written = await take(message.body, request, message.if_match)
        return Success(written.value, written.head)
    except CloudError as error:
        return Failure(error.text, error.code, error.object_id, error.status)


def request_of(body: bytes, origin_zone: int, request_id: str, secret: bytes) -> Request:
    """A write that happens once, whether it was made here or in another zone.

    Args:
        body: the caller's XML-RPC body.
        origin_zone: where the caller made it.
        request_id: the same in each repetition.
        secret: 32 bytes, the same in each repetition; nobody stores them.
    """
    seal, unseal = _sealing(secret)
    return Request(origin_zone, request_id, blake2b(body, digest_size=32, key=secret, person=b"koinon-request").digest(), seal, unseal)


def _sealing(secret: bytes) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Encrypt and decrypt an outcome under a key that only the sender of the request holds."""
    cipher = ChaCha20Poly1305(blake2b(secret, digest_size=32, person=b"koinon-outcome").digest())

    def seal(plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + cipher.encrypt(nonce, plain, None)

    def unseal(sealed: bytes) -> bytes:
        try:
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag as error:
            raise DefectError("The first outcome of this request can be opened by its sender only.") from error

    return seal, unseal

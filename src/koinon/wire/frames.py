"""The frames of the federation's stream: batches of whole commits, and heartbeats, each signed by the master.

On the wire a frame is 4 bytes of length (of the payload, big-endian), 64 bytes of Ed25519 signature, then the payload: zstd of msgpack of a
body. The signature is over the compressed payload, so nothing is unpacked that the master did not sign, and a frame made once serves all
slaves.
Path:     statement log -> encode() -> HTTP stream -> Reader.feed() -> koinon.statements.chain.verify_run() -> the applier
Holds:    a Reader yields frames whose every change is inside the grammar, or raises FrameError; nothing else, whatever it is fed.
Not here: whether federation, epoch and chain are the ones the slave follows; keys.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Final

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature
from msgspec import Meta

from koinon.statements.chain import CHAIN_SIZE, check_commit
from koinon.statements.commits import Commit
from koinon.statements.rendering import GrammarError

MAX_PAYLOAD_BYTES: Final = 32 * 2**20
MAX_BODY_BYTES: Final = 64 * 2**20
SIGNATURE_SIZE: Final = 64

_DOMAIN: Final = b"koinon frame v1\0"
_HEADER_SIZE: Final = 4 + SIGNATURE_SIZE
_LEVEL: Final = 3

_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_ZoneId = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
_Chain = Annotated[bytes, Meta(min_length=CHAIN_SIZE, max_length=CHAIN_SIZE)]
_FederationId = Annotated[str, Meta(max_length=64)]


class CommitsFrame(msgspec.Struct, frozen=True, array_like=True, tag="C", forbid_unknown_fields=True):
    """Whole commits, contiguous.

    Attributes:
        federation_id: the federation they belong to.
        epoch: the reign of the master that sends them; a commit may be of an older one.
        prev_chain: the chain before the first of them.
        chain: the chain after the last.
        commits: at least one.
        head_index: the master's last index when the frame was built.
        sent_at_ms: the master's clock then, milliseconds since 1970.
        losses: how many losses had been accepted on the master then.
    """

    federation_id: _FederationId
    epoch: _Count
    prev_chain: _Chain
    chain: _Chain
    commits: Annotated[tuple[Commit, ...], Meta(min_length=1)]
    head_index: _Count
    sent_at_ms: _Count
    losses: _Count = 0  # of a frame that was signed before they were counted


class ZoneReport(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far one zone is, as the master knows it.

    Attributes:
        zone_id: the zone.
        epoch: of its position.
        position: the index it holds durably.
        lag_statements: statements it lacks.
        lag_s: age of the oldest statement it lacks, None if the master can't tell.
        seen_s_ago: since it last reported, None if it never did.
        state: a word for people.
    """

    zone_id: _ZoneId
    epoch: _Count
    position: _Count
    lag_statements: _Count
    lag_s: float | None
    seen_s_ago: float | None
    state: Annotated[str, Meta(max_length=64)]


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="H", forbid_unknown_fields=True):
    """The master is there, and this is what it knows.

    Attributes:
        federation_id: the federation it leads.
        epoch: its reign.
        head_index: its last index.
        head_chain: its chain there.
        master_time_ms: its clock, milliseconds since 1970.
        zones: every enrolled zone.
        losses: how many losses have been accepted on it: it tells what was signed for a new history from what was for a lost one.
    """

    federation_id: _FederationId
    epoch: _Count
    head_index: _Count
    head_chain: _Chain
    master_time_ms: _Count
    zones: tuple[ZoneReport, ...]
    losses: _Count = 0  # of a frame that was signed before they were counted


Body = CommitsFrame | Heartbeat
Frame = tuple[Body, bytes, bytes]


class FrameError(ValueError):
    """Not a frame that we take. The stream is of no more use: close it and dial again."""


_of_thread: Final = threading.local()  # neither may be shared over threads, and making one costs more than a small frame


def _compressor() -> zstandard.ZstdCompressor:
    try:
        found: zstandard.ZstdCompressor = _of_thread.compressor
    except AttributeError:
        found = _of_thread.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        found: zstandard.ZstdDecompressor = _of_thread.decompressor
    except AttributeError:
        found = _of_thread.decompressor = zstandard.ZstdDecompressor()
    return found


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Body)


def encode(body: Body, sign: Callable[[bytes], bytes]) -> bytes:
    """The frame as it goes on the wire.

    Args:
        body: its commits have passed ``check_commit``.
        sign: makes the 64-byte Ed25519 signature of a message.

    Raises:
        FrameError: the frame would be larger than a reader takes: send fewer commits.
    """
    raw = _encoder.encode(body)
    if len(raw) > MAX_BODY_BYTES:
        raise FrameError(f"the body has {len(raw)} bytes, at most {MAX_BODY_BYTES} are allowed: send fewer commits")
    payload = _compressor().compress(raw)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FrameError(f"the payload has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are allowed: send fewer commits")
    signature = sign(_DOMAIN + payload)
    if len(signature) != SIGNATURE_SIZE:
        raise FrameError(f"the signature has {len(signature)} bytes, not {SIGNATURE_SIZE}")
    return len(payload).to_bytes(4) + signature + payload


class Reader:
    """Takes a stream's bytes as they come and gives whole, verified frames. One per stream; not for several threads."""

    def __init__(self, verify: Callable[[bytes, bytes], None]) -> None:
        """``verify(signature, message)`` raises InvalidSignature or ValueError if the master did not sign the message."""
        self._verify = verify
        self._buffer = bytearray()
        self._broken = ""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take some bytes; give each frame that is whole now, with its signature and its payload.

        The bytes are taken at once; frames are decoded as the iterator is read, and those left in it come with the next call.

        Raises:
            FrameError: (from the iterator, from then on always) too large, not signed by the master, not decodable, outside the grammar.
        """
        self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        while True:
            if self._broken:
                raise FrameError(self._broken)
            try:
                frame = self._next()
            except FrameError as error:
                self._broken = str(error)
                self._buffer.clear()
                raise
            if frame is None:
                return
            yield frame

    def _next(self) -> Frame | None:
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[:4])
        if not 0 < size <= MAX_PAYLOAD_BYTES:
            raise FrameError(f"a frame announces {size} bytes; 1 to {MAX_PAYLOAD_BYTES} are allowed")
        end = _HEADER_SIZE + size
        if len(self._buffer) < end:
            return None
        signature, payload = bytes(self._buffer[4:_HEADER_SIZE]), bytes(self._buffer[_HEADER_SIZE:end])
        del self._buffer[:end]
        try:
            self._verify(signature, _DOMAIN + payload)
        except (InvalidSignature, ValueError) as error:
            raise FrameError(f"the signature of a frame is not the master's {error}".rstrip()) from error
        return _decode(payload), signature, payload


def _decode(payload: bytes) -> Body:
    try:
        # The library believes the size in the zstd header and allocates it, whatever bound it was given.
        size = zstandard.frame_content_size(payload)
        if not 0 < size <= MAX_BODY_BYTES:
            raise FrameError(f"a frame's body has {'an unknown number of' if size < 0 else size} bytes; 1 to {MAX_BODY_BYTES} are allowed")
        raw = _decompressor().decompress(payload, max_output_size=MAX_BODY_BYTES, allow_extra_data=False)
        body: Body = _decoder.decode(raw)
        if isinstance(body, CommitsFrame):
            for commit in body.commits:
                check_commit(commit)
        elif any(not _is_seconds(seconds) for zone in body.zones for seconds in (zone.lag_s, zone.seen_s_ago)):
            raise FrameError("a zone report holds a time that is no number of seconds")
    except zstandard.ZstdError as error:
        raise FrameError(f"a frame can't be unpacked: {error}") from error
    except GrammarError as error:
        raise FrameError(f"a frame holds a commit that the log may not hold: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"a frame's body is not one we know: {error}") from error
    return body


def _is_seconds(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value >= 0)

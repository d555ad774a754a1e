"""What zones tell each other about the log besides the stream itself: positions, common ancestors, snapshots, refusals.

Path:     federation/{stream,positions,rollback,snapshot}.py on the master <-> federation/{intake,forks,snapshot_loading}.py on a slave.
Not here: frames of the stream (frames.py); joining, redirects, reigns (their own modules).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from koinon.statements.commits import Head

T = TypeVar("T")

#: An epoch or an index: more can't be looked up.
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]

MSGPACK: Final = "application/vnd.msgpack"
JSON: Final = "application/json"

#: Why a master does not stream to a zone, for programs; the text beside it is for people.
Reason = Literal["forked", "ahead", "needs snapshot", "lower epoch", "revoked", "cloned", "not master"]

MAX_POINTS: Final = 256
#: Letters of what a zone says of its trouble.
MAX_TROUBLE: Final = 1000


class MessageError(ValueError):
    """Bytes from another zone are not the message that was expected."""


class Refusal(msgspec.Struct, frozen=True):
    """The body (JSON) of a 409: ``error`` says what, why and what to do."""

    error: str
    reason: Reason


class PositionReport(msgspec.Struct, frozen=True, array_like=True):
    """A zone holds everything up to this head durably; ``trouble`` says why it can't go on from there, if it can't."""

    epoch: Count
    index: Count
    chain: bytes
    trouble: Annotated[str, Meta(max_length=MAX_TROUBLE)] = ""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A commit's end in the log of the zone that asks."""

    index: Count
    chain: bytes


class SignedFrame(msgspec.Struct, frozen=True, array_like=True):
    """What the master signed about its own head, kept as proof: the exact bytes and the signature over them."""

    payload: bytes = b""
    signature: bytes = b""


class Locate(msgspec.Struct, frozen=True, array_like=True):
    """Which of these points do you know? Newest first. ``proof`` is the newest head that the master signed, if the zone holds one."""

    points: tuple[Point, ...]
    proof: SignedFrame = SignedFrame()


class Located(msgspec.Struct, frozen=True, array_like=True):
    """The newest point that is the master's too, by index, -1 if none is; and why the master refuses shared writes, or empty."""

    index: int
    halted: str = ""


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True):
    """A zone needs a snapshot that is no older than ``at_least``; ``have`` names one that it has begun to load."""

    at_least: Count = 0
    have: str = ""


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot file is.

    Attributes:
        snapshot_id: its name, also in the address to load it from.
        federation_id: whose tables these are.
        zone_id: the master that made it.
        head: the position and chain that its rows belong to.
        digests: of each shared table, 32 bytes.
        size: bytes of the file.
        blake2b: hash (32 bytes) of the file.
        rows: number of rows in it.
    """

    snapshot_id: str
    federation_id: str
    zone_id: int
    head: Head
    digests: dict[str, bytes]
    size: int
    blake2b: bytes
    rows: int


class SignedManifest(msgspec.Struct, frozen=True, array_like=True):
    """A manifest as the master signed it."""

    payload: bytes
    signature: bytes


def encode(message: msgspec.Struct) -> bytes:
    """A message as msgpack."""
    return _ENCODER.encode(message)


def decode(kind: type[T], body: bytes) -> T:
    """Read a msgpack message.

    Raises:
        MessageError: the bytes are no such message.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"not a {kind.__name__}: {error}") from error


def refusal(body: bytes) -> Refusal:
    """Read the body of a 409.

    Raises:
        MessageError: it is no refusal of ours (a proxy answered, perhaps).
    """
    try:
        return msgspec.json.decode(body, type=Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"not a refusal: {error}") from error


_ENCODER: Final = msgspec.msgpack.Encoder()

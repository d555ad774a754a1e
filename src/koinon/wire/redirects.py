"""A redirected call as it travels from a slave to the master, and the answer; many of both share one channel.

On the wire a piece is 4 bytes of length (big-endian), then msgpack of that length. A piece of length 0 says that the sender is there.
Not here: who sends it, and how often (federation/forwarding.py); the channel's two ends (federation/call_channel.py, call_stream.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from koinon.statements.commits import Position

PATH: Final = "/federation/v1/calls"
#: Longest piece: a caller's body is far below that.
MAX_PIECE: Final = 64 * 2**20
#: A piece comes at least this often from either end; after so many times as long a silence the channel is dead.
SIGN_OF_LIFE_S: Final = 1.0
DEAD_AFTER: Final = 6
SIGN_OF_LIFE: Final = b"\0\0\0\0"


class Redirect(msgspec.Struct, frozen=True, array_like=True):
    """A caller's shared write.

    Attributes:
        method: name of the call, for logs.
        body: the caller's own XML-RPC body, session included.
        request_id: 32 hex digits, with the user's id before them if the user chose the rest. The log of every zone remembers it, and a zone
            stops at a commit whose request id it would not have made.
        request_secret: 32 random bytes that every repetition carries and nobody stores: with it the master hashes the request and seals
            an outcome that holds a secret, so that rows of the log tell nobody a password or a token.
        if_match: versions of the object, as in HTTP's If-Match, one of which it must have; empty for any.
    """

    method: str
    body: bytes
    request_id: Annotated[str, Meta(pattern=r"\A[0-9a-z-]{16,64}\Z")]
    request_secret: bytes
    if_match: str = ""


class Success(msgspec.Struct, frozen=True, array_like=True, tag="ok"):
    """The call's value, and the position that holds what it changed."""

    value: int | str | bool
    position: Position


class Failure(msgspec.Struct, frozen=True, array_like=True, tag="no"):
    """The call was refused, and nothing was changed: what the caller gets to read, and the HTTP status that says the same."""

    text: str
    code: int
    object_id: int
    status: int = 0


Result = Success | Failure


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One call on the channel. ``number`` is the sender's choice, each once on a channel; the answer carries it."""

    number: int
    redirect: Redirect


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the call with this number; None if the master failed and can't tell what became of it: then it is asked again."""

    number: int
    result: Result | None


def piece(message: Asked | Answered) -> bytes:
    """A message as it goes on the wire."""
    raw = msgspec.msgpack.encode(message)
    return len(raw).to_bytes(4) + raw


class Pieces:
    """Takes a channel's bytes as they come and gives whole pieces, without those that only say that the sender is there."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def announced(self) -> int:
        """Bytes of the piece of which only a part is here, 0 if there is none."""
        return int.from_bytes(self._buffer[:4]) if len(self._buffer) >= 4 else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take some bytes; give each piece that is whole now.

        Raises:
            ValueError: (from the iterator) a piece is announced longer than ``MAX_PIECE``.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= 4:
                size = int.from_bytes(buffer[at : at + 4])
                if size > MAX_PIECE:
                    raise ValueError(f"a piece announces {size} bytes; {MAX_PIECE} is the most")
                if len(buffer) - at - 4 < size:
                    return
                found = bytes(buffer[at + 4 : at + 4 + size])
                at += 4 + size
                if found:
                    yield found
        finally:
            del buffer[:at]

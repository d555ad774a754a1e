"""What a master answers a zone over the federation's own HTTP paths, without saying which web framework carries it."""

from __future__ import annotations

import msgspec

from koinon.wire.messages import JSON, MSGPACK, Reason, Refusal, encode


class Reply(msgspec.Struct, frozen=True):
    """A whole response: status, body and its media type."""

    status: int
    body: bytes = b""
    media_type: str = MSGPACK


def say(message: msgspec.Struct) -> Reply:
    """200 with a message."""
    return Reply(200, encode(message))


def bad_request(error: str) -> Reply:
    """400: the request is not one of the protocol."""
    return Reply(400, msgspec.json.encode({"error": error}), JSON)


def refuse(reason: Reason, error: str) -> Reply:
    """409 with a reason for programs and a text for people."""
    return Reply(409, msgspec.json.encode(Refusal(error, reason)), JSON)

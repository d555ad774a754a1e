"""A redirected call as it travels from a slave to the master, and the answer.

Not here: who sends it, and how often (federation/forwarding.py).
"""

from __future__ import annotations

import msgspec

from koinon.statements.commits import Position


class Redirect(msgspec.Struct, frozen=True, array_like=True):
    """A caller's shared write.

    Attributes:
        method: name of the call, for logs.
        body: the caller's own XML-RPC body, session included.
        request_id: 32 hex digits; the log remembers it.
        request_secret: 32 random bytes that every repetition carries and nobody stores: with it the master hashes the request and seals
            an outcome that holds a secret, so that rows of the log tell nobody a password or a token.
        if_match: versions of the object, as in HTTP's If-Match, one of which it must have; empty for any.
    """

    method: str
    body: bytes
    request_id: str
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

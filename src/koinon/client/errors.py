"""What a client of a zone can meet: one small tree, so that a caller tells "no answer" from "the answer is no".

Every text says what happened, why, and what to do; it is written for the person at the terminal.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of all: something between this machine and a zone's answer went wrong."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class SetupError(ClientError):
    """This machine's own side is not ready: no session file, a bad address, a file that can't be read."""


class UnreachableError(ClientError):
    """No answer came: nobody listens, the network is cut, or the time limit passed."""


class NotAZoneError(UnreachableError):
    """Something answered, and it does not speak this protocol."""


class RefusedError(ClientError):
    """The zone answered, and the answer is no.

    Attributes:
        code: the XML-RPC error code, the fault code, or the HTTP status on the admin socket.
        object_id: the object that caused it, -1 if there is none.
        details: further lines, such as the clashes that forbid a join.
    """

    def __init__(self, text: str, *, code: int, object_id: int = -1, details: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.object_id = object_id
        self.details = details

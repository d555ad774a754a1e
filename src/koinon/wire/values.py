"""The values that travel in XML-RPC, and the fault that answers a call nobody can read.

Python's own ``int``, ``bool``, ``str``, ``float``, ``list``, ``dict`` and ``None`` stand for themselves, ``bytes`` for base64.
Not here: how they look on the wire (xmlrpc_reading.py, xmlrpc_writing.py); errors of a call that was understood (koinon/errors.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

WRONG_PARAMETERS = -501
MALFORMED = -503
UNKNOWN_METHOD = -506


class I8(int):
    """A number that is tagged ``<i8>``, however small: OpenNebula tells it from ``<i4>``, so a plain ``int`` won't do."""

    __slots__ = ()


class DateTime(str):
    """The text of a ``<dateTime.iso8601>``, kept as sent: no call takes one, so nothing reads it further."""

    __slots__ = ()


#: What a decoded value may be. A recursive alias would say more and costs every reader a cast.
Value: TypeAlias = Any


class Request(NamedTuple):
    """One call as it came in.

    Attributes:
        method: the name, not yet known to exist.
        params: the parameters in order, the session first in all ``one.`` calls.
    """

    method: str
    params: list[Value]


class Fault(Exception):
    """An XML-RPC fault: the call did not reach a method. Its text may be shown to the caller.

    Source: xmlrpc-c, which OpenNebula serves with: -501 wrong parameters, -503 bad call XML, -506 no such method.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Malformed(Fault):
    """What came in is not XML-RPC; as a class of its own, so that a client tells this from a fault that the server sent."""

    def __init__(self, text: str) -> None:
        super().__init__(MALFORMED, text)


def unknown_method(name: str) -> Fault:
    """The fault for a call that nobody serves. A long name is cut, so that a reply is never larger than need be."""
    return Fault(UNKNOWN_METHOD, f"Method '{name[:128]}' not defined")

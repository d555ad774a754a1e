"""Write XML-RPC replies and calls from byte templates.

Path:     value or error -> encode_success(), encode_failure(), encode_fault() -> HTTP body
Holds:    a reply is well-formed whatever its text holds; ints are ``<i4>``, only I8 is ``<i8>``; successes have three elements,
          failures five.
Not here: the ``[method]`` prefix of error texts (made where the call is known); the parser (xmlrpc_reading.py).
Source: OpenNebula src/rm/RequestXRPC.cc (reply arrays).
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Iterable, Sequence

from koinon.objects.characters import forbidden_in
from koinon.wire.values import I8, DateTime, Value

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_OPEN = b'<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n<params>\r\n<param><value>'
_CLOSE = b"</value></param>\r\n</params>\r\n</methodResponse>\r\n"
_SUCCESS_OPEN = _OPEN + b"<array><data>\r\n<value><boolean>1</boolean></value>\r\n<value>"
_SUCCESS_CLOSE = b"</value>\r\n<value><i4>0</i4></value>\r\n</data></array>" + _CLOSE
_STRING_OPEN = _SUCCESS_OPEN + b"<string>"
_STRING_CLOSE = b"</string>" + _SUCCESS_CLOSE
_FAILURE = (
    _OPEN + b"<array><data>\r\n<value><boolean>0</boolean></value>\r\n<value><string>%b</string></value>\r\n"
    b"<value><i4>%d</i4></value>\r\n<value><i4>%d</i4></value>\r\n<value><i8>-1</i8></value>\r\n</data></array>" + _CLOSE
)
_FAULT = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n<fault>\r\n<value><struct>\r\n'
    b"<member><name>faultCode</name>\r\n<value><i4>%d</i4></value></member>\r\n"
    b"<member><name>faultString</name>\r\n<value><string>%b</string></value></member>\r\n"
    b"</struct></value>\r\n</fault>\r\n</methodResponse>\r\n"
)
_CALL = b'<?xml version="1.0"?>\r\n<methodCall>\r\n<methodName>%b</methodName>\r\n<params>\r\n%b</params>\r\n</methodCall>\r\n'


def escape(text: str) -> bytes:
    """Text as element content in UTF-8. What XML 1.0 can't hold becomes U+FFFD: a reply must be readable above all.

    The result may be kept and handed to ``encode_success`` or ``success_chunks`` as ``bytes`` any number of times.
    """
    if _FORBIDDEN.search(text):
        text = _FORBIDDEN.sub("\ufffd", text)
    # A bare carriage return would come out of the reader's parser as a line feed.
    return text.encode().replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b"\r", b"&#13;")


def encode_success(value: str | int | bool | bytes) -> bytes:
    """The reply ``[true, value, 0]``.

    Args:
        value: a text, or ``bytes`` that ``escape`` has made; an int (I8 for ``<i8>``); a bool.
    """
    if isinstance(value, bytes):
        return b"%b%b%b" % (_STRING_OPEN, value, _STRING_CLOSE)
    if isinstance(value, str):
        return b"%b%b%b" % (_STRING_OPEN, escape(value), _STRING_CLOSE)
    return b"%b%b%b" % (_SUCCESS_OPEN, _scalar(value), _SUCCESS_CLOSE)


def success_chunks(body: Iterable[bytes]) -> tuple[list[bytes], int]:
    """The reply ``[true, text, 0]`` for a text that is at hand in escaped pieces, without copying them together.

    Returns:
        the pieces to send, in order, and their length in bytes (for Content-Length).
    """
    chunks = [_STRING_OPEN, *body, _STRING_CLOSE]
    return chunks, sum(map(len, chunks))


def encode_failure(text: str, code: int, object_id: int = -1) -> bytes:
    """The reply ``[false, text, code, object_id, -1]``; the last one is OpenNebula's replication index, which only its servers use."""
    return _FAILURE % (escape(text), code, object_id)


def encode_fault(code: int, text: str) -> bytes:
    """A fault: the call reached no method."""
    return _FAULT % (code, escape(text))


def encode_result(value: Value) -> bytes:
    """A reply that is one value and no array of OpenNebula's: the ``system.`` calls answer so."""
    parts: list[bytes] = [_OPEN]
    _write(value, parts)
    parts.append(_CLOSE)
    return b"".join(parts)


def encode_call(method: str, params: Sequence[Value]) -> bytes:
    """A call, for clients.

    Raises:
        ValueError: XML-RPC can't carry a value; the text says which. A client's text is never changed on the way (it may be a password).
    """
    parts: list[bytes] = []
    for param in params:
        parts.append(b"<param><value>")
        _write(param, parts, exact=True)
        parts.append(b"</value></param>\r\n")
    return _CALL % (_exact(method), b"".join(parts))


def _exact(text: str) -> bytes:
    found = forbidden_in(text)
    if found is not None:
        raise ValueError(f"the character {found} can't be sent: XML does not allow it")
    return escape(text)


def _scalar(value: int) -> bytes:
    if isinstance(value, bool):
        return b"<boolean>1</boolean>" if value else b"<boolean>0</boolean>"
    if isinstance(value, I8):
        # OpenNebula shows unsigned 64 bit numbers as signed ones: 2^64-1 is -1.
        return b"<i8>%d</i8>" % ((value + (1 << 63)) % (1 << 64) - (1 << 63))
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"{value} does not fit into an int of 32 bits")
    return b"<i4>%d</i4>" % value


def _write(value: Value, parts: list[bytes], *, exact: bool = False) -> None:
    text = _exact if exact else escape
    match value:
        case DateTime():
            parts.append(b"<dateTime.iso8601>%b</dateTime.iso8601>" % text(value))
        case str():
            parts.append(b"<string>%b</string>" % text(value))
        case int():
            parts.append(_scalar(value))
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not a finite number")
            parts.append(b"<double>%b</double>" % repr(value).encode())
        case bytes():
            parts.append(b"<base64>%b</base64>" % binascii.b2a_base64(value, newline=False))
        case list() | tuple():
            parts.append(b"<array><data>")
            for item in value:
                parts.append(b"<value>")
                _write(item, parts, exact=exact)
                parts.append(b"</value>")
            parts.append(b"</data></array>")
        case dict():
            parts.append(b"<struct>")
            for name, item in value.items():
                parts.append(b"<member><name>%b</name><value>" % text(name))
                _write(item, parts, exact=exact)
                parts.append(b"</value></member>")
            parts.append(b"</struct>")
        case None:
            parts.append(b"<nil/>")
        case _:
            raise ValueError(f"XML-RPC has no type for {type(value).__name__}")

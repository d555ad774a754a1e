"""Read an XML-RPC call or reply with expat, and refuse everything else before it can cost much.

Path:     HTTP body -> decode() -> Request;   reply -> decode_reply() -> value
Holds:    a DOCTYPE is refused (so there are no entities to expand), nesting and the number of values are bounded, and the only
          exception is Fault. The size of a body is bounded by who reads it off the socket.
Not here: whether the parameters suit the method (parameters.py).
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable
from typing import Final, NoReturn
from xml.parsers.expat import ExpatError, ParserCreate

from koinon.wire.values import I8, DateTime, Fault, Malformed, Request, Value

MAX_DEPTH: Final = 64
#: A call with more values than this is no call of ours; without a bound, 64 MiB of `<value/>` would hold the thread for seconds.
MAX_VALUES: Final = 100_000
#: A client may declare a namespace or two. Expat gathers all of a tag's attributes before it tells us of one.
MAX_ATTRIBUTES: Final = 16
#: Bytes of one tag or comment: with a 64 MiB tag full of attributes expat is busy for half a minute.
MAX_TAG: Final = 256 * 1024
_CHUNK: Final = 64 * 1024
_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "utf-16"})


class _State(dict[str, "tuple[_State, _State]"]):
    """One state of the grammar: each tag that may open now leads to (state inside that element, state after it).

    One look-up per tag is all the checking there is; an element that may stand once simply leads to a state without it.
    """

    __slots__ = ("lacks",)

    def __init__(self, lacks: str = "", /, **tags: tuple[_State, _State]) -> None:
        super().__init__(**tags)
        self.lacks = lacks  #: the child without which the element must not close here


_DONE = _State()
_VALUE = _State()
_PARAM = _State("value", value=(_VALUE, _DONE))
_DATA = _State()
_DATA["value"] = (_VALUE, _DATA)
_ARRAY = _State("data", data=(_DATA, _DONE))
_MEMBER = _State("name", name=(_DONE, _State("value", value=(_VALUE, _DONE))))
_STRUCT = _State()
_STRUCT["member"] = (_MEMBER, _STRUCT)
_PARAMS = _State()
_PARAMS["param"] = (_PARAM, _PARAMS)
_CALL = _State("methodName", methodName=(_DONE, _State(params=(_PARAMS, _DONE))))
_CALL_DOCUMENT = _State(methodCall=(_CALL, _DONE))
_RESPONSE = _State("params", params=(_State("param", param=(_PARAM, _DONE)), _DONE), fault=(_PARAM, _DONE))
_REPLY_DOCUMENT = _State(methodResponse=(_RESPONSE, _DONE))


def _number(text: str, tag: str, bits: int) -> int:
    try:
        # int() also takes 1_0 and digits of other scripts
        if len(text) > 32 or "_" in text or not text.isascii():
            raise ValueError
        value = int(text)
    except ValueError:
        raise Malformed(f"<{tag}> must hold a whole number, got {text[:32]!r}.") from None
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Malformed(f"<{tag}> holds {bits} bits, which {value} exceeds.")
    return value


def _i4(text: str) -> int:
    return _number(text, "i4", 32)


def _i8(text: str) -> I8:
    return I8(_number(text, "i8", 64))


def _boolean(text: str) -> bool:
    if text not in ("0", "1"):
        raise Malformed(f"<boolean> must hold 0 or 1, got {text[:32]!r}.")
    return text == "1"


def _double(text: str) -> float:
    try:
        if len(text) > 400 or "_" in text or not text.isascii():
            raise ValueError
        value = float(text)
    except ValueError:
        raise Malformed(f"<double> must hold a number, got {text[:32]!r}.") from None
    if not math.isfinite(value):
        raise Malformed("<double> must hold a finite number.")
    return value


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        raise Malformed("<base64> does not hold base64.") from None


def _nil(text: str) -> None:
    if text.strip():
        raise Malformed("<nil> must be empty.")


_SCALARS: dict[str, Callable[[str], Value]] = {
    "string": str,
    "int": _i4,
    "i4": _i4,
    "i8": _i8,
    "ex:i8": _i8,
    "boolean": _boolean,
    "double": _double,
    "dateTime.iso8601": DateTime,
    "base64": _base64,
    "nil": _nil,
    "ex:nil": _nil,
}
_VALUE.update(dict.fromkeys(_SCALARS, (_DONE, _DONE)))
_VALUE["array"] = (_ARRAY, _DONE)
_VALUE["struct"] = (_STRUCT, _DONE)


def decode(body: bytes) -> Request:
    """Read one call.

    Args:
        body: the bytes of the HTTP request, already bounded in size.

    Raises:
        Fault: with -503, whatever is wrong; nothing else is raised.
    """
    method, params, _ = _read(body, _CALL_DOCUMENT)
    return Request(method, params)


def decode_reply(body: bytes) -> Value:
    """Read one reply and return its value: for the ``one.`` calls the reply array.

    Raises:
        Malformed: this is no XML-RPC reply.
        Fault: the server answered with a fault.
    """
    _, values, is_fault = _read(body, _REPLY_DOCUMENT)
    if not is_fault:
        return values[0]
    match values[0]:
        case {"faultCode": int(code), "faultString": str(text)}:
            raise Fault(code, text)
        case _:
            raise Malformed("The reply is a fault without faultCode and faultString.")


def _read(body: bytes, document: _State) -> tuple[str, list[Value], bool]:
    """Return the method's name, the values of the parameters (or of the fault) and whether it was a fault.

    Closures over local names instead of a class with methods: this runs twice for each element of every call.
    """
    state = document
    after: list[_State] = []  # one state for each open element: where to go on when it closes
    values: list[Value] = []
    around: list[list[Value]] = []  # the lists outside the innermost array or struct
    names: list[str] = []
    names_around: list[list[str]] = []
    text: list[str] = []
    method = ""
    seen = 0
    is_fault = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal state, values, names
        if attributes and len(attributes) > MAX_ATTRIBUTES:
            raise Malformed(f"<{tag[:64]}> has more than {MAX_ATTRIBUTES} attributes.")
        step = state.get(tag)
        if step is None:
            raise Malformed(f"<{tag[:64]}> can't stand here.")
        state, then = step
        after.append(then)
        if text:
            text.clear()
        if state is _ARRAY or state is _STRUCT:
            if len(after) > MAX_DEPTH:
                raise Malformed(f"The values are nested more than {MAX_DEPTH} elements deep.")
            around.append(values)
            values = []
            names_around.append(names)
            names = []

    def end(tag: str) -> None:
        nonlocal state, values, names, method, seen, is_fault
        if tag in _SCALARS:
            values.append(_SCALARS[tag]("".join(text)))
        elif tag == "value":
            if state is _VALUE:  # nothing opened inside: bare text is a string
                values.append("".join(text))
            seen += 1
            if seen > MAX_VALUES:
                raise Malformed(f"The message holds more than {MAX_VALUES} values.")
        elif state.lacks:
            raise Malformed(f"<{tag}> lacks <{state.lacks}>.")
        elif tag == "param":  # most frequent of what is left
            pass
        elif tag == "methodName":
            method = "".join(text)
        elif tag == "name":
            names.append("".join(text))
        elif tag == "array" or tag == "struct":
            inner: Value = values if tag == "array" else dict(zip(names, values, strict=True))
            values, names = around.pop(), names_around.pop()
            values.append(inner)
        elif tag == "fault":
            is_fault = True
        state = after.pop()

    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.XmlDeclHandler = _check_declaration
    try:
        # In pieces, so that a tag without end is noticed while it is short; text is never held back.
        for begin in range(0, len(body) - _CHUNK, _CHUNK):
            parser.Parse(body[begin : begin + _CHUNK], False)
            if begin + _CHUNK - parser.CurrentByteIndex > MAX_TAG:
                raise Malformed(f"A tag or comment is longer than {MAX_TAG} bytes.")
        parser.Parse(body[(len(body) - 1) // _CHUNK * _CHUNK :] if len(body) > _CHUNK else body, True)
    except ExpatError as error:
        raise Malformed(f"Not well-formed XML: {error}.") from None
    except (ValueError, LookupError) as error:  # bytes that the declared encoding can't hold
        raise Malformed(f"Not readable as XML: {error}.") from None
    return method, values, is_fault


def _refuse_doctype(_name: str, _system: str | None, _public: str | None, _has_subset: bool) -> NoReturn:
    raise Malformed("A DOCTYPE is not allowed.")


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    # Left alone, pyexpat would look any name up among Python's codecs.
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise Malformed("The encoding must be UTF-8, UTF-16, ISO-8859-1 or US-ASCII.")

"""Documents of replies, which are XML, as JSON.

Path:     what a bound function returned -> rendered(), rendered_list() or picked()
Holds:    what a document has beside its shape is shown too, as free attributes are; nothing is left out. Of a list one element at a time
          is held as a tree.
Not here: the shapes (wire/shapes.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from koinon.errors import DefectError, NotFoundError
from koinon.objects import xml
from koinon.wire.shapes import DOCUMENTS, FREE, Derived, Fields, Integer, Items, Many, Shape, Text

Value = str | bytes | list[bytes]

_encode: Final = msgspec.json.Encoder().encode
_FED_AT_ONCE: Final = 64 * 1024


class List(msgspec.Struct, frozen=True):
    """A list as JSON.

    Attributes:
        body: all of it.
        count: how many it lists.
        last: ID of the last one, -1 if there is none.
    """

    body: bytes
    count: int
    last: int


def text_of(value: Value) -> str:
    """The text of a result."""
    return value if isinstance(value, str) else _unescaped(value).decode()


def rendered(value: Value, root: str) -> bytes:
    """A document as JSON.

    Args:
        value: the XML.
        root: name of its root element.

    Raises:
        DefectError: it is not such a document.
    """
    try:
        element = xml.parse(text_of(value))
        if element.tag != root:
            raise ValueError(f"it is a {element.tag}")
        return _encode(_value(element, DOCUMENTS[root]))
    except ValueError as error:
        raise _defect(root, error) from error


def rendered_list(value: Value, root: str, tag: str) -> List:
    """A document that lists elements ``tag``, as JSON. Raises DefectError."""
    shape = DOCUMENTS[root]
    if not isinstance(shape, Fields):
        raise DefectError(f"The document {root} is no list.")
    fields: dict[str, list[bytes]] = {name: [] for name, inner in shape.fields.items() if isinstance(inner, Many)}
    last = -1
    try:
        for child in xml.children(_unescaped(value), root, _FED_AT_ONCE):
            name = str(child.tag)
            shown = _value(child, shape.fields.get(name, FREE))
            fields.setdefault(name, []).append(_encode(shown))
            if name == tag:
                last = shown["ID"]
    except ValueError as error:
        raise _defect(root, error) from error
    parts = [b"%s:%s" % (_encode(name), _joined(shape.fields.get(name), values)) for name, values in fields.items()]
    return List(b"{%s}" % b",".join(parts), len(fields[tag]), last)


def picked(value: Value, root: str, tag: str, oid: int) -> bytes:
    """The one element ``tag`` of a document that has this ID, as JSON.

    Raises:
        NotFoundError: there is none.
        DefectError: it is not such a document.
    """
    try:
        for child in xml.children(_unescaped(value), root, _FED_AT_ONCE):
            if child.tag == tag and xml.int_of(child, "ID") == oid:
                return _encode(_value(child, DOCUMENTS[tag]))
    except ValueError as error:
        raise _defect(root, error) from error
    raise NotFoundError(tag, oid)


def _unescaped(value: Value) -> bytes:
    """Bytes and pieces of them were escaped for the other wire."""
    if isinstance(value, str):
        return value.encode()
    raw = value if isinstance(value, bytes) else b"".join(value)
    return raw.replace(b"&#13;", b"\r").replace(b"&lt;", b"<").replace(b"&gt;", b">").replace(b"&amp;", b"&")


def _defect(root: str, error: ValueError) -> DefectError:
    return DefectError(f"The document {root} can't be shown as JSON: {error}.")


def _joined(shape: Shape | None, values: list[bytes]) -> bytes:
    return values[0] if len(values) == 1 and not isinstance(shape, Many) else b"[%s]" % b",".join(values)


def _value(element: xml.Element, shape: Shape) -> Any:
    if isinstance(shape, Fields):
        return _object(element, shape)
    if isinstance(shape, Text):
        return element.text or ""
    if isinstance(shape, Integer):
        return int(element.text or "")
    if isinstance(shape, Items):
        return [_value(child, shape.shape) for child in element if child.tag == shape.tag]
    if isinstance(shape, Many):
        return _value(element, shape.shape)
    return _attributes(element)


def _object(element: xml.Element, shape: Fields) -> dict[str, Any]:
    shown: dict[str, Any] = {name: [] for name, inner in shape.fields.items() if isinstance(inner, Many)}
    beside: list[xml.Element] = []
    for child in element:
        name = str(child.tag)
        inner = shape.fields.get(name)
        if inner is None or isinstance(inner, Derived):
            beside.append(child)
        elif isinstance(inner, Many):
            shown[name].append(_value(child, inner))
        else:
            shown[name] = _value(child, inner)
    for name, inner in shape.fields.items():
        value = inner.make(shown) if isinstance(inner, Derived) else None
        if value is not None:
            shown[name] = value
    return shown | _collected(beside)


def _attributes(element: xml.Element) -> dict[str, Any]:
    return _collected(element)


def _collected(elements: Iterable[xml.Element]) -> dict[str, Any]:
    """Values by name; a name that occurs more than once has a list."""
    found: dict[str, list[Any]] = {}
    for child in elements:
        found.setdefault(str(child.tag), []).append(_value(child, FREE) if len(child) else child.text or "")
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}

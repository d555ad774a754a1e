"""Documents of replies, which are XML, as JSON values.

Path:     what a bound function returned -> text_of() -> rendered() -> msgspec.json
Holds:    what a document has beside its shape is shown too, as free attributes are; nothing is left out.
Not here: the shapes (wire/shapes.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from koinon.errors import DefectError
from koinon.objects import xml
from koinon.wire.shapes import DOCUMENTS, FREE, Derived, Fields, Integer, Items, Many, Shape, Text


def text_of(value: str | bytes | list[bytes]) -> str:
    """The text of a result: bytes and pieces of it were escaped for the other wire."""
    if isinstance(value, str):
        return value
    raw = value if isinstance(value, bytes) else b"".join(value)
    return raw.decode().replace("&#13;", "\r").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def rendered(text: str, root: str) -> Any:
    """A document as a JSON value.

    Args:
        text: the XML.
        root: name of its root element.

    Raises:
        DefectError: it is not such a document.
    """
    try:
        element = xml.parse(text)
        if element.tag != root:
            raise ValueError(f"it is a {element.tag}")
        return _value(element, DOCUMENTS[root])
    except ValueError as error:
        raise DefectError(f"The document {root} can't be shown as JSON: {error}.") from error


def picked(text: str, root: str, tag: str, oid: int) -> Any:
    """The one element ``tag`` of a document with this ID as a JSON value; None if there is none. Raises DefectError."""
    return next((one for one in rendered(text, root)[tag] if one["ID"] == oid), None)


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

"""Read what a request for a resource asks in its path, its query and its body: the arguments of the call, and which part of a list.

Holds:    a value of the wrong type is refused by name and never shown; what XML can't hold is refused in every text, for it goes into
          documents and logs that are XML.
Not here: header fields (json_headers.py); whether values make sense (the domain says that).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from koinon.errors import BadArgumentError, InvalidError
from koinon.identity.pool_lists import Selection
from koinon.objects import xml
from koinon.objects.acl import PARTS
from koinon.objects.characters import ascii_upper, forbidden_in, is_element_name
from koinon.wire.openapi import INT32, MAX_ITEMS
from koinon.wire.parameters import Param, Required
from koinon.wire.resources import JSON, LISTING, TEMPLATES, Resource
from koinon.wire.rule_fields import number_of

_BOOLEANS: Final = {"true": True, "false": False}
_DEEP: Final = 2


def arguments_of(resource: Resource, path: Mapping[str, str], query: Mapping[str, str], body: bytes) -> list[Any]:
    """The arguments of the call, in order.

    Raises:
        BadArgumentError: something is missing, unknown, or of the wrong type; the text names it.
    """
    sent = {param.name: param for param in resource.queried or resource.sent}
    given: dict[str, Any] = {}
    if resource.method == "GET":
        for name, text in query.items():
            given[name] = from_text(_known(sent, name), text, resource.words.get(name))
    elif query:
        raise BadArgumentError("This takes no query: send what belongs to it in the body.")
    elif body:
        for name, value in _object(body).items():
            given[name] = _from_json(resource, _known(sent, name), value)
    arguments = []
    for param in resource.row.params:
        if param.name in path:
            arguments.append(from_text(param, path[param.name], resource.words.get(param.name)))
        elif param.name in resource.fixed:
            arguments.append(resource.fixed[param.name])
        elif (name := resource.name_of(param)) in given:
            arguments.append(given[name])
        else:
            default = sent[name].default
            if isinstance(default, Required):
                raise BadArgumentError(f"{name} is missing: {param.type} expected.")
            arguments.append(list(default) if isinstance(default, tuple) else default)
    return arguments


def selection_of(resource: Resource, query: Mapping[str, str]) -> Selection | None:
    """Which part of a list is asked for; None if the answer is no list. Raises BadArgumentError."""
    if not resource.listed:
        return None
    asked: list[Any] = [from_text(param, query[param.name]) if param.name in query else param.default for param in LISTING]
    name, after, limit = asked
    if after < -1 or limit < -1 or limit == 0:
        raise BadArgumentError("after is an id, or -1 for the beginning; limit is at least 1, or -1 for all.")
    return Selection(name, None if after == -1 else after, None if limit == -1 else limit)


def _known(sent: dict[str, Param], name: str) -> Param:
    if name not in sent:
        raise BadArgumentError(f"There is no {ascii(name)[:64]} here; there is {', '.join(sent) or 'nothing to be sent'}.")
    return sent[name]


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
        json.loads(body, object_pairs_hook=_once_each)  # of two values with one name msgspec takes the last
    except (ValueError, RecursionError) as error:
        raise BadArgumentError(f"The body is no JSON object: {str(error)[:200]}.") from error
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        twice = next(name for name in names if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{ascii(twice)[:64]} is given twice")


def from_text(param: Param, text: str, words: Mapping[str, int] | None = None) -> Any:
    """A parameter of the path or of the query. Raises BadArgumentError."""
    if words and text in words:
        return words[text]
    if param.type == "boolean" and text in _BOOLEANS:
        return _BOOLEANS[text]
    if param.type == "int" and text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 12:
        return _int32(param, int(text))
    if param.type == "string":
        return _text(param.name, text)
    raise _wrong(param, param.type, words)


def _from_json(resource: Resource, param: Param, value: Any) -> Any:
    words = resource.words.get(param.name)
    if words and isinstance(value, str) and value in words:
        return words[value]
    if resource.takes_rule:
        return _rule_part(param, value)
    if param.name in TEMPLATES and isinstance(value, dict):
        return _template(param.name, value)
    if param.name in JSON and isinstance(value, dict):
        return _as_json(param, value)
    if param.name not in JSON and param.type == "string" and isinstance(value, str):
        return _text(param.name, value)
    if param.type == "boolean" and isinstance(value, bool):
        return value
    if param.type == "int" and _is_int(value):
        return _int32(param, int(value))
    if param.type == "array<int>" and isinstance(value, list) and len(value) <= MAX_ITEMS and all(map(_is_int, value)):
        return [_int32(param, int(item)) for item in value]
    raise _wrong(param, "object" if param.name in JSON else param.type, words)


def _wrong(param: Param, expected: str, words: Mapping[str, int] | None) -> BadArgumentError:
    also = "".join(f" or {word}" for word in words or ())
    return BadArgumentError(f"{param.name} has the wrong type: {expected}{also} expected.")


def _as_json(param: Param, value: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (OverflowError, RecursionError) as error:
        raise BadArgumentError(f"{param.name} holds what can't be: {error}.") from error


def _rule_part(param: Param, value: Any) -> Any:
    part = next(part for part in PARTS if part == param.name)
    try:
        return number_of(part, value)
    except ValueError as error:
        raise InvalidError(f"Rule is malformed: {error}") from error


def _is_int(value: Any) -> bool:
    """JSON knows one kind of number: 1.0 is 1."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _int32(param: Param, value: int) -> int:
    if not INT32[0] <= value <= INT32[1]:
        raise BadArgumentError(f"{param.name} is not a number of 32 bits.")
    return value


def _text(name: str, text: str) -> str:
    found = forbidden_in(text)
    if found is not None:
        raise BadArgumentError(f"{ascii(name)[:64]} holds the character {found}, which XML can't hold.")
    return text


def _template(what: str, attributes: dict[str, Any]) -> str:
    """A template as XML, from an object."""
    return f"<TEMPLATE>{_elements(what, attributes, _DEEP)}</TEMPLATE>"


def _elements(what: str, attributes: dict[str, Any], depth: int) -> str:
    parts = []
    names = set()
    for typed, value in attributes.items():
        name = ascii_upper(typed)
        if not is_element_name(name):
            raise BadArgumentError(f"{what}: {ascii(typed)[:64]} can't name an attribute.")
        if name in names:
            raise BadArgumentError(f"{what}: {name[:64]} is given twice, in capital and in small letters. Several values are a list.")
        names.add(name)
        for item in value if isinstance(value, list) and depth == _DEEP else [value]:
            if isinstance(item, str):
                parts.append(f"<{name}>{xml.escape(_text(typed, item)).replace(chr(13), '&#13;')}</{name}>")
            elif isinstance(item, dict) and item and depth > 1:
                parts.append(f"<{name}>{_elements(what, item, depth - 1)}</{name}>")
            else:
                raise BadArgumentError(f"{what}: {ascii(typed)[:64]} is a text, an object of texts that is not empty, or a list of these.")
    return "".join(parts)

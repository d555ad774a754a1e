"""Read what a request for a resource asks: arguments of the call, session, terms.

Holds:    a value of the wrong type is refused by name and never shown; what XML can't hold is refused in every text, for it goes into
          documents and logs that are XML.
Not here: whether values make sense (the domain says that).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec
from starlette.datastructures import Headers

from koinon.api import versions
from koinon.api.dispatch import Terms
from koinon.errors import AuthenticationError, BadArgumentError, InvalidError
from koinon.identity.pool_lists import Selection
from koinon.objects import xml
from koinon.objects.acl import PARTS
from koinon.objects.characters import ascii_upper, forbidden_in, is_element_name
from koinon.statements.commits import Position
from koinon.wire.openapi import AFTER, INT32, KEY
from koinon.wire.parameters import Param, Required
from koinon.wire.resources import JSON, LISTING, TEMPLATES, Resource
from koinon.wire.rule_fields import number_of

_BOOLEANS: Final = {"true": True, "false": False}
_DEEP: Final = 2


def fields(headers: Headers) -> dict[str, str]:
    """Header fields by name. Lines of one name are one value with commas, which what may occur once only is then refused for."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def session_of(authorization: str) -> str:
    """The session of an Authorization header: Basic with user and secret, or Bearer with ``user:token``.

    Raises:
        AuthenticationError: it is neither.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        session = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            session = b64decode(credentials.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise AuthenticationError from error
    else:
        raise AuthenticationError
    if ":" not in session or forbidden_in(session) is not None:
        raise AuthenticationError
    return session


def terms_of(resource: Resource, headers: Mapping[str, str], session: str, selection: Selection | None = None) -> Terms:
    """What the headers ask for. Raises BadArgumentError for what is not offered here: nothing that is asked for is passed over."""
    after, key, if_match = headers.get("koinon-after"), headers.get("idempotency-key"), _versions(headers, "if-match")
    once_id, once_secret = "", b""
    if after is not None and (resource.row.writes or not AFTER.match(after)):
        raise BadArgumentError("Koinon-After goes with reads, and is EPOCH.INDEX.")
    if if_match and not (resource.row.writes and resource.versioned):
        raise BadArgumentError("If-Match goes with changes of an object that has a version.")
    if "if-none-match" in headers and resource.method != "GET":
        raise BadArgumentError("If-None-Match goes with GET. To make something once, send an Idempotency-Key.")
    if key is not None:
        if not resource.row.writes or not KEY.match(key):
            raise BadArgumentError("Idempotency-Key goes with changes, and has 16 to 255 letters, digits and signs like - and _.")
        key = key.strip('"')
        once_id = blake2b(key.encode(), digest_size=16, person=b"koinon-once-id").hexdigest()
        # With the session, which nobody else knows: else whoever guesses the key could try passwords on the hash in the log.
        secret = blake2b(digest_size=32, person=b"koinon-once-key")
        for part in (session, key):
            secret.update(len(part.encode()).to_bytes(4, "big") + part.encode())
        once_secret = secret.digest()
    return Terms(
        None if after is None else Position.parse(after),
        if_match,
        once_id,
        once_secret,
        resource.versioned if resource.shows_object else "",
        selection,
    )


def is_known(headers: Mapping[str, str], version: str) -> bool:
    """Whether the caller has this version already (If-None-Match). Raises BadArgumentError if the header can't be read."""
    known = _versions(headers, "if-none-match")
    return bool(known) and versions.is_among(version, known)


def _versions(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        return ""
    value = value.strip()
    if not versions.is_list(value):
        raise BadArgumentError(f"{name.title()} holds * or versions in quotes, as an ETag has them, with commas between them.")
    return value


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
        elif param.name in given:
            arguments.append(given[param.name])
        else:
            default = sent[param.name].default
            if isinstance(default, Required):
                raise BadArgumentError(f"{param.name} is missing: {param.type} expected.")
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
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadArgumentError(f"The body is no JSON object: {error}.") from error


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
        return msgspec.json.encode(value).decode()
    if param.name not in JSON and param.type == "string" and isinstance(value, str):
        return _text(param.name, value)
    if param.type == "boolean" and isinstance(value, bool):
        return value
    if param.type == "int" and _is_int(value):
        return _int32(param, int(value))
    if param.type == "array<int>" and isinstance(value, list) and all(map(_is_int, value)):
        return [_int32(param, int(item)) for item in value]
    raise _wrong(param, "object" if param.name in JSON else param.type, words)


def _wrong(param: Param, expected: str, words: Mapping[str, int] | None) -> BadArgumentError:
    also = "".join(f" or {word}" for word in words or ())
    return BadArgumentError(f"{param.name} has the wrong type: {expected}{also} expected.")


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
    for typed, value in attributes.items():
        name = ascii_upper(typed)
        if not is_element_name(name):
            raise BadArgumentError(f"{what}: {ascii(typed)[:64]} can't name an attribute.")
        for item in value if isinstance(value, list) and depth == _DEEP else [value]:
            if isinstance(item, str):
                parts.append(f"<{name}>{xml.escape(_text(typed, item)).replace(chr(13), '&#13;')}</{name}>")
            elif isinstance(item, dict) and item and depth > 1:
                parts.append(f"<{name}>{_elements(what, item, depth - 1)}</{name}>")
            else:
                raise BadArgumentError(f"{what}: {ascii(typed)[:64]} is a text, an object of texts that is not empty, or a list of these.")
    return "".join(parts)

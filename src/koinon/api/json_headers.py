"""Read the header fields of a request for a resource: who asks, what they can read, the terms on which they ask.

Holds:    nothing that is asked for is passed over: what is not offered is refused.
Not here: path, query and body (json_requests.py).
Source:   RFC 9110; the IETF's draft of Idempotency-Key.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from hashlib import blake2b

from starlette.datastructures import Headers

from koinon.api import versions
from koinon.api.dispatch import Terms
from koinon.errors import AuthenticationError, BadArgumentError
from koinon.identity.pool_lists import Selection
from koinon.objects.characters import forbidden_in
from koinon.statements.commits import Position
from koinon.wire.openapi import AFTER, KEY
from koinon.wire.resources import Resource


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


def accepts_json(accept: str) -> bool:
    """Whether an Accept header allows JSON. Source: RFC 9110, 12.5.1: of ranges that fit, the closest counts."""
    closest, allowed = 0, not accept.strip()
    for one in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        closeness = {"*/*": 1, "application/*": 2, "application/json": 3}.get(kind, 0)
        if closeness > closest:
            closest, allowed = closeness, not any(re.fullmatch(r"q=0(\.0{0,3})?", part) for part in parameters)
    return allowed


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

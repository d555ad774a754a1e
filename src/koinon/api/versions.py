"""Versions of what is shown, so that nobody overwrites a change that they have not seen, or loads again what they have.

A version has two parts, ``OBJECT-SHOWN``: the first follows from the object's own row, the second from all that a reply shows, so also from
members of a group or quotas. What is no object has the second only.
Holds:    the first part is the same in all zones. A verifier is left out, or it would let people try passwords. Changes of what all zones
          share are compared by the first part, for the master can't know what another zone shows beside it; others by both.
Not here: HTTP's headers (json_headers.py).
Source:   RFC 9110, 8.8.3 (ETag), 13.1.1 (If-Match) and 13.1.2 (If-None-Match).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import ChangedError, CloudError
from koinon.policy.caller import Caller
from koinon.statements.schema import SHARED_TABLES
from koinon.wire.calls import Call, Runs
from koinon.wire.resources import VERSIONED

_VERIFIER: Final = re.compile(r"<PASSWORD>.*?</PASSWORD>", re.DOTALL)
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_PARTS: Final = re.compile(r'(W/)?"([^"]*)"')


def of_object(tx: ReadTx, table: str, oid: int) -> str:
    """The first part of an object's version; empty if there is no such object."""
    row: Any
    if table in SHARED_TABLES:
        row = tx.row(table, oid)
        values = None if row is None else msgspec.structs.astuple(row)
    else:
        found = tx.fetch(f"SELECT * FROM {table} WHERE oid = ?", (oid,))  # noqa: S608 # one of our own names
        values = tuple(found[0]) if found else None
    if values is None:
        return ""
    shown = [_VERIFIER.sub("", value) if table == "user_pool" and isinstance(value, str) else value for value in values]
    return _hash(msgspec.msgpack.encode(shown), b"koinon-version")


def of_shown(value: str | bytes | list[bytes], of_object: str = "") -> str:
    """The version of a reply, as a bound function made it; ``of_object`` goes before it."""
    raw = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b"".join(value)
    shown = _hash(raw, b"koinon-shown")
    return f"{of_object}-{shown}" if of_object else shown


def guarded(
    call: Call, run: Callable[..., Any], show: Callable[..., Any], who: Callable[[ReadTx], Caller], arguments: list[Any], if_match: str
) -> Callable[[Any], Any]:
    """A job for the writer that does ``run``, only when the object has one of these versions.

    What ``run`` itself refuses is said first: a caller without the right must not learn whether the object has changed.

    Args:
        call: whose first argument is the object's id.
        run: does it.
        show: gives the reply that shows the object.
        who: says who asks.
        arguments: of the call.
        if_match: versions that will do, as ``is_list`` accepts them.
    """

    def job(tx: ReadTx) -> Any:
        caller = who(tx)
        fits = _fits(tx, call, show, caller, arguments[0], if_match)
        value = run(tx, caller, *arguments)
        if not fits:
            raise ChangedError("The object is not the version that was given: it was changed since. Read it again.", object_id=arguments[0])
        return value

    return job


def is_list(header: str) -> bool:
    """Whether this can be the value of an If-Match or an If-None-Match."""
    return _TAGS.fullmatch(header) is not None


def is_among(version: str, header: str) -> bool:
    """Whether an If-None-Match names this version; weak ones will do."""
    return header == "*" or any(tag == version for _, tag in _PARTS.findall(header))


def _fits(tx: ReadTx, call: Call, show: Callable[..., Any], caller: Caller, oid: int, if_match: str) -> bool:
    present = of_object(tx, VERSIONED[call.noun], oid)
    if not present or if_match == "*":
        return bool(present)
    tags = [tag for weak, tag in _PARTS.findall(if_match) if not weak]
    if call.runs is not Runs.LOCAL:
        return any(tag.partition("-")[0] == present for tag in tags)
    try:
        return of_shown(show(tx, caller, oid, False), present) in tags
    except CloudError:  # who may change it and not see it knows of no version
        return False


def _hash(raw: bytes, purpose: bytes) -> str:
    return blake2b(raw, digest_size=16, person=purpose).hexdigest()

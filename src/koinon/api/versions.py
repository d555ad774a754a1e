"""Versions of objects, so that nobody overwrites a change that they have not seen.

Holds:    the version of a shared object is the same in all zones, and follows from what replies show of its own row: a verifier is left
          out, or the version would let people try passwords. What is derived, and the quotas of a zone, do not count.
Not here: HTTP's headers (json_face.py).
Source:   RFC 9110, 8.8.3 (ETag) and 13.1.1 (If-Match).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from koinon.database.transactions import ReadTx
from koinon.errors import ChangedError
from koinon.policy.caller import Caller
from koinon.statements.schema import SHARED_TABLES
from koinon.wire.calls import Call
from koinon.wire.resources import VERSIONED

_VERIFIER: Final = re.compile(r"<PASSWORD>.*?</PASSWORD>", re.DOTALL)
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')


def of(tx: ReadTx, table: str, oid: int) -> str:
    """The version of an object, as HTTP writes it (quoted); empty if there is none."""
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
    return f'"{blake2b(msgspec.msgpack.encode(shown), digest_size=16, person=b"koinon-version").hexdigest()}"'


def guarded(
    call: Call, run: Callable[..., Any], who: Callable[[ReadTx], Caller], arguments: list[Any], if_match: str
) -> Callable[[Any], Any]:
    """A job for the writer that does ``run`` for the caller who ``who`` says it is; if versions are given, only when the object has one.

    What ``run`` itself refuses is said first: a caller without the right must not learn whether the object has changed.
    """
    if not if_match:
        return lambda tx: run(tx, who(tx), *arguments)
    table = VERSIONED[call.name.split(".")[1]]

    def job(tx: ReadTx) -> Any:
        present = of(tx, table, arguments[0])
        value = run(tx, who(tx), *arguments)  # undone with the whole job if we raise
        if not matches(if_match, present):
            raise ChangedError(f"The object is not the version that was given: it is {present}. Read it again.", object_id=arguments[0])
        return value

    return job


def matches(if_match: str, present: str) -> bool:
    """Whether an If-Match allows this version; weak ones never do."""
    if if_match.strip() == "*":
        return bool(present)
    return any(not weak and f'"{tag}"' == present for weak, tag in _TAG.findall(if_match))

"""What writes that must take effect once have answered, where no log tells: writes of the zone's own, and those that changed nothing.

Path:     api.dispatch -> first_outcome() before anything is done, remembering() around the job; federation.retention -> expired(), forget()
Holds:    an outcome commits with its write or not at all, and is sealed as the log's are. No other zone has it.
Not here: outcomes of what all zones share (statement_log.py); who makes requests (api/json_headers.py, federation/forwarding.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from koinon import clock
from koinon.database.cursor import Cursor, ReadCursor
from koinon.database.jobs import Request
from koinon.database.statement_log import outcome_of
from koinon.database.transactions import SharedTx, ZoneTx
from koinon.errors import ReusedError
from koinon.statements.commits import Position

T = TypeVar("T", bound=ZoneTx)

#: An outcome is kept for a day, and for less only if so many have come after it.
KEPT_S: Final = 86_400
KEPT: Final = 100_000
_FORGOTTEN_AT_ONCE: Final = 5_000


class First(NamedTuple):
    """What a request answered the first time; ``head`` holds what it changed of the shared tables, None if that is nothing."""

    value: Any
    head: Position | None


def first_outcome(tx: ReadCursor, request: Request) -> First | None:
    """What a request answered the first time, here or (if all zones share what it changed) in any zone; None if it is new.

    Raises:
        ReusedError: another request had this id.
    """
    logged = outcome_of(tx, request.request_id)
    if logged is None:
        return _kept(tx, request)
    return First(_opened(request, logged.request_hash, logged.outcome), logged.head)


def remembering(job: Callable[[T], Any], request: Request, *, logged: bool) -> Callable[[T], Any]:
    """A job that takes effect once for each request.

    Args:
        job: the write.
        request: whose outcome it is; with an empty id it is no request that will come again.
        logged: what the job changes of the shared tables carries the request in the log, which tells then.
    """
    if not request.request_id:
        return job

    def once(tx: T) -> Any:
        kept = _kept(tx, request)
        if kept is not None:
            return kept.value
        value = job(tx)
        if not (logged and isinstance(tx, SharedTx) and tx.statements):
            outcome = msgspec.msgpack.encode(value)
            tx.later(
                "INSERT INTO request_outcome (request_id, request_hash, outcome, made_at) VALUES (?, ?, ?, ?)",
                (request.request_id, request.request_hash, request.seal(outcome) if request.seal else outcome, clock.now_ms()),
            )
        return value

    return once


def expired(tx: ReadCursor, now_ms: int, *, kept_s: int = KEPT_S, kept: int = KEPT) -> Sequence[str]:
    """Ids of outcomes to forget, the oldest first, a bounded number at a time."""
    surplus = int(tx.fetch("SELECT COUNT(*) FROM request_outcome")[0][0]) - kept
    oldest = tx.fetch("SELECT request_id, made_at FROM request_outcome ORDER BY made_at LIMIT ?", (_FORGOTTEN_AT_ONCE,))
    return [request_id for place, (request_id, made_at) in enumerate(oldest) if place < surplus or made_at < now_ms - kept_s * 1000]


def forget(tx: Cursor, request_ids: Sequence[str]) -> None:
    """Drop these outcomes."""
    tx.later("DELETE FROM request_outcome WHERE request_id = ?", *[(request_id,) for request_id in request_ids])


def _kept(tx: ReadCursor, request: Request) -> First | None:
    found = tx.fetch("SELECT request_hash, outcome FROM request_outcome WHERE request_id = ?", (request.request_id,))
    return First(_opened(request, bytes(found[0][0]), bytes(found[0][1])), None) if found else None


def _opened(request: Request, request_hash: bytes, outcome: bytes) -> Any:
    if request_hash != request.request_hash:
        raise ReusedError
    return msgspec.msgpack.decode(request.unseal(outcome) if request.unseal else outcome)

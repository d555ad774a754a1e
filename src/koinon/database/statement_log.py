"""The log as it lies in the database: ``federation_commit`` holds a commit's header, ``federation_log`` its statements.

Path:     group_log.py and ApplyTx write it; the stream, the status and the purge read it here.
Holds:    indexes are contiguous from the oldest kept to the zone's position; nothing is ever cut inside a commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from koinon.database.cursor import Cursor, ReadCursor
from koinon.database.state import LoggedCommit
from koinon.statements.commits import Commit, Head, Position
from koinon.statements.grammar import parse

_HEADER: Final = "commit_id, epoch, first_idx, origin_zone, request_id, request_hash, outcome, digests, committed_at, last_idx, chain"
_digests: Final = msgspec.msgpack.Decoder(dict[str, bytes])


def write_log(tx: Cursor, commits: Iterable[LoggedCommit]) -> None:
    """Add commits and their statements."""
    headers: list[tuple[object, ...]] = []
    statements: list[tuple[int, str, str]] = []
    for logged in commits:
        commit = logged.commit
        headers.append((
            commit.commit_id, commit.epoch, commit.first_idx, commit.origin_zone, commit.request_id or None, commit.request_hash,
            commit.outcome, msgspec.msgpack.encode(commit.digests), commit.committed_at_ms, commit.last_idx, logged.chain,
        ))  # fmt: skip
        statements.extend((commit.first_idx + at, commit.commit_id, text) for at, text in enumerate(logged.statements))
    tx.later(f"INSERT INTO federation_commit ({_HEADER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *headers)
    tx.later("INSERT INTO federation_log (idx, commit_id, statement) VALUES (?, ?, ?)", *statements)


def read_commits(tx: ReadCursor, after: int, *, statements: int, until: int | None = None) -> list[LoggedCommit]:
    """Whole commits directly after an index.

    Args:
        tx: the read.
        after: last index that is not wanted; a commit's end, or 0.
        statements: stop before the commit that would make it more than this many; the first commit always comes whole.
        until: stop after this index.

    Returns:
        Contiguous commits; empty if there is none after that index.
    """
    texts: dict[str, list[str]] = {}
    end = after + statements if until is None else min(after + statements, until)
    rows = tx.fetch("SELECT commit_id, statement FROM federation_log WHERE idx > ? AND idx <= ? ORDER BY idx", (after, end))
    for commit_id, text in rows:
        texts.setdefault(commit_id, []).append(text)
    found: list[LoggedCommit] = []
    headers = tx.fetch(
        f"SELECT {_HEADER} FROM federation_commit WHERE last_idx > ? ORDER BY last_idx LIMIT ?", (after, max(1, end - after))
    )
    for commit_id, epoch, first_idx, zone, request_id, request_hash, outcome, digests, at_ms, last_idx, chain in headers:
        if first_idx > end:
            break
        lines = texts.get(commit_id, [])
        if len(lines) < last_idx - first_idx + 1:
            if found:
                break
            lines = [
                text
                for (text,) in tx.fetch(
                    "SELECT statement FROM federation_log WHERE idx >= ? AND idx <= ? ORDER BY idx", (first_idx, last_idx)
                )
            ]
        commit = Commit(
            commit_id, epoch, first_idx, zone, request_id or "", bytes(request_hash), bytes(outcome), _digests.decode(digests), at_ms,
            tuple(parse(line) for line in lines),
        )  # fmt: skip
        found.append(LoggedCommit(commit, tuple(lines), bytes(chain)))
    return found


def bounds(tx: ReadCursor) -> tuple[int, int]:
    """First and last index that the log holds with their statements; (1, 0) if it holds none."""
    first, last = tx.fetch("SELECT MIN(idx), MAX(idx) FROM federation_log")[0]
    return (first, last) if first is not None else (1, 0)


def head_at(tx: ReadCursor, index: int) -> Head | None:
    """The head that the zone had at a commit's end, None if no commit that we remember ends there."""
    found = tx.fetch("SELECT epoch, chain FROM federation_commit WHERE last_idx = ?", (index,))
    return Head(Position(found[0][0], index), bytes(found[0][1])) if found else None


def committed_after(tx: ReadCursor, index: int) -> int | None:
    """When the oldest commit after an index was made (ms since 1970), None if there is none."""
    found = tx.fetch("SELECT committed_at FROM federation_commit WHERE last_idx > ? ORDER BY last_idx LIMIT 1", (index,))
    return int(found[0][0]) if found else None


class Outcome(msgspec.Struct, frozen=True):
    """What a request answered when it was first made."""

    request_hash: bytes
    outcome: bytes
    head: Position


def outcome_of(tx: ReadCursor, request_id: str) -> Outcome | None:
    """Look a request id up."""
    found = tx.fetch("SELECT request_hash, outcome, epoch, last_idx FROM federation_commit WHERE request_id = ?", (request_id,))
    return Outcome(bytes(found[0][0]), bytes(found[0][1]), Position(found[0][2], found[0][3])) if found else None


def commit_end_below(tx: ReadCursor, index: int) -> int:
    """The greatest end of a commit that is not above ``index``, 0 if there is none."""
    found = tx.fetch("SELECT MAX(last_idx) FROM federation_commit WHERE last_idx <= ?", (index,))
    return int(found[0][0] or 0)


def purge(tx: Cursor, through: int, *, headers_through: int, limit: int = 5000) -> int:
    """Forget old statements, a bounded number at a time.

    Args:
        tx: a write of this zone's own tables.
        through: last index to forget; must be a commit's end.
        headers_through: last index whose commit headers may go too. Headers are kept longer: they remember requests' outcomes.
        limit: most statements to delete in this transaction.

    Returns:
        Statements deleted; call again while it is not 0.
    """
    first = tx.fetch("SELECT MIN(idx) FROM federation_log")[0][0] or 0
    gone = tx.execute("DELETE FROM federation_log WHERE idx <= ?", (min(through, first + limit - 1),))
    if gone < limit:
        tx.execute("DELETE FROM federation_commit WHERE last_idx <= ?", (min(through, headers_through),))
    return gone


def replace_log(tx: Cursor, headers: Sequence[LoggedCommit]) -> None:
    """Forget the whole log; keep only these headers (of a snapshot), whose statements are not known here."""
    tx.execute("DELETE FROM federation_log")
    tx.execute("DELETE FROM federation_commit")
    write_log(tx, headers)

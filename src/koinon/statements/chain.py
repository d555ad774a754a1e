"""The chain: one hash per commit over everything before it, so that two zones with equal chains hold one history.

It is over the previous chain, the commit's header and its statements' texts, each with its length: bounds of commits, epoch and outcome are
protected like the rows. Here too: may this run of commits follow that head?
Not here: who says so (the signature on a frame, wire/frames.py); whether the rows fit (database).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from koinon.statements import digest
from koinon.statements.commits import Commit, Head
from koinon.statements.rendering import GrammarError, check, render
from koinon.statements.schema import DIGESTED, INT32, INT64, MAX_COMMIT_BYTES

CHAIN_SIZE: Final = 32
MAX_REQUEST_ID_BYTES: Final = 255
MAX_REQUEST_HASH_BYTES: Final = 64

_COMMIT_ID: Final = re.compile("[0-9a-f]{32}")
_DOMAIN: Final = b"koinon commit v1\0"


class RunError(ValueError):
    """These commits may not follow the head. The text says where they part."""


class Gap(RunError):
    """A commit does not begin directly after the one before it: statements are missing, or come twice."""


class Forked(RunError):
    """The commits tell another history: their chain is not the one announced, or an older reign follows a newer."""


def extend(chain: bytes, commit: Commit, statements: Sequence[str]) -> bytes:
    """The chain after a commit: BLAKE2b-256, 32 bytes.

    Args:
        chain: the chain before it.
        commit: its header; ``changes`` stand in ``statements``.
        statements: the canonical texts of its changes, in order.
    """
    state = blake2b(_DOMAIN, digest_size=CHAIN_SIZE)
    fields = (
        chain,
        commit.commit_id.encode(),
        b"%d" % commit.epoch,
        b"%d" % commit.first_idx,
        b"%d" % commit.origin_zone,
        commit.request_id.encode(),
        commit.request_hash,
        commit.outcome,
        b"%d" % commit.committed_at_ms,
        b"%d" % len(commit.digests),
        *(part for table in sorted(commit.digests) for part in (table.encode(), commit.digests[table])),
        b"%d" % len(statements),
        *[statement.encode() for statement in statements],
    )
    for field in fields:
        state.update(b"%d:" % len(field))
        state.update(field)
    return state.digest()


def check_commit(commit: Commit) -> None:
    """Refuse a commit that the log may not hold, whoever made it: a header out of bounds, or a change outside the grammar.

    Raises:
        GrammarError: names the field or the change and the reason.
    """
    if _COMMIT_ID.fullmatch(commit.commit_id) is None:
        raise GrammarError(f"commit id: 32 hex digits are needed, not {commit.commit_id!r:.80}")
    for name, number, least, greatest in (
        ("epoch", commit.epoch, 0, INT64[1]),
        ("first index", commit.first_idx, 1, INT64[1] - len(commit.changes)),
        ("origin zone", commit.origin_zone, *INT32),
        ("commit time", commit.committed_at_ms, 0, INT64[1]),
    ):
        if not least <= number <= greatest:
            raise GrammarError(f"commit {commit.commit_id}: the {name} is not within {least} and {greatest}")
    if len(commit.request_id) > MAX_REQUEST_ID_BYTES or not (commit.request_id.isascii() and commit.request_id.isprintable()):
        raise GrammarError(f"commit {commit.commit_id}: a request id is at most {MAX_REQUEST_ID_BYTES} printable ASCII characters")
    if len(commit.request_hash) > MAX_REQUEST_HASH_BYTES or len(commit.outcome) > MAX_COMMIT_BYTES:
        raise GrammarError(f"commit {commit.commit_id}: the request hash or the outcome is too long")
    if any(table not in DIGESTED or len(value) != digest.SIZE for table, value in commit.digests.items()):
        raise GrammarError(f"commit {commit.commit_id}: digests are {digest.SIZE} bytes each, of shared tables only")
    if not commit.changes:
        raise GrammarError(f"commit {commit.commit_id} changes nothing")
    for change in commit.changes:
        check(change)


def verify_run(head: Head, commits: Iterable[Commit], expected_chain: bytes) -> list[tuple[Commit, tuple[str, ...], bytes]]:
    """Render commits and make sure that they continue a head without a gap, up to the chain that was announced.

    Args:
        head: what they must continue.
        commits: in order; each has passed ``check_commit`` (the frames' reader sees to that).
        expected_chain: the chain after the last of them.

    Returns:
        Each commit with its statements' texts and the chain after it.

    Raises:
        Gap: a first index is not the one that must follow.
        Forked: an epoch falls, or the last chain is not the expected one.
        GrammarError: a commit's statements are more than 16 MiB together.
    """
    epoch, index, chain = head.position.epoch, head.position.index, head.chain
    run: list[tuple[Commit, tuple[str, ...], bytes]] = []
    for commit in commits:
        if commit.first_idx != index + 1:
            raise Gap(f"commit {commit.commit_id} begins at index {commit.first_idx}; {index + 1} must follow")
        if commit.epoch < epoch:
            raise Forked(f"commit {commit.commit_id} at index {commit.first_idx} is of epoch {commit.epoch}, after epoch {epoch}")
        statements = tuple([render(change) for change in commit.changes])
        if statement_bytes(statements) > MAX_COMMIT_BYTES:
            raise GrammarError(f"commit {commit.commit_id}: its statements have more than {MAX_COMMIT_BYTES} bytes")
        chain = extend(chain, commit, statements)
        epoch, index = commit.epoch, commit.last_idx
        run.append((commit, statements, chain))
    if chain != expected_chain:
        raise Forked(f"the chain at index {index} is {chain.hex()[:16]}..., not {expected_chain.hex()[:16]}... as announced")
    return run


def statement_bytes(statements: Iterable[str]) -> int:
    """Size of statements in UTF-8; a commit has at most ``MAX_COMMIT_BYTES``."""
    return sum(len(text) if text.isascii() else len(text.encode()) for text in statements)

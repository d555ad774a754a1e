"""What a write group adds to the log: a commit for each job that changed shared rows, and the zone's new position.

Path:     write_group.py, once its jobs have run -> write() -> statement_log.py
Holds:    indexes follow each other over the jobs that made it. Rows, log, digests and position are of one transaction. Each group leaves
          something that no other leaves, whoever writes: it is looked for should COMMIT fail in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from secrets import token_hex
from typing import Any, Final

import msgspec

from koinon import clock
from koinon.database import recent
from koinon.database.cache import Changes
from koinon.database.jobs import Job, Request
from koinon.database.state import LoggedCommit, ZoneState
from koinon.database.statement_log import write_log
from koinon.database.transactions import SET_DIGEST, ZoneTx
from koinon.database.write_session import WriteSession
from koinon.statements import digest
from koinon.statements.chain import extend
from koinon.statements.commits import Commit, Head, Position

#: A writer that signed its last group so many groups ago is thought to have ended.
_SIGNED_KEPT: Final = 100_000


def write(
    session: WriteSession, survivors: list[Job], state: ZoneState, touched: AbstractSet[tuple[str, int]]
) -> tuple[tuple[LoggedCommit, ...], ZoneState, dict[str, int] | None]:
    """Number the statements of the jobs that made it, and write the log, the digests and the zone's new position.

    Args:
        session: in the group's transaction.
        survivors: those jobs; each gets its ``head``.
        state: as of the group's first statement.
        touched: shared objects whose documents may read differently.

    Returns:
        The commits, the state that this leaves, and the digests if any moved.
    """
    head = state.head
    commits: list[LoggedCommit] = []
    digests: dict[str, int] | None = None
    writing = [job for job in survivors if job.statements]
    tx = ZoneTx(session.connection, state, None, Changes())
    new_values: dict[str, Any] = {}
    noted = recent.extended(state.recent, state.write_seq, touched) if session.dialect.shared and touched else state.recent
    if noted is not state.recent:
        new_values["recent"] = noted
    if writing:
        digests = _digests_before(session, tx, state)
        for job in writing:
            commits.append(_commit(job, state, head, digests))
            head = Head(Position(state.epoch, commits[-1].commit.last_idx), commits[-1].chain)
        write_log(tx, commits)
        changed = {table for job in writing for table in job.deltas}
        tx.later(SET_DIGEST, *[(digest.to_bytes(digests[table]), table) for table in changed])
        new_values |= {"position": head.position.index, "chain": head.chain}
    else:
        tx.later("DELETE FROM signed_group WHERE writer = ? OR write_seq < ?", (session.name, state.write_seq - _SIGNED_KEPT))
        tx.later("INSERT INTO signed_group (writer, write_seq) VALUES (?, ?)", (session.name, state.write_seq))
    left = next((job.zone for job in reversed(survivors) if job.zone is not None), state)
    if writing or touched:
        versions = sorted({f"v_{table} = write_seq" for table, _ in touched})
        assignments = ", ".join([*(f"{column} = ?" for column in new_values), *versions])
        # Had a hand moved the zone since our last group, which is where ``state`` may come from, this would write over it.
        tx.later_one(
            f"UPDATE zone_state SET {assignments} WHERE id = 1 AND position = ? AND chain = ?",
            (*new_values.values(), left.position, left.chain),
        )
    if writing:
        left = msgspec.structs.replace(left, position=head.position.index, chain=head.chain)
    after = msgspec.structs.replace(left, versions={**state.versions, **{table: state.write_seq for table, _ in touched}}, recent=noted)
    return tuple(commits), after, digests


def mark_of(session: WriteSession, commits: Sequence[LoggedCommit], write_seq: int) -> tuple[str, tuple[int | str, ...]]:
    """A query, with its values, that finds a row if a group is in the database.

    Args:
        session: which ran it.
        commits: what it added to the log.
        write_seq: its number; others get the same one if it was rolled back.
    """
    if commits:
        first = commits[0].commit
        return "SELECT 1 FROM federation_commit WHERE last_idx = ? AND commit_id = ?", (first.last_idx, first.commit_id)
    return "SELECT 1 FROM signed_group WHERE writer = ? AND write_seq = ?", (session.name, write_seq)


def _digests_before(session: WriteSession, tx: ZoneTx, state: ZoneState) -> dict[str, int]:
    """The digests before this group, to be changed in place."""
    known = session.digests_before(state)
    return {table: digest.from_bytes(value) for table, value in tx.digests().items()} if known is None else dict(known)


def _commit(job: Job, state: ZoneState, head: Head, digests: dict[str, int]) -> LoggedCommit:
    """The commit of one job, behind ``head``; ``digests`` become those behind it."""
    request = job.request or Request(state.zone_id)
    for table, delta in job.deltas.items():
        digests[table] = digest.add(digests[table], digest.to_bytes(delta))
    outcome = b""
    if request.request_id:
        outcome = msgspec.msgpack.encode(job.value)
        if request.seal is not None:
            outcome = request.seal(outcome)
    commit = Commit(
        commit_id=token_hex(16),
        epoch=state.epoch,
        first_idx=head.position.index + 1,
        origin_zone=request.origin_zone,
        request_id=request.request_id,
        request_hash=request.request_hash,
        outcome=outcome,
        digests={table: digest.to_bytes(digests[table]) for table in job.deltas},
        committed_at_ms=clock.now_ms(),
        changes=tuple(job.statements),
    )
    job.head = Position(commit.epoch, commit.last_idx)
    return LoggedCommit(commit, job.texts, extend(head.chain, commit, job.texts))

"""COMMIT of a write group: what is seen to before it, after it, and when it fails.

Path:     group_drivers.py -> prepare() -> COMMIT -> done(), or failed()
Holds:    if COMMIT fails in doubt, the group is looked up through another session, after the first one's end; what can't be found out is
          said to be unknown.
"""

from __future__ import annotations

import time
from typing import Final

import structlog

from koinon.database import group_log
from koinon.database.write_group import GroupRun
from koinon.database.write_session import WriteSession
from koinon.errors import OutcomeUnknownError, UnavailableError

log = structlog.get_logger(__name__)

_DOUBT_PAUSE_S: Final = 0.1


def prepare(session: WriteSession, run: GroupRun) -> None:
    """Make sure that COMMIT would make this group durable, and tell the caches what it changes.

    Raises:
        Lost: it would not.
    """
    session.require_transaction()
    session.notes.leave(run.after, frozenset(run.changes.touched))


def done(session: WriteSession, run: GroupRun) -> None:
    """It is durable: what it has left is known."""
    session.cache.learn(run.after, run.changes.rows)
    session.leave(run.after, run.digests)


def failed(session: WriteSession, run: GroupRun, error: Exception) -> None:
    """COMMIT has failed: find out whether the group is durable all the same; if nobody can say, its jobs do. Blocks.

    Raises:
        Lost: it certainly is not.
    """
    session.rollback()
    durable = _look_up(session, run) if session.dialect.commit_in_doubt(session.connection) else False
    if not durable:
        session.notes.take_back(run.after.write_seq)
    if durable is False:
        raise session.lost(error) from error
    log.error("commit failed in doubt", durable=durable, cause=str(error))
    if durable:
        session.leave(run.after, run.digests)
        return
    for job in run.survivors:
        job.error = OutcomeUnknownError(
            f"Outcome unknown: the database failed while it made the change durable ({error}). Look before you try again."
        )


def _look_up(session: WriteSession, run: GroupRun) -> bool | None:
    """Whether a group whose COMMIT failed is in the database after all; None if the database does not say."""
    dialect = session.dialect
    deadline = time.monotonic() + dialect.doubt_patience_s
    sql, ours = group_log.mark_of(session, run.commits, run.after.write_seq)
    while True:
        try:
            connection = dialect.writer()
            try:
                dialect.await_own_end(connection)
                return connection.execute(sql, ours).fetchone() is not None
            finally:
                dialect.rollback(connection)
                connection.close()
        except (dialect.driver_error, UnavailableError):
            if time.monotonic() > deadline:
                return None
        time.sleep(_DOUBT_PAUSE_S)

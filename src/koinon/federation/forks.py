"""A zone's side of a fork: where did our history leave the master's, and what did we hold beyond that?

Path:     applier.py -> find_ancestor() -> POST /federation/v1/locate; set_aside() -> forked/EPOCH.INDEX-TIME.sql for the operator
Holds:    what is about to be replaced by a snapshot is on disk, synced, before it goes.
Not here: the master's answer (rollback.py); the snapshot (snapshot_loading.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from koinon.database.database import Database
from koinon.database.statement_log import commit_end_below, head_at
from koinon.database.transactions import ReadTx
from koinon.federation.link import Link, Refused
from koinon.wire.messages import Locate, Located, MessageError, Point, SignedFrame, decode, encode

PATH: Final = "/federation/v1/locate"
TIMEOUT_S: Final = 15.0
_ROUNDS: Final = 12


async def find_ancestor(link: Link, database: Database, proof: SignedFrame) -> Located:
    """The newest commit that is in the master's history and in ours.

    Args:
        link: to the master.
        database: this zone's.
        proof: the newest frame that the master signed, as far as we kept one.

    Returns:
        Its index, -1 if there is none that both still know; and whether the master has stopped shared writes.

    Raises:
        LinkError: the master did not answer as it should.
    """
    with database.read() as tx:
        upper = tx.state.position
        points = list(_points(tx, upper, 0))
    located = await _ask(link, points, proof)
    for _ in range(_ROUNDS):
        # Between the newest point that is common and the oldest that is not, look closer.
        unknown = [point.index for point in points if point.index > located.index]
        if not unknown or located.index < 0:
            break
        with database.read() as tx:
            points = [point for point in _points(tx, commit_end_below(tx, min(unknown) - 1), located.index) if point.index > located.index]
            points += [Point(min(unknown), b"")]
        if len(points) == 1:
            break
        closer = await _ask(link, points[:-1], proof)
        located = closer if closer.index > located.index else located
    return located


async def set_aside(database: Database, directory: Path, after: int) -> Path | None:
    """Write the statements that we hold after an index to a file, for the operator.

    Returns:
        The file; None if we hold none.
    """
    return await database.read_in_thread(lambda tx: _write_tail(tx, directory, after))


def _points(tx: ReadTx, newest: int, oldest: int) -> Iterator[Point]:
    """Commits' ends at distances 0, 1, 2, 4... below ``newest``, not below ``oldest``; the log's beginning too if it is reached."""
    distance, asked = 0, newest
    while asked > oldest:
        head = tx.state.head if asked == tx.state.position else head_at(tx, asked)
        if head is not None:
            yield Point(head.position.index, head.chain)
        distance = distance * 2 or 1
        asked = commit_end_below(tx, newest - distance)
    if oldest == 0:
        yield Point(0, bytes(32))


async def _ask(link: Link, points: list[Point], proof: SignedFrame) -> Located:
    answer = await link.request("POST", PATH, encode(Locate(tuple(points), proof)), timeout_s=TIMEOUT_S)
    try:
        return decode(Located, answer.expect())
    except MessageError as error:
        raise Refused(answer.status, str(error)) from error


def _write_tail(tx: ReadTx, directory: Path, after: int) -> Path | None:
    if not tx.fetch("SELECT 1 FROM federation_log WHERE idx > ? LIMIT 1", (after,)):
        return None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    position = tx.state.head.position
    stem = f"{position}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    path = directory / f"{stem}.sql"
    number = 1
    while path.exists():
        number += 1
        path = directory / f"{stem}-{number}.sql"
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        _write_statements(tx, file, after)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _write_statements(tx: ReadTx, file: TextIO, after: int) -> None:
    state = tx.state
    file.write(
        f"-- Zone {state.zone_id}, federation {state.federation_id}: statements {after + 1} to {state.position} of a history that\n"
        "-- the master does not share. They are applied nowhere; make again, through the API, what is still wanted.\n"
    )
    commit = ""
    for idx, commit_id, statement, at_ms, zone in tx.stream(
        "SELECT l.idx, l.commit_id, l.statement, c.committed_at, c.origin_zone FROM federation_log l "
        "JOIN federation_commit c ON c.last_idx = (SELECT MIN(last_idx) FROM federation_commit WHERE last_idx >= l.idx) "
        "WHERE l.idx > ? ORDER BY l.idx",
        (after,),
    ):
        if commit_id != commit:
            commit = commit_id
            made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1000))
            file.write(f"\n-- commit {commit_id}, from index {idx}, made {made}, came in at zone {zone}\n")
        file.write(f"{statement};\n")

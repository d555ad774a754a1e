"""Which process of each zone follows this one, kept in the database so that all processes of ours know it.

Two processes that follow as one zone are a takeover, or a zone and its clone. The newer is served; the older, should it come back, is
refused, at whichever of our processes it dials.
Not here: the streams (stream.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, ZoneTx

REMEMBERED: Final = 16


class Follower(msgspec.Struct, frozen=True):
    """One zone's. Runs are the ids that its processes gave themselves; ``superseded`` are older ones."""

    run: str
    superseded: tuple[str, ...]


def load(tx: ReadTx) -> dict[int, Follower]:
    """All zones that ever followed."""
    rows = tx.fetch("SELECT zone_id, run, superseded FROM zone_stream")
    return {zone_id: Follower(run, tuple(superseded.split())) for zone_id, run, superseded in rows}


def note(tx: ZoneTx, opened: Mapping[int, str]) -> None:
    """Put down the runs that have opened a stream; one that was superseded before stays so."""
    known = load(tx)
    for zone_id, run in opened.items():
        before = known.get(zone_id)
        if before is None:
            tx.execute("INSERT INTO zone_stream (zone_id, run, superseded) VALUES (?, ?, ?)", (zone_id, run, ""))
        elif run != before.run and run not in before.superseded:
            superseded = " ".join([*before.superseded, before.run][-REMEMBERED:])
            tx.execute("UPDATE zone_stream SET run = ?, superseded = ? WHERE zone_id = ?", (run, superseded, zone_id))

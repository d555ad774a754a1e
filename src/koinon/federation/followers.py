"""Who follows this zone, and who is refused, kept in the database so that all processes of ours know it.

Two processes that follow as one zone are a takeover, or a zone and its clone. The newer is served; the older, should it come back, is
refused, at whichever of our processes it dials.
Holds:    a row is written when a stream opens or ends and when a zone is refused, never for what a stream carries.
Not here: the streams (stream.py); how far each zone is (positions.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from koinon.database.transactions import ReadTx, ZoneTx

REMEMBERED: Final = 16


class Follower(msgspec.Struct, frozen=True):
    """One zone's.

    Attributes:
        run: the id that its process gave itself.
        superseded: ids of older ones.
        gone_at_ms: when its stream ended, our clock; None while it is open.
    """

    run: str
    superseded: tuple[str, ...]
    gone_at_ms: int | None


class Refusal(msgspec.Struct, frozen=True):
    """Why a zone was not served.

    Attributes:
        reason: for programs, and for STATE.
        error: for people.
        at_ms: when, our clock.
    """

    reason: str
    error: str
    at_ms: int


def load(tx: ReadTx) -> dict[int, Follower]:
    """All zones that ever followed."""
    rows = tx.fetch("SELECT zone_id, run, superseded, gone_at FROM zone_stream")
    return {zone_id: Follower(run, tuple(superseded.split()), gone_at) for zone_id, run, superseded, gone_at in rows}


def load_refusals(tx: ReadTx) -> dict[int, Refusal]:
    """The last refusal of each zone that was not served since."""
    rows = tx.fetch("SELECT zone_id, reason, error, refused_at FROM zone_refusal")
    return {zone_id: Refusal(reason, error, at_ms) for zone_id, reason, error, at_ms in rows}


def note_opened(tx: ZoneTx, opened: Mapping[int, str]) -> None:
    """Put down the runs that have a stream open; one that was superseded before stays so."""
    known = load(tx)
    for zone_id, run in opened.items():
        before = known.get(zone_id)
        if before is None:
            tx.execute("INSERT INTO zone_stream (zone_id, run, superseded) VALUES (?, ?, ?)", (zone_id, run, ""))
        elif run == before.run:
            tx.execute("UPDATE zone_stream SET gone_at = NULL WHERE zone_id = ?", (zone_id,))
        elif run not in before.superseded:
            superseded = " ".join([*before.superseded, before.run][-REMEMBERED:])
            tx.execute("UPDATE zone_stream SET run = ?, superseded = ?, gone_at = NULL WHERE zone_id = ?", (run, superseded, zone_id))


def note_gone(tx: ZoneTx, gone: Mapping[int, str], *, now_ms: int) -> None:
    """Put down the runs whose stream has ended, unless the zone follows with another by now."""
    for zone_id, run in gone.items():
        tx.execute("UPDATE zone_stream SET gone_at = ? WHERE zone_id = ? AND run = ? AND gone_at IS NULL", (now_ms, zone_id, run))


def note_refusals(tx: ZoneTx, refused: Mapping[int, Refusal], served: Collection[int]) -> None:
    """Put down who was refused; forget it of those who were served."""
    for zone_id in {*refused, *served}:
        tx.execute("DELETE FROM zone_refusal WHERE zone_id = ?", (zone_id,))
    for zone_id, refusal in refused.items():
        tx.execute(
            "INSERT INTO zone_refusal (zone_id, reason, error, refused_at) VALUES (?, ?, ?, ?)",
            (zone_id, refusal.reason, refusal.error, refusal.at_ms),
        )


def forget(tx: ZoneTx) -> None:
    """Drop all of it: the federation is left."""
    tx.execute("DELETE FROM zone_stream")
    tx.execute("DELETE FROM zone_refusal")

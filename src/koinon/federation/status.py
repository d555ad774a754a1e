"""How each zone is, as this zone knows it: for `koinon federation status`, and for heartbeats, which carry it to every zone.

Holds:    nothing is asked of anybody for it, and each process of a zone says the same. The master says what zones reported; a slave says
          what the last heartbeat said, for as long as heartbeats come. ``ok`` is said only of a zone that was heard of lately.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from koinon import clock
from koinon.database.state import ZoneState
from koinon.database.transactions import ReadTx
from koinon.federation import applier, invitation, reign, trust
from koinon.federation.followers import Refusal
from koinon.federation.invitation import Standing
from koinon.federation.positions import AWAY_S, SILENT_S, Positions, ZonePosition
from koinon.federation.retention import readable_from
from koinon.federation.trust import ZoneTrust
from koinon.wire.frames import ZoneReport


class Seen(msgspec.Struct, frozen=True):
    """One zone.

    Attributes:
        report: what every zone is told of it.
        why: why it is not ``ok``, empty if nobody knows or it is.
        located: whether it is known how far it is.
    """

    report: ZoneReport
    why: str = ""
    located: bool = True


def as_master(
    tx: ReadTx, positions: Positions, following: frozenset[int], refusals: Mapping[int, Refusal], halted: str | None
) -> list[Seen]:
    """Every zone with a record, as the master (or a zone of its own) knows it.

    Args:
        tx: a read of the present state.
        positions: what zones reported.
        following: zones with an open stream, at whichever process of this zone.
        refusals: why zones are refused, by zone.
        halted: why this zone refuses shared writes, None if it does not.
    """
    now_ms, oldest, invited, found = clock.now_ms(), readable_from(tx), invitation.standing(tx), []
    for zone in trust.all_zones(tx):
        zone_id = zone.zone_id
        if zone_id == tx.state.zone_id:
            found.append(Seen(_own(tx.state, "halted" if halted else "ok"), halted or ""))
            continue
        held, lag = positions.get(zone_id), positions.lag(tx, zone_id, now_ms)
        state, why = _state(zone, held, refusals.get(zone_id), invited.get(zone_id), oldest, zone_id in following, now_ms)
        report = ZoneReport(
            zone_id,
            held.position.epoch if held else 0,
            held.position.index if held else 0,
            lag.statements if lag else tx.state.position,
            lag.seconds if lag else None,
            _ago_s(held, now_ms) if held else None,
            state[:64],
        )
        found.append(Seen(report, why, located=held is not None))
    return found


def _state(
    zone: ZoneTrust,
    held: ZonePosition | None,
    refusal: Refusal | None,
    invited: Standing | None,
    oldest: int,
    follows: bool,
    now_ms: int,
) -> tuple[str, str]:
    """The word for a zone, and why."""
    if zone.trust == "INVITED" and invited is not None and invited.expires_at * 1000 <= now_ms:
        return "invited", "its invitation has expired"
    if zone.trust != "ENROLLED":
        return zone.trust.lower() or "not enrolled", ""
    if refusal is not None:
        return refusal.reason, refusal.error
    if held is None or (invited is not None and held.reported_at_ms < (invited.used_at or 0) * 1000):
        return "joining", ""
    ago_s = _ago_s(held, now_ms)
    if held.trouble and ago_s <= SILENT_S:
        return "stuck", held.trouble
    if ago_s > AWAY_S:
        return "away", held.trouble
    if held.position.index < oldest:
        return "needs snapshot", held.trouble
    if not follows:
        return "away", held.trouble
    return "ok" if ago_s <= SILENT_S else "silent", held.trouble


def as_slave(tx: ReadTx, following: applier.Status) -> list[Seen]:
    """Every zone of which the master has told, as this slave may say it: its own row is what it knows of itself.

    Args:
        tx: a read of the present state.
        following: how following the master goes, in whichever process does it.
    """
    record, silence_s = reign.load_newest(tx), following.silence_s
    told = {report.zone_id: report for report in following.zones}
    found = []
    for zone in trust.all_zones(tx):
        report = told.get(zone.zone_id)
        if zone.zone_id == tx.state.zone_id:
            behind = following.lag_statements
            found.append(Seen(_own(tx.state, following.state, behind or 0, following.lag_s), located=behind is not None))
        elif record is not None and zone.zone_id == record.master_zone:
            position = following.master
            epoch, index = (position.epoch, position.index) if position else (0, 0)
            report = ZoneReport(zone.zone_id, epoch, index, 0, 0.0, silence_s, _master_state(following, report))
            found.append(Seen(report, located=position is not None))
        elif report is not None:
            seen_s = None if report.seen_s_ago is None else report.seen_s_ago + (silence_s or 0.0)
            state = report.state if following.state == "ok" else "unknown"
            found.append(Seen(msgspec.structs.replace(report, seen_s_ago=seen_s, state=state)))
    return found


def _master_state(following: applier.Status, told: ZoneReport | None) -> str:
    """Of the master: what it says of itself while it is heard."""
    if following.state == "ok":
        return told.state if told is not None else "ok"
    return {"silent": "silent", "connecting": "away"}.get(following.state, "unknown")


def shown(tx: ReadTx, seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """The zones as the admin socket shows them: names and trust from this zone's copy, the rest as it was seen.

    Args:
        tx: a read of the present state.
        seen: how they are.
    """
    by_id = {one.report.zone_id: one for one in seen}
    return [_fields(zone, by_id.get(zone.zone_id)) for zone in trust.all_zones(tx)]


def _fields(zone: ZoneTrust, seen: Seen | None) -> dict[str, Any]:
    report = seen.report if seen is not None else None
    located = report if seen is not None and seen.located else None
    return {
        "zone_id": zone.zone_id,
        "name": zone.name,
        "trust": zone.trust,
        "endpoint": zone.endpoint,
        "epoch": located.epoch if located else None,
        "position": located.position if located else None,
        "lag_statements": located.lag_statements if located else None,
        "lag_s": located.lag_s if located else None,
        "seen_s_ago": report.seen_s_ago if report else None,
        "state": report.state if report else "unknown",
        "last_error": (seen.why if seen else "") or None,
    }


def _own(state: ZoneState, word: str, lag_statements: int = 0, lag_s: float | None = 0.0) -> ZoneReport:
    return ZoneReport(state.zone_id, state.epoch, state.position, lag_statements, lag_s, 0.0, word)


def _ago_s(held: ZonePosition, now_ms: int) -> float:
    return max(0.0, (now_ms - held.reported_at_ms) / 1000)

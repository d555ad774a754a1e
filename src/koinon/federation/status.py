"""How the federation is, as this zone knows it: for `koinon federation status`, and for heartbeats, which carry it to every zone.

Holds:    nothing is asked of anybody for it. The master says what zones reported; a slave says what the last heartbeat said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from koinon import clock
from koinon.database.transactions import ReadTx
from koinon.federation import trust
from koinon.federation.positions import Positions
from koinon.wire.frames import ZoneReport


def reports(tx: ReadTx, positions: Positions, following: frozenset[int], troubles: Mapping[int, str]) -> tuple[ZoneReport, ...]:
    """Every zone with a record, as the master knows it.

    Args:
        tx: a read of the present state.
        positions: what zones reported.
        following: zones with an open stream, at whichever process of this zone.
        troubles: why a zone's stream was refused last, by zone.
    """
    now_ms = clock.now_ms()
    found = []
    for zone in trust.all_zones(tx):
        if zone.zone_id == tx.state.zone_id:
            found.append(ZoneReport(zone.zone_id, tx.state.epoch, tx.state.position, 0, 0.0, 0.0, "ok"))
            continue
        held, lag = positions.get(zone.zone_id), positions.lag(tx, zone.zone_id, now_ms)
        state = positions.state(tx, zone.zone_id)
        if zone.trust != "ENROLLED":
            state = zone.trust.lower() or "not enrolled"
        elif zone.zone_id in troubles:
            state = troubles[zone.zone_id].partition(":")[0]
        elif zone.zone_id not in following and state == "ok":
            state = "away"
        found.append(
            ZoneReport(
                zone.zone_id,
                held.position.epoch if held else 0,
                held.position.index if held else 0,
                lag.statements if lag else tx.state.position,
                lag.seconds if lag else None,
                max(0.0, (now_ms - held.reported_at_ms) / 1000) if held else None,
                state[:64],
            )
        )
    return tuple(found)


def zones(tx: ReadTx, known: Iterable[ZoneReport], troubles: Mapping[int, str], *, known_s_ago: float = 0.0) -> list[dict[str, Any]]:
    """The zones as the admin socket shows them: names and trust from this zone's copy, the rest from reports.

    Args:
        tx: a read of the present state.
        known: what the master says of them.
        troubles: what went wrong last with a zone, by zone.
        known_s_ago: seconds since the master said it: a zone was seen that much longer ago by now, the master too.
    """
    by_id = {report.zone_id: report for report in known}
    shown = []
    for zone in trust.all_zones(tx):
        report = by_id.get(zone.zone_id)
        shown.append(
            {
                "zone_id": zone.zone_id,
                "name": zone.name,
                "trust": zone.trust,
                "endpoint": zone.endpoint,
                "epoch": report.epoch if report else None,
                "position": report.position if report else None,
                "lag_statements": report.lag_statements if report else None,
                "lag_s": report.lag_s if report else None,
                "seen_s_ago": report.seen_s_ago + known_s_ago if report and report.seen_s_ago is not None else None,
                "state": report.state if report else "unknown",
                "last_error": troubles.get(zone.zone_id),
            }
        )
    return shown

"""How far each zone holds the log, as the zones themselves report it, and how far behind the master that is.

Path:     POST /federation/v1/position -> report() -> status, heartbeats, retention.py; written to ``zone_position`` every few seconds
Holds:    a report counts only if its chain is ours; a stored position never runs ahead of what the zone has said is durable there.
Not here: what is purged because of it (retention.py); whether the zone may speak at all (listener.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec
import structlog

from koinon import clock
from koinon.database.database import Database
from koinon.database.statement_log import committed_after, head_at
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import CloudError
from koinon.federation.replies import Reply, refuse
from koinon.federation.retention import readable_from
from koinon.statements.commits import Position
from koinon.wire.messages import PositionReport, decode

log = structlog.get_logger(__name__)

STORE_EVERY_S: Final = 3.0
#: Where other processes wait to read them.
STORE_OFTEN_S: Final = 1.0
#: A zone that follows reports at least every 2 s; that much, a lost report, and the time until another process has read it.
SILENT_S: Final = 5.0
#: After that a zone is away, whatever is noted of its stream: who noted it may have been killed.
AWAY_S: Final = 60.0


class ZonePosition(msgspec.Struct, frozen=True):
    """What one zone last reported.

    Attributes:
        position: what it holds durably.
        reported_at_ms: our clock, milliseconds since 1970, of the report.
        trouble: why it can't go on, in its own words; empty if it can.
    """

    position: Position
    reported_at_ms: int
    trouble: str = ""


class Lag(msgspec.Struct, frozen=True):
    """How far a zone is behind us.

    Attributes:
        statements: how many it lacks.
        seconds: age of the oldest commit it lacks, on our clock; 0.0 if it lacks none.
    """

    statements: int
    seconds: float


class Positions:
    """All zones' positions, in memory; the table follows lazily, because losing the last seconds of it only keeps more log.

    Args:
        database: the master's.
        enrolled: ids of the zones that are trusted now (the master's own may be among them).
        report_heard: told of each accepted report (zone id, position).
    """

    def __init__(
        self,
        database: Database,
        enrolled: Callable[[ReadTx], Collection[int]],
        report_heard: Callable[[int, Position], None] | None = None,
    ) -> None:
        self._database = database
        self._enrolled = enrolled
        self._report_heard = report_heard
        self._unstored: set[int] = set()
        self._held: dict[int, ZonePosition] = {}
        with database.read() as tx:
            self.load(tx)

    def load(self, tx: ReadTx) -> None:
        """Take note of what was stored, also by other processes."""
        rows = tx.fetch("SELECT zone_id, epoch, position, reported_at, trouble FROM zone_position")
        for zone_id, epoch, index, reported_at, trouble in rows:
            known = self._held.get(zone_id)
            if known is None or known.reported_at_ms < reported_at:
                self._held[zone_id] = ZonePosition(Position(epoch, index), reported_at, trouble or "")

    async def answer(self, zone_id: int, body: bytes) -> Reply:
        """Take a report (POST /federation/v1/position).

        Returns:
            204, or 409 with the reason when the zone's history is not ours.

        Raises:
            MessageError: the body is no report.
        """
        report = decode(PositionReport, body)
        with self._database.read() as tx:
            state = tx.state
            known = state.head if report.index == state.position else head_at(tx, report.index)
        if report.epoch > state.epoch:
            return refuse("lower epoch", f"you know epoch {report.epoch}, this zone is in epoch {state.epoch}")
        if report.index > state.position:
            return refuse("ahead", f"you hold index {report.index}, the master's log ends at {state.position}")
        if known is not None and known.chain != report.chain:
            return refuse("forked", f"at index {report.index} your history is another than ours")
        self.heard(zone_id, Position(report.epoch, report.index), _printable(report.trouble))
        return Reply(204)

    def heard(self, zone_id: int, position: Position, trouble: str = "") -> None:
        """Note what a zone has said it holds, and why it can't go on, if it can't."""
        self._held[zone_id] = ZonePosition(position, clock.now_ms(), trouble)
        self._unstored.add(zone_id)
        if self._report_heard is not None:
            self._report_heard(zone_id, position)

    def get(self, zone_id: int) -> ZonePosition | None:
        """The zone's last report, None if it never made one."""
        return self._held.get(zone_id)

    def lag(self, tx: ReadTx, zone_id: int, now_ms: int) -> Lag | None:
        """How far a zone is behind the state that ``tx`` reads; None if it never reported."""
        held = self._held.get(zone_id)
        if held is None:
            return None
        lacking = max(0, tx.state.position - held.position.index)
        oldest_ms = committed_after(tx, held.position.index) if lacking else None
        return Lag(lacking, max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms is not None else 0.0)

    def low_water(self, tx: ReadTx) -> int | None:
        """The lowest index that an enrolled zone holds and can still go on from; None if there is no such zone."""
        own, oldest = tx.state.zone_id, readable_from(tx)
        wanted = [
            held.position.index
            for zone_id in self._enrolled(tx)
            if zone_id != own and (held := self._held.get(zone_id)) is not None and held.position.index >= oldest
        ]
        return min(wanted, default=None)

    async def keep_stored(self, every_s: float = STORE_EVERY_S) -> None:
        """Write reports to the database every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.store()
            except CloudError as error:
                log.warning("positions not stored, will retry", error=error.text)

    async def store(self) -> None:
        """Write what was reported since the last call."""
        pending, self._unstored = self._unstored, set()
        if not pending:
            return
        rows = [(zone, held.position.epoch, held.position.index, held.reported_at_ms, held.trouble) for zone, held in self._some(pending)]

        def write(tx: ZoneTx) -> None:
            stored = dict(tx.fetch("SELECT zone_id, reported_at FROM zone_position"))
            newer = [row for row in rows if row[3] > stored.get(row[0], -1)]  # else it told another process of ours more since
            tx.later("DELETE FROM zone_position WHERE zone_id = ?", *[row[:1] for row in newer])
            tx.later("INSERT INTO zone_position (zone_id, epoch, position, reported_at, trouble) VALUES (?, ?, ?, ?, ?)", *newer)

        try:
            await self._database.write_zone("store positions", write)
        except BaseException:
            self._unstored |= pending
            raise

    def _some(self, zone_ids: Iterable[int]) -> list[tuple[int, ZonePosition]]:
        return [(zone_id, self._held[zone_id]) for zone_id in sorted(zone_ids) if zone_id in self._held]


def _printable(text: str) -> str:
    """What another zone says, so that any database takes it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)

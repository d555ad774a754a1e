"""Ask all zones at once how far they are, and say so honestly of those that don't answer.

Holds:    the time for all is bounded, whatever one zone does (even a name server that hangs).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from koinon.cli import documents
from koinon.cli.connection import Connection
from koinon.cli.tables import Column
from koinon.client.errors import ClientError, NotAZoneError, RefusedError, SetupError

AT_ONCE = 16
ONE_ZONE_S = 3.0


@dataclass(frozen=True)
class ZoneStatus:
    """What one zone said: its place in the federation's log, or why we don't know it."""

    zone: Element
    position: str
    answer: str


STATUS_COLUMNS = (
    Column[ZoneStatus]("FEDLOG", lambda row: row.position, right=True),
    Column[ZoneStatus]("ANSWER", lambda row: row.answer, colour=lambda cell: "green" if cell == "ok" else "red"),
)


def ask_all(connection: Connection, zones: Sequence[Element]) -> list[ZoneStatus]:
    """One row for each zone, in the order given."""
    limit_s = min(ONE_ZONE_S, connection.answer_s)
    waiting: queue.SimpleQueue[tuple[int, Element]] = queue.SimpleQueue()
    answered: queue.SimpleQueue[tuple[int, ZoneStatus]] = queue.SimpleQueue()
    for item in enumerate(zones):
        waiting.put(item)

    def work() -> None:
        while True:
            try:
                position, zone = waiting.get_nowait()
            except queue.Empty:
                return
            answered.put((position, _ask(connection, zone, limit_s)))

    for _ in range(min(AT_ONCE, len(zones))):
        threading.Thread(target=work, daemon=True).start()  # daemon: Ctrl-C does not wait for a zone that hangs
    rounds = -(-len(zones) // AT_ONCE)
    deadline = time.monotonic() + rounds * (limit_s + 1.0)
    rows: dict[int, ZoneStatus] = {}
    while len(rows) < len(zones):
        try:
            position, row = answered.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        rows[position] = row
    return [rows.get(at) or ZoneStatus(zone, "-", f"no: no answer within {limit_s:g} s") for at, zone in enumerate(zones)]


def _ask(connection: Connection, zone: Element, limit_s: float) -> ZoneStatus:
    try:
        with connection.at(documents.text(zone, "TEMPLATE/ENDPOINT"), "its record", answer_s=limit_s) as client:
            status = documents.read(client.call("one.zone.raftstatus"))
    except ClientError as error:
        return ZoneStatus(zone, "-", _why(error))
    position = documents.number(status, "FEDLOG_INDEX")
    # A zone outside any federation answers -1: it has no place in a common log.
    return ZoneStatus(zone, str(position) if position >= 0 else "-", "ok")


def _why(error: ClientError) -> str:
    match error:
        case RefusedError():
            return f"refused: {error.text}"
        case NotAZoneError():
            return "no: what answers is not a zone"
        case SetupError():
            return "no: its record holds no valid address"
    return f"no: {error.text}"

"""Ask all zones at once how far they are in the federation's log.

Not here: how they are asked, and what is said of those that don't answer (zone_answers.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from koinon.cli import documents
from koinon.cli.connection import Connection
from koinon.cli.tables import Column
from koinon.client.errors import ClientError

if TYPE_CHECKING:
    from koinon.client.xmlrpc import Client

ONE_ZONE_S = 3.0


@dataclass(frozen=True)
class ZoneStatus:
    """What one zone said: its place in the federation's log, or why we don't know it."""

    zone: Element
    position: str
    answer: str

    def plain(self) -> dict[str, str]:
        """The same for programs."""
        record = self.zone
        return {"ID": documents.text(record, "ID"), "NAME": documents.text(record, "NAME"), "FEDLOG": self.position, "ANSWER": self.answer}


STATUS_COLUMNS = (
    Column[ZoneStatus]("FEDLOG", lambda row: row.position, right=True, about="Place in the federation's log; with --status."),
    Column[ZoneStatus](
        "ANSWER",
        lambda row: row.answer,
        colour=lambda cell: "green" if cell == "ok" else "red",
        about="Whether the zone answered; with --status.",
    ),
)


def ask_all(connection: Connection, zones: Sequence[Element]) -> list[ZoneStatus]:
    """One row for each zone, in the order given."""
    from koinon.cli.zone_answers import ask_zones, why  # here, because a list of zones needs no threads

    answers = ask_zones(connection, zones, min(ONE_ZONE_S, connection.answer_s), _position)
    return [
        ZoneStatus(zone, "-", why(answer)) if isinstance(answer, ClientError) else ZoneStatus(zone, answer, "ok")
        for zone, answer in zip(zones, answers, strict=True)
    ]


def _position(client: Client) -> str:
    position = documents.number(documents.read(client.call("one.zone.raftstatus")), "FEDLOG_INDEX")
    # A zone outside any federation answers -1: it has no place in a common log.
    return str(position) if position >= 0 else "-"

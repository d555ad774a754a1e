"""Ask all zones at once, each within a limit, and say so honestly of those that don't answer.

Holds:    the time for all is bounded, whatever one zone does (even a name server that hangs); what one zone says is never told
          as another's, though a record hold a wrong address.
Not here: what is asked (zone_status.py, pools.py).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from xml.etree.ElementTree import Element

from koinon.cli import documents
from koinon.cli.commands import SHORT_S
from koinon.cli.connection import Connection
from koinon.cli.progress import working
from koinon.client.errors import ClientError, NotAZoneError, RefusedError, SetupError, UnreachableError
from koinon.client.xmlrpc import Client

AT_ONCE = 16

T = TypeVar("T")


def ask_zones(connection: Connection, zones: Sequence[Element], limit_s: float, ask: Callable[[Client], T]) -> list[T | ClientError]:
    """What ``ask`` got from each zone, or why not, in the order of ``zones``, their records.

    Args:
        connection: whose user asks.
        zones: records of zones.
        limit_s: how long one zone may take.
        ask: makes its calls with the client it is given; called in a thread.
    """
    waiting: queue.SimpleQueue[tuple[int, Element]] = queue.SimpleQueue()
    answered: queue.SimpleQueue[tuple[int, T | ClientError]] = queue.SimpleQueue()
    for item in enumerate(zones):
        waiting.put(item)

    def work() -> None:
        while True:
            try:
                position, zone = waiting.get_nowait()
            except queue.Empty:
                return
            answered.put((position, _ask(connection, zone, limit_s, ask)))

    for _ in range(min(AT_ONCE, len(zones))):
        threading.Thread(target=work, daemon=True).start()  # daemon: Ctrl-C does not wait for a zone that hangs
    rounds = -(-len(zones) // AT_ONCE)
    deadline = time.monotonic() + rounds * (limit_s + 1.0)
    found: dict[int, T | ClientError] = {}
    with working("", after_s=SHORT_S) as line:
        while len(found) < len(zones):
            line.text = f"Asking all zones, {len(found)} of {len(zones)} have answered,"
            try:
                position, answer = answered.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            found[position] = answer
    late = UnreachableError(f"no answer within {limit_s:g} s")
    return [found.get(at, late) for at in range(len(zones))]


def why(error: ClientError) -> str:
    """Why a zone is missing, for the cell of a table."""
    match error:
        case RefusedError():
            return f"refused: {error.text}"
        case NotAZoneError():
            return "no: what answers is not a zone"
        case SetupError():
            return "no: its record holds no valid address"
    return f"no: {error.text}"


def _ask(connection: Connection, zone: Element, limit_s: float, ask: Callable[[Client], T]) -> T | ClientError:
    try:
        with connection.at(documents.text(zone, "TEMPLATE/ENDPOINT"), "its record", answer_s=limit_s) as client:
            _require_itself(client, zone)
            return ask(client)
    except ClientError as error:
        return error


def _require_itself(client: Client, zone: Element) -> None:
    """Records may hold an address such as localhost, which means another zone on every machine."""
    try:
        answering = documents.number(documents.read(client.call("one.system.config")), "FEDERATION/ZONE_ID")
    except RefusedError:
        return  # a zone may keep its configuration to itself
    if answering not in (-1, documents.number(zone, "ID")):
        raise UnreachableError(f"zone {answering} answers at the address in its record")

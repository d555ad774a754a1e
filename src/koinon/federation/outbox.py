"""The outbox: zone operations that wait until the master takes them, kept in this zone's own database.

Path:     infrastructure.leftovers -> put(), in the transaction that makes the operation needed -> Sender.run()
          -> POST /federation/v1/operation on the master -> removed here
Holds:    what is in the database is sent, the oldest first, until the master has said that it is done. Between its answer and our removal
          we may die: the operation goes out again under its request id, which the master's log knows.
          An operation says what is true of this zone in any federation, so those that wait outlive a leave, a join, a new master.
Not here: what an operation means and who may ask for it (operations.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from koinon.database.database import Database
from koinon.database.state import CommitNotice
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import CloudError, UnavailableError
from koinon.federation import operations
from koinon.federation.link import LinkError, Refused
from koinon.federation.links import Links
from koinon.wire.messages import MessageError, encode
from koinon.wire.zone_operations import ZoneOperation

log = structlog.get_logger(__name__)

BATCH: Final = 100
ANSWER_S: Final = 15.0
FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 5.0
LONGEST_UNTRUSTED_S: Final = 60.0
#: what the master won't do it may do once it knows newer operations, and not before someone has upgraded it
REFUSED_WAIT_S: Final = 300.0


class Waiting(msgspec.Struct, frozen=True):
    """An operation in the outbox.

    Attributes:
        id: its place in the order.
        request_id: 32 hex digits; it is done once under this id.
        operation: what to send.
    """

    id: int
    request_id: str
    operation: ZoneOperation


def put(tx: ZoneTx, operation: ZoneOperation, *, now_ms: int) -> None:
    """Have an operation sent once this transaction is durable."""
    tx.execute(
        "INSERT INTO outbox (request_id, kind, body, made_at) VALUES (?, ?, ?, ?)",
        (secrets.token_hex(16), operation.kind, operation.body, now_ms),
    )


def waiting(tx: ReadTx, *, after: int = 0, limit: int = BATCH) -> list[Waiting]:
    """Operations that the master has not taken yet, the oldest first.

    Args:
        tx: the read.
        after: leave out those up to this place.
        limit: at most so many.
    """
    found = tx.fetch("SELECT id, request_id, kind, body FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [Waiting(place, request_id, ZoneOperation(kind, bytes(body))) for place, request_id, kind, body in found]


class Backlog(msgspec.Struct, frozen=True):
    """How much waits in the outbox. ``oldest_s`` is the age in seconds of the oldest operation, None if none waits."""

    waiting: int
    oldest_s: float | None


def backlog(tx: ReadTx, now_ms: int) -> Backlog:
    """How much the master has not taken yet, and for how long."""
    ((count, oldest_ms),) = tx.fetch("SELECT count(*), min(made_at) FROM outbox")
    return Backlog(count, None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000))


def remove(tx: ZoneTx, place: int) -> None:
    """Forget an operation that is done."""
    tx.execute("DELETE FROM outbox WHERE id = ?", (place,))


class _NotAllowed(Exception):
    """The master says that a zone may not ask for this. The text is its."""


class Sender:
    """Sends what waits. On a slave the master does it; a zone that is no slave (any more) does it itself.

    Args:
        database: this zone's.
        links: the way to the master.
        halted: why this zone refuses shared writes, None if it does not.
    """

    def __init__(self, database: Database, links: Links, halted: Callable[[], str | None]) -> None:
        self._database = database
        self._links = links
        self._halted = halted
        self._wake = asyncio.Event()
        self._position = self._write_seq = -1
        self._failures = 0

    async def run(self) -> None:
        """Send, and wait for more, until cancelled."""
        unsubscribe = self._database.on_commit(self._heard)
        state = self._database.state()
        self._failures, self._position, self._write_seq = 0, state.position, state.write_seq
        try:
            while True:
                self._wake.clear()
                pause_s = await self._send_all()
                if self._failures:  # what came meanwhile need not hurry: the master does not take it either
                    await asyncio.sleep(pause_s or 0.0)
                    continue
                # not wait_for(): in Python 3.11 it loses a cancellation that comes as the wait ends
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
        finally:
            unsubscribe()

    def _heard(self, notice: CommitNotice) -> None:
        """Wake up when this zone wrote something of its own; what the applier does moves the position, and fills no outbox."""
        state = notice.state
        if state.position == self._position or state.write_seq > self._write_seq + 1:  # of several groups any may have
            self._wake.set()
        self._position, self._write_seq = state.position, state.write_seq

    async def _send_all(self) -> float | None:
        """Send each operation that waits, in order.

        Returns:
            Seconds after which to look again, None if nothing is left.
        """
        sent, refused = 0, False
        try:
            while True:
                with self._database.read() as tx:
                    batch = waiting(tx, after=sent)
                for one in batch:
                    sent = one.id
                    refused = not await self._send(one) or refused
                if len(batch) < BATCH:
                    break
        except (LinkError, CloudError) as error:
            untrusted = isinstance(error, Refused) and error.reason in ("revoked", "left", "cloned", "unknown zone")
            pause_s = min(LONGEST_UNTRUSTED_S if untrusted else LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 16))
            if not self._failures:
                log.warning("zone operations wait for the master", error=str(error), wait_s=pause_s)
            self._failures += 1
            return pause_s
        if self._failures:
            log.info("the master takes zone operations again")
            self._failures = 0
        return REFUSED_WAIT_S if refused else None

    async def _send(self, one: Waiting) -> bool:
        """Have one operation done; False if the master never does such a thing: then it stays, and those after it go on."""
        try:
            if self._database.state().role == "slave":
                await self._ask(one)
            else:
                await self._do(one)
        except (_NotAllowed, MessageError) as error:
            log.error("zone operation refused, it stays in the outbox", kind=one.operation.kind, request=one.request_id, error=str(error))
            return False
        await self._database.write_zone("zone operation done", lambda tx: remove(tx, one.id), frees_space=True)
        return True

    async def _ask(self, one: Waiting) -> None:
        link = self._links.master()
        answer = await link.request("POST", operations.PATH, encode(one.operation), request_id=one.request_id, timeout_s=ANSWER_S)
        try:
            answer.expect(204)
        except Refused as error:
            if error.status == 400:
                raise _NotAllowed(error.text) from error
            raise

    async def _do(self, one: Waiting) -> None:
        why = self._halted()
        if why is not None:
            raise UnavailableError(why)
        zone_id = self._database.state().zone_id
        request = operations.request_of(zone_id, one.request_id, one.operation)
        await self._database.write_shared("zone operation", lambda tx: operations.perform(tx, zone_id, one.operation), request=request)

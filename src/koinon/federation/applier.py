"""Bring this zone's copy of the shared tables up to the master, whole commits at a time, for as long as the zone is a slave.

Path:     follow() -> GET /federation/v1/log -> frames verified -> batches -> ApplyTx -> POST /federation/v1/position
Holds:    rows, log, digests and position commit together; a gap or a fork is refused, never guessed over; while the master is away, or
          this zone can't go on, its reads go on.
Not here: which zone is the master (reign.py, links.py); one open stream (intake.py); a fork's ancestor (forks.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from koinon import clock
from koinon.database.database import Database
from koinon.database.row_changes import Different
from koinon.database.transactions import Overtaken
from koinon.errors import CloudError, UnavailableError
from koinon.federation import forks, proof, reign, trust
from koinon.federation.intake import REPORT_AT_LEAST_EVERY_S, Declined, Intake, Unfit, report
from koinon.federation.link import Link, LinkError, Refused
from koinon.federation.links import Links
from koinon.federation.snapshot_file import SnapshotError
from koinon.federation.snapshot_loading import load
from koinon.statements.commits import Head, Position
from koinon.wire.frames import ZoneReport
from koinon.wire.messages import Located, Reason, SignedFrame

log = structlog.get_logger(__name__)

State = Literal["connecting", "ok", "silent", "forked", "needs snapshot", "ahead", "stuck", "cloned", "revoked"]

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 5.0
LONGEST_STUCK_S: Final = 300.0
#: Where the disk is full or the database away: trying again costs little, and what was in the way may be gone.
LONGEST_HINDERED_S: Final = 30.0
#: An attempt says by then what the master answers; each of its steps has a bound of its own.
_ANSWER_S: Final = 60.0
#: Differences within this time count together: the first two are healed at once, from then on the zone backs off.
FAILURES_WITHIN_S: Final = 600.0
FAILURES_HEALED: Final = 2


class Master(msgspec.Struct, frozen=True):
    """Whom to follow, and how to know him."""

    link: Link
    key: Ed25519PublicKey
    federation_id: str
    epoch: int


def master_of(database: Database, links: Links) -> Master:
    """The master of the newest reign that this zone knows.

    Raises:
        UnavailableError: there is none, or its record gives no key or address.
    """
    link = links.master()
    with database.read() as tx:
        record = reign.load_newest(tx)
        key = trust.trusted_key(tx, link.zone_id)
        federation_id = tx.state.federation_id
    if record is None or key is None:
        raise UnavailableError(f"The record of the master, zone {link.zone_id}, holds no key that counts.")
    return Master(link, key, federation_id, record.epoch)


class Status(msgspec.Struct, frozen=True):
    """How following goes.

    Attributes:
        state: one word. ``silent`` is not the applier's: who knows how long a silence may last makes it of ``ok``.
        last_error: why it is not ``ok``, or what happened last; empty if nothing did.
        connected: whether a stream is open.
        silence_s: since the master's last sign of life, None if there was none since start.
        master: the master's position as it last said.
        lag_statements: how many statements of it this zone lacks, as far as it has heard.
        lag_s: age of the oldest that it lacks, None if it can't tell.
        zones: what the master says of all zones.
    """

    state: State
    last_error: str
    connected: bool
    silence_s: float | None
    master: Position | None
    lag_statements: int | None
    lag_s: float | None
    zones: tuple[ZoneReport, ...]

    @property
    def refusal(self) -> str:
        """Why the master does not stream to this zone, if waiting for it is of no use: it lacks what this zone holds, or has let it go."""
        if self.state == "revoked":
            return f"it refuses this zone: {self.last_error}."
        return self.last_error if self.state == "ahead" else ""


class Applier:
    """Follows the master.

    Args:
        database: this zone's.
        master: whom to follow now; asked for each attempt. Raises UnavailableError when there is nobody.
        state_dir: where snapshots are loaded and forked tails put.
        heartbeat_s: how often the master speaks.
        batch_statements: how many statements to apply in one transaction, about.
    """

    def __init__(
        self, database: Database, master: Callable[[], Master], *, state_dir: Path, heartbeat_s: float, batch_statements: int
    ) -> None:
        self._database = database
        self._master = master
        self._state_dir = state_dir
        self._turn = asyncio.Lock()  # one at a time moves this zone's position
        self._failures: deque[float] = deque()
        self._attempts = 0
        self._state: State = "connecting"
        self._last_error = ""
        self._declined_as: Reason | None = None  # in this attempt, or the last one
        self._answered = asyncio.Event()  # the master has answered in this attempt, or it has ended
        self._pausing = False
        self._woken = asyncio.Event()
        self._intake = Intake(
            database,
            self._turn,
            heartbeat_s=heartbeat_s,
            batch_statements=batch_statements,
            on_ok=self._going,
            trouble=lambda: self._last_error if self._state == "stuck" else "",
        )

    def silence_s(self) -> float | None:
        """Seconds since the master's last sign of life, None if there was none since this process started."""
        heard = self._intake.heard_at
        return None if heard is None else clock.monotonic_s() - heard

    def status(self) -> Status:
        """How it goes now."""
        intake, position = self._intake, self._database.state().position
        master = intake.master_head
        lacking = None if master is None else max(0, master.index - position)
        return Status(
            self._state,
            self._last_error,
            intake.connected,
            self.silence_s(),
            master,
            lacking,
            0.0 if lacking == 0 else intake.lag_s(),
            intake.zones,
        )

    async def follow(self) -> None:
        """Follow the master until cancelled. Nothing that the master, the network or the disk does ends it."""
        self._intake.run_id = secrets.token_hex(16)  # another process of this zone may have followed meanwhile: we are the newer one again
        self._state, self._last_error, self._attempts = "connecting", "", 0
        while True:
            if wait_s := await self._attempt():
                await self._pause(wait_s)

    async def resync(self) -> Head:
        """Take over a fresh snapshot of the master, because an operator asked for it. What only this zone holds is kept in a file.

        Raises:
            LinkError, SnapshotError, CloudError: why it could not be done; this zone is as it was.
            Overtaken: another process of this zone moved it meanwhile, or loads a snapshot too; this zone is as that leaves it.
            OSError: the file can't be written; this zone is as it was.
        """
        self._failures.clear()
        master = self._master()
        try:
            if await self._why_declined() in ("ahead", "forked"):  # its history may have to go; any other zone never goes back
                left = self._database.state().head
                located = await forks.find_ancestor(master.link, self._database, self._proof())
                return await self._leave_history(master, left, located)
            return await self._load_snapshot(master)
        finally:
            self._wake()

    async def _why_declined(self) -> Reason | None:
        """Why the master does not stream to this zone, None if it does. What it said before a pause may be true no more: it is asked anew.

        Raises:
            LinkError: it does not answer.
        """
        if self._pausing:
            self._answered.clear()
            self._wake()
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._answered.wait()
        except TimeoutError:
            raise LinkError("the master has not said whether it knows this zone's history") from None
        if self._declined_as is None and not self._intake.streamed:
            raise LinkError(self._last_error)
        return self._declined_as

    def _wake(self) -> None:
        """End a pause."""
        if self._pausing:
            self._woken.set()

    async def _pause(self, wait_s: float) -> bool:
        """Wait, but no longer than until somebody has reason to try at once; whether that was so."""
        self._answered.set()
        self._woken.clear()
        self._pausing = True
        try:
            async with asyncio.timeout(wait_s):
                return await self._woken.wait()
        except TimeoutError:
            return False
        finally:
            self._pausing = False

    # One attempt ------------------------------------------------------------------------------------------------------

    async def _attempt(self) -> float:
        """Follow until something ends it.

        Returns:
            Seconds to wait before the next attempt.
        """
        self._answered.clear()
        self._declined_as, self._intake.streamed = None, False
        try:
            master = self._master()
        except UnavailableError as error:
            return self._again("connecting", error.text, LONGEST_WAIT_S)
        try:
            try:
                await self._intake.run(master.link, master.key, master.federation_id, master.epoch)
            except Declined as declined:
                return await self._declined(master, declined)
            except (Different, Unfit) as difference:
                return await self._heal(master, difference)
        except Overtaken as overtaken:
            log.info("overtaken, beginning anew", cause=str(overtaken))
            return self._soon()
        except Refused as refused:
            return self._refused(refused)
        except LinkError as error:
            return self._again("connecting", str(error), LONGEST_WAIT_S)
        except SnapshotError as error:
            return await self._stuck(str(error), LONGEST_STUCK_S)
        except CloudError as error:
            return await self._stuck(error.text, LONGEST_HINDERED_S)
        except OSError as error:
            return await self._stuck(f"{error.filename or self._state_dir}: {error.strerror or error}", LONGEST_HINDERED_S)
        except Exception as error:  # a fault of ours must not end the copying for good
            log.exception("following failed")
            return await self._stuck(f"{type(error).__name__}: {error}", LONGEST_STUCK_S)
        return 0.0

    async def _stuck(self, error: str, longest_s: float) -> float:
        """It is here that something is wrong: wait for longer each time, and have the master know why."""
        await self._complain(self._again("stuck", error, longest_s))
        return 0.0

    async def _complain(self, wait_s: float) -> bool:
        """As ``_pause``, and meanwhile tell the master what stops us, at least as often as one reports that follows."""
        telling = asyncio.create_task(self._keep_telling())
        try:
            return await self._pause(wait_s)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _keep_telling(self) -> None:
        while True:
            with contextlib.suppress(LinkError, CloudError):
                await report(self._master().link, self._database.state().head, self._last_error)
            await asyncio.sleep(REPORT_AT_LEAST_EVERY_S)

    async def _declined(self, master: Master, declined: Declined) -> float:
        """The master does not stream to us: do what its reason asks for."""
        self._declined_as = declined.reason
        self._answered.set()
        match declined.reason:
            case "needs snapshot":
                self._enter("needs snapshot", declined.error)
                await self._load_snapshot(master)
                return self._soon()
            case "forked":
                self._enter("forked", declined.error)
                left = self._database.state().head
                located = await forks.find_ancestor(master.link, self._database, self._proof())
                if located.halted:  # it may be the master that left the history, and come back to it
                    return self._again("ahead", located.halted, 30.0)
                await self._leave_history(master, left, located)
                return self._soon()
            case "ahead":
                located = await forks.find_ancestor(master.link, self._database, self._proof())
                return self._again("ahead", located.halted or f"{declined.error}. The master may come back to it; reads go on.", 30.0)
            case "revoked" | "cloned":  # as the master's status has it
                return self._again(declined.reason, declined.error, LONGEST_STUCK_S)
            case _:
                return self._again("connecting", declined.error, LONGEST_WAIT_S)

    async def _leave_history(self, master: Master, left: Head, located: Located) -> Head:
        """Keep what only we hold in a file, then take over the master's history in place of the one that ends at ``left``."""
        async with self._turn:
            if self._database.state().head != left:
                raise Overtaken(f"this zone is no longer at {left.position}")
            kept = await forks.set_aside(self._database, self._state_dir / "forked", max(0, located.index))
            log.error("this zone's history is not the master's", common_index=located.index, own_statements=str(kept) if kept else "none")
            head = await self._load(master, left, at_least=0)
        self._last_error = f"This zone had left the master's history after index {located.index}." + (f" Its own: {kept}." if kept else "")
        return head

    async def _heal(self, master: Master, difference: Exception) -> float:
        """Our rows are not the master's: say so, and take over a snapshot; if that does not help for long, back off."""
        now = clock.monotonic_s()
        while self._failures and self._failures[0] < now - FAILURES_WITHIN_S:
            self._failures.popleft()
        self._failures.append(now)
        count = len(self._failures)
        position = self._database.state().head.position
        log.error("this zone differs from the master", cause=str(difference), position=str(position), times=count)
        if count > FAILURES_HEALED:
            self._enter("stuck", f"{difference} ({count} times; a snapshot did not help for long)")
            if await self._complain(min(LONGEST_STUCK_S, LONGEST_WAIT_S * 2.0 ** (count - FAILURES_HEALED))):
                return 0.0  # an operator has one loaded
        await self._load_snapshot(master)
        self._last_error = f"{difference}; healed by a snapshot."
        return 0.0

    async def _load_snapshot(self, master: Master) -> Head:
        """Take over a snapshot; this zone goes back behind nothing that it has shown."""
        async with self._turn:
            head = self._database.state().head
            return await self._load(master, head, at_least=head.position.index)

    async def _load(self, master: Master, head: Head, *, at_least: int) -> Head:
        """Take over a snapshot in place of the history that ends at ``head``. Hold ``_turn``."""
        directory = self._state_dir / "snapshots" / "loading"
        return await load(master.link, self._database, directory, master_key=master.key, at_least=at_least, leaves=head, also=proof.drop)

    def _proof(self) -> SignedFrame:
        with self._database.read() as tx:
            return proof.load(tx)

    def _refused(self, refused: Refused) -> float:
        if refused.reason in ("revoked", "left"):
            return self._again("revoked", refused.text, LONGEST_STUCK_S)
        if refused.reason in ("cloned", "unknown zone"):
            return self._again("cloned" if refused.reason == "cloned" else "stuck", refused.text, LONGEST_STUCK_S)
        return self._again("connecting", refused.text, LONGEST_WAIT_S)

    def _soon(self) -> float:
        """What was in the way is gone: at once, unless that has been so before and the master still streams nothing."""
        self._attempts += 1
        return 0.0 if self._attempts == 1 else _about(min(LONGEST_STUCK_S, FIRST_WAIT_S * 2.0 ** min(self._attempts - 2, 16)))

    def _again(self, state: State, error: str, longest_s: float) -> float:
        """Note why an attempt ended; twice as long a wait each time, up to a bound."""
        self._enter(state, error)
        self._attempts += 1
        return _about(min(longest_s, FIRST_WAIT_S * 2.0 ** min(self._attempts - 1, 16)))

    def _enter(self, state: State, error: str) -> None:
        if (state, error) != (self._state, self._last_error):
            log.warning("not following the master", state=state, error=error)
        self._state, self._last_error = state, error

    def _going(self) -> None:
        """The master streams to us and what it sends fits."""
        self._attempts = 0
        self._answered.set()
        if self._state != "ok":
            log.info("following the master", position=str(self._database.state().head.position))
            if self._state == "connecting":
                self._last_error = ""  # that the link was away is over; what was healed stays to be read
            self._state = "ok"


def _about(wait_s: float) -> float:
    """Not the same for all zones, so that they do not come all at once."""
    return wait_s * random.uniform(0.7, 1.3)  # noqa: S311 - no secret

"""Whose history is whose: find where a forked zone left ours; stop shared writes when our own signature proves that we have lost some.

A zone that is ahead of its master, in the master's own reign, holds what the master once acknowledged. The zone's word is not enough to
stop the federation, but the zone keeps the newest frame that the master signed; a frame over a head that the master's log does not know
proves that the master's database was set back. Each frame also says how many losses had been accepted when it was signed: so a loss of the
new history is told from the one that was accepted, also where both have the same indices, and no clock is asked.
Path:     POST /federation/v1/locate -> locate() -> halted -> dispatch refuses shared writes until an operator accepts the loss or restores
Holds:    no write is stopped without a signature of our own; a halt outlives a restart.
Not here: what the slave does next (applier.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from koinon.database.database import Database
from koinon.database.statement_log import head_at
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import UnavailableError
from koinon.federation import remembered
from koinon.federation.remembered import Name
from koinon.federation.replies import Reply, refuse, say
from koinon.federation.retention import readable_from
from koinon.statements.commits import Head, Position
from koinon.wire.frames import FrameError, Heartbeat, Reader
from koinon.wire.messages import MAX_POINTS, Locate, Located, MessageError, SignedFrame, decode

log = structlog.get_logger(__name__)

T = TypeVar("T")

_HALT: Final[Name] = "rollback"
_ACCEPTED: Final[Name] = "losses accepted"


class Signed(msgspec.Struct, frozen=True):
    """A head that we signed, and how many losses we had accepted then."""

    head: Head
    losses: int


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """A head that we signed and do not have, and who showed it."""

    head: Head
    zone_id: int
    our_index: int
    losses: int = 0  # that we had accepted when we signed it

    @property
    def index(self) -> int:
        return self.head.position.index

    def text(self) -> str:
        return (
            f"This master's database was set back: zone {self.zone_id} shows our signature over index {self.index}, "
            f"and our log ended at {self.our_index}. Shared writes are stopped, so that nothing is made twice. Restore the database, "
            f"or accept the loss (koinon federation accept-loss); the zone then keeps its surplus in a file and takes over ours."
        )


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """What an operator gave up.

    Attributes:
        losses: how many times; the histories before that have ended.
        through: the greatest index that was lost.
    """

    losses: int = 0
    through: int = 0


def read_proof(proof: SignedFrame, key: Ed25519PrivateKey, federation_id: str) -> Signed | None:
    """What a frame vouches for, if this key signed it for this federation; None else."""
    public = key.public_key()
    try:
        frames = list(Reader(public.verify).feed(len(proof.payload).to_bytes(4) + proof.signature + proof.payload))
    except (FrameError, OverflowError):
        return None
    if len(frames) != 1:
        return None
    body = frames[0][0]
    if body.federation_id != federation_id:
        return None
    if isinstance(body, Heartbeat):
        return Signed(Head(Position(body.epoch, body.head_index), body.head_chain), body.losses)
    return Signed(Head(Position(body.epoch, body.commits[-1].last_idx), body.chain), body.losses)


class RollbackGuard:
    """Watches whether this master still has all that it signed.

    Args:
        database: the master's.
        key: the zone's private key.
    """

    def __init__(self, database: Database, key: Callable[[], Ed25519PrivateKey]) -> None:
        self._database = database
        self._key = key
        with database.read() as tx:
            self.load(tx)

    def load(self, tx: ReadTx) -> None:
        """Take note of what this process or another has found, or an operator accepted; of nothing more once the federation is left."""
        self._loss = _recall(tx, _HALT, Loss)
        self._accepted = _recall(tx, _ACCEPTED, Accepted) or Accepted()

    def look_again(self) -> None:
        """Take note of it now; nothing changes if the database does not answer."""
        with contextlib.suppress(UnavailableError), self._database.read() as tx:
            self.load(tx)

    @property
    def halted(self) -> str | None:
        """Why shared writes are refused, None if they are not."""
        return None if self._loss is None else self._loss.text()

    @property
    def losses(self) -> int:
        """How many losses have been accepted: it goes into all that this master signs about its head."""
        return self._accepted.losses

    async def locate(self, zone_id: int, body: bytes) -> Reply:
        """Say which of a zone's points are ours, and take note of what its proof shows (POST /federation/v1/locate).

        Raises:
            MessageError: the body is no such request.
        """
        asked = decode(Locate, body)
        if len(asked.points) > MAX_POINTS:
            raise MessageError(f"{len(asked.points)} points; {MAX_POINTS} are allowed")
        if self._database.state().role != "master":
            return refuse("not master", "this zone is not the master")
        if asked.proof.payload:
            await self._examine(zone_id, asked.proof)
        with self._database.read() as tx:
            known = [point.index for point in asked.points if self.is_ours(tx, point.index, point.chain)]
        return say(Located(max(known, default=-1), self.halted or ""))

    @staticmethod
    def is_ours(tx: ReadTx, index: int, chain: bytes) -> bool:
        """Whether our log had this chain at this index."""
        if index == 0:
            return not any(chain)
        head = tx.state.head if index == tx.state.position else head_at(tx, index)
        return head is not None and head.chain == chain

    def knows_surplus(self, index: int) -> bool:
        """Whether what a zone holds beyond our log, up to an index, may be a loss that the operator has accepted: its proof tells."""
        return index <= self._accepted.through

    async def accept_loss(self) -> None:
        """Go on without what was lost: zones that are ahead are told that they have forked."""
        loss = self._loss
        if loss is None:
            return
        # The backup may be older than the last acceptance: then the lost history counts more of them than we do.
        accepted = Accepted(max(self._accepted.losses, loss.losses) + 1, max(self._accepted.through, loss.index))

        def write(tx: ZoneTx) -> None:
            _keep(tx, _ACCEPTED, accepted)
            remembered.forget(tx, _HALT)

        await self._database.write_zone("accept rollback", write)
        self._loss, self._accepted = None, accepted
        log.warning("loss accepted, shared writes go on", lost_through=loss.index, our_index=loss.our_index)

    async def _examine(self, zone_id: int, proof: SignedFrame) -> None:
        state = self._database.state()
        signed = read_proof(proof, self._key(), state.federation_id)
        if signed is None or signed.head.position.epoch != state.epoch:
            return
        index = signed.head.position.index
        with self._database.read() as tx:
            state = tx.state
            if index <= readable_from(tx) and head_at(tx, index) is None:
                return  # too old to tell: the log there is purged
            if self.is_ours(tx, index, signed.head.chain):
                return
        if signed.losses < self._accepted.losses and self.knows_surplus(index):
            return  # signed for a history that an operator gave up
        if self._loss is not None and (self._loss.losses, self._loss.index) >= (signed.losses, index):
            return
        loss = Loss(signed.head, zone_id, state.position, signed.losses)
        await self._database.write_zone("note rollback", lambda tx: _keep(tx, _HALT, loss))
        self._loss = loss
        log.error("own database was set back, shared writes stopped", zone=zone_id, signed_index=index, index=state.position)


def _recall(tx: ReadTx, name: Name, kind: type[T]) -> T | None:
    found = remembered.recall(tx, name)
    return None if found is None else msgspec.msgpack.decode(found, type=kind)


def _keep(tx: ZoneTx, name: Name, what: Loss | Accepted) -> None:
    remembered.remember(tx, name, msgspec.msgpack.encode(what))

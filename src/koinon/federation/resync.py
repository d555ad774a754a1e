"""A snapshot because an operator asks for it: at any process of the zone, loaded by the one with the lease.

Path:     admin socket -> Resync.ask() -> a number that the zone remembers -> Resync.run(), in the process with the lease
          -> Applier.resync() -> how it went, remembered too -> ask() answers
Holds:    what was asked for is done also if the process that began with it dies, by the next one that gets the lease; who asks before a
          load begins shares it.
Why:      only the process with the lease can hold the applier still meanwhile, and knows how following goes
          (docs/decisions/0017-processes.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from koinon import clock
from koinon.database.database import Database
from koinon.database.transactions import Overtaken, ReadTx, ZoneTx
from koinon.errors import ActionError, CloudError, UnavailableError
from koinon.federation import remembered
from koinon.federation.link import LinkError
from koinon.federation.snapshot_file import SnapshotError
from koinon.statements.commits import Head, Position

log = structlog.get_logger(__name__)

#: As long as `koinon federation resync` waits. What was asked for longer ago nobody waits for any more.
WAIT_S: Final = 900.0
_LOOK_AGAIN_S: Final = 1.0
_RETRY_S: Final = 0.5


class _Wish(msgspec.Struct, frozen=True, array_like=True):
    """What was asked for, and how the newest load went.

    Attributes:
        asked: how often it was asked for.
        asked_at_ms: when last, since 1970.
        done: of those, how many are answered.
        position: where the zone stood after the newest load.
        error: why that load failed, empty if it did not.
    """

    asked: int = 0
    asked_at_ms: int = 0
    done: int = 0
    position: Position = Position(0, 0)
    error: str = ""


class Resync:
    """The zone's wish for a snapshot.

    Args:
        database: this zone's.
        load: does it; Applier.resync.
    """

    def __init__(self, database: Database, load: Callable[[], Awaitable[Head]]) -> None:
        self._database = database
        self._load = load

    async def ask(self) -> Position:
        """Have a snapshot loaded, and wait for it.

        Returns:
            The position that this zone holds with it.

        Raises:
            ActionError: this zone is no slave, or none any more.
            UnavailableError: why it could not be done.
        """
        self._require_slave()
        number = await self._database.write_zone("ask for a snapshot", _ask)
        until = clock.monotonic_s() + WAIT_S
        while clock.monotonic_s() < until:
            try:
                wish, seen = self._read()
            except UnavailableError:
                await asyncio.sleep(_RETRY_S)  # the database may come back within the time
                continue
            if wish.asked < number:
                raise ActionError("This zone left its federation meanwhile.")
            if wish.done >= number:
                if wish.error:
                    raise UnavailableError(wish.error)
                return wish.position
            self._require_slave()
            await self._news(seen)
        raise UnavailableError("No process of this zone has loaded a snapshot in all this time. See their logs.")

    async def run(self) -> None:
        """Do what is asked for, until cancelled."""
        while True:
            try:
                wish, seen = self._read()
                if wish.done < wish.asked:
                    await self._fulfil(wish)
                    continue
            except Overtaken as overtaken:  # the wish still stands
                log.info("overtaken, loading anew", cause=str(overtaken))
                await asyncio.sleep(_RETRY_S)
                continue
            except CloudError as error:
                log.warning("can't look or say whether a snapshot was asked for, will retry", error=error.text)
                await asyncio.sleep(_RETRY_S)
                continue
            await self._news(seen)

    async def _fulfil(self, wish: _Wish) -> None:
        """Load a snapshot and say how it went. Raises Overtaken, CloudError."""
        position, error = Position(0, 0), ""
        try:
            if clock.now_ms() - wish.asked_at_ms > WAIT_S * 1000:
                error = "Nobody waits for the snapshot any more."
            else:
                position = (await self._load()).position
        except (LinkError, SnapshotError) as refused:
            error = f"The snapshot could not be loaded: {refused}. This zone is as it was."
        except CloudError as refused:
            error = refused.text
        except OSError as refused:
            cause = f"{refused.filename or 'the state directory'}: {refused.strerror or refused}"
            error = f"A file could not be written: {cause}. This zone is as it was; give the command again."
        except Overtaken:
            raise
        except Exception as fault:  # a fault of ours must not be met again and again
            log.exception("loading a snapshot failed")
            error = f"The snapshot could not be loaded ({type(fault).__name__}). The server's log says why."

        def answer(tx: ZoneTx) -> None:
            now = _wish(tx)
            if now.asked >= wish.asked > now.done:
                _keep(tx, msgspec.structs.replace(now, done=wish.asked, position=position, error=error))

        await self._database.write_zone("answer about a snapshot", answer)

    async def _news(self, seen: int) -> None:
        """Wait until something was written since ``seen``, for a while."""
        moved = asyncio.Event()
        unsubscribe = self._database.on_commit(lambda _notice: moved.set())
        try:
            if self._database.state().write_seq <= seen:
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await moved.wait()
        except TimeoutError:
            pass
        finally:
            unsubscribe()

    def _read(self) -> tuple[_Wish, int]:
        """The wish, and the ``write_seq`` at which it is so."""
        with self._database.read() as tx:
            return _wish(tx), tx.state.write_seq

    def _require_slave(self) -> None:
        if self._database.state().role != "slave":
            raise ActionError("Only a slave can load a snapshot from its master.")


def _ask(tx: ZoneTx) -> int:
    wish = _wish(tx)
    _keep(tx, msgspec.structs.replace(wish, asked=wish.asked + 1, asked_at_ms=clock.now_ms()))
    return wish.asked + 1


def _wish(tx: ReadTx) -> _Wish:
    kept = remembered.recall(tx, "resync")
    return _Wish() if kept is None else msgspec.msgpack.decode(kept, type=_Wish)


def _keep(tx: ZoneTx, wish: _Wish) -> None:
    remembered.remember(tx, "resync", msgspec.msgpack.encode(wish))

"""How much of the log a zone keeps: the statements that someone may still ask for, and no more than a bound. The same for outcomes.

Path:     Retention.run() -> statement_log.purge(), a few thousand statements a transaction; request_outcomes.forget()
Holds:    the last ``log_keep`` statements stay; so does all that the slowest enrolled zone lacks, up to ``log_cap``; what a zone that is
          loading a snapshot will need next stays in any case; nothing is cut inside a commit. Commit headers, which remember requests'
          outcomes and the chain, stay ten times longer.
Not here: what happens to a zone that is past the kept log (stream.py refuses it, snapshot.py serves it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from koinon import clock
from koinon.database.database import Database
from koinon.database.request_outcomes import expired, forget
from koinon.database.statement_log import bounds, commit_end_below, purge
from koinon.database.transactions import ReadTx, ZoneTx
from koinon.errors import CloudError

log = structlog.get_logger(__name__)

PURGE_EVERY_S: Final = 30.0
HEADERS_PER_KEPT: Final = 10
#: Purging a few rows at a time, each time, would cost a disk write for nothing.
_SLACK: Final = 0.02


def readable_from(tx: ReadTx) -> int:
    """The lowest index after which the log can still be read without a gap."""
    first, last = bounds(tx)
    return first - 1 if last else tx.state.position


def cut(*, last: int, keep: int, cap: int, low_water: int | None, pin: int | None) -> int:
    """The greatest index that nobody needs any more.

    Args:
        last: the zone's position.
        keep: statements kept even when every zone has them.
        cap: statements kept at most for a zone that is behind.
        low_water: lowest index that an enrolled zone holds, None if nobody is behind.
        pin: index of the oldest snapshot being loaded, None if there is none.

    Returns:
        An index from 0 to ``last``, not yet moved back to a commit's end.
    """
    through = last - keep
    if low_water is not None:
        through = min(through, low_water)
    through = max(through, last - max(cap, keep))
    if pin is not None:
        through = min(through, pin)
    return max(0, through)


class Retention:
    """The purge of one zone's log.

    Args:
        database: whose log.
        keep: see ``cut``.
        cap: see ``cut``.
        low_water: lowest index that an enrolled zone holds.
        pin: index that a snapshot being loaded holds.
    """

    def __init__(
        self,
        database: Database,
        *,
        keep: int,
        cap: int,
        low_water: Callable[[ReadTx], int | None] = lambda tx: None,
        pin: Callable[[ReadTx], int | None] = lambda tx: None,
    ) -> None:
        self._database = database
        self._keep = keep
        self._cap = cap
        self._low_water = low_water
        self._pin = pin

    async def run(self) -> None:
        """Purge every half minute, until cancelled."""
        while True:
            try:
                await self.purge(slack=int(self._keep * _SLACK))
                await self.forget_outcomes(clock.now_ms())
            except CloudError as error:
                log.warning("not purged, will retry", error=error.text)
            await asyncio.sleep(PURGE_EVERY_S)

    async def purge(self, *, slack: int = 0) -> int:
        """Forget what nobody needs; do nothing if that is not more than ``slack`` statements.

        Returns:
            Statements forgotten.
        """
        with self._database.read() as tx:
            first, last = bounds(tx)
            wanted = cut(last=tx.state.position, keep=self._keep, cap=self._cap, low_water=self._low_water(tx), pin=self._pin(tx))
            through = commit_end_below(tx, min(wanted, last))
        if through - first + 1 <= slack:
            return 0
        # The header at the cut itself stays: a zone that stands exactly there is known by its chain.
        headers_through = max(0, min(last - HEADERS_PER_KEPT * self._keep, through - 1))
        gone = 0

        def job(tx: ZoneTx) -> int:
            return purge(tx, through, headers_through=headers_through)

        while deleted := await self._database.write_zone("purge log", job, frees_space=True):
            gone += deleted
        if gone:
            log.info("log purged", statements=gone, through=through)
        return gone

    async def forget_outcomes(self, now_ms: int) -> int:
        """Forget outcomes of this zone's own writes that are older, or more, than request_outcomes.py keeps.

        Returns:
            How many.
        """
        gone = 0
        while True:
            with self._database.read() as tx:
                found = expired(tx, now_ms)
            if not found:
                return gone
            await self._database.write_zone("forget outcomes", partial(forget, request_ids=found), frees_space=True)
            gone += len(found)

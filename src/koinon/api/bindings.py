"""Which function does what a row promises.

A read is ``function(tx, caller, *arguments)`` with a ReadTx. A write is the same with a SharedTx; if its row runs in the zone that was
asked, with a ZoneTx, or if it ``cleans_up`` with a SharedTx where the zone may write shared tables. A write may name a coroutine that
makes arguments ready before the transaction, ``prepare(caller, *arguments)`` (a password is hashed there). Calls without a session are
``function(*arguments)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from koinon.database.database import Database
from koinon.identity.passwords import Hasher
from koinon.objects.kinds import Kind
from koinon.settings import Settings
from koinon.wire.calls import CALLS

Prepare = Callable[..., Awaitable[tuple[Any, ...]]]

#: Whether a zone (its id) has an object of some kind and id; None if it can't be asked or does not know.
ExistsIn = Callable[[int, Kind, int], Awaitable[bool | None]]


async def _nobody_knows(_zone_id: int, _kind: Kind, _oid: int) -> None:
    """In a zone that can ask no other."""


class Services(msgspec.Struct, frozen=True):
    """What bound functions need besides a transaction."""

    settings: Settings
    database: Database
    hasher: Hasher
    exists_in: ExistsIn = _nobody_knows

    @property
    def ascending(self) -> bool:
        """Whether lists begin with the smallest id, unless a user or a group wants them otherwise."""
        return self.settings.server.list_order == "ASC"


class Bound(msgspec.Struct, frozen=True):
    """The function of one call. A read that takes long is made in a thread; it must not rest on what only the loop may touch."""

    run: Callable[..., Any]
    prepare: Prepare | None = None
    in_thread: bool = False
    cleans_up: bool = False


class Bindings:
    """Functions by the name of their call; ``bind`` refuses what is no row of wire/calls."""

    def __init__(self) -> None:
        self._bound: dict[str, Bound] = {}

    def bind(
        self, name: str, run: Callable[..., Any], *, prepare: Prepare | None = None, in_thread: bool = False, cleans_up: bool = False
    ) -> None:
        """Let ``run`` do what the row ``name`` promises."""
        if name not in CALLS or name in self._bound:
            raise ValueError(f"{name} is no row of wire/calls, or is bound already")
        self._bound[name] = Bound(run, prepare, in_thread, cleans_up)

    def __getitem__(self, name: str) -> Bound:
        return self._bound[name]

    def missing(self) -> set[str]:
        """Rows that no function does."""
        return CALLS.keys() - self._bound.keys()

"""A commit, a position, a head: the units in which the log is made, copied and compared."""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.statements.schema import RowChange


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """The changes of one API call, as every zone applies and logs them: whole or not at all.

    Attributes:
        commit_id: 32 hex digits, random.
        epoch: the reign it was made in.
        first_idx: index of its first statement; the last is ``last_idx``.
        origin_zone: id of the zone where the caller made the call.
        request_id: the caller's request id, empty if there was none.
        request_hash: keyed hash of the request; a retry must match it.
        outcome: what the call answered (msgpack), sealed if it holds a secret; empty without request id.
        digests: digest (32 bytes) of each table that the commit changed, after it.
        committed_at_ms: the master's clock, milliseconds since 1970.
        changes: at least one.
    """

    commit_id: str
    epoch: int
    first_idx: int
    origin_zone: int
    request_id: str
    request_hash: bytes
    outcome: bytes
    digests: dict[str, bytes]
    committed_at_ms: int
    changes: tuple[RowChange, ...]

    @property
    def last_idx(self) -> int:
        return self.first_idx + len(self.changes) - 1


class Position(msgspec.Struct, frozen=True, array_like=True, order=True):
    """How far a zone holds the log durably."""

    epoch: int
    index: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read ``EPOCH.INDEX``. Raises ValueError."""
        epoch, _, index = text.partition(".")
        return cls(int(epoch), int(index))


class Head(msgspec.Struct, frozen=True, array_like=True):
    """A position and the chain value there: together they name one history."""

    position: Position
    chain: bytes


GENESIS: Final = Head(Position(0, 0), bytes(32))

"""What a zone is and how far it holds the log: its single row of ``zone_state``, and what a commit tells those who wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from koinon.statements.commits import Commit, Head, Position
from koinon.statements.schema import SHARED_TABLES

Role = Literal["standalone", "master", "slave"]

_FIXED: Final = ("zone_id", "role", "federation_id", "write_seq", "epoch", "position", "chain")
#: ``write_seq`` counts write groups, and above this many the database's generation: it goes up when the database is closed or filled anew
#: (fence.py).
GENERATION: Final = 2**40
COLUMNS: Final = (*_FIXED, *(f"v_{name}" for name in SHARED_TABLES), "recent")


class ZoneState(msgspec.Struct, frozen=True):
    """One committed state of this zone's database.

    Attributes:
        zone_id: id of this zone in the federation, 0 when it never joined one.
        role: which of the three it is.
        federation_id: hex id, empty when standalone.
        write_seq: number of write groups committed to this database, shared or local, and its generation (``GENERATION``).
        epoch: the reign of the newest commit held.
        position: index of the newest statement held.
        chain: 32 bytes over everything up to ``position``.
        versions: for each shared table the ``write_seq`` of its last change.
        recent: what the newest groups changed (recent.py); empty where no other process writes.
    """

    zone_id: int
    role: Role
    federation_id: str
    write_seq: int
    epoch: int
    position: int
    chain: bytes
    versions: Mapping[str, int]
    recent: bytes = b""

    @property
    def generation(self) -> int:
        return self.write_seq // GENERATION

    @property
    def head(self) -> Head:
        return Head(Position(self.epoch, self.position), self.chain)

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> ZoneState:
        """Read a row that holds ``COLUMNS``."""
        zone_id, role, federation_id, write_seq, epoch, position, chain, *versions, recent = row
        by_table = dict(zip(SHARED_TABLES, versions, strict=True))
        return cls(zone_id, role, federation_id, write_seq, epoch, position, bytes(chain), by_table, bytes(recent or b""))


class LoggedCommit(msgspec.Struct, frozen=True, array_like=True):
    """A commit with the texts of its statements and the chain after it."""

    commit: Commit
    statements: tuple[str, ...]
    chain: bytes


class CommitNotice(msgspec.Struct, frozen=True):
    """Something became durable.

    Attributes:
        state: the newest state that is known now.
        commits: those of one write group of this process; none are given for groups of others.
        changed: shared objects whose documents may read differently since the last notice; None if it may be any.
    """

    state: ZoneState
    commits: tuple[LoggedCommit, ...]
    changed: frozenset[tuple[str, int]] | None

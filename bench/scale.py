"""How much is measured: whole runs for the report, short ones to look, tiny ones to see that every scenario works."""

from __future__ import annotations

from typing import Final

import msgspec


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """The lengths and counts of a run.

    Attributes:
        seconds: length of one measurement of throughput; rounds of single calls follow it.
        users: in the pool that is read and changed.
        statements: missed by a slave that then catches up.
        members: of the group that is large.
        many_users: in the database of the zone whose memory is measured.
        settle_s: from the start of a zone to the look at its memory.
        starts: how many are timed.
        note: what a reader must know of figures taken at this scale.
    """

    seconds: float
    users: int
    statements: int
    members: int
    many_users: int
    settle_s: int
    starts: int
    note: str = ""


FULL: Final = Scale(seconds=4.0, users=1_000, statements=40_000, members=10_000, many_users=2_000, settle_s=60, starts=5)
QUICK: Final = Scale(
    seconds=1.0,
    users=300,
    statements=5_000,
    members=1_000,
    many_users=600,
    settle_s=5,
    starts=3,
    note="**A quick run**: short and with less data than the targets are about (each row says how much); a figure may be off by half.",
)
SMOKE: Final = Scale(
    seconds=0.1,
    users=12,
    statements=200,
    members=20,
    many_users=12,
    settle_s=0,
    starts=1,
    note="**A smoke run**: it shows that the scenarios work. The figures mean nothing.",
)

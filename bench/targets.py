"""What the zones must reach: one row for each measure, OpenNebula's figure beside our target, and how a measured figure compares.

Path:     ROWS + what the scenarios measured -> summary() -> the first table of the report
Holds:    a scenario measures exactly the rows that name it; __main__.py sees to that.
Source:   OpenNebula 7.5.80 on a machine of two cores, master, slave and generator together, as here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bench.report import Cell, Table, text
from bench.scale import Scale


class Goal(msgspec.Struct, frozen=True):
    """One number of a row.

    Attributes:
        unit: printed behind it.
        target: what it must reach; None if it is only shown.
        at_most: whether less is better.
        label: what it is, if the row has several.
    """

    unit: str
    target: float | None = None
    at_most: bool = True
    label: str = ""

    def shown(self, value: float) -> str:
        """``value`` with label and unit."""
        if self.target == value:
            return f"{self.label} {value:,g}{self.unit}".strip()
        return f"{self.label} {text(value)}{self.unit}".strip()

    def missed_by(self, value: float) -> float:
        """The share by which ``value`` misses the target; 0 or less if it is met."""
        if self.target is None:
            return 0.0
        return value / self.target - 1 if self.at_most else 1 - value / self.target


class Row(msgspec.Struct, frozen=True):
    """One measure.

    Attributes:
        key: how a scenario names it.
        scenario: which one measures it.
        measure: for people; may name fields of the scale.
        opennebula: OpenNebula's figures, as text.
        goals: the numbers, in the order in which the scenario gives them.
        bound: what the bare bound beside the first number is.
    """

    key: str
    scenario: str
    measure: str
    opennebula: str
    goals: tuple[Goal, ...]
    bound: str = ""


class Measured(msgspec.Struct):
    """What a scenario found for a row: its numbers, and what the bare machine does instead of the first of them."""

    values: tuple[float, ...]
    bound: float | None = None


def _rate(target: float | None = None, label: str = "") -> Goal:
    return Goal("/s", target, at_most=False, label=label)


def _p50(target_ms: float | None = None) -> Goal:
    return Goal(" ms", target_ms, label="p50")


def _p99(target_ms: float | None = None) -> Goal:
    return Goal(" ms", target_ms, label="p99")


# fmt: off
#   key                  scenario           measure; then OpenNebula, goals, bound
ROWS: Final = (
    Row("info",              "reads",           "one.user.info, 8 connections",
        "2,100/s, p50 3.5 ms",       (_rate(8_000), _p50()), "echo"),
    Row("list",              "reads",           "one.userpool.info of {users:,} users, 8 connections",
        "396/s",                     (_rate(1_500), _p50()), "echo"),
    Row("update-1",          "updates",         "one.user.update on the master, 1 connection",
        "265/s",                     (_rate(1_500),), "database"),
    Row("update-8",          "updates",         "one.user.update on the master, 8 connections",
        "185/s",                     (_rate(2_500),), "database"),
    Row("allocate-sha256-1", "allocations",     "one.user.allocate, OpenNebula's hash, 1 connection",
        "34/s",                      (_rate(1_000),), "database"),
    Row("allocate-sha256-8", "allocations",     "one.user.allocate, OpenNebula's hash, 8 connections",
        "20/s",                      (_rate(1_500),), "database"),
    Row("allocate-scrypt-1", "allocations",     "one.user.allocate, scrypt, 1 connection",
        "",                          (_rate(),), "scrypt"),
    Row("allocate-scrypt-8", "allocations",     "one.user.allocate, scrypt, 8 connections",
        "",                          (_rate(),), "scrypt"),
    Row("allocate-public-1", "allocations",     "one.user.allocate, driver public, 1 connection",
        "",                          (_rate(),), "database"),
    Row("allocate-public-8", "allocations",     "one.user.allocate, driver public, 8 connections",
        "",                          (_rate(),), "database"),
    Row("slave-update-1",    "updates",         "one.user.update through a slave, 1 connection",
        "198/s",                     (_rate(500),), "database"),
    Row("slave-update-8",    "updates",         "one.user.update through a slave, 8 connections",
        "166/s",                     (_rate(1_500),), "database"),
    Row("mixed",             "mixed",           "8 readers and 8 writers together",
        "",                          (_rate(4_000, "reads"), _rate(1_000, "updates"), Goal(" ms", 50, label="update p99"))),
    Row("lag",               "lag",             "written on the master until readable on a slave",
        "p50 4.5 ms, p99 14.6 ms",   (_p50(2), _p99(6)), "commit and read"),
    Row("far-lag",           "far-lag",         "the same with the slave 50 ms away",
        "p50 93 ms",                 (_p50(30), _p99()), "half a trip, commit and read"),
    Row("rule",              "rules",           "ACL rule made on the master until it counts on a slave",
        "p50 7.7 s, max 14.1 s",     (_p50(), _p99(6), Goal(" ms", label="max")), "commit and read"),
    Row("catching-up",       "catching-up",     "slave catches up {statements:,} statements",
        "226/s",                     (_rate(20_000),), "stream"),
    Row("far-catching-up",   "far-catching-up", "the same with the slave 50 ms away",
        "9/s",                       (_rate(20_000),), "stream"),
    Row("group",             "groups",          "user added to a group of {members:,}: time against an empty one",
        "slower with size",          (Goal(" x", 1.1), Goal(" ms", label="large p50"), Goal(" ms", label="empty p50"))),
    Row("memory-few",        "memory",          "memory of a zone with 2 users, {settle_s} s after its start",
        "142 MB, 11 processes",      (Goal(" MB", 90), Goal("", label="processes")), "bare server"),
    Row("memory-many",       "memory",          "memory of a zone with {many_users:,} users, {settle_s} s after its start",
        "240 MB, 11 processes",      (Goal(" MB", 120), Goal("", label="processes")), "bare server"),
    Row("start",             "start",           "start to first answer, migrated database",
        "3.9 s",                     (Goal(" s", 1.0),), "bare server"),
)
# fmt: on

_NOTE: Final = """\
The *bare bound* is what this machine does in the same run without a zone: *echo* is a server on uvloop that looks at a request's length and
answers with as many bytes; *database* is the engine alone, through the same driver: it commits durably as many changes at a time as there
are connections; *scrypt* hashes in as many threads, two at most; *commit and read* is one such commit and one such echo; *stream* is
compressed msgpack over HTTP into that database; *bare server* is an empty uvicorn's memory and start. A rate is given as a share of its
bound, a time or a size as a multiple. Targets are the same for every engine. A database server shares the two cores; its memory is not
counted.

*50 ms away* is a round trip. Lags count from the master's answer. A rule must be as fast as a user's update, and a large group as an empty
one, within a tenth. Memory is PSS of all processes of the zone together; 1 MB is 10^6 bytes."""


def summary(found: Sequence[tuple[str, Mapping[str, Measured]]], failed: Mapping[str, set[str]], scale: Scale) -> Table:
    """The table of all measures.

    Args:
        found: for each variant of the server, its name (empty if there is but one) and what was measured by row.
        failed: the scenarios that broke, by variant.
        scale: how much was measured.
    """
    several = any(variant for variant, _ in found)
    rows: list[list[Cell]] = []
    for row in ROWS:
        for variant, measured in found:
            cells = _cells(row, measured.get(row.key), failed=row.scenario in failed.get(variant, ()))
            if cells:
                measure = row.measure.format(**msgspec.structs.asdict(scale))
                rows.append([measure, *([variant] if several else []), row.opennebula or None, *cells])
    columns = (
        "measure",
        *(["variant"] if several else []),
        "OpenNebula 7.5.80",
        "target",
        "ours",
        "verdict",
        "bare bound",
        "ours to bound",
    )
    return Table("Targets", columns, rows, _NOTE, numbers_from=len(columns))


def _cells(row: Row, measured: Measured | None, *, failed: bool) -> list[Cell]:
    target = ", ".join(goal.shown(goal.target) for goal in row.goals if goal.target is not None) or None
    if measured is None:
        return [target, "failed, see below", None, None, None] if failed else []
    ours = ", ".join(goal.shown(value) for goal, value in zip(row.goals, measured.values, strict=True))
    bound, ratio = _against_bound(row, measured)
    return [target, ours, verdict(row, measured.values), bound, ratio]


def verdict(row: Row, values: Sequence[float]) -> str | None:
    """``met``, or by how much each number of ``row`` that falls short does so; None without a target."""
    if all(goal.target is None for goal in row.goals):
        return None
    misses = []
    for goal, value in zip(row.goals, values, strict=True):
        missed_by = goal.missed_by(value)
        if missed_by > 0:
            misses.append(f"{goal.label} {math.ceil(missed_by * 100):,} % {'over' if goal.at_most else 'short'}".strip())
    return "; ".join(misses) or "met"


def _against_bound(row: Row, measured: Measured) -> tuple[Cell, Cell]:
    if not measured.bound:
        return None, None
    goal, ratio = row.goals[0], measured.values[0] / measured.bound
    return f"{row.bound} {text(measured.bound)}{goal.unit}", f"{text(ratio)} x" if goal.at_most else f"{ratio:.0%}"

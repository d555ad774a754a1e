"""SQL in an operator's own words: what a query yields, and the bounds that every engine holds it to.

Holds:    it runs on a session of its own that can do nothing but read, and takes bounded time and memory.
Not here: how each engine keeps it to reading (sqlite.py, postgresql.py, mariadb.py); who may ask (api/system.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

_CELL: Final = 16  #: bytes that a value costs beside what it holds, about


class Table(NamedTuple):
    """Names of the columns, and the rows."""

    names: list[str]
    rows: list[Sequence[Any]]


def collected(names: list[str], rows: Iterable[Sequence[Any]], *, most_bytes: int, end_s: float) -> Table:
    """All rows, unless they are too many.

    Args:
        names: of the columns.
        rows: as the driver yields them, one by one.
        most_bytes: how much they may hold together, about.
        end_s: when to give up, on the monotonic clock.

    Raises:
        OverflowError: they hold more.
        TimeoutError: there was no end to them.
    """
    kept: list[Sequence[Any]] = []
    overhead = _CELL * len(names) + sum(map(len, names))
    for row in rows:
        most_bytes -= overhead + sum(len(value) for value in row if isinstance(value, str | bytes))
        if most_bytes < 0:
            raise OverflowError("the result is too long")
        if time.monotonic() > end_s:
            raise TimeoutError("the result took too long")
        kept.append(row)
    return Table(names, kept)

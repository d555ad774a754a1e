"""What any transaction can do: the part that the log and derived rows need, whatever kind of transaction it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class ReadCursor(Protocol):
    """Runs queries (``?`` marks)."""

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...


class Cursor(ReadCursor, Protocol):
    """Runs queries and statements."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int: ...

    def later(self, sql: str, /, *rows: Sequence[Any]) -> None: ...

    def later_one(self, sql: str, parameters: Sequence[Any], /) -> None: ...

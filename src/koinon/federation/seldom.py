"""Log lines that another zone can have written as often as it likes: each is written at times, and says how often it would have been."""

from __future__ import annotations

from typing import Final

from koinon import clock

EVERY_S: Final = 60.0


class Seldom:
    """Counts what happens with each zone, and says when it is to be told again."""

    def __init__(self) -> None:
        self._told_at: dict[int, float] = {}
        self._times: dict[int, int] = {}

    def due(self, zone_id: int) -> int:
        """Note that it happened; how often it did since it was last told if it is to be told now, 0 if it is not."""
        now_s = clock.monotonic_s()
        times = self._times[zone_id] = self._times.get(zone_id, 0) + 1
        if now_s - self._told_at.get(zone_id, now_s - EVERY_S) < EVERY_S:
            return 0
        self._told_at[zone_id] = now_s
        self._times[zone_id] = 0
        return times

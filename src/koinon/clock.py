"""The two clocks: seconds since 1970 for what is stored, monotonic seconds for what is waited for.

A function that decides by time takes ``now`` as an argument; only edges and loops ask here.
"""

from __future__ import annotations

import time


def now_s() -> int:
    """Whole seconds since 1970, UTC."""
    return int(time.time())


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


monotonic_s = time.monotonic

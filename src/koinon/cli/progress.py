"""A line that moves while long work is under way: on a terminal only, and gone when the work ends."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FRAMES = "|/-\\"
_EVERY_S = 0.2


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show ``text`` with the seconds that passed on standard error until the block ends; nothing if that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_turn, args=(text, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _show("\r\x1b[K")


def _turn(text: str, over: threading.Event) -> None:
    began, frame = time.monotonic(), 0
    while True:
        _show(f"\r{_FRAMES[frame % len(_FRAMES)]} {text} {time.monotonic() - began:.0f} s")
        if over.wait(_EVERY_S):
            return
        frame += 1


def _show(text: str) -> None:
    with suppress(OSError):  # the terminal has gone; the work goes on
        sys.stderr.write(text)
        sys.stderr.flush()

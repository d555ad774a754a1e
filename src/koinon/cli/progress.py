"""A line that moves while long work is under way: on a terminal only, and gone when the work ends."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from koinon.cli.commands import complain

_FRAMES = "|/-\\"
_EVERY_S = 0.2
_CLEAR = "\r\x1b[K"


class Line:
    """The line; where no terminal is, it shows nothing but what is said."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._began = time.monotonic()
        self._over = threading.Event()
        self._turn = threading.Lock()  # what is said and the line must not mix

    def say(self, text: str) -> None:
        """Tell the person something that stays."""
        with self._turn:
            self._clear()
            complain(text)

    def run(self, after_s: float) -> None:
        """Show the line from ``after_s`` on until :meth:`end`; called in a thread."""
        wait_s, frame = after_s, 0
        while not self._over.wait(wait_s):
            with self._turn:
                _show(f"{_CLEAR}{_FRAMES[frame % len(_FRAMES)]} {self.text} {time.monotonic() - self._began:.0f} s")
            wait_s, frame = _EVERY_S, frame + 1

    def end(self) -> None:
        """Show it no more."""
        self._over.set()

    def _clear(self) -> None:
        if sys.stderr.isatty():
            _show(_CLEAR)


@contextmanager
def working(text: str, *, after_s: float = 0.0) -> Iterator[Line]:
    """Show ``text`` with the seconds that passed on standard error until the block ends; nothing if that is no terminal.

    Args:
        text: what is being done; the block may change it.
        after_s: work that takes less shows nothing.
    """
    line = Line(text)
    if not sys.stderr.isatty():
        yield line
        return
    thread = threading.Thread(target=line.run, args=(after_s,), daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.end()
        thread.join()
        _show(_CLEAR)


def _show(text: str) -> None:
    with suppress(OSError):  # the terminal has gone; the work goes on
        sys.stderr.write(text)
        sys.stderr.flush()

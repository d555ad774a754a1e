"""What the demo prints: steps, commands, checks, and one live line per zone. Colour only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_UP_AND_CLEAR: Final = "\x1b[{}F\x1b[0J"


class Screen:
    """Where the demo prints.

    Attributes:
        failed: the checks that did not hold.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._step = 0
        self._live_lines = 0
        self.failed: list[str] = []

    def paint(self, text: str, colour: str) -> str:
        """``text`` in ``colour`` on a terminal, as it is elsewhere."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self._terminal else text

    def say(self, text: str = "") -> None:
        """One line."""
        print(text, flush=True)

    def step(self, title: str) -> None:
        """Begin a chapter."""
        self._step += 1
        self.say()
        self.say(self.paint(f"{self._step}. {title}", "bold"))

    def command(self, where: str, line: str) -> None:
        """Show a command that a person would type on the machine of zone ``where``."""
        self.say(f"   {self.paint(f'{where}$', 'dim')} {self.paint(line, 'cyan')}")

    def check(self, what: str, holds: bool, detail: object = "") -> None:
        """Show whether something that must hold does; the demo's exit code depends on it."""
        mark = self.paint("ok  ", "green") if holds else self.paint("FAIL", "red")
        self.say(f"   {mark} {what}" + (f": {detail}" if detail != "" else ""))
        if not holds:
            self.failed.append(what)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A small table, columns as wide as they must be."""
        texts = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(line[column]) for line in [list(head), *texts]) for column in range(len(head))]
        self.say("   " + self.paint("  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)), "dim").rstrip())
        for row in texts:
            self.say("   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def live(self, lines: list[str]) -> None:
        """Print ``lines`` in the place of those of the last call; elsewhere than on a terminal one block after the other."""
        if self._terminal and self._live_lines:
            sys.stdout.write(_UP_AND_CLEAR.format(self._live_lines))
        self._live_lines = len(lines)
        self.say("\n".join(lines))

    @property
    def is_terminal(self) -> bool:
        return self._terminal


def lag(status: dict[str, Any]) -> str:
    """How far a zone says it is behind, for people."""
    behind = status.get("lag") or {}
    if status["role"] == "master":
        return "-"
    statements, seconds = behind.get("statements"), behind.get("seconds")
    return "unknown" if statements is None else f"{statements} statements, {seconds or 0:.2f} s"


def position(status: dict[str, Any]) -> str:
    """Epoch and index as one word."""
    return f"{status['epoch']}.{status['position']}"

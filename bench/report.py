"""Tables in Markdown, as docs/performance.md holds them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

Cell = str | float | int | None


class Table(msgspec.Struct):
    """One table. A cell that is None prints as a dash."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    numbers_from: int = 1  #: the first column that is set to the right

    def markdown(self) -> str:
        """The table with its heading and note."""
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "|".join(" --- " if number < self.numbers_from else " ---: " for number in range(len(self.columns))) + "|")
        lines += ["| " + " | ".join(map(text, row)) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def text(cell: Cell) -> str:
    """A cell as it is printed: numbers with three digits that count."""
    if cell is None or cell != cell:  # nan: nothing was counted
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell

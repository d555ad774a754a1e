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

    def markdown(self) -> str:
        """The table with its heading and note."""
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "|".join(" --- " if number == 0 else " ---: " for number in range(len(self.columns))) + "|")
        lines += ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    if cell is None or cell != cell:  # nan: nothing was counted
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell

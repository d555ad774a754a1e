"""Where a zone's time goes while it is loaded: py-spy's samples, summed by function.

Not here: the load itself (scenarios.py).
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.report import Table
from harness.processes import program


def profile(name: str, pid: int, load: Callable[[], object], folder: Path, *, seconds: float, rows: int = 20) -> Table:
    """Sample ``pid`` while ``load`` runs, and sum the samples of each function.

    Args:
        name: what runs, for the heading.
        pid: the zone's process.
        load: keeps the zone busy for at least ``seconds``.
        folder: for py-spy's file.
        seconds: how long to sample.
        rows: how many functions to show.
    """
    samples = folder / f"profile-{pid}.txt"
    command: list[str | Path] = [program("py-spy"), "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))]
    recorder = subprocess.Popen(
        [*command, "--rate", "500", "--format", "raw", "--output", str(samples), "--nonblocking"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        load()
        _, said = recorder.communicate(timeout=seconds + 30)
    finally:
        if recorder.poll() is None:
            recorder.kill()
    if not samples.exists():
        return Table(f"Profile: {name}", ("function", "own %", "with callees %"), [], f"py-spy gave no samples: {said.decode()[-300:]}")
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in samples.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    total = max(1, own.total())
    return Table(
        f"Profile: {name}",
        ("function", "own %", "with callees %"),
        [(frame, count / total * 100, within[frame] / total * 100) for frame, count in own.most_common(rows)],
        f"{total:,} samples of py-spy at 500 a second, idle time left out.",
    )


def _short(frame: str) -> str:
    """``function (file:line)`` without the line and the folder above the package."""
    function, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    for mark in ("/site-packages/", "/src/"):
        file = file.rpartition(mark)[2]
    return f"{function} ({file})" if file else function

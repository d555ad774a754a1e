"""Where a zone's time goes while it is loaded: py-spy's samples, summed by function.

Not here: the load itself (ground.py).
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.ground import Ground, Outcome
from bench.report import Table
from harness.processes import program
from harness.zones import Zone


def profiles(ground: Ground) -> Outcome:
    """What the master does while it is read and written, and the slave while it is written through; 8 connections."""
    return Outcome(
        {},
        [
            _of_zone(ground, "one.user.info", ground.master, ground.infos()),
            _of_zone(ground, "one.user.update", ground.master, ground.updates()),
            _of_zone(ground, "one.user.update", ground.slave, ground.updates()),
        ],
    )


def _of_zone(ground: Ground, call: str, zone: Zone, requests: Iterator[bytes]) -> Table:
    seconds = max(1.0, ground.scale.seconds)
    name = f"{call} on {'the master' if zone is ground.master else 'a slave'}, 8 connections"
    table = profile(name, zone.pid, lambda: ground.measure(call, zone, 8, requests, seconds=seconds + 1), ground.folder, seconds=seconds)
    ground.zones.settled(timeout_s=60)
    return table


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
        if not stack:  # a thread that had no frame yet
            continue
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

"""``python -m bench``: measure this machine and print the tables of docs/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench import scenarios
from bench.machine import facts
from bench.profile import profile
from bench.report import Table
from harness.zones import federation

#: name -> needs the plain federation
SCENARIOS = {
    "sqlite": False,
    "reads": True,
    "updates": True,
    "mixed": True,
    "lag": True,
    "profile": True,
    "allocations": True,
    "catching-up": False,
    "starting": False,
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter measurements: under two minutes, rougher figures")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="measure only this; may be given several times")
    parser.add_argument("--output", type=Path, help="write the report to this file too")
    asked = parser.parse_args()
    wanted = [name for name in SCENARIOS if not asked.only or name in asked.only]
    started = time.monotonic()
    parts: list[str] = []

    def show(text: str) -> None:
        parts.append(text)
        print(text, flush=True)

    show("| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in facts()) + "\n")
    for table in _tables(wanted, quick=asked.quick):
        show(table.markdown())
    show(f"The whole run took {time.monotonic() - started:.0f} s.\n")
    if asked.output:
        asked.output.write_text("\n".join(parts))
    return 0


def _tables(wanted: list[str], *, quick: bool) -> Iterator[Table]:
    seconds, pool, statements = (1.0, 300, 3_000) if quick else (4.0, 1_000, 20_000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="koinon-bench-")))
        if "sqlite" in wanted:
            yield scenarios.database(seconds)
        if any(SCENARIOS[name] for name in wanted):
            with federation(folder / "plain", 2, settings={"log": {"level": "warning"}}) as zones:
                bench = scenarios.Bench(zones, folder, seconds=seconds, pool=pool)
                bench.populate()
                yield from _plain(bench, wanted, folder)
        if "catching-up" in wanted:
            yield scenarios.catching_up(folder / "linked", seconds=seconds, pool=pool, statements=statements)
        if "starting" in wanted:
            yield scenarios.starting(folder / "alone", pool=pool * 2, settle_s=0 if quick else 60)


def _plain(bench: scenarios.Bench, wanted: list[str], folder: Path) -> Iterator[Table]:
    master = bench.zones.master
    if "reads" in wanted:
        yield scenarios.reads(bench)
    if "updates" in wanted:
        yield scenarios.updates(bench)
    if "mixed" in wanted:
        yield scenarios.mixed(bench)
    if "lag" in wanted:
        yield scenarios.lag(bench)
    if "profile" in wanted:
        long = bench.seconds + 1
        yield profile(
            "one.user.info on the master, 8 connections",
            master.pid,
            lambda: bench.measure("one.user.info", master, 8, bench.infos(), long),
            folder,
            seconds=bench.seconds,
        )
        yield profile(
            "one.user.update on the master, 8 connections",
            master.pid,
            lambda: bench.measure("one.user.update", master, 8, bench.updates(long), long),
            folder,
            seconds=bench.seconds,
        )
        bench.zones.settled(timeout_s=60)
    if "allocations" in wanted:
        yield scenarios.allocations(bench)


if __name__ == "__main__":
    sys.exit(main())

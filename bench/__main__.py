"""``python -m bench``: measure this machine and print what docs/performance.md holds.

Path:     SCENARIOS, those on one ground together -> Outcome each -> the table of all targets first, then the details
Holds:    a scenario that breaks is reported with its reason, and the others are measured all the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import copying, growth, throughput
from bench.ground import Ground, Layout, Outcome, Variant, opened
from bench.machine import facts
from bench.profile import profiles
from bench.report import Table
from bench.scale import FULL, QUICK, SMOKE, Scale
from bench.targets import ROWS, Measured, summary
from harness import engines

_PLAIN: Final = Layout(zones=2)
_FAR: Final = Layout(zones=2, through_proxy=True)
_ALONE: Final = Layout(zones=1, populated=False)

#: in this order, those of one layout on the same zones: what makes the pool grow comes last
SCENARIOS: Final[dict[str, tuple[Layout, Callable[[Ground], Outcome]]]] = {
    "reads": (_PLAIN, throughput.reads),
    "updates": (_PLAIN, throughput.updates),
    "mixed": (_PLAIN, throughput.mixed),
    "lag": (_PLAIN, copying.lag),
    "rules": (_PLAIN, copying.rules),
    "profile": (_PLAIN, profiles),
    "catching-up": (_PLAIN, copying.catching_up),
    "groups": (_PLAIN, growth.groups),
    "allocations": (_PLAIN, throughput.allocations),
    "far-lag": (_FAR, copying.far_lag),
    "far-catching-up": (_FAR, copying.far_catching_up),
    "memory": (_ALONE, growth.memory),
    "start": (_ALONE, growth.start),
}


class Run(msgspec.Struct):
    """What one variant of the server did.

    Attributes:
        variant: its name; empty if there is but one.
        measured: by row of the targets.
        tables: the details.
        failed: reasons by scenario.
    """

    variant: str
    measured: dict[str, Measured]
    tables: list[Table]
    failed: dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns 1 if a scenario broke."""
    asked = _parser().parse_args(arguments)
    wanted = [name for name in SCENARIOS if not asked.only or name in asked.only]
    machine = facts(asked.engine)
    started = time.monotonic()
    runs = [measure(wanted, asked.scale, variant) for variant in _variants(asked.engine, asked.workers)]
    report = "\n".join(_report(runs, asked.scale, machine, time.monotonic() - started))
    print(report)
    if asked.output:
        asked.output.write_text(report)
    return 1 if any(run.failed for run in runs) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure this machine and print what docs/performance.md holds.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", dest="scale", action="store_const", const=QUICK, default=FULL, help="two minutes, rougher figures of less data"
    )
    size.add_argument("--smoke", dest="scale", action="store_const", const=SMOKE, help="tiny counts that show that all works, and no more")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(SCENARIOS),
        metavar="NAME",
        help="measure only this; may be given several times: " + ", ".join(SCENARIOS),
    )
    parser.add_argument(
        "--workers",
        default="",
        metavar="N,N",
        help="measure servers with each of these numbers of worker processes (koinon server --workers N)",
    )
    parser.add_argument(
        "--engine",
        type=_engines,
        default=["sqlite"],
        metavar="NAME,NAME",
        help=f"measure zones on databases of each of these engines: {', '.join(engines.ENGINES)}; servers are started for the run",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report to this file too")
    return parser


def _engines(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in engines.ENGINES:
            raise argparse.ArgumentTypeError(f"{name!r:.40} is not one of {', '.join(engines.ENGINES)}")
    return names


def _variants(chosen: Sequence[str], workers: str) -> list[Variant]:
    counts = workers.split(",") if workers else [""]
    return [
        Variant(
            " ".join([engine] * (len(chosen) > 1) + [f"--workers {count}"] * bool(count)), engine, ("--workers", count) if count else ()
        )
        for engine in chosen
        for count in counts
    ]


def measure(wanted: Sequence[str], scale: Scale, variant: Variant) -> Run:
    """Run scenarios.

    Args:
        wanted: their names, in the order of ``SCENARIOS``.
        scale: how much.
        variant: on what.
    """
    run = Run(variant.name, {}, [], {})
    for layout in (_PLAIN, _FAR, _ALONE):
        here = [name for name in wanted if SCENARIOS[name][0] is layout]
        if not here:
            continue
        left = list(here)
        try:
            with tempfile.TemporaryDirectory(prefix="koinon-bench-") as folder, opened(layout, Path(folder), scale, variant) as ground:
                while left:
                    _scenario(run, left.pop(0), ground)
        except Exception as error:  # the zones did not start, or did not end; what was measured before must not be lost
            run.failed |= dict.fromkeys(left or here, _reason(error))
    return run


def _scenario(run: Run, name: str, ground: Ground) -> None:
    began = time.monotonic()
    try:
        outcome = SCENARIOS[name][1](ground)
        assert set(outcome.measured) == {row.key for row in ROWS if row.scenario == name}, f"{name} does not measure what targets.py says"
    except Exception as error:  # whatever it is, the other scenarios are of use
        run.failed[name] = _reason(error)
    else:
        run.measured |= outcome.measured
        run.tables += outcome.tables
    print(
        f"{run.variant} {name}: {'FAILED' if name in run.failed else 'done'} in {time.monotonic() - began:.0f} s".strip(),
        file=sys.stderr,
        flush=True,
    )


def _reason(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-2)).strip()


def _report(runs: Sequence[Run], scale: Scale, machine: Sequence[tuple[str, str]], took_s: float) -> Iterator[str]:
    if scale.note:
        yield scale.note + "\n"
    yield summary([(run.variant, run.measured) for run in runs], {run.variant: set(run.failed) for run in runs}, scale).markdown()
    for run in runs:
        for name, reason in run.failed.items():
            yield f"**{' '.join(filter(None, (name, run.variant)))} failed.**\n\n```text\n{reason}\n```\n"
    yield "## The machine\n\n| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in machine) + "\n"
    for run in runs:
        for table in run.tables:
            table.title += f", {run.variant}" if run.variant else ""
            yield table.markdown()
    yield f"The whole run took {took_s:.0f} s."


if __name__ == "__main__":
    sys.exit(main())

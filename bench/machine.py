"""The facts without which a figure means nothing: processor, memory, disk's fsync, versions, commit."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from harness import engines


def facts(used: Sequence[str]) -> list[tuple[str, str]]:
    """Name and value of each fact, in the order of the report, with the versions of the engines used."""
    return [
        ("measured", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("commit", _commit()),
        ("load average before", f"{os.getloadavg()[0]:.2f}"),
        ("processor", f"{os.cpu_count()} x {_first('/proc/cpuinfo', 'model name')}"),
        ("memory", f"{int(_first('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB"),
        ("kernel", platform.release()),
        ("Python", platform.python_version()),
        *((engine, _version(engine)) for engine in used),
        *((package, metadata.version(package)) for package in ("uvicorn", "uvloop", "httptools", "aiohttp")),
        ("fsync of 4 KiB", f"{_fsync_us():.0f} us"),
    ]


def _version(engine: str) -> str:
    if engine == "sqlite":
        return sqlite3.sqlite_version
    return str(engines.server(engine).administer("SELECT version()")[0][0])


def _first(file: str, key: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return "unknown"


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _fsync_us(rounds: int = 200) -> float:
    with tempfile.TemporaryFile() as file:
        started = time.perf_counter()
        for _ in range(rounds):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / rounds * 1e6

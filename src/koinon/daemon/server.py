"""``koinon server``: one zone, from its settings to its exit code.

Holds:    SIGTERM and SIGINT finish what is under way and exit 0; a second one ends at once. What prevents a start is said in one line,
          exit 1.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog
import uvloop

from koinon.daemon import logs
from koinon.daemon.wiring import Zone
from koinon.errors import CloudError
from koinon.settings import Settings

log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Be a zone until told to stop; the exit code."""
    logs.configure(settings.log)
    try:
        uvloop.run(_serve(settings))
    except CloudError as error:
        sys.stderr.write(f"koinon: {error.text}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"koinon: {error}\n")
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        log.info("stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    zone = Zone(settings)
    try:
        await zone.start()
        await stop.wait()
    finally:
        await zone.stop()
    log.info("stopped")

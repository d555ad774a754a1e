"""``koinon server``: one zone, from its settings to its exit code.

Holds:    SIGTERM and SIGINT finish what is under way and exit 0; a second one ends at once. What prevents a start is said in one line,
          exit 1.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import structlog
import uvloop

from koinon.daemon import logs, workers
from koinon.daemon.wiring import Zone
from koinon.errors import CloudError
from koinon.settings import Settings

log = structlog.get_logger(__name__)


def run(settings: Settings, workers_wanted: int = 1) -> int:
    """Be a zone until told to stop; the exit code.

    Args:
        settings: complete.
        workers_wanted: processes that serve it; more than one need a database server.
    """
    if workers_wanted == 1:
        return _be_a_zone(settings)
    logs.configure(settings.log)
    try:
        workers.require_possible(settings)
    except CloudError as error:
        sys.stderr.write(f"koinon: {error.text}\n")
        return 1
    return workers.Workers(workers_wanted, lambda number, serves: _be_a_zone(settings, number, serves)).run()


def _be_a_zone(settings: Settings, worker: int = 0, serves: Callable[[], None] = lambda: None) -> int:
    """Serve in this process; the exit code.

    Args:
        settings: complete.
        worker: its number, 0 if it is the only one on this machine that we know of.
        serves: is called once it does.
    """
    logs.configure(settings.log, worker)
    try:
        uvloop.run(_serve(settings, serves, share_ports=worker > 0))
    except CloudError as error:
        sys.stderr.write(f"koinon: {error.text}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"koinon: {error}\n")
        return 1
    return 0


async def _serve(settings: Settings, serves: Callable[[], None], *, share_ports: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        log.info("stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    zone = Zone(settings, share_ports=share_ports)
    try:
        await zone.start()
        serves()
        await stop.wait()
    finally:
        await zone.stop()
    log.info("stopped")

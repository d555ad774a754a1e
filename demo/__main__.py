"""``python -m demo [--check]``: start three zones, show what they do, and keep them running until Ctrl-C.

Holds:    whatever happens, all zones are stopped and their state is removed at the end.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import pyone

from demo.screen import Screen, lag, position
from demo.story import Story
from harness.zones import Zone
from koinon.client.errors import ClientError

_LOOK_EVERY_S: Final = 1.0
_PLAIN_EVERY_S: Final = 10.0


def main() -> int:
    """Run the demo; returns 0, or 1 if a check did not hold."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="A federation of three zones on this machine.")
    parser.add_argument("--check", action="store_true", help="exit after the checks: 0 if all hold")
    only_check = parser.parse_args().check
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="koinon-demo-") as folder:
        story = Story(Path(folder), screen)
        try:
            story.tell()
            if not only_check:
                story.how_to_log_in()
                _watch(story, screen)
        except KeyboardInterrupt:
            screen.say()
        except (AssertionError, OSError, ClientError, pyone.OneException) as error:
            screen.check("the demo ran to its end", False, error)
            for zone in story.zones.zones:
                screen.say(f"--- last lines of {zone.log}")
                screen.say(zone.tail(15))
        finally:
            screen.say("   stopping the zones")
            story.zones.stop()
    if screen.failed:
        screen.say(screen.paint(f"{len(screen.failed)} checks failed: {'; '.join(screen.failed)}", "red"))
        return 1
    screen.say(screen.paint("all checks hold", "green") if only_check else "all zones have stopped")
    return 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _watch(story: Story, screen: Screen) -> None:
    screen.say()
    screen.say("   running; Ctrl-C stops all zones and removes their state")
    while True:
        screen.live([_line(zone, screen) for zone in story.zones.zones])
        time.sleep(_LOOK_EVERY_S if screen.is_terminal else _PLAIN_EVERY_S)


def _line(zone: Zone, screen: Screen) -> str:
    if not zone.running:
        return f"   {screen.paint('stopped', 'red')}  {zone.name}"
    try:
        status = zone.status()
    except ClientError as error:
        return f"   {screen.paint('silent', 'red')}  {zone.name}: {error.text}"
    good = status["state"] == "ok"
    return (
        f"   {screen.paint(status['state'], 'green' if good else 'yellow')}  {zone.name:8} {status['role']:10} "
        f"position {position(status):10} lag {lag(status)}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""The line that moves while a zone joins."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest

from harness.zones import wait_until
from koinon.cli import progress
from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn


class Screen(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_it_and_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.working("Copying"):
        wait_until("the line is shown", lambda: "Copying" in screen.getvalue())
    assert re.match(r"\r\x1b\[K\| Copying \d+ s", screen.getvalue())
    assert screen.getvalue().endswith("\r\x1b[K")


def test_anything_else_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress.working("Copying"):
        pass
    assert pipe.getvalue() == ""


def test_what_is_said_meanwhile_stands_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.working("Copying") as line:
        wait_until("the line is shown", lambda: "Copying" in screen.getvalue())
        line.say("user 7: no")
        line.text = "Counting"
        wait_until("the new text is shown", lambda: "Counting" in screen.getvalue())
    assert "\r\x1b[Kuser 7: no\n\r\x1b[K" in screen.getvalue()


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.working("Copying", after_s=3600.0):
        pass
    assert "Copying" not in screen.getvalue()


def test_a_list_of_objects_is_counted(zone: StandIn, koinon: Koinon, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the zone takes its time with the first, the line says so; a refusal does not mix with it."""
    screen = Screen()
    zone.hold, zone.held = threading.Event(), "one.user.enable"

    def release() -> None:
        assert zone.hold is not None
        try:
            wait_until("the line is shown", lambda: re.search(r"user 7, 0 of 3 done, \d+ s", screen.getvalue()))
        finally:
            zone.hold.set()

    monkeypatch.setattr("koinon.cli.commands.SHORT_S", 0.0)
    monkeypatch.setattr(sys, "stderr", screen)
    releasing = threading.Thread(target=release)
    releasing.start()
    outcome = koinon("user", "disable", "7,0,1")
    releasing.join()
    assert outcome.code == 1
    assert "\r\x1b[Kuser 7: [one.user.enable]" in screen.getvalue()

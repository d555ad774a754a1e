"""The line that moves while a zone joins."""

from __future__ import annotations

import io
import sys

import pytest

from harness.zones import wait_until
from koinon.cli import progress


class Screen(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_it_and_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.working("Copying"):
        wait_until("the line is shown", lambda: "Copying" in screen.getvalue())
    assert screen.getvalue().startswith("\r| Copying 0 s")
    assert screen.getvalue().endswith("\r\x1b[K")


def test_anything_else_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress.working("Copying"):
        pass
    assert pipe.getvalue() == ""

"""Hints between the processes of one machine: who hears them, and what is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from koinon.database.hints import Hints


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ("long" * 40) / "processes"  # a socket's path in it has more bytes than the kernel takes


@pytest.fixture
def three(directory: Path) -> Iterator[list[Hints]]:
    processes = [Hints(directory) for _ in range(3)]
    yield processes
    for each in processes:
        each.close()
    assert list(directory.iterdir()) == []


def test_all_but_the_giver_hear_a_hint_and_each_once(three: list[Hints]) -> None:
    one, *others = three
    one.give()
    one.give()
    assert [other.wait(60.0) for other in others] == [True, True]
    assert [each.wait(0.0) for each in three] == [False, False, False]


def test_nobody_waits_for_one_that_reads_no_hints(three: list[Hints]) -> None:
    one, two, _ = three
    for _ in range(5000):
        one.give()
    assert two.wait(60.0)


def test_what_a_killed_process_has_left_is_taken_away(directory: Path) -> None:
    program = (
        "import pathlib, signal, sys\nfrom koinon.database.hints import Hints\n"
        f"hints = Hints(pathlib.Path({str(directory)!r}))\nprint('there', flush=True)\nsignal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"there\n"
        os.kill(other.pid, signal.SIGKILL)
    assert len(list(directory.iterdir())) == 1
    here = Hints(directory)
    here.give()
    assert len(list(directory.iterdir())) == 1
    here.close()
    assert list(directory.iterdir()) == []


def test_a_directory_that_takes_no_sockets_costs_the_hints_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for hints in (Hints(tmp_path / "file"), Hints(None)):
        hints.give()
        assert not hints.wait(0.0)
        hints.close()

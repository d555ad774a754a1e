"""The bench itself: it measures what its table of targets names, counts right, and says honestly what is missed."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from bench import __main__ as bench
from bench.ground import Ground, Outcome
from bench.load import Load, run
from bench.scale import FULL
from bench.targets import ROWS, Goal, Measured, Row, summary, verdict


def test_a_smoke_run_fills_the_rows_of_its_scenarios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.md"
    asked = ["mixed", "lag", "groups"]
    code = bench.main(["--smoke", *(f"--only={name}" for name in asked), "--output", str(report)])
    text = report.read_text()
    assert code == 0, text
    cells = [line.split(" | ") for line in text.partition("| measure |")[2].partition("\n\n")[0].splitlines()[2:]]
    assert len(cells) == len([row for row in ROWS if row.scenario in asked])
    for row in cells:
        assert re.search(r"\d", row[3]), f"no figure of ours: {row}"
        assert re.search(r"met|over|short", row[4]), f"no verdict: {row}"
    assert "Readers and writers together" in text
    assert capsys.readouterr().out.strip() == text.strip()


@pytest.mark.engines("postgresql", "mariadb")
def test_zones_on_a_database_server_are_measured_too(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--smoke", "--only=updates", f"--engine={engine}"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"one.user.update on the master, 8 connections \|.*\| database [\d,.]+/s \|", text), text
    assert f"| {engine} |" in text


def test_an_engine_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--smoke", "--engine=sqlite,oracle"])
    assert "'oracle' is not one of" in capsys.readouterr().err


def test_a_scenario_that_breaks_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(ground: Ground) -> Outcome:
        raise AssertionError("the zone said no")

    def grouped(ground: Ground) -> Outcome:
        return Outcome({"group": Measured((1.05, 2.1, 2.0))}, [])

    layout, _ = bench.SCENARIOS["groups"]
    monkeypatch.setattr(bench, "SCENARIOS", {"lag": (layout, refused), "groups": (layout, grouped)})
    monkeypatch.setattr(bench, "opened", lambda *_: contextlib.nullcontext())
    report = tmp_path / "report.md"
    assert bench.main(["--smoke", "--output", str(report)]) == 1
    text = report.read_text()
    assert "the zone said no" in text
    assert re.search(r"until readable on a slave \|.*\| failed, see below \|", text)
    assert re.search(r"user added to a group.* 1.05 x, .* met ", text)


def test_zones_that_do_not_start_are_reported_with_their_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--smoke", "--only=groups", "--workers=none-such"]) == 1
    text = capsys.readouterr().out
    assert "groups --workers none-such failed" in text
    assert re.search(r"No such option|Invalid value", text)


def test_every_row_belongs_to_a_scenario_and_can_be_printed() -> None:
    assert {row.scenario for row in ROWS} == set(bench.SCENARIOS) - {"profile"}
    assert len({row.key for row in ROWS}) == len(ROWS)
    everything = {row.key: Measured(tuple(1.0 for _ in row.goals), 2.0) for row in ROWS}
    table = summary([("", everything)], {}, FULL)
    assert len(table.rows) == len(ROWS)
    assert "{" not in table.markdown()


RATE = Goal("/s", 1_000, at_most=False)
P50, P99 = Goal(" ms", 2, label="p50"), Goal(" ms", 6, label="p99")


@pytest.mark.parametrize(
    ("goals", "values", "expected"),
    [
        ([RATE], [1_000], "met"),
        ([RATE], [600], "40 % short"),
        ([RATE], [999.9], "1 % short"),
        ([P50, P99], [2, 6], "met"),
        ([P50, P99], [3, 5], "p50 50 % over"),
        ([P50, P99], [4, 9], "p50 100 % over; p99 50 % over"),
        ([msgspec.structs.replace(P50, target=None), P99], [100, 6], "met"),
        ([msgspec.structs.replace(P50, target=None)], [1], None),
    ],
)
def test_a_verdict_says_what_is_missed_and_by_how_much(goals: Sequence[Goal], values: Sequence[float], expected: str | None) -> None:
    assert verdict(Row("key", "scenario", "measure", "", tuple(goals)), values) == expected


GOOD, BAD = b"<boolean>1</boolean>", b"<boolean>0</boolean>"


def reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_the_generator_takes_replies_however_they_are_cut() -> None:
    """Each reply is whole before the next request goes out, and only those without the mark count as failed."""
    long = reply(GOOD.ljust(300_000, b"."))
    replies = [
        [reply(GOOD)],
        in_pieces(reply(GOOD), 7),
        [long],
        in_pieces(long, 50_000),
        *([reply(GOOD.ljust(length, b"."))] for length in range(4040, 4070)),  # end where the kept start ends, and around it
        [reply(BAD)],
        [reply(GOOD)],
    ]
    requests = [f"request {number}\n".encode() for number in range(len(replies))]
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                for pieces in replies:
                    received.append(connection.recv(1000))
                    for piece in pieces:
                        connection.sendall(piece)

        server = threading.Thread(target=serve)
        server.start()
        (result,) = run([Load("test", listening.getsockname()[1], iter(requests), connections=1, good=GOOD)], seconds=60)
        server.join()
    assert received == requests
    assert len(result.latencies_us) == len(replies)
    assert result.failed == 1
    assert result.first_failure == reply(BAD)


def test_the_generator_says_when_the_server_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(reply(GOOD)[:-5])

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(ConnectionError, match="closed the connection in the middle"):
            run([Load("test", listening.getsockname()[1], iter([b"request"]), connections=1)], seconds=60)
        server.join()

"""How soon the slave has what the master wrote: a user's change, a rule, and all that it missed while it was away.

Path:     a scenario(ground) -> write on the master, look at the slave until it shows -> Outcome
"""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench import bounds, calls
from bench.ground import Ground, Outcome
from bench.load import Exchange, percentile
from bench.report import Cell, Table
from bench.targets import Measured
from harness.zones import NotThereYet, wait_until
from koinon.objects import acl
from koinon.objects.kinds import Kind

_FAR_S: Final = 0.05  #: the round trip of the far scenarios
_PATIENCE_S: Final = 60.0
_ALLOWED, _REFUSED = b"<boolean>1</boolean>", b"<boolean>0</boolean>"
_COLUMNS: Final = ("step", "rounds", "p50 ms", "p90 ms", "p99 ms", "max ms")


def lag(ground: Ground) -> Outcome:
    """A change of a user, with the zones side by side."""
    return _lag(ground, "lag", "Lag", _rounds(ground))


def far_lag(ground: Ground) -> Outcome:
    """The same, with the slave 50 ms away."""
    return _lag(ground, "far-lag", "Lag over a round trip of 50 ms", _rounds(ground) // 2, round_trip_s=_FAR_S)


def _rounds(ground: Ground) -> int:
    return max(4, int(100 * ground.scale.seconds))


def _lag(ground: Ground, key: str, title: str, rounds: int, *, round_trip_s: float = 0.0) -> Outcome:
    user = ground.users[0]
    write = calls.Prepared("one.user.update", ground.secret, user, f'MARK="{calls.Prepared.HERE}"', 0)
    read = calls.request("one.user.info", ground.secret, user, False)
    answering, showing, whole = _Steps(), _Steps(), _Steps()
    with _apart(ground, round_trip_s), _both(ground) as (master, slave):
        for number in range(rounds):
            mark = f"lag-{number}-{time.time_ns()}"
            asked = time.perf_counter()
            _must(master.ask(write.with_text(mark)))
            answered = time.perf_counter()
            time.sleep(round_trip_s / 2)  # it can't be there sooner: leave the processor to those who bring it
            seen = _look(slave, read, mark.encode())
            answering.add(answered - asked)
            showing.add(seen - answered)
            whole.add(seen - asked)
    rows = [
        answering.row("write answered by the master"),
        showing.row("from the answer until readable on the slave"),
        whole.row("from the call until readable on the slave"),
    ]
    note = "One writer; the slave is asked without pause" + (", from half a round trip after the answer." if round_trip_s else ".")
    figures = (showing.ms(0.5), showing.ms(0.99))
    return Outcome({key: Measured(figures, _bare_ms(ground) + round_trip_s / 2 * 1e3)}, [Table(title, _COLUMNS, rows, note)])


def rules(ground: Ground) -> Outcome:
    """A rule that lets a plain user see another one: made on the master, tried on the slave."""
    password = "Plain-user-1"
    name = f"plain{time.time_ns()}"
    plain = ground.zones.client(ground.master).user.allocate(name, password, "core", [1])
    target = ground.users[0]
    resource = Kind.USER.bit | acl.INDIVIDUAL | target
    grant = calls.request("one.acl.addrule", ground.secret, *(f"{part:x}" for part in (acl.user(plain), resource, acl.USE, acl.ALL)))
    read = calls.request("one.user.info", f"{name}:{password}", target, False)
    ground.zones.settled()
    granting, withdrawing = _Steps(), _Steps()
    with _both(ground) as (master, slave):
        _look(slave, read, _REFUSED)
        for _ in range(_rounds(ground)):
            reply = master.ask(grant)
            answered = time.perf_counter()
            _must(reply)
            granting.add(_look(slave, read, _ALLOWED) - answered)
            withdraw = calls.request("one.acl.delrule", ground.secret, _value(reply))
            reply = master.ask(withdraw)
            answered = time.perf_counter()
            _must(reply)
            withdrawing.add(_look(slave, read, _REFUSED) - answered)
    rows = [
        granting.row("from the answer until the slave allows"),
        withdrawing.row("after the rule's end, until the slave refuses"),
    ]
    figures = (granting.ms(0.5), granting.ms(0.99), granting.ms(1.0))
    note = "A rule for one plain user, who asks the slave for another user's record without pause."
    return Outcome({"rule": Measured(figures, _bare_ms(ground))}, [Table("ACL rules", _COLUMNS, rows, note)])


class _Steps:
    """How long each round took."""

    def __init__(self) -> None:
        self._ms: list[float] = []

    def add(self, seconds: float) -> None:
        self._ms.append(seconds * 1e3)

    def ms(self, share: float) -> float:
        return percentile(sorted(self._ms), share)

    def row(self, name: str) -> tuple[Cell, ...]:
        return (name, len(self._ms), *(self.ms(share) for share in (0.5, 0.9, 0.99, 1.0)))


def _look(slave: Exchange, read: bytes, mark: bytes) -> float:
    """Ask until the answer holds ``mark``; the time then."""
    started = time.perf_counter()
    while mark not in slave.ask(read):
        if time.perf_counter() - started > _PATIENCE_S:
            raise NotThereYet(f"a change did not reach the slave within {_PATIENCE_S:g} s")
    return time.perf_counter()


def _must(reply: bytes) -> None:
    if _ALLOWED not in reply:
        raise NotThereYet(f"the master refused: {reply!r}")


def _value(reply: bytes) -> int:
    values, _ = xmlrpc.client.loads(reply.partition(b"\r\n\r\n")[2])
    return values[0][1]  # type: ignore[index,return-value]  # typeshed knows no nested array


@contextmanager
def _both(ground: Ground) -> Iterator[tuple[Exchange, Exchange]]:
    master, slave = Exchange(ground.master.port), Exchange(ground.slave.port)
    try:
        yield master, slave
    finally:
        master.close()
        slave.close()


@contextmanager
def _apart(ground: Ground, round_trip_s: float) -> Iterator[None]:
    """Keep the slave so far from the master."""
    if not round_trip_s:
        yield
        return
    link = ground.zones.link
    assert link is not None, "this ground has no link to delay"
    link.delay_s = round_trip_s / 2
    try:
        yield
    finally:
        link.delay_s = 0.0


def _bare_ms(ground: Ground) -> float:
    """The least between a write and its copy: the slave's own commit, and one read that shows it."""
    read = calls.request("one.user.info", ground.secret, ground.users[0], False)
    echo = ground.echo(ground.infos, ground.reply_bytes(read), 1)
    return 1e3 / ground.commits(1).commits_per_second + echo.percentile_ms(0.5)


def catching_up(ground: Ground) -> Outcome:
    """A slave that was away, side by side with the master."""
    return _catching_up(ground, "catching-up", "Catching up")


def far_catching_up(ground: Ground) -> Outcome:
    """The same, with the slave 50 ms away."""
    return _catching_up(ground, "far-catching-up", "Catching up over a round trip of 50 ms", round_trip_s=_FAR_S)


def _catching_up(ground: Ground, key: str, title: str, *, round_trip_s: float = 0.0) -> Outcome:
    missed = ground.scale.statements
    bound = bounds.streamed(ground.folder, ground.engine, missed, round_trip_s / 2)
    ground.slave.stop()
    ground.measure("one.user.update", ground.master, 32, ground.updates(missed), seconds=600)
    goal = ground.master.status()["position"]
    with _apart(ground, round_trip_s):
        ground.slave.start()
        started = time.perf_counter()
        first = ground.slave.status()["position"]
        wait_until("the slave catches up", lambda: ground.slave.status()["position"] >= goal, timeout_s=300)
        took = time.perf_counter() - started
    ground.zones.settled(timeout_s=60)
    rate = (goal - first) / took
    row: tuple[Cell, ...] = (missed, goal - first, took, rate, bound)
    columns = ("statements missed", "missing at first look", "s", "statements/s", "bare stream/s")
    note = (
        "The slave is stopped, the master gets one.user.update, each call one statement, and the slave starts. "
        "Measured from its first answer until it has the master's position."
    )
    return Outcome({key: Measured((rate,), bound)}, [Table(title, columns, [row], note, numbers_from=0)])

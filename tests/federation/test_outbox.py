"""The sender of zone operations, over real TLS: in order, again until taken, and never a second effect."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from koinon.errors import UnavailableError
from koinon.federation import operations, outbox
from koinon.federation.assertion import Assertion
from koinon.federation.outbox import Sender
from koinon.identity import acl
from koinon.objects.acl import Rule
from koinon.objects.kinds import Kind
from koinon.wire.messages import decode
from koinon.wire.zone_operations import ZoneOperation
from tests.federation.members import Zone, master_at, run, zone_at

pytestmark = pytest.mark.engines


class Heard(NamedTuple):
    """A request that reached the master."""

    zone_id: int
    request_id: str
    operation: ZoneOperation


class Counter:
    """The master's side, which may fail before it takes an operation or lose its answer."""

    def __init__(self, master: Zone) -> None:
        self._master = master
        self.heard: list[Heard] = []
        self.away = False
        self.lose_answers = 0
        self.halted: str | None = None

    def route(self) -> BaseRoute:
        return Route(operations.PATH, self._master.gate.asserted(self.take), methods=["POST"])

    async def take(self, _request: Request, body: bytes, assertion: Assertion) -> ASGIApp:
        if self.away:
            raise UnavailableError("not now")
        self.heard.append(Heard(assertion.zone_id, assertion.request_id, decode(ZoneOperation, body)))
        reply = await operations.receive(self._master.database, lambda: self.halted, body, assertion.zone_id, assertion.request_id)
        if self.lose_answers:
            self.lose_answers -= 1
            return Response(status_code=500)
        return Response(reply.body, reply.status)

    @property
    def names(self) -> list[object]:
        return [operations.read(one.operation).oid for one in self.heard]


@contextlib.asynccontextmanager
async def two_zones(folder: Path) -> AsyncIterator[tuple[Counter, Zone, Zone]]:
    """The master, and a slave that has joined it (zone 100)."""
    counters: list[Counter] = []

    def routes(master: Zone) -> list[BaseRoute]:
        counters.append(Counter(master))
        return [counters[0].route()]

    async with master_at(folder / "a", routes=routes) as master, zone_at(folder / "b") as slave:
        invited = await master.membership.invite("branch", None)
        await slave.joining(master).join(invited.token, replace=False)
        yield counters[0], master, slave


@contextlib.asynccontextmanager
async def sending(zone: Zone, halted: Callable[[], str | None] = lambda: None) -> AsyncIterator[None]:
    task = asyncio.create_task(Sender(zone.database, zone.links, halted).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "the sender ended by itself"


async def put(zone: Zone, *oids: int) -> None:
    for oid in oids:
        await put_operation(zone, operations.object_deleted(Kind.HOST, oid))


async def put_operation(zone: Zone, operation: ZoneOperation) -> None:
    await zone.database.write_zone("test", lambda tx: outbox.put(tx, operation, now_ms=1))


async def allow(zone: Zone, *oids: int, there: int = 100) -> None:
    for oid in oids:
        rule = Rule.parse(f"#5 HOST/#{oid} USE #{there}", 0)
        await zone.database.write_shared("test", functools.partial(acl.ensure, rule=rule))


def left(zone: Zone) -> list[int]:
    with zone.database.read() as tx:
        return [operations.read(one.operation).oid for one in outbox.waiting(tx)]


def ruled(zone: Zone) -> int:
    with zone.database.read() as tx:
        return len(tx.acl())


async def until(check: Callable[[], bool]) -> None:
    while not check():  # noqa: ASYNC110 - what is waited for happens in a database, which tells nobody
        await asyncio.sleep(0.01)


async def emptied(zone: Zone) -> None:
    await until(lambda: not left(zone))


def test_what_waits_is_counted_with_the_age_of_the_oldest(tmp_path: Path) -> None:
    async def test() -> None:
        async with zone_at(tmp_path / "a") as zone:

            def backlog() -> outbox.Backlog:
                with zone.database.read() as tx:
                    return outbox.backlog(tx, 5_001)

            assert backlog() == outbox.Backlog(0, None)
            await put(zone, 3, 1, 2)
            assert backlog() == outbox.Backlog(3, 5.0)

    run(test)


def test_what_waits_is_sent_in_order_and_what_comes_later_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (counter, master, slave):
            await allow(master, 1, 2, 3)
            await put(slave, 3, 1)
            async with sending(slave):
                await emptied(slave)
                await put(slave, 2)
                await emptied(slave)
            assert counter.names == [3, 1, 2]
            assert {one.zone_id for one in counter.heard} == {100}
            assert ruled(master) == 0

    run(test)


def test_a_long_outbox_is_sent_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (counter, _, slave):
            many = list(range(outbox.BATCH + 20))
            await put(slave, *many)
            async with sending(slave):
                await emptied(slave)
            assert counter.names == many

    run(test)


def test_a_master_that_is_away_is_asked_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (counter, master, slave):
            counter.away = True
            await allow(master, 1)
            await put(slave, 1)
            async with sending(slave):
                await asyncio.sleep(0.1)
                await put(slave, 2)
                assert (left(slave), ruled(master)) == ([1, 2], 1)
                counter.away = False
                await emptied(slave)
            assert (counter.names, ruled(master)) == ([1, 2], 0)

    run(test)


def test_a_lost_answer_repeats_the_request_and_not_the_effect(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (counter, master, slave):
            counter.lose_answers = 1
            await allow(master, 1)
            await put(slave, 1)
            async with sending(slave):
                await until(lambda: not ruled(master))
                with master.database.read() as tx:  # on a server a reader may see a commit before the zone has heard of it
                    head = tx.state.position
                await emptied(slave)
            assert len(counter.heard) == 2
            assert len({one.request_id for one in counter.heard}) == 1
            assert master.database.state().position == head

    run(test)


def test_one_that_the_master_refuses_stays_and_holds_up_no_other(tmp_path: Path) -> None:
    """An older master may not know it yet."""

    async def test() -> None:
        async with two_zones(tmp_path) as (_, master, slave):
            unknown = ZoneOperation("host painted", b"\xc0")
            await allow(master, 1)
            await put_operation(slave, unknown)
            await put(slave, 1)
            async with sending(slave):
                await until(lambda: not ruled(master))
            with slave.database.read() as tx:
                assert [one.operation for one in outbox.waiting(tx)][:1] == [unknown]

    run(test)


def test_a_sender_that_is_woken_and_stopped_at_once_stops(tmp_path: Path) -> None:
    async def test() -> None:
        async with zone_at(tmp_path / "a") as zone:
            await put_operation(zone, ZoneOperation("host painted", b"\xc0"))  # it waits for minutes before it tries that again
            sender = Sender(zone.database, zone.links, lambda: None)
            task = asyncio.create_task(sender.run())
            await asyncio.sleep(0.2)
            sender._wake.set()
            task.cancel()
            await asyncio.wait([task], timeout=60)
            assert task.cancelled()

    run(test)


def test_a_revoked_zone_s_operations_stay_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (counter, master, slave):
            await allow(master, 1)
            await master.membership.revoke(100)
            await put(slave, 1)
            async with sending(slave):
                await asyncio.sleep(0.2)
            assert (counter.heard, left(slave), ruled(master)) == ([], [1], 1)

    run(test)


def test_a_zone_that_is_no_slave_does_what_waits_itself(tmp_path: Path) -> None:
    """A master that had stopped shared writes, or a zone that has left, which then owns its copy of the rules."""

    async def test() -> None:
        async with zone_at(tmp_path / "a") as zone:
            halted: list[str | None] = ["This zone was set back."]
            await allow(zone, 1, there=0)
            await put(zone, 1)
            async with sending(zone, lambda: halted[0]):
                await asyncio.sleep(0.1)
                assert (left(zone), ruled(zone)) == ([1], 1)
                halted[0] = None
                await emptied(zone)
            assert ruled(zone) == 0

    run(test)

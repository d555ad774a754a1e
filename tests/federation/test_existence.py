"""Asking a zone whether it has an object: yes, no, or not known, and only the master is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from koinon.database.transactions import ReadTx
from koinon.federation import existence
from koinon.federation.assertion import Assertion
from koinon.federation.existence import Existence
from koinon.objects.kinds import Kind
from koinon.wire.messages import decode
from koinon.wire.zone_operations import Existence as Answer
from tests.federation.members import Zone, master_at, run, zone_at

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(existence, "TIME_LIMIT_S", 60.0)


def find(_tx: ReadTx, kind: Kind, oid: int) -> bool | None:
    """A zone with host 1, which has no networks of its own."""
    return None if kind is Kind.NET else (kind, oid) == (Kind.HOST, 1)


@contextlib.asynccontextmanager
async def two_zones(folder: Path, *, silent: bool = False, known: bool = True) -> AsyncIterator[tuple[Existence, Zone, Zone]]:
    """The master's side, the master, and zone 100, which answers unless it is ``silent`` or does not know the question."""
    async with master_at(folder / "a") as master, zone_at(folder / "b") as slave:
        invited = await master.membership.invite("branch", None)
        await slave.joining(master).join(invited.token, replace=False)
        answering = Existence(slave.database, slave.links, find)

        async def answer(request: Request, _body: bytes, assertion: Assertion) -> ASGIApp:
            if silent:
                await asyncio.sleep(30)
            reply = answering.answer(request.query_params, assertion.zone_id)
            return Response(reply.body, reply.status, media_type=reply.media_type)

        await slave.listen(*([Route(existence.PATH, slave.gate.asserted(answer), methods=["GET"])] if known else []))
        yield Existence(master.database, master.links, lambda _tx, _kind, oid: oid == 9), master, slave


def test_a_zone_says_what_it_has(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (asking, _, _):
            asked = [(100, Kind.HOST, 1), (100, Kind.HOST, 2), (100, Kind.CLUSTER, 1), (100, Kind.NET, 1), (0, Kind.HOST, 9)]
            assert [await asking.ask(*one) for one in asked] == [True, False, False, None, True]

    run(test)


def test_a_silent_zone_is_not_taken_for_one_that_says_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(existence, "TIME_LIMIT_S", 0.2)

    async def test() -> None:
        async with two_zones(tmp_path, silent=True) as (asking, _, _):
            assert await asking.ask(100, Kind.HOST, 2) is None

    run(test)


def test_neither_is_one_that_does_not_know_the_question(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path, known=False) as (asking, _, _):
            assert await asking.ask(100, Kind.HOST, 2) is None

    run(test)


def test_neither_is_one_that_is_unknown_or_revoked(tmp_path: Path) -> None:
    async def test() -> None:
        async with two_zones(tmp_path) as (asking, master, _):
            assert await asking.ask(77, Kind.HOST, 2) is None
            await master.membership.revoke(100)
            assert await asking.ask(100, Kind.HOST, 2) is None

    run(test)


@pytest.mark.parametrize(
    ("parameters", "asker", "status"),
    [
        ({"kind": "HOST", "id": "1"}, 0, 200),
        ({"kind": "HOST", "id": "1"}, 100, 403),
        ({"kind": "HOST", "id": "1"}, 101, 403),
        ({"kind": "host", "id": "1"}, 0, 400),
        ({"kind": "HOST", "id": "-1"}, 0, 400),
        ({"kind": "HOST", "id": "9" * 11}, 0, 400),
        ({"id": "1"}, 0, 400),
        ({"kind": "HOST"}, 0, 400),
    ],
)
def test_only_the_master_is_told(tmp_path: Path, parameters: dict[str, str], asker: int, status: int) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            reply = Existence(zone.database, zone.links, find).answer(parameters, asker)
            assert reply.status == status
            if status == 200:
                assert decode(Answer, reply.body).exists is True

    run(test)

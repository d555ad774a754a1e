"""The channel of redirected calls: many at once, answers in any order, and what a break of it means for each call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message

from koinon.database.jobs import Request as WriteRequest
from koinon.database.jobs import Written
from koinon.errors import ActionError, OutcomeUnknownError, UnavailableError
from koinon.federation import call_channel, call_stream
from koinon.federation.assertion import Assertion
from koinon.federation.call_channel import CallChannel
from koinon.federation.call_stream import CallStream, Share, Shares
from koinon.federation.forwarding import Forwarding
from koinon.federation.keys import client_context
from koinon.federation.link import Interrupted, Link, Refused, Unreachable
from koinon.federation.links import read_signer
from koinon.federation.seldom import Seldom
from koinon.settings import FederationSettings
from koinon.statements.commits import Position
from koinon.wire import redirects
from koinon.wire.redirects import Answered, Asked, Failure, Pieces, Redirect, Success, piece
from tests.federation.members import Zone, master_at, run

HEAD = Position(1, 7)


class Held:
    """A call of "hold" that the master has begun and does not end before it is told to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()


async def take(body: bytes, held: Held) -> str:
    """What the master does with a call, told by the call itself."""
    word, _, rest = body.decode().partition(" ")
    if word == "hold":
        held.begun.set()
        await held.may_end.wait()
    if word == "refuse":
        raise ActionError(rest, object_id=3)
    if word == "fail":
        raise RuntimeError("secret inner state")
    return rest


def call(text: str, number: int = 0) -> Redirect:
    return Redirect("one.user.update", text.encode(), f"{number:032x}", b"s" * 32)


@contextlib.asynccontextmanager
async def channel_at(tmp_path: Path, held: Held | None = None) -> AsyncIterator[tuple[Zone, CallChannel]]:
    """A channel of a master to itself: one zone is enough to see both ends."""
    holding = held or Held()

    async def taken(body: bytes, _request: WriteRequest, _if_match: str) -> Written[Any]:
        return Written(await take(body, holding), HEAD)

    shares = Shares()

    async def calls(_request: Request, _body: bytes, assertion: Assertion) -> ASGIApp:
        return CallStream(shares.of(assertion.zone_id), taken)

    def routes(zone: Zone) -> list[BaseRoute]:
        return [Route(redirects.PATH, zone.gate.asserted(calls, max_body=None), methods=["POST"])]

    async with master_at(tmp_path / "a", routes=routes) as zone:
        with zone.database.read() as tx:
            signer = read_signer(tx, zone.store)
        context = client_context(zone.store.ca_pem())
        link = Link(zone.address, 0, zone.database.state().federation_id, context=context, signer=signer, epoch=lambda: 1)
        channel = CallChannel(link)
        try:
            yield zone, channel
        finally:
            await channel.close()
            await link.close()


messages = st.builds(
    Asked, st.integers(0, 2**40), st.builds(Redirect, st.text(max_size=9), st.binary(max_size=99), st.just("r" * 16), st.just(b"s"))
)


@given(st.lists(messages), st.lists(st.integers(1, 40)))
def test_pieces_come_whole_however_the_bytes_are_cut(sent: list[Asked], cuts: list[int]) -> None:
    raw = b"".join(piece(one) + redirects.SIGN_OF_LIFE for one in sent)
    pieces, got, at = Pieces(), [], 0
    for size in [*cuts, len(raw)]:
        got += [call_stream._asked.decode(found) for found in pieces.feed(raw[at : at + size])]
        at += size
    assert got == sent


def test_a_piece_that_is_too_long_is_refused_before_it_is_there() -> None:
    with pytest.raises(ValueError, match="announces"):
        list(Pieces().feed((redirects.MAX_PIECE + 1).to_bytes(4)))


def test_many_calls_share_the_channel_and_a_slow_one_holds_up_none(tmp_path: Path) -> None:
    async def test() -> None:
        held = Held()
        async with channel_at(tmp_path, held) as (_, channel):
            slow = asyncio.create_task(channel.ask(call("hold on"), timeout_s=60))
            quick = await asyncio.gather(*(channel.ask(call(f"say {number}", number), timeout_s=60) for number in range(100)))
            assert quick == [Success(str(number), HEAD) for number in range(100)]
            assert not slow.done()
            held.may_end.set()
            assert await slow == Success("on", HEAD)

    run(test)


def test_the_first_call_does_not_wait_for_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_channel, "SIGN_OF_LIFE_S", 60)

    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            assert await channel.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)

    run(test)


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            assert await channel.ask(call("refuse no"), timeout_s=60) == Failure("no", ActionError.code, 3, ActionError.status)

    run(test)


def test_a_fault_of_the_master_leaves_the_outcome_open_and_the_channel_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            with pytest.raises(Interrupted) as found:
                await channel.ask(call("fail"), timeout_s=60)
            assert "secret" not in str(found.value)
            assert await channel.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)

    run(test)


@pytest.mark.parametrize("request_id", ["\u00e9" * 20, "a" * 20 + "\n", "\0" * 20, "a" * 15, "a" * 65], ids=ascii)
def test_a_request_id_that_no_log_may_hold_ends_the_channel(tmp_path: Path, request_id: str) -> None:
    """Once it stood in the log, no zone could read on behind it."""

    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            with pytest.raises(Interrupted):
                await channel.ask(msgspec.structs.replace(call("say x"), request_id=request_id), timeout_s=60)
            assert await channel.ask(call("say y"), timeout_s=60) == Success("y", HEAD)

    run(test)


def test_what_the_master_may_have_done_is_unknown_also_when_this_zone_can_ask_no_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with channel_at(tmp_path) as (zone, channel):
            asked: list[Link] = []

            class Links:
                """Once its own database is away, or the federation left, a zone knows no master."""

                def master(self) -> Link:
                    if asked:
                        raise UnavailableError("This zone is in no federation.")
                    asked.append(channel.link)
                    return channel.link

            settings = FederationSettings(redirect_timeout_s=3)
            forwarding = Forwarding(zone.database, cast(Any, Links()), lambda: 0.0, settings)
            try:
                with pytest.raises(OutcomeUnknownError):
                    await forwarding.redirect("one.user.update", b"fail", "0" * 32)
                with pytest.raises(UnavailableError, match="no federation"):
                    await forwarding.redirect("one.user.update", b"fail", "1" * 32)
            finally:
                await forwarding.close()

    run(test)


def test_no_answer_in_time_is_an_interruption_of_that_call_only(tmp_path: Path) -> None:
    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            await channel.ask(call("say hi"), timeout_s=60)
            with pytest.raises(Interrupted, match="in time"):
                await channel.ask(call("hold"), timeout_s=0.3)
            assert await channel.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)

    run(test)


def test_a_zone_that_loses_its_trust_loses_its_channel(tmp_path: Path) -> None:
    async def test() -> None:
        held = Held()
        async with channel_at(tmp_path, held) as (zone, channel):
            pending = asyncio.create_task(channel.ask(call("hold"), timeout_s=60))
            await held.begun.wait()
            zone.gate.cut(0)  # as the gate does when the zone's record says REVOKED
            with pytest.raises(Interrupted):
                await pending

    run(test)


def test_where_nobody_listens_nothing_was_sent(tmp_path: Path) -> None:
    async def test() -> None:
        async with channel_at(tmp_path) as (zone, channel):
            with zone.database.read() as tx:
                signer = read_signer(tx, zone.store)
            dead = Link("127.0.0.1:1", 0, "f" * 32, context=client_context(zone.store.ca_pem()), signer=signer, epoch=lambda: 1)
            with pytest.raises(Unreachable):
                await CallChannel(dead).ask(call("say hi"), timeout_s=60)
            await dead.close()
            stranger = Link(
                zone.address,
                0,
                zone.database.state().federation_id,
                context=client_context(zone.store.ca_pem()),
                signer=None,
                epoch=lambda: 1,
            )
            with pytest.raises(Refused):
                await CallChannel(stranger).ask(call("say hi"), timeout_s=60)
            await stranger.close()
            assert await channel.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)

    run(test)


def test_an_idle_channel_stays_open_and_a_silent_master_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_channel, "SIGN_OF_LIFE_S", 0.5)
    monkeypatch.setattr(call_stream, "SIGN_OF_LIFE_S", 60)

    async def test() -> None:
        held = Held()
        async with channel_at(tmp_path, held) as (_, channel):
            await channel.ask(call("say hi"), timeout_s=60)
            asyncio.get_running_loop().call_later(20, held.may_end.set)
            # the master's signs come once a minute here, the slave takes three seconds of silence for death
            with pytest.raises(Interrupted):
                await channel.ask(call("hold"), timeout_s=60)

    run(test)


async def taken_of(calls: list[Redirect], *, answers: bool) -> int:
    """How many calls a master takes from a zone that reads no answers, or while it has answered none."""
    begun = 0
    coming = [{"type": "http.request", "body": b"".join(piece(Asked(*one)) for one in enumerate(calls)), "more_body": True}]

    async def taken(_body: bytes, _request: WriteRequest, _if_match: str) -> Written[Any]:
        nonlocal begun
        begun += 1
        if not answers:
            await asyncio.sleep(3600)
        return Written(1, HEAD)

    async def receive() -> Message:
        return coming.pop() if coming else await asyncio.sleep(3600, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        if message.get("body", redirects.SIGN_OF_LIFE) != redirects.SIGN_OF_LIFE:
            await asyncio.sleep(3600)

    stream = asyncio.create_task(CallStream(Share(1), taken)({}, receive, send))
    for _ in range(20 * len(calls)):
        await asyncio.sleep(0)
    ending = [stream, *call_stream._under_way]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    return begun


@pytest.mark.parametrize("answers", [True, False])
def test_a_zone_has_a_bounded_number_of_calls_under_way_and_answers_unread(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_stream, "_AT_ONCE", 8)

    async def test() -> None:
        taken = await taken_of([call(f"say {number}", number) for number in range(100)], answers=answers)
        assert 8 <= taken <= 2 * 8  # those in the piece that is being sent, and those behind it

    run(test)


def test_the_calls_of_a_zone_that_are_under_way_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_stream, "_ZONE_BYTES", 3000)

    async def test() -> None:
        assert await taken_of([call("x" * 1000, number) for number in range(20)], answers=False) == 2

    run(test)


def test_a_zone_has_a_bounded_number_of_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(call_stream, "MAX_CHANNELS", 3)
    monkeypatch.setattr(call_stream, "_refusals", Seldom())

    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            more = [CallChannel(channel.link) for _ in range(3)]
            for one in (channel, *more[:2]):
                assert await one.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)
            for _ in range(5):
                with pytest.raises(Refused, match="has 3 channels for calls open here"):
                    await more[2].ask(call("say hi"), timeout_s=60)
            assert capsys.readouterr().out.count("opens too many channels") == 1
            for one in (channel, *more[:2]):
                assert await one.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)
            await more[0].close()
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(Refused):
                        assert await more[2].ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)
                        break
            for one in more:
                await one.close()

    run(test)


def test_a_channel_on_which_nothing_comes_any_more_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slave that was cut off opens another; the master hears nothing of the end of the first."""
    monkeypatch.setattr(call_stream, "MAX_CHANNELS", 1)
    monkeypatch.setattr(call_stream, "SIGN_OF_LIFE_S", 0.5)
    monkeypatch.setattr(call_channel, "SIGN_OF_LIFE_S", 60)

    async def test() -> None:
        async with channel_at(tmp_path) as (_, channel):
            assert await channel.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)
            another = CallChannel(channel.link)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(Refused):
                        assert await another.ask(call("say hi"), timeout_s=60) == Success("hi", HEAD)
                        break
            await another.close()

    run(test)


def test_a_channel_that_waits_for_room_for_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits nobody hears whether its zone is still there, and channels are counted."""
    monkeypatch.setattr(call_stream, "_ZONE_BYTES", 3000)
    monkeypatch.setattr(call_stream, "_ROOM_S", 0.05)

    async def test() -> None:
        share = Share(1)
        first = Wire(share, asked(2000))
        await turns()
        waiting = [Wire(share, asked(2000)) for _ in range(3)]
        await asyncio.wait([wire.task for wire in waiting], timeout=60)
        assert [wire.task.done() for wire in (first, *waiting)] == [False, True, True, True]
        assert share.channels == 1
        first.do()
        again = Wire(share, asked(2000))
        await turns()
        assert again.begun == 1
        await first.end()
        await again.end()

    run(test)


class Wire:
    """What a zone sends on one channel, piece by piece; ``read`` is how many of them the master has taken off it."""

    def __init__(self, share: Share, *sent: bytes) -> None:
        self.read = self.begun = 0
        self._sent = list(sent)
        self._done = asyncio.Event()
        self.task = asyncio.create_task(CallStream(share, self._take)({}, self._receive, self._send))

    async def _take(self, _body: bytes, _request: WriteRequest, _if_match: str) -> Written[Any]:
        self.begun += 1
        await self._done.wait()
        return Written(1, HEAD)

    async def _receive(self) -> Message:
        if self.read == len(self._sent):
            await asyncio.sleep(3600)
        self.read += 1
        return {"type": "http.request", "body": self._sent[self.read - 1], "more_body": True}

    async def _send(self, _message: Message) -> None:
        pass

    def do(self) -> None:
        self._done.set()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def turns(count: int = 200) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def asked(size: int, number: int = 0) -> bytes:
    return piece(Asked(number, call("x" * size, number)))


def test_what_comes_in_on_all_channels_of_a_zone_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that was announced has its room, so that half of one on each of many channels is no way round the bound."""
    monkeypatch.setattr(call_stream, "_ZONE_BYTES", 3000)

    async def test() -> None:
        share, other = Share(1), Share(2)
        halves = [asked(2000)[:500], asked(2000)[500:1000], asked(2000)[1000:]]
        first = Wire(share, *halves[:2])
        await turns()
        rest = [Wire(share, *halves) for _ in range(10)]
        honest = Wire(other, *halves)
        await turns()
        assert [wire.read for wire in (first, *rest)] == [2] + [1] * 10
        assert honest.begun == 1
        await first.end()  # it goes without the rest of its call: what was kept for it is free
        await turns()
        assert [wire.begun for wire in rest] == [1] + [0] * 9
        rest[0].do()
        await turns()
        assert [wire.begun for wire in rest] == [1, 1] + [0] * 8
        honest.do()
        for wire in (*rest, honest):
            wire.do()
        await turns()
        assert [wire.begun for wire in rest] == [1] * 10
        for wire in (*rest, honest):
            await wire.end()

    run(test)


def test_calls_under_way_on_all_channels_of_a_zone_together_are_bounded_also_when_channels_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_stream, "_ZONE_AT_ONCE", 10)

    async def test() -> None:
        share, other = Share(1), Share(2)
        many = b"".join(asked(1, number) for number in range(4))
        wires = []
        for _ in range(5):
            wires.append(Wire(share, many))
            await turns()
            await wires[-1].end()
        assert sum(wire.begun for wire in wires) == 10
        honest = Wire(other, many)
        last = Wire(share, many)
        await turns()
        assert (honest.begun, last.begun) == (4, 0)
        for wire in wires:
            wire.do()
        await turns()
        assert last.begun == 4
        for wire in (honest, last):
            wire.do()
            await wire.end()

    run(test)


def test_nothing_but_an_answer_is_taken_for_one() -> None:
    assert call_channel._answered.decode(piece(Answered(4, None))[4:]) == Answered(4, None)
    with pytest.raises(ValueError, match="array"):
        call_channel._answered.decode(b"\x01")

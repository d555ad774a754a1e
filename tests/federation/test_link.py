"""One zone asks another: what errors say about what was sent, clocks, and redirects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from koinon import clock
from koinon.database.state import CommitNotice
from koinon.errors import UnavailableError
from koinon.federation.assertion import HEADER, WINDOW_S, Assertion
from koinon.federation.keys import client_context, unverified_context
from koinon.federation.link import Answer, Interrupted, Link, Refused, Unreachable, check_endpoint, error_text
from koinon.federation.links import read_signer
from koinon.identity import zones
from tests.federation.members import Zone, master_at, run


def routes(zone: Zone) -> list[BaseRoute]:
    async def echo(_request: Request, body: bytes, assertion: Assertion) -> Response:
        return PlainTextResponse(f"{assertion.zone_id} {assertion.request_id} {len(body)}", 418)

    async def away(_request: Request, _body: bytes, _assertion: Assertion) -> Response:
        return RedirectResponse("https://elsewhere.example/")

    async def hang(_request: Request, _body: bytes, _assertion: Assertion) -> Response:
        await asyncio.sleep(60)
        return Response()

    async def flow(request: Request, _body: bytes, _assertion: Assertion) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(60)

        return StreamingResponse(parts(), headers={"asked": str(request.url.query)})

    async def endless(_request: Request, _body: bytes, _assertion: Assertion) -> ASGIApp:
        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            await asyncio.sleep(60)

        return app

    async def fail(_request: Request, _body: bytes, _assertion: Assertion) -> Response:
        raise RuntimeError("secret inner state")

    gate = zone.gate
    return [
        Route("/federation/v1/echo", gate.asserted(echo, max_body=100_000), methods=["POST"]),
        Route("/federation/v1/away", gate.asserted(away)),
        Route("/federation/v1/hang", gate.asserted(hang), methods=["POST"]),
        Route("/federation/v1/flow", gate.asserted(flow)),
        Route("/federation/v1/endless", gate.asserted(endless)),
        Route("/federation/v1/fail", gate.asserted(fail)),
    ]


@contextlib.asynccontextmanager
async def to_itself(zone: Zone, **changes: Any) -> AsyncIterator[Link]:
    """A link from a master to itself: one zone is enough to see both ends."""
    with zone.database.read() as tx:
        signer = read_signer(tx, zone.store)
    given_: dict[str, Any] = {"context": client_context(zone.store.ca_pem()), "signer": signer, "epoch": lambda: 1} | changes
    link = Link(given_.pop("endpoint", zone.address), given_.pop("zone_id", 0), zone.database.state().federation_id, **given_)
    try:
        yield link
    finally:
        await link.close()


def test_any_status_is_an_answer_and_arrives_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            body = bytes(100_000)
            answer = await link.request("POST", "/federation/v1/echo", body, request_id="r-1", timeout_s=60)
            assert (answer.status, answer.body) == (418, b"0 r-1 100000")
            with pytest.raises(Refused):
                answer.expect()
            assert (await link.request("GET", "/federation/v1/nothing", timeout_s=60)).status == 404
            assert (await link.request("POST", "/federation/v1/echo", body + b"1", timeout_s=60)).status == 413

    run(test)


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            assert (await link.request("GET", "/federation/v1/away", timeout_s=60)).status == 307

    run(test)


def test_a_failure_inside_shows_no_insides(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            answer = await link.request("GET", "/federation/v1/fail", timeout_s=60)
            assert answer.status == 500
            assert error_text(500, answer.body).startswith("internal error")
            assert b"secret" not in answer.body
            assert b"Traceback" not in answer.body

    run(test)


def test_unreachable_means_that_nothing_was_sent(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone:
            for changes in ({"endpoint": "127.0.0.1:1"}, {"endpoint": "no-such-host.invalid:2635"}, {"zone_id": 9}):
                async with to_itself(zone, **changes) as link:
                    with pytest.raises(Unreachable):
                        await link.request("POST", "/federation/v1/echo", b"x", timeout_s=60)

    run(test)


def test_a_zone_that_never_finishes_its_handshake_is_unreachable() -> None:
    async def test() -> None:
        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(30)
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = Link(f"127.0.0.1:{port}", 0, "f" * 32, context=unverified_context(), signer=None, epoch=lambda: 0)
        with pytest.raises(Unreachable):
            await link.request("GET", "/federation/v1/ca", timeout_s=0.3)
        await link.close()
        server.close()

    run(test)


def test_interrupted_means_that_it_may_have_been_heard(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            await link.request("GET", "/federation/v1/reign", timeout_s=60)  # connected: what comes now is sent at once
            with pytest.raises(Interrupted):
                await link.request("POST", "/federation/v1/hang", timeout_s=1)
            with pytest.raises(Interrupted):
                await link.request("POST", "/federation/v1/echo", timeout_s=60, max_answer=3)
            async with link.stream("/federation/v1/flow?after=1.2&chain=ff", silence_s=1.5) as response:
                assert response.headers["asked"] == "after=1.2&chain=ff"
                assert await response.content.readany() == b"one"
                with pytest.raises(TimeoutError):
                    await response.content.readany()

            async def read_on() -> None:
                async with link.stream("/federation/v1/flow", silence_s=1.5) as response:
                    await response.content.read()

            with pytest.raises(Interrupted):
                await read_on()

    run(test)


@pytest.mark.parametrize("off_s", [WINDOW_S * 10, -WINDOW_S * 10])
def test_a_wrong_clock_is_corrected_by_the_other_zone(tmp_path: Path, off_s: int) -> None:
    async def test() -> None:
        async with (
            master_at(tmp_path / "a", routes=routes) as zone,
            to_itself(zone, now_s=lambda: clock.now_s() + off_s) as link,
        ):
            assert (await link.request("POST", "/federation/v1/echo", b"x", timeout_s=60)).status == 418
            async with link.stream("/federation/v1/flow") as response:
                assert response.status == 200

    run(test)


def test_a_refusal_says_its_reason(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone:
            for changes, reason in (({"epoch": lambda: 0}, "lower epoch"), ({"signer": None}, "malformed")):
                async with to_itself(zone, **changes) as link:
                    with pytest.raises(Refused) as refused:
                        await link.request("POST", "/federation/v1/echo", timeout_s=60)
                    assert refused.value.reason == reason
                    assert refused.value.text
            async with to_itself(zone, epoch=lambda: 0) as link:
                # a zone that missed a promotion must be able to learn of it
                assert (await link.request("GET", "/federation/v1/reign", timeout_s=60)).status == 200

    run(test)


@pytest.mark.parametrize("path", ["/federation/v1/flow", "/federation/v1/endless"], ids=["response", "application"])
def test_a_stream_ends_when_its_zone_is_revoked(tmp_path: Path, path: str) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            async with link.stream(path, silence_s=30) as response:
                assert await response.content.readany() == b"one"
                await zone.database.write_shared("revoke", lambda tx: zones.set_attributes(tx, 0, {"TRUST": "REVOKED"}))
                assert await response.content.readany() == b""
            with pytest.raises(Refused) as refused:
                await link.request("POST", "/federation/v1/echo", timeout_s=60)
            assert refused.value.reason == "revoked"

    run(test)


def test_streams_of_a_zone_end_when_its_trust_can_not_be_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has gone just when a commit was seen: whoever else listens for commits hears of it, and nobody is trusted by guess."""

    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            heard: list[CommitNotice] = []
            zone.database.on_commit(heard.append)
            async with link.stream("/federation/v1/flow", silence_s=30) as response:
                assert await response.content.readany() == b"one"
                with monkeypatch.context() as away:
                    away.setattr(zone.database, "read", _unavailable)
                    zone.database._tell(CommitNotice(zone.database.state(), (), None))
                assert heard
                assert await response.content.readany() == b""
            assert (await link.request("POST", "/federation/v1/echo", timeout_s=60)).status == 418

    run(test)


def test_no_stream_begins_while_trust_can_not_be_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.append(scope["path"])

    async def answer(_request: Request, _body: bytes, _assertion: Assertion) -> ASGIApp:
        return app

    def routes(zone: Zone) -> list[BaseRoute]:
        return [Route("/federation/v1/one", zone.gate.asserted(answer))]

    async def test() -> None:
        async with master_at(tmp_path / "a", routes=routes) as zone, to_itself(zone) as link:
            monkeypatch.setattr(zone.gate, "still_trusted", _unavailable)
            async with link.stream("/federation/v1/one", silence_s=5) as response:
                assert response.status == 503
                assert error_text(503, await response.content.read()) == "the database is away"
            assert not begun

    run(test)


def test_a_zone_that_is_revoked_while_its_request_comes_in_hears_why(tmp_path: Path) -> None:
    """A certificate is made for whom we trust when it is made."""

    async def test() -> None:
        async with master_at(tmp_path / "a") as zone, to_itself(zone) as link:
            with zone.database.read() as tx:
                signer = read_signer(tx, zone.store)
            path = "/federation/v1/certificate"
            header = signer.sign("POST", path, b"body", 0, 1, "", clock.now_s())
            reader, writer = await asyncio.open_connection(*zone.address.split(":"), ssl=unverified_context())
            writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\n{HEADER}: {header}\r\nContent-Length: 4\r\n\r\nbo".encode())
            assert (await link.request("GET", "/federation/v1/reign", timeout_s=60)).status == 200  # the head has been looked at by now
            await zone.database.write_shared("revoke", lambda tx: zones.set_attributes(tx, 0, {"TRUST": "REVOKED"}))
            writer.write(b"dy")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 403 ")
            assert b"koinon-refused: revoked" in head.lower()
            writer.close()

    run(test)


def _unavailable(*_: object) -> NoReturn:
    raise UnavailableError("the database is away")


@pytest.mark.parametrize("good", ["a.example:2635", "10.0.0.1:1", "[::1]:65535", "zone_1:80"])
def test_addresses(good: str) -> None:
    assert check_endpoint(good) == good


@pytest.mark.parametrize("bad", ["", "a", "a:", "a:0", "a:65536", "a:1/x", "http://a:1", "::1:80", "u@h:1", "a b:1", "a:1\n", "a:١"])
def test_other_texts_are_no_addresses(bad: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        check_endpoint(bad)


@given(st.binary(max_size=200))
def test_the_text_of_any_error_body_is_printable(body: bytes) -> None:
    text = error_text(500, body)
    assert text.isprintable()
    assert Answer(200, body, {}).expect() == body

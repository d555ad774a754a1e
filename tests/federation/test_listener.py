"""What strangers meet at the listener for zones: plain refusals, and nothing of the inside."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from koinon import clock
from koinon.federation.assertion import HEADER, Signer
from koinon.federation.invitation import Token
from koinon.federation.keys import raw_public_key, unverified_context
from koinon.federation.membership import JoinRequest
from tests.federation.members import Zone, master_at, run, zone_at

PREFIX = "/federation/v1"


@contextlib.asynccontextmanager
async def stranger() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=unverified_context())) as session:
        yield session


async def ask(zone: Zone, method: str, path: str, body: bytes = b"", header: str = "") -> tuple[int, str]:
    """Status, and the text of the error; fails if an error is not in our form."""
    headers = {HEADER: header} if header else {}
    async with (
        stranger() as session,
        session.request(method, f"https://{zone.address}{path}", data=body, headers=headers) as answer,
    ):
        raw = await answer.read()
        assert b"Traceback" not in raw
        return answer.status, json.loads(raw)["error"] if answer.status >= 400 else ""


@pytest.mark.parametrize(("method", "path"), [("GET", "/reign"), ("POST", "/leave"), ("POST", "/certificate")])
@pytest.mark.parametrize("header", ["", "x", "AAAA.AAAA", "." * 500, "A" * 5000])
def test_without_a_good_assertion_nothing_is_answered(tmp_path: Path, method: str, path: str, header: str) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            status, text = await ask(zone, method, PREFIX + path, header=header)
            assert (status, bool(text)) == (400, True)

    run(test)


def test_a_stranger_s_body_is_not_read(tmp_path: Path) -> None:
    """The answer comes though the body never ends."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.sleep(3600)

    async def test() -> None:
        async with (
            master_at(tmp_path / "a") as zone,
            stranger() as session,
            session.post(f"https://{zone.address}{PREFIX}/leave", data=endless()) as answer,
        ):
            assert answer.status == 400

    run(test)


def test_the_ca_is_there_for_everyone_and_other_paths_are_not(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            assert (await ask(zone, "GET", f"{PREFIX}/ca"))[0] == 200
            assert (await ask(zone, "POST", f"{PREFIX}/ca"))[0] == 405
            assert (await ask(zone, "GET", "/"))[0] == 404
            assert (await ask(zone, "GET", "/RPC2"))[0] == 404

    run(test)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"{}", b"\x93\x01\x02\x03", b"\x96" + b"\x00" * 6, b"\xdd\xff\xff\xff\xff"])
def test_a_request_to_join_that_is_none_is_refused(tmp_path: Path, body: bytes) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            status, text = await ask(zone, "POST", f"{PREFIX}/join", body)
            assert status == 400
            assert "join" in text

    run(test)


def test_a_request_to_join_may_not_be_long(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            assert (await ask(zone, "POST", f"{PREFIX}/join", bytes(5000)))[0] == 413

    run(test)


def test_joining_needs_the_very_key_that_is_to_be_enrolled(tmp_path: Path) -> None:
    """Who overhears an invitation and a public key can't bind the one to the other."""

    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            token = Token.parse((await zone.membership.invite("branch", None)).token)
            enrolled, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
            body = msgspec.msgpack.encode(
                JoinRequest(token.zone_id, token.secret, raw_public_key(enrolled.public_key()), "0" * 32, "-", "-")
            )
            for key, expected in ((other, 401), (enrolled, 200)):
                signer = Signer(token.zone_id, token.federation_id, key, "0" * 32)
                header = signer.sign("POST", f"{PREFIX}/join", body, 0, 0, "", clock.now_s())
                assert (await ask(zone, "POST", f"{PREFIX}/join", body, header=header))[0] == expected

    run(test)


@pytest.mark.parametrize(
    "changes",
    [{"public_key": b"short"}, {"instance": "x"}, {"endpoint": "ftp://x"}, {"endpoint": "http://x\n"}, {"federation_endpoint": "nowhere"}],
)
def test_what_a_joining_zone_says_of_itself_is_checked(tmp_path: Path, changes: dict[str, object]) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            token = Token.parse((await zone.membership.invite("branch", None)).token)
            key = Ed25519PrivateKey.generate()
            sound = JoinRequest(token.zone_id, token.secret, raw_public_key(key.public_key()), "0" * 32, "-", "-")
            body = msgspec.msgpack.encode(msgspec.structs.replace(sound, **changes))
            header = Signer(token.zone_id, token.federation_id, key, "0" * 32).sign("POST", f"{PREFIX}/join", body, 0, 0, "", clock.now_s())
            status, text = await ask(zone, "POST", f"{PREFIX}/join", body, header=header)
            assert status in (400, 403)
            assert text

    run(test)


@pytest.mark.parametrize("zone_id", [2**31, 2**63, 2**64 - 1, -1])
def test_a_number_that_is_no_zones_is_refused_as_any_other_stranger_s(tmp_path: Path, zone_id: int) -> None:
    """The federation's id is in the CA's certificate, for everyone to see: all that is wrong with such a request may be the number."""

    async def test() -> None:
        async with master_at(tmp_path / "a") as zone:
            key, federation_id = Ed25519PrivateKey.generate(), zone.database.state().federation_id
            signer = Signer(zone_id, federation_id, key, "0" * 32)
            header = signer.sign("GET", f"{PREFIX}/reign", b"", 0, 1, "", clock.now_s())
            assert (await ask(zone, "GET", f"{PREFIX}/reign", header=header))[0] == 400
            body = msgspec.msgpack.encode(JoinRequest(zone_id, b"s" * 32, raw_public_key(key.public_key()), "0" * 32, "-", "-"))
            header = signer.sign("POST", f"{PREFIX}/join", body, 0, 0, "", clock.now_s())
            assert (await ask(zone, "POST", f"{PREFIX}/join", body, header=header))[0] == 400

    run(test)


def test_a_zone_without_a_federation_serves_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as zone, zone_at(tmp_path / "b"):
            await zone.membership.leave()
            assert (await ask(zone, "GET", f"{PREFIX}/reign"))[0] == 404
            assert (await ask(zone, "GET", f"{PREFIX}/ca"))[0] == 503

    run(test)

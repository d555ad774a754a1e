"""A slave's keys are stolen: the thief asks the master for all that it can, and a zone beside it goes on as before."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from harness.zones import Federation, Zone, federation
from koinon.federation import call_stream
from koinon.federation.assertion import Signer
from koinon.federation.call_channel import CallChannel
from koinon.federation.keys import KeyStore, client_context
from koinon.federation.link import Link, LinkError, Refused
from koinon.wire.messages import Manifest, SignedManifest, SnapshotRequest, decode, encode
from koinon.wire.redirects import PATH, SIGN_OF_LIFE, Redirect

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    """A master, an honest slave, and one that does not run: what it left is the thief's."""
    with federation(tmp_path_factory.mktemp("stolen"), 3) as made:
        made.slaves[1].stop()
        yield made


@contextlib.asynccontextmanager
async def thief(zones: Federation) -> AsyncIterator[Link]:
    """A link to the master with the keys of the slave that does not run."""
    stolen = zones.slaves[1]
    store = KeyStore(stolen.state_dir)
    with stolen.by_hand() as database:
        ((zone_id, federation_id, epoch),) = database.execute("SELECT zone_id, federation_id, epoch FROM zone_state").fetchall()
        ((instance,),) = database.execute("SELECT value FROM federation_setting WHERE name = 'instance'").fetchall()
    link = Link(
        f"127.0.0.1:{zones.master.federation_port}",
        0,
        federation_id,
        context=client_context(store.ca_pem()),
        signer=Signer(zone_id, federation_id, store.zone_key(), bytes(instance).decode()),
        epoch=lambda: epoch,
    )
    try:
        yield link
    finally:
        await link.close()


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 600))


def create(zones: Federation, zone: Zone, name: str) -> Any:
    """Have a user made through a zone, which must then show it."""
    client = zones.client(zone)
    return client.user.info(client.user.allocate(name, "Secret1", "", [])).NAME


def told(zone: Zone, event: str) -> int:
    return zone.log.read_text().count(event)


def memory_mib(zone: Zone) -> int:
    """What the zone's process holds in memory."""
    (line,) = (line for line in Path(f"/proc/{zone.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def test_half_a_call_on_each_of_many_channels_does_not_fill_the_master(zones: Federation) -> None:
    """Each channel brings half of the longest piece that may come; the master reads what one call may have, and no more."""
    half, channels = 32 * 2**20, 12

    async def test() -> None:
        sent = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            yield (2 * half).to_bytes(4)
            for _ in range(half // 2**18):
                yield bytes(2**18)
                sent += 2**18
            while True:
                yield b"\0"
                await asyncio.sleep(1)

        async def occupy(link: Link) -> None:
            with contextlib.suppress(LinkError, aiohttp.ClientError):
                async with link.channel(PATH, pieces, silence_s=60) as response:
                    async for _ in response.content.iter_any():
                        pass

        async with thief(zones) as link:
            occupying = [asyncio.create_task(occupy(link)) for _ in range(channels)]
            seen = -1
            async with asyncio.timeout(300):
                while sent < half or sent != seen:  # until no more is taken off us
                    seen = sent
                    await asyncio.sleep(2)
            for number in range(5):
                assert await asyncio.to_thread(create, zones, zones.slaves[0], f"beside{number}") == f"beside{number}"
            assert memory_mib(zones.master) - before < 4 * half // 2**20, f"{sent >> 20} MiB were sent"
            for task in occupying:
                task.cancel()
            await asyncio.gather(*occupying, return_exceptions=True)

    before = memory_mib(zones.master)
    run(test)


def test_more_channels_than_a_zone_may_have_are_refused_and_said_once(zones: Federation) -> None:
    async def test() -> None:
        async def silent() -> AsyncIterator[bytes]:
            while True:
                yield SIGN_OF_LIFE
                await asyncio.sleep(1)

        async def open_one(link: Link) -> None:
            while True:  # the master takes a moment to find out that the channels of the test before are gone
                async with link.channel(PATH, silent, silence_s=60) as response:
                    if response.status == 200:
                        opened.append(response)
                        async for _ in response.content.iter_any():
                            pass
                await asyncio.sleep(1)

        opened: list[aiohttp.ClientResponse] = []
        async with thief(zones) as link:
            holding = [asyncio.create_task(open_one(link)) for _ in range(call_stream.MAX_CHANNELS)]
            async with asyncio.timeout(300):
                while len(opened) < call_stream.MAX_CHANNELS:  # noqa: ASYNC110 - what is waited for has no event of its own
                    await asyncio.sleep(0.05)
            for number in range(20):
                channel = CallChannel(link)
                with pytest.raises(Refused, match=f"has {call_stream.MAX_CHANNELS} channels for calls open here"):
                    await channel.ask(Redirect("one.user.info", b"", f"{number:032x}", bytes(32)), timeout_s=60)
            assert await asyncio.to_thread(create, zones, zones.slaves[0], "besides") == "besides"
            for task in holding:
                task.cancel()
            await asyncio.gather(*holding, return_exceptions=True)

    run(test)
    assert told(zones.master, "a zone opens too many channels") == 1


def test_of_one_zones_downloads_the_newest_is_sent_on_and_the_master_makes_no_noise_about_the_others(zones: Federation) -> None:
    """The zone that an older one was sent to hears that it broke off; the connection goes also if nobody reads from it."""
    client = zones.client(zones.master)
    for number in range(8):  # more than the kernel holds of a connection that nobody reads
        client.user.update(client.user.allocate(f"large{number}", "x", "public", []), f'NOTE="{secrets.token_hex(1_500_000)}"', 0)

    async def size(response: aiohttp.ClientResponse) -> int:
        return sum([len(data) async for data in response.content.iter_any()])

    async def test() -> None:
        async with thief(zones) as link:
            body = encode(SnapshotRequest(zones.master.status()["position"], ""))
            answer = await link.request("POST", "/federation/v1/snapshot", body, timeout_s=60)
            manifest = decode(Manifest, decode(SignedManifest, answer.expect()).payload)
            path = f"/federation/v1/snapshot/{manifest.snapshot_id}?offset=0"
            async with link.stream(path, silence_s=60) as first:
                assert await first.content.readany()
                async with link.stream(path, silence_s=60) as second:
                    assert await second.content.readany()
                    with pytest.raises((LinkError, aiohttp.ClientError)):
                        await asyncio.wait_for(size(first), 60)
                    async with link.stream(path, silence_s=60) as third:
                        assert await size(third) == manifest.size

    run(test)
    for noise in ("Traceback", "ASGI callable"):
        assert told(zones.master, noise) == 0


def test_a_zone_that_asks_for_snapshot_after_snapshot_gets_few_and_another_gets_its_own(zones: Federation) -> None:
    """On a master that is written to, each request asks for a state that no snapshot shows yet."""
    honest = zones.slaves[0]
    files = zones.master.state_dir / "snapshots"

    async def test() -> None:
        made = 0
        async with thief(zones) as link:
            for number in range(200):
                await asyncio.to_thread(create, zones, zones.master, f"busy{number}")
                body = encode(SnapshotRequest(zones.master.status()["position"], ""))
                answer = await link.request("POST", "/federation/v1/snapshot", body, timeout_s=60)
                assert answer.status in (200, 429)
                assert len(list(files.glob("*.snap"))) <= 2
                if answer.status == 429:
                    assert b"the next one is made for it in" in answer.body
                    break
                made += 1
        assert made > 1
        assert answer.status == 429

    run(test)
    honest.federation("resync")
    assert create(zones, honest, "after") == "after"
    Federation([zones.master, honest], None).settled()
    assert told(zones.master, "asks for new snapshots too often") == 1

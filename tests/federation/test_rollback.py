"""What a master takes for proof that its database was set back, and what it does not: frames that it signed, shown to it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from koinon.federation import remembered
from koinon.federation.rollback import RollbackGuard
from koinon.federation.stream import Feed
from koinon.statements.commits import Head
from koinon.wire.frames import Heartbeat, Reader, encode
from koinon.wire.messages import Locate, Located, SignedFrame, decode
from koinon.wire.messages import encode as encode_message
from tests.federation.copies import FEDERATION, HEARTBEAT_S, Origin

pytestmark = pytest.mark.engines

OTHER = b"\x07" * 32


def run(tmp_path: Path, test: Callable[[Origin], Awaitable[None]]) -> None:
    async def inside() -> None:
        (tmp_path / "master").mkdir()
        origin = Origin(tmp_path / "master")
        try:
            await origin.found()
            await origin.add_users(4)
            await test(origin)
        finally:
            await origin.close()

    asyncio.run(inside())


async def show(origin: Origin, index: int, chain: bytes = OTHER, *, losses: int = 0, epoch: int = 1) -> str:
    """Show the master a heartbeat that it signed; why it refuses shared writes then."""
    raw = encode(Heartbeat(FEDERATION, epoch, index, chain, 0, (), losses), origin.private_key.sign)
    reply = await origin.guard.locate(1, encode_message(Locate((), SignedFrame(raw[68:], raw[4:68]))))
    return decode(Located, reply.body).halted


def test_a_signature_inside_a_commit_of_ours_proves_another_history(tmp_path: Path) -> None:
    """No commit of ours ends there, so what was signed there is gone, though the log goes on past it."""

    async def test(origin: Origin) -> None:
        with origin.database.read() as tx:
            ends = {idx for (idx,) in tx.fetch("SELECT last_idx FROM federation_commit")}
            inside = next(idx for idx in range(tx.state.position, 0, -1) if idx not in ends)
        assert f"over index {inside}" in await show(origin, inside)

    run(tmp_path, test)


def test_what_is_ours_or_of_another_reign_or_purged_proves_nothing(tmp_path: Path) -> None:
    async def test(origin: Origin) -> None:
        state = origin.database.state()
        assert await show(origin, state.position, state.chain) == ""
        assert await show(origin, state.position + 1, epoch=2) == ""
        await origin.database.write_zone("as a purge does", lambda tx: tx.execute("DELETE FROM federation_log WHERE idx <= 3"))
        await origin.database.write_zone("as a purge does", lambda tx: tx.execute("DELETE FROM federation_commit WHERE last_idx < 3"))
        assert await show(origin, 2) == ""

    run(tmp_path, test)


def test_a_loss_of_the_new_history_is_news_where_one_of_the_old_is_not(tmp_path: Path) -> None:
    async def test(origin: Origin) -> None:
        index = origin.database.state().position
        assert await show(origin, index + 9)
        await origin.guard.accept_loss()
        assert await show(origin, index + 9) == ""
        assert await show(origin, index + 2) == ""
        assert await show(origin, index - 1) == "", "the old history may have parted from ours before"
        assert f"over index {index + 2}" in await show(origin, index + 2, losses=1)
        await origin.guard.accept_loss()
        for losses in (0, 1):
            assert await show(origin, index + 9, losses=losses) == ""
        assert await show(origin, index + 2, losses=2)

    run(tmp_path, test)


def test_more_than_what_was_accepted_is_another_loss(tmp_path: Path) -> None:
    async def test(origin: Origin) -> None:
        index = origin.database.state().position
        assert await show(origin, index + 2)
        await origin.guard.accept_loss()
        assert await show(origin, index + 3)

    run(tmp_path, test)


def test_a_backup_of_before_the_last_acceptance_counts_on_from_what_was_lost(tmp_path: Path) -> None:
    """Else the next history would have the number of one that has ended."""

    async def test(origin: Origin) -> None:
        index = origin.database.state().position
        assert await show(origin, index + 5, losses=3)
        await origin.guard.accept_loss()
        assert origin.guard.losses == 4
        assert await show(origin, index + 5, losses=3) == ""
        assert await show(origin, index + 5, losses=4)

    run(tmp_path, test)


def test_a_halt_of_before_losses_were_counted_outlives_the_upgrade(tmp_path: Path) -> None:
    async def test(origin: Origin) -> None:
        head = origin.database.state().head
        kept = msgspec.msgpack.encode([head, 1, head.position.index - 2])
        await origin.database.write_zone("as it was kept", lambda tx: remembered.remember(tx, "rollback", kept))
        origin.serve()
        assert f"over index {head.position.index}" in str(origin.guard.halted)
        await origin.guard.accept_loss()
        assert origin.guard.losses == 1

    run(tmp_path, test)


def test_a_process_that_was_not_asked_signs_the_new_history_as_new(tmp_path: Path) -> None:
    """Another process accepted: this one hears of it with the first commit after that, before it signs it."""

    async def test(origin: Origin) -> None:
        assert await show(origin, origin.database.state().position + 9)
        other = RollbackGuard(origin.database, lambda: origin.private_key)
        feed = Feed(origin.database, lambda: origin.private_key, other, heartbeat_s=HEARTBEAT_S)
        try:
            before = origin.database.state().head
            opened = feed.open(1, {"after": str(before.position), "chain": before.chain.hex(), "run": "0" * 32})
            assert opened in feed._streams.values()
            assert other.halted
            await origin.guard.accept_loss()
            await origin.add_users(1)
            assert other.halted is None
            assert await losses_in_frame(feed, before) == 1
            feed._make_beat()
            assert losses_in(origin, feed.beat) == 1
        finally:
            await feed.close()

    async def losses_in_frame(feed: Feed, after: Head) -> int:
        frame = await feed.frames.after(after)
        assert frame is not None
        return losses_in(feed, frame.data)

    def losses_in(feed: Feed | Origin, data: bytes) -> int:
        key = feed.private_key if isinstance(feed, Origin) else feed._key()
        ((body, _, _),) = Reader(key.public_key().verify).feed(data)
        return body.losses

    run(tmp_path, test)

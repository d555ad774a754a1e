"""The applier: it follows, resumes, refuses what is not the master's, heals, and says where it stands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import engines
from koinon import clock
from koinon.database.database import Database
from koinon.database.statement_log import read_commits
from koinon.database.transactions import Overtaken
from koinon.errors import UnavailableError
from koinon.federation import applier as applier_module
from koinon.federation import proof, snapshot_loading
from koinon.federation.link import Interrupted, LinkError, Refused
from koinon.federation.retention import readable_from
from koinon.federation.rollback import read_proof
from koinon.statements.commits import Position
from koinon.statements.schema import PoolRow
from koinon.wire.frames import CommitsFrame, Heartbeat
from koinon.wire.messages import SignedFrame
from tests.federation.copies import FEDERATION, Copy, Origin, add_user, cut_after, equal, federation, seen, until, user

pytestmark = pytest.mark.engines


UPDATE_DIGESTS = "UPDATE shared_digest SET digest ="


def run(tmp_path: Path, test: Callable[[Origin, Copy], Awaitable[Any]], **options: Any) -> Any:
    async def inside() -> Any:
        async with federation(tmp_path, **options) as (origin, copy):
            return await test(origin, copy)

    return asyncio.run(inside())


def edit(path: Path, sql: str) -> None:
    """What an operator does who should not."""
    with engines.by_hand(path / "koinon.db") as connection:
        connection.execute(sql)


def test_it_copies_what_is_there_and_what_comes(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(30)
        copy.follow()
        await equal(origin, copy)
        await origin.add_users(5)
        await origin.write(lambda tx: tx.delete("user_pool", 3))
        await origin.write(lambda tx: tx.update("user_pool", user(4, "renamed")))
        await equal(origin, copy)
        state = origin.database.state()
        await until(lambda: (held := origin.positions.get(1)) is not None and held.position == Position(1, state.position))
        with copy.database.read() as ours, origin.database.read() as theirs:
            assert read_commits(ours, 0, statements=1000) == read_commits(theirs, 0, statements=1000)
        status = copy.applier.status()
        assert (status.state, status.connected, status.lag_statements, status.lag_s) == ("ok", True, 0, 0.0)
        assert status.silence_s is not None

    run(tmp_path, test)


@pytest.mark.parametrize("size", [1, 70, 300, 1500, 4000])
def test_it_goes_on_after_the_connection_broke_anywhere(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier_module, "LONGEST_WAIT_S", 0.02)

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(40)
        copy.link.cut = cut_after(size)
        copy.follow()
        await until(lambda: copy.applier.status().last_error != "")
        assert copy.applier.status().state in ("connecting", "ok")
        copy.link.cut = lambda pieces: pieces
        await equal(origin, copy)

    run(tmp_path, test)


def test_while_the_master_is_away_reads_go_on_and_the_return_is_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier_module, "LONGEST_WAIT_S", 0.02)

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(3)
        copy.link.up = False
        copy.follow()
        await until(lambda: copy.applier.status().last_error == "the cable is cut")
        assert copy.applier.status().state == "connecting"
        assert seen(copy.database)["user_pool"] == []
        copy.link.up = True
        await equal(origin, copy)
        await until(lambda: copy.applier.status().state == "ok")

    run(tmp_path, test)


def test_frames_that_another_key_signed_are_not_applied(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(3)
        trusted = copy.link.master()
        copy.applier._master = lambda: trusted
        origin.private_key = Ed25519PrivateKey.generate()
        copy.follow()
        await until(lambda: "signature" in copy.applier.status().last_error)
        assert copy.database.state().position == 0

    run(tmp_path, test)


def test_a_reign_that_we_do_not_know_is_not_followed(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.found_again(2)
        copy.follow()
        await until(lambda: "epoch 2" in copy.applier.status().last_error)
        assert copy.database.state().position == 0

    run(tmp_path, test)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM user_pool WHERE oid = 5",
        "UPDATE user_pool SET name = 'last', body = '<USER>mine</USER>' WHERE oid = 6",
        "UPDATE user_pool SET row_hash = (SELECT chain FROM zone_state) WHERE oid = 5",
        f"{UPDATE_DIGESTS} (SELECT chain FROM zone_state)",
        "INSERT INTO user_pool SELECT 99, 'last', body, uid, gid, owner_u, group_u, other_u, row_hash FROM user_pool WHERE oid = 5",
        "DELETE FROM pool_control",
    ],
)
def test_a_difference_is_named_healed_and_reported(tmp_path: Path, sql: str) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(10)
        copy.follow()
        await equal(origin, copy)
        await copy.close()
        edit(copy.state_dir, sql)
        copy.open()
        copy.follow()
        # Touches the very row and the counter, and takes a name that the hand edit may have given away.
        await origin.write(lambda tx: tx.update("user_pool", user(5, body="<USER>new</USER>")))
        await origin.write(add_user("last"))
        await equal(origin, copy)
        await until(lambda: "healed by a snapshot" in copy.applier.status().last_error)
        assert any("snapshot" in path for path in copy.link.asked)

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (f"{UPDATE_DIGESTS} (SELECT chain FROM zone_state) WHERE tablename = 'user_pool'", "stored digest of user_pool"),
        ("DELETE FROM shared_digest WHERE tablename = 'user_pool'", "stored digest of user_pool"),
        ("UPDATE user_pool SET body = '<USER>mine</USER>' WHERE oid = 5", "user_pool has another row 5"),
        ("UPDATE pool_control SET last_oid = 77 WHERE tablename = 'user_pool'", "the counter of user_pool"),
        ("DELETE FROM user_pool WHERE oid = 5", "user_pool has no row 5"),
    ],
)
def test_what_is_edited_by_hand_while_the_zone_runs_is_noticed_though_the_right_value_is_about_to_be_written_over_it(
    tmp_path: Path, sql: str, told: str
) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(10)
        copy.follow()
        await equal(origin, copy)
        await origin.add_users(1)
        await equal(origin, copy)  # the digests are now those that the writer has left and need not read
        edit(copy.state_dir, sql)
        await origin.write(lambda tx: tx.update("user_pool", user(5, "new", "<USER>new</USER>")))
        await origin.add_users(1)
        await equal(origin, copy)
        await until(lambda: "healed by a snapshot" in copy.applier.status().last_error)
        assert told in copy.applier.status().last_error
        await origin.add_users(1)
        await equal(origin, copy)
        await until(lambda: copy.applier.status().state == "ok")

    run(tmp_path, test)


def test_a_row_that_is_edited_by_hand_stays_unnoticed_until_a_change_touches_it(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(10)
        copy.follow()
        await equal(origin, copy)
        edit(copy.state_dir, "UPDATE user_pool SET body = '<USER>mine</USER>' WHERE oid = 6")
        await origin.write(lambda tx: tx.update("user_pool", user(5, body="<USER>new</USER>")))
        await until(lambda: copy.database.state().head == origin.database.state().head)
        assert seen(copy.database)["digests"] == seen(origin.database)["digests"]
        assert seen(copy.database)["user_pool"] != seen(origin.database)["user_pool"]
        assert copy.applier.status().last_error == ""
        await origin.write(lambda tx: tx.update("user_pool", user(6, "other")))
        await equal(origin, copy)
        await until(lambda: "user_pool has another row 6" in copy.applier.status().last_error)

    run(tmp_path, test)


def test_differences_that_come_back_leave_the_zone_stuck_but_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier_module, "LONGEST_STUCK_S", 0.3)

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(3)
        copy.follow()
        await equal(origin, copy)
        states = []
        for _ in range(3):
            await copy.database.write_zone("break", lambda tx: tx.execute(f"{UPDATE_DIGESTS} (SELECT chain FROM zone_state)"))
            await origin.add_users(1)
            await until(lambda: copy.applier.status().state == "stuck" or copy.database.state().head == origin.database.state().head)
            states.append(copy.applier.status().state)
        assert states[-1] == "stuck"
        assert len(seen(copy.database)["user_pool"]) >= 3
        await equal(origin, copy)

    run(tmp_path, test)


def test_a_zone_that_can_not_write_stays_stuck_until_it_can_and_tells_the_master_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        states, told, attempts = [], [], 0
        apply, hear, room = copy.database.apply, origin.positions.heard, False

        async def full(name: str, job: Any) -> Any:
            nonlocal attempts
            if not room and name == "log":
                attempts += 1
                states.append(copy.applier.status().state)
                raise UnavailableError("the disk is full")
            return await apply(name, job)

        def heard(zone_id: int, position: Position, trouble: str = "") -> None:
            told.append(trouble)
            hear(zone_id, position, trouble)

        monkeypatch.setattr(copy.database, "apply", full)
        monkeypatch.setattr(origin.positions, "heard", heard)
        await origin.add_users(5)
        copy.follow()
        await until(lambda: attempts >= 4)
        assert states == ["connecting"] + ["stuck"] * (attempts - 1)
        assert set(told[1:]) == {"the disk is full"}
        room = True
        await equal(origin, copy)
        await until(lambda: told[-1] == "")

    run(tmp_path, test)


def test_a_resync_ends_the_wait_of_a_zone_that_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier_module, "FIRST_WAIT_S", 3600.0)
    monkeypatch.setattr(applier_module, "LONGEST_HINDERED_S", 3600.0)

    async def test(origin: Origin, copy: Copy) -> None:
        apply, room = copy.database.apply, False

        async def full(name: str, job: Any) -> Any:
            if not room:
                raise UnavailableError("the disk is full")
            return await apply(name, job)

        monkeypatch.setattr(copy.database, "apply", full)
        await origin.add_users(5)
        copy.follow()
        await until(lambda: copy.applier.status().state == "stuck")
        with pytest.raises(UnavailableError, match="the disk is full"):
            await copy.applier.resync()
        room = True
        await copy.applier.resync()
        await origin.add_users(1)
        await equal(origin, copy)
        await until(lambda: copy.applier.status().state == "ok")

    run(tmp_path, test)


def test_a_resync_says_why_the_master_does_not_answer(tmp_path: Path) -> None:
    async def test(_origin: Origin, copy: Copy) -> None:
        copy.link.up = False
        copy.follow()
        with pytest.raises(LinkError, match="the cable is cut"):
            await copy.applier.resync()

    run(tmp_path, test)


def test_a_forked_zone_keeps_its_own_in_a_file_and_takes_over_the_masters(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(6)
        copy.follow()
        await equal(origin, copy)
        common = copy.database.state().position
        await copy.stop()
        await become(copy.database, "master", 1)
        for name in ("own-1", "own-2"):
            await copy.database.write_shared("own", add_user(name, "<USER>it''s</USER>"))
        await become(copy.database, "slave", 1)
        await origin.add_users(9)
        copy.follow()
        await equal(origin, copy)
        (kept,) = (copy.state_dir / "forked").iterdir()
        text = kept.read_text()
        with origin.database.read() as tx:
            shared = [line for logged in read_commits(tx, 0, statements=1000) for line in logged.statements]
        assert f"statements {common + 1} to" in text
        assert all(name in text for name in ("own-1", "own-2"))
        assert not [line for line in shared if line in text.replace(";\n", "\n").splitlines()[4:] and "pool_control" not in line]
        await until(lambda: str(kept) in copy.applier.status().last_error)

    run(tmp_path, test)


async def become(database: Database, role: Any, zone_id: int) -> None:
    state = database.state()
    await database.write_zone(
        "role", lambda tx: tx.set_membership(zone_id=zone_id, role=role, federation_id=state.federation_id, epoch=state.epoch)
    )


async def set_back(origin: Origin, copy: Copy, meanwhile: Callable[[], Awaitable[Any]]) -> None:
    """Give the master its database of before ``meanwhile`` back, as a careless restore does."""
    await origin.database.close()
    path = origin.state_dir / "koinon.db"
    saved = engines.save(path)
    origin.database = Database.open(engines.url(path))
    origin.database.start()
    origin.serve()
    beating = asyncio.create_task(origin.feed.keep_beating())
    copy.follow()
    await meanwhile()
    await equal(origin, copy)
    await copy.stop()
    beating.cancel()
    await origin.close()
    engines.restore(path, saved)
    origin.database = Database.open(engines.url(path))
    origin.database.start()
    origin.serve()


def test_a_master_that_was_set_back_stops_on_its_own_signature(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(4)
        await set_back(origin, copy, lambda: origin.add_users(3))
        held = copy.database.state().position
        assert origin.guard.halted is None
        copy.follow()
        await until(lambda: copy.applier.status().state == "ahead")
        await until(lambda: origin.guard.halted is not None)
        assert str(held) in str(origin.guard.halted)
        assert copy.database.state().position == held
        assert "set back" in copy.applier.status().last_error
        await copy.stop()
        # A halt outlives a restart, until an operator accepts the loss.
        await origin.feed.close()
        origin.serve()
        assert origin.guard.halted is not None
        await origin.guard.accept_loss()
        assert origin.guard.halted is None
        copy.follow()
        await equal(origin, copy)
        assert list((copy.state_dir / "forked").iterdir())
        # The next loss would be proved as well, though the new history is shorter than the one that was lost.
        await origin.add_users(1)
        await equal(origin, copy)
        assert copy.database.state().position < held
        with copy.database.read() as tx:
            vouched = read_proof(proof.load(tx), origin.private_key, FEDERATION)
        assert vouched is not None
        with origin.database.read() as tx:
            assert origin.guard.is_ours(tx, vouched.head.position.index, vouched.head.chain)

    run(tmp_path, test)


def test_a_frame_that_was_made_long_ago_tells_nothing_of_now(tmp_path: Path) -> None:
    """Frames are made once: one that catches a zone up may have been made for another an hour before."""

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(3)
        with origin.database.read() as tx:
            state, logged = tx.state, read_commits(tx, 0, statements=1)[0]
        intake, now_ms, hour_ms = copy.applier._intake, clock.now_ms(), 3_600_000
        beat = Heartbeat(FEDERATION, 1, state.position, state.chain, now_ms, (), 0)
        frame = CommitsFrame(FEDERATION, 1, bytes(32), logged.chain, (logged.commit,), logged.commit.last_idx, now_ms - hour_ms, 0)
        waits = msgspec.structs.replace(logged.commit, committed_at_ms=now_ms - hour_ms // 2)
        intake._waiting.append((msgspec.structs.replace(logged, commit=waits), 1))
        intake._note(beat, SignedFrame(), 0)
        intake._note(frame, SignedFrame(), 0)
        status = copy.applier.status()
        assert status.master == Position(1, state.position)
        assert status.lag_statements == state.position
        assert status.lag_s is not None
        assert status.lag_s >= hour_ms / 2000

    run(tmp_path, test)


async def go_ahead(origin: Origin, copy: Copy) -> int:
    """Let a copy write as if it were the master, until it has heard that it is ahead; the last index that both hold."""
    await origin.add_users(4)
    copy.follow()
    await equal(origin, copy)
    common = copy.database.state().position
    await copy.stop()
    await become(copy.database, "master", 1)
    await copy.database.write_shared("own", add_user("own"))
    await become(copy.database, "slave", 1)
    copy.follow()
    await until(lambda: copy.applier.status().state == "ahead")
    return common


def test_a_zones_word_alone_stops_nothing(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await go_ahead(origin, copy)
        assert origin.guard.halted is None

    run(tmp_path, test)


def test_a_zone_that_is_ahead_keeps_its_own_in_a_file_when_an_operator_makes_it_load_a_snapshot(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        common = await go_ahead(origin, copy)
        await copy.applier.resync()
        await equal(origin, copy)
        (kept,) = (copy.state_dir / "forked").iterdir()
        assert f"statements {common + 1} to" in kept.read_text()
        assert "own" in kept.read_text()

    run(tmp_path, test)


@pytest.mark.parametrize("masters_log_goes_on", [False, True])
def test_also_at_a_process_that_has_not_heard_yet_that_the_zone_is_ahead_or_forked(tmp_path: Path, masters_log_goes_on: bool) -> None:
    """As the one that has just got the lease."""

    async def test(origin: Origin, copy: Copy) -> None:
        await go_ahead(origin, copy)
        await copy.stop()
        await copy.database.close()
        copy.open()
        if masters_log_goes_on:
            await origin.add_users(9)
        copy.follow()
        with contextlib.suppress(Overtaken):  # a forked zone does by itself what it is told to
            await copy.applier.resync()
        await equal(origin, copy)
        (kept,) = (copy.state_dir / "forked").iterdir()
        assert "own" in kept.read_text()

    run(tmp_path, test)


def test_a_zone_that_forked_and_could_not_say_so_keeps_its_own_when_it_is_told_to_go_on(tmp_path: Path) -> None:
    """As when the disk was full, and an operator has made space."""

    async def test(origin: Origin, copy: Copy) -> None:
        await go_ahead(origin, copy)
        (copy.state_dir / "forked").write_text("in the way")
        await origin.add_users(9)
        await until(lambda: copy.applier.status().state == "stuck")
        (copy.state_dir / "forked").unlink()
        with contextlib.suppress(Overtaken):
            await copy.applier.resync()
        await equal(origin, copy)
        (kept,) = (copy.state_dir / "forked").iterdir()
        assert "own" in kept.read_text()

    run(tmp_path, test)


def test_what_cannot_be_kept_in_a_file_is_not_given_up(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await go_ahead(origin, copy)
        held = copy.database.state().head
        (copy.state_dir / "forked").write_text("in the way")
        with pytest.raises(FileExistsError):
            await copy.applier.resync()
        assert copy.database.state().head == held

    run(tmp_path, test)


def test_a_zone_past_the_kept_log_takes_a_snapshot(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(4)
        copy.follow()
        await equal(origin, copy)
        await copy.stop()
        await origin.add_users(60)
        await origin.retention.purge()
        with origin.database.read() as tx:
            assert readable_from(tx) > copy.database.state().position
        copy.follow()
        await equal(origin, copy)
        await origin.add_users(2)
        await equal(origin, copy)

    run(tmp_path, test, keep=10)


def test_a_snapshot_whose_rows_are_not_those_laid_aside_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when rows of this zone are edited by hand while it loads."""

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(60)
        await origin.retention.purge()
        differences = snapshot_loading._differences
        monkeypatch.setattr(snapshot_loading, "_differences", lambda *given: differences(*given)[1:])
        copy.follow()
        await until(lambda: copy.applier.status().state == "stuck")
        assert copy.applier.status().last_error.startswith("the snapshot does not fit: with the snapshot applied, the digest of ")
        monkeypatch.undo()
        await equal(origin, copy)

    run(tmp_path, test, keep=10)


def test_a_revoked_zone_says_so(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        async def refuse(_pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            raise Refused(403, "zone 1 was revoked", "revoked")
            yield b""

        copy.link.cut = refuse
        copy.follow()
        await until(lambda: copy.applier.status().state == "revoked")
        assert copy.applier.status().last_error == "zone 1 was revoked"
        assert copy.applier.status().refusal == "it refuses this zone: zone 1 was revoked."

    run(tmp_path, test)


def test_batches_hold_whole_commits_and_never_fewer_than_one(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        copy.applier._intake._batch_statements = 1

        def three(tx: Any) -> None:
            for _ in range(3):
                add_user(f"n{tx.counter('user_pool')}")(tx)

        for _ in range(4):
            await origin.write(three)
        positions: list[int] = []
        copy.database.on_commit(lambda notice: positions.append(notice.state.position))
        copy.follow()
        await equal(origin, copy)
        assert {position for position in positions if position > 1} == {7, 13, 19, 25}

    run(tmp_path, test)


@pytest.mark.parametrize("ticks", range(5))
def test_reporting_ends_when_told_to_also_while_something_moves(tmp_path: Path, ticks: int) -> None:
    """A part of a dead stream that lives on would keep the zone from ever following again."""

    async def test(_origin: Origin, copy: Copy) -> None:
        intake = copy.applier._intake
        reporting = asyncio.create_task(intake._keep_reporting(copy.link.master().link))
        await asyncio.sleep(0.2)  # it has reported, and waits
        intake._moved.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        reporting.cancel()
        done, _ = await asyncio.wait((reporting,), timeout=60)
        assert done

    run(tmp_path, test)


def test_an_ended_stream_is_an_interruption(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        async def nothing(_pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            return
            yield b""

        copy.link.cut = nothing
        master = copy.link.master()
        with pytest.raises(Interrupted):
            await copy.applier._intake.run(master.link, master.key, master.federation_id, master.epoch)

    run(tmp_path, test)


def test_a_zone_row_of_the_master_is_the_first_thing_that_arrives(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        copy.follow()
        await equal(origin, copy)
        with copy.database.read() as tx:
            row = tx.row("zone_pool", 0)
        assert isinstance(row, PoolRow)
        assert row.name == "master"

    run(tmp_path, test)

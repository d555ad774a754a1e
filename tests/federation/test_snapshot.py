"""Snapshots: made once, loaded in pieces, refused when damaged or strange, applied whole or not at all."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from koinon import clock
from koinon.database.jobs import Request
from koinon.database.statement_log import outcome_of
from koinon.database.transactions import ApplyTx, Overtaken, SharedTx
from koinon.errors import UnavailableError
from koinon.federation import snapshot, snapshot_loading
from koinon.federation.link import Link, LinkError
from koinon.federation.replies import Reply
from koinon.federation.snapshot import SIGNING_CONTEXT, is_snapshot_id
from koinon.federation.snapshot_download import remove_parts
from koinon.federation.snapshot_file import Counter, Row, SnapshotError, read_items, write_items
from koinon.federation.snapshot_loading import Refusal, load
from koinon.federation.snapshot_staging import Staging, Superseded, remove_stale
from koinon.statements.commits import Head
from koinon.statements.schema import AclRow
from koinon.wire.messages import Manifest, SignedManifest, SnapshotRequest, decode, encode, refusal
from tests.federation.copies import Copy, Origin, add_user, cut_after, equal, federation, seen, user

pytestmark = pytest.mark.engines


def pin(origin: Origin) -> int | None:
    with origin.database.read() as tx:
        return origin.snapshots.pin(tx)


def run(tmp_path: Path, test: Callable[[Origin, Copy], Awaitable[Any]], **options: Any) -> Any:
    async def inside() -> Any:
        async with federation(tmp_path, **options) as (origin, copy):
            return await test(origin, copy)

    return asyncio.run(inside())


def get(origin: Origin, copy: Copy, **options: Any) -> Awaitable[Head]:
    options.setdefault("master_key", origin.private_key.public_key())
    return load(cast(Link, copy.link), copy.database, copy.state_dir / "loading", **options)


async def fill(origin: Origin) -> None:
    await origin.add_users(20)
    await origin.write(lambda tx: tx.insert("acl", AclRow(0, 4294967296, 2**62, -1, 17179869184)))
    await origin.write(lambda tx: tx.insert("group_pool", user(7, "grüppe", "<GROUP>😀\n</GROUP>")))


def test_a_snapshot_makes_a_zone_the_masters_equal(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)
        request = Request(origin_zone=1, request_id="r-1", request_hash=bytes(32), seal=None, unseal=None)
        made = await origin.database.write_shared("by request", add_user("asked"), request=request)
        head = await get(origin, copy)
        assert head == origin.database.state().head == copy.database.state().head
        assert seen(copy.database) == seen(origin.database)
        with copy.database.read() as ours, origin.database.read() as theirs:
            known = outcome_of(ours, "r-1")
            assert known is not None
            assert known == outcome_of(theirs, "r-1")
            assert known.head.index == made.head.index
            assert ours.fetch("SELECT COUNT(*) FROM federation_log") == [(0,)]
            assert ours.fetch("SELECT COUNT(*) FROM snapshot_row") == [(0,)]
        assert list((copy.state_dir / "loading").iterdir()) == []
        copy.follow()
        await origin.add_users(3)
        await equal(origin, copy)

    run(tmp_path, test)


def test_loading_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)
        before = seen(copy.database)
        for size in (1, 100):
            copy.link.cut = cut_after(size)
            with pytest.raises(LinkError):
                await get(origin, copy)
            assert seen(copy.database) == before
        await origin.add_users(2)
        copy.link.cut = lambda pieces: pieces
        # A new process, which finds only what is on disk.
        await copy.close()
        copy.open()
        head = await get(origin, copy)
        assert head.position.index == origin.database.state().position - 4  # the very snapshot that was begun
        assert [path.rpartition("=")[2] for path in copy.link.asked if "offset" in path] == ["0", "1", "101"]
        copy.follow()
        await equal(origin, copy)

    run(tmp_path, test)


def test_a_damaged_snapshot_changes_nothing_and_is_loaded_anew(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)
        before = seen(copy.database)

        async def damage(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece[:50] + bytes([piece[50] ^ 1]) + piece[51:]

        copy.link.cut = damage
        with pytest.raises(SnapshotError, match="bytes are not those"):
            await get(origin, copy)
        assert seen(copy.database) == before
        copy.link.cut = lambda pieces: pieces
        await get(origin, copy)
        assert seen(copy.database) == seen(origin.database)

    run(tmp_path, test)


def test_only_our_master_in_our_federation_is_believed(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)
        before = seen(copy.database)
        with pytest.raises(SnapshotError, match="not signed by our master"):
            await get(origin, copy, master_key=Ed25519PrivateKey.generate().public_key())
        with pytest.raises(SnapshotError, match="not what was asked for"):
            await older(origin, copy)

        def elsewhere(tx: ApplyTx) -> None:
            tx.set_membership(zone_id=1, role="slave", federation_id="e" * 32, epoch=1)

        with pytest.raises(SnapshotError, match="is of federation"):
            await get(origin, copy, also=elsewhere)
        assert seen(copy.database) == before
        # A joining zone knows no key yet: the record in the snapshot must fit the signature.
        await get(origin, copy, master_key=None)
        assert seen(copy.database) == seen(origin.database)
        origin.private_key = Ed25519PrivateKey.generate()
        origin.snapshots.sweep(clock.monotonic_s() + 1)
        with pytest.raises(SnapshotError, match="not signed with the key of the zone"):
            await get(origin, copy, master_key=None)

    run(tmp_path, test)


async def older(origin: Origin, copy: Copy) -> None:
    """The master answers with less than was asked for."""
    asked = origin.snapshots.offer
    wanted = origin.database.state().position + 5

    async def offer(zone_id: int, _body: bytes) -> Any:
        return await asked(zone_id, encode(SnapshotRequest(0)))

    origin.snapshots.offer = offer  # type: ignore[assignment, method-assign]
    try:
        await get(origin, copy, at_least=wanted)
    finally:
        origin.snapshots.offer = asked  # type: ignore[method-assign] # put back what was replaced above


def test_check_sees_all_rows_and_may_refuse(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)
        before = seen(copy.database)
        given_rows: dict[str, Any] = {}

        def check(rows: Any) -> list[str]:
            given_rows.update(rows)
            return ["user 3 would be lost"]

        with pytest.raises(Refusal) as refused:
            await get(origin, copy, check=check)
        assert refused.value.found == ["user 3 would be lost"]
        assert seen(copy.database) == before
        with origin.database.read() as tx:
            assert given_rows == {"acl": tx.acl(), **{table: list(tx.rows(table)) for table in given_rows if table != "acl"}}
        assert len(given_rows) == 7

    run(tmp_path, test)


def test_what_else_must_change_changes_in_the_same_transaction(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)

        def refuse(tx: ApplyTx) -> None:
            tx.execute("INSERT INTO federation_setting (name, value) VALUES ('x', ?)", (b"1",))
            raise Overtaken("at the last moment")

        before = seen(copy.database)
        with pytest.raises(Overtaken):
            await get(origin, copy, also=refuse)
        with copy.database.read() as tx:
            assert tx.fetch("SELECT * FROM federation_setting") == []
        assert seen(copy.database) == before

    run(tmp_path, test)


def test_one_dump_serves_all_who_ask_at_about_the_same_time(tmp_path: Path) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        await fill(origin)

        async def offered(at_least: int = 0, have: str = "", *, to: int = 1) -> Manifest:
            reply = await origin.snapshots.offer(to, encode(SnapshotRequest(at_least, have)))
            signed = decode(SignedManifest, reply.body)
            origin.private_key.public_key().verify(signed.signature, SIGNING_CONTEXT + signed.payload)
            return decode(Manifest, signed.payload)

        first, second = await asyncio.gather(offered(), offered())
        assert first == second
        assert is_snapshot_id(first.snapshot_id)
        assert pin(origin) == first.head.position.index
        await origin.add_users(5)
        assert await offered() == first
        newer = await offered(origin.database.state().position, to=2)
        assert newer.head == origin.database.state().head
        assert await offered(have=first.snapshot_id) == first
        assert pin(origin) == first.head.position.index
        assert len(list((origin.state_dir / "snapshots").iterdir())) == 2
        # A zone has one: what none has any more goes at once.
        assert await offered(newer.head.position.index) == newer
        assert [path.stem for path in (origin.state_dir / "snapshots").iterdir()] == [newer.snapshot_id]
        origin.snapshots.sweep(clock.monotonic_s() + 1)
        assert pin(origin) is None
        assert list((origin.state_dir / "snapshots").iterdir()) == []
        assert origin.snapshots.download(1, newer.snapshot_id, 0).status_code == 404

    run(tmp_path, test)


def test_a_zone_that_has_the_master_dump_again_and_again_is_refused_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot, "DUMP_BURST_S", 2.0)
    now = clock.monotonic_s()  # it stands still, or a slow machine would be given more, and each dump would count for longer
    monkeypatch.setattr(clock, "monotonic_s", lambda: now)

    async def test(origin: Origin, _copy: Copy) -> None:
        async def offered(to: int, at_least: int) -> Reply:
            return await origin.snapshots.offer(to, encode(SnapshotRequest(at_least, "")))

        statuses = []
        for _ in range(9):
            await origin.add_users(1)
            statuses.append((await offered(1, origin.database.state().position)).status)
        assert statuses == [200] * 3 + [429] * 6
        refused = await offered(1, origin.database.state().position)
        assert b"the next one is made for it in" in refused.body
        assert capsys.readouterr().out.count("asks for new snapshots too often") == 1
        # What is there serves it too, once another zone has had it made; and with time it may ask again.
        assert (await offered(2, origin.database.state().position)).status == 200
        assert (await offered(1, origin.database.state().position)).status == 200
        await origin.add_users(1)
        assert (await offered(1, origin.database.state().position)).status == 429
        monkeypatch.setattr(clock, "monotonic_s", lambda: now + 11.0)
        assert (await offered(1, origin.database.state().position)).status == 200

    run(tmp_path, test)


def test_a_zone_is_sent_one_file_at_a_time_and_the_newest_counts(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)
        head = await get(origin, copy)
        (made,) = origin.snapshots._dumps.values()

        async def ask(zone_id: int) -> asyncio.Task[None]:
            """Begin a download and read nothing of it."""
            begun, never = asyncio.Event(), asyncio.Event()

            async def send(_message: Message) -> None:
                begun.set()
                await never.wait()

            async def receive() -> Message:
                await never.wait()
                raise AssertionError

            response = origin.snapshots.download(zone_id, made.manifest.snapshot_id, 0)
            task = asyncio.create_task(response({"type": "http", "method": "GET"}, receive, send))
            await begun.wait()
            return task

        first, other = await ask(1), await ask(2)
        second = await ask(1)
        await asyncio.wait({first}, timeout=60)
        assert first.cancelled()
        assert not second.done()
        assert not other.done()
        assert await get(origin, copy) == head, "who loads it in earnest comes to the end of it"
        assert second.cancelled()
        assert not other.done()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert not origin.snapshots._sending

    run(tmp_path, test)


def test_what_can_not_be_offered_is_not_dumped_and_holds_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(origin: Origin, _copy: Copy) -> None:
        await fill(origin)
        ahead = await origin.snapshots.offer(1, encode(SnapshotRequest(origin.database.state().position + 1)))
        assert (ahead.status, refusal(ahead.body).reason) == (409, "ahead")
        assert list((origin.state_dir / "snapshots").iterdir()) == []

        async def unavailable(**_: object) -> None:
            raise UnavailableError("the database is away")

        monkeypatch.setattr(origin.snapshots, "_tell_others", unavailable)
        with pytest.raises(UnavailableError):
            await origin.snapshots.offer(1, encode(SnapshotRequest()))
        assert pin(origin) is None

    run(tmp_path, test)


def test_what_a_loading_zone_will_need_is_not_purged(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(30)
        copy.link.cut = cut_after(10)
        with pytest.raises(LinkError):
            await get(origin, copy)
        await origin.add_users(60)
        await origin.retention.purge()
        copy.link.cut = lambda pieces: pieces
        copy.follow()
        await equal(origin, copy)
        # The first stream was refused, then came the pinned snapshot, and from there the log was still whole.
        assert sum("/log?" in path for path in copy.link.asked) == 2

    run(tmp_path, test, keep=5)


_OID = st.integers(0, 5)
_NAME = st.sampled_from("abcdef")


@settings(max_examples=25)
@given(
    ours=st.dictionaries(_OID, st.tuples(_NAME, st.sampled_from(("<A/>", "<B/>"))), max_size=6),
    theirs=st.dictionaries(_OID, st.tuples(_NAME, st.sampled_from(("<A/>", "<B/>"))), max_size=6),
    rules=st.tuples(st.permutations(range(4)), st.permutations(range(4))),
)
def test_any_rows_become_any_other_rows(
    tmp_path_factory: pytest.TempPathFactory,
    ours: dict[int, tuple[str, str]],
    theirs: dict[int, tuple[str, str]],
    rules: tuple[list[int], list[int]],
) -> None:
    """Also where names or rules were swapped between rows, which row by row would clash."""

    def put(rows: dict[int, tuple[str, str]], order: list[int]) -> Callable[[SharedTx], None]:
        def job(tx: SharedTx) -> None:
            taken: set[str] = set()
            for oid, (name, body) in rows.items():
                if name not in taken:
                    tx.insert("vdc_pool", user(oid, name, body))
                    taken.add(name)
            for oid, rule in enumerate(order):
                tx.insert("acl", AclRow(oid, rule, 1, 1, 1))
            tx.set_counter("vdc_pool", len(rows))

        return job

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.write(put(theirs, rules[0]))
        await copy.database.write_zone(
            "role", lambda tx: tx.set_membership(zone_id=1, role="master", federation_id=tx.state.federation_id, epoch=1)
        )
        await copy.database.write_shared("own", put(ours, rules[1]))
        await get(origin, copy)
        assert seen(copy.database) == seen(origin.database)

    run(tmp_path_factory.mktemp("rows"), test)


def test_large_snapshots_are_staged_in_small_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_loading, "_STAGED_AT_ONCE", 7)

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(40)
        groups: list[int] = []
        copy.database.on_commit(lambda notice: groups.append(notice.state.write_seq))
        await get(origin, copy)
        assert len(groups) >= 8
        assert seen(copy.database) == seen(origin.database)

    run(tmp_path, test)


# Several loads at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writes", [0, 3])
@pytest.mark.parametrize("step", ["begin", "lay_aside", "apply"])
def test_a_load_that_another_one_overtakes_hears_so_and_changes_nothing(
    tmp_path: Path, step: str, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the newer one begins before the older's rows are laid aside, in between, or when they are about to be taken over; and also
    where both are of one position.
    """
    monkeypatch.setattr(snapshot_loading, "_STAGED_AT_ONCE", 7)

    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(40)
        await get(origin, copy)
        newer: list[Head] = []
        where = copy.database if step == "apply" else Staging
        original = getattr(where, step)

        async def another_first(*given: Any) -> Any:
            if not newer:
                newer.append(copy.database.state().head)  # the next to come here is the newer load
                if step == "begin":
                    await original(*given)
                await origin.add_users(writes)
                newer[0] = await get(origin, copy, at_least=origin.database.state().position)
                if step == "begin":
                    return None
            return await original(*given)

        monkeypatch.setattr(where, step, another_first)
        with pytest.raises(Overtaken if writes else Superseded):
            await get(origin, copy)
        assert newer == [copy.database.state().head] == [origin.database.state().head]
        assert seen(copy.database) == seen(origin.database)
        with copy.database.read() as tx:
            assert tx.fetch("SELECT COUNT(*) FROM snapshot_row") == [(0,)]

    run(tmp_path, test)


def test_rows_laid_aside_are_one_loads_alone(tmp_path: Path) -> None:
    async def test(_origin: Origin, copy: Copy) -> None:
        older, newer = Staging(copy.database), Staging(copy.database)
        await older.begin()
        await newer.begin()
        with pytest.raises(Superseded):
            await older.lay_aside([])
        await older.end()
        await newer.lay_aside([])
        with copy.database.read() as tx:
            newer.require(tx)
            with pytest.raises(Superseded):
                older.require(tx)

    run(tmp_path, test)


def test_a_snapshot_takes_no_other_place_than_that_for_which_it_was_loaded(tmp_path: Path) -> None:
    """As when a process that loads is stopped, and another one follows the master meanwhile."""

    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)

        async def meanwhile(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            copy.link.cut = lambda pieces: pieces
            await origin.add_users(3)
            copy.follow()
            await equal(origin, copy)
            await copy.stop()
            async for piece in pieces:
                yield piece

        copy.link.cut = meanwhile
        with pytest.raises(Overtaken, match="no longer at"):
            await get(origin, copy, leaves=copy.database.state().head)
        assert seen(copy.database) == seen(origin.database)

    run(tmp_path, test)


def test_what_killed_loads_left_is_removed_and_what_others_hold_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await origin.add_users(40)
        directory = copy.state_dir / "loading"

        def left() -> tuple[int, int]:
            with copy.database.read() as tx:
                return tx.fetch("SELECT COUNT(*) FROM snapshot_row")[0][0], len(list(directory.iterdir()))

        async def killed(*_: object) -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(copy.database, "apply", killed)
        with pytest.raises(asyncio.CancelledError):
            await get(origin, copy)
        monkeypatch.undo()
        rows, files = left()
        assert rows > 40
        assert files == 1
        await remove_stale(copy.database, before_ms=clock.now_ms() - 60_000)
        remove_parts(directory, before=time.time() - 60)
        assert left() == (rows, 1)
        await remove_stale(copy.database, before_ms=clock.now_ms() + 1)
        remove_parts(directory, before=time.time() + 1)
        assert left() == (0, 0)

        async def sweep(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            remove_parts(directory, before=time.time() + 1)
            assert left()[1] == 1
            async for piece in pieces:
                yield piece

        copy.link.cut = sweep
        await get(origin, copy)
        assert left() == (0, 0)
        assert seen(copy.database) == seen(origin.database)

    run(tmp_path, test)


def test_two_loads_on_one_machine_have_files_of_their_own(tmp_path: Path) -> None:
    async def test(origin: Origin, copy: Copy) -> None:
        await fill(origin)

        async def another(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            copy.link.cut = lambda pieces: pieces
            whole = b"".join([piece async for piece in pieces])
            yield whole[:50]
            await get(origin, copy)
            yield whole[50:]

        copy.link.cut = another
        await get(origin, copy)  # the newer load has ended before this one's rows were laid aside
        assert [path.rpartition("=")[2] for path in copy.link.asked if "offset" in path] == ["0", "0"]
        assert seen(copy.database) == seen(origin.database)
        assert list((copy.state_dir / "loading").iterdir()) == []

    run(tmp_path, test)


# The file -------------------------------------------------------------------------------------------------------------


def test_items_come_back_as_they_went() -> None:
    items = [Row("acl", (number, number, 1, 1, 1)) for number in range(3)] + [
        Row("user_pool", (number, f"u{number}", "x" * 500_000, 1, 1, 1, 0, 0)) for number in range(5)
    ]
    file = io.BytesIO()
    assert write_items(file, [*items, Counter("acl", 7)]) == 9
    file.seek(0)
    blocks = list(read_items(file))
    assert len(blocks) > 1
    assert [item for block in blocks for item in block] == [*items, Counter("acl", 7)]


@pytest.mark.parametrize(
    "item",
    [
        Row("host_pool", (1, "x", "", 1, 1, 1, 0, 0)),
        Row("user_pool", (1, "x")),
        Row("user_pool", (1, "x\x00", "", 1, 1, 1, 0, 0)),
        Row("user_pool", (2**40, "x", "", 1, 1, 1, 0, 0)),
        Row("acl", ("1", 1, 1, 1, 1)),
        Counter("host_pool", 1),
        Counter("user_pool", 2**40),
    ],
)
def test_what_no_log_may_hold_is_refused(item: Row | Counter) -> None:
    file = io.BytesIO()
    write_items(file, [item])
    file.seek(0)
    with pytest.raises(SnapshotError):
        list(read_items(file))


@given(st.data())
def test_no_bytes_make_the_reader_fail_otherwise(data: st.DataObject) -> None:
    file = io.BytesIO()
    write_items(file, [Row("acl", (1, 1, 1, 1, 1)), Counter("acl", 7)])
    raw = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(1, len(raw))) :]
    for candidate in (bytes(raw), data.draw(st.binary())):
        try:
            for block in read_items(io.BytesIO(candidate)):
                assert all(not isinstance(item, Row) or item.table in ("acl", "user_pool") for item in block)
        except SnapshotError:
            pass

"""What goes into an engine comes out of it, to the byte, and every engine comes to the same digests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness import engines
from koinon.database.database import Database
from koinon.database.state import ZoneState
from koinon.database.statement_log import read_commits
from koinon.database.transactions import ReadTx, SharedTx
from koinon.errors import InternalError, InvalidError
from koinon.statements import digest
from koinon.statements.rendering import render
from koinon.statements.schema import INT32, INT64, MAX_BODY_BYTES, MAX_COMMIT_BYTES, AclRow, Insert, PoolRow
from tests.database.hard_values import FORBIDDEN, LARGE, LONG_NUMBERS, NAMES, NUMBERS, TEXTS

pytestmark = pytest.mark.engines


def rows() -> list[PoolRow]:
    """A row for each name, each with several texts and numbers."""
    return [
        PoolRow(at, name, "".join(TEXTS[at:] + TEXTS[:at]), *(NUMBERS[(at + more) % len(NUMBERS)] for more in range(5)))
        for at, name in enumerate(NAMES)
    ]


def rules() -> list[AclRow]:
    return [AclRow(at, *(LONG_NUMBERS[(at + more) % len(LONG_NUMBERS)] for more in range(4))) for at in range(len(LONG_NUMBERS))]


def with_database(path: Path, job: Callable[[Database], Any]) -> Any:
    async def run() -> Any:
        database = Database.open(engines.url(path))
        database.start()
        try:
            return await job(database)
        finally:
            await database.close()

    return asyncio.run(run())


def insert(pool: Sequence[PoolRow], acl: Sequence[AclRow] = ()) -> Callable[[SharedTx], None]:
    def job(tx: SharedTx) -> None:
        for row in pool:
            tx.insert("user_pool", row)
        for rule in acl:
            tx.insert("acl", rule)

    return job


def expected(table: str, values: Sequence[PoolRow] | Sequence[AclRow]) -> bytes:
    total = digest.EMPTY
    for row in values:
        total = digest.add(total, digest.row_hash(table, tuple(getattr(row, name) for name in row.__struct_fields__)))
    return digest.to_bytes(total)


def test_every_value_comes_back_and_the_digests_are_those_of_the_values(tmp_path: Path) -> None:
    def look(tx: ReadTx) -> tuple[Any, ...]:
        return tx.rows("user_pool"), tx.acl(), tx.digests(), tx.state

    async def test(database: Database) -> None:
        await database.write_shared("hard", insert(rows(), rules()))
        with database.read() as tx:
            inline = look(tx)
        assert inline == await database.read_in_thread(look)
        found, found_rules, digests, state = inline
        assert found == rows()
        assert found_rules == rules()
        assert digests["user_pool"] == expected("user_pool", rows())
        assert digests["acl"] == expected("acl", rules())
        with database.read() as tx:
            for logged in read_commits(tx, 0, statements=10_000):
                changes = logged.commit.changes
                assert [change.values for change in changes if change.table == "acl"] == [  # type: ignore[union-attr] # all are inserts
                    (rule.oid, rule.userset, rule.resource, rule.rights, rule.zone) for rule in rules()
                ]
        assert isinstance(state, ZoneState)

    with_database(tmp_path / "koinon.db", test)


def test_a_name_is_found_by_its_bytes_alone(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        await database.write_shared("hard", insert(rows()))
        with database.read() as tx:
            for row in rows():
                assert tx.named("user_pool", row.name) == row
            for other in ("bOb", "bob   ", "bo\u0302b", "😂", "null "):
                assert tx.named("user_pool", other) is None
        for name in NAMES:
            with pytest.raises(InternalError):
                await database.write_shared("again", insert([PoolRow(1000, name, "", 0, 0, 0, 0, 0)]))

    with_database(tmp_path / "koinon.db", test)


def test_values_change_to_each_other(tmp_path: Path) -> None:
    """An engine that takes two texts for equal might leave the old one: all of them go through one row."""

    async def test(database: Database) -> None:
        await database.write_shared("first", insert([PoolRow(0, "a", "", 0, 0, 0, 0, 0)]))
        for text in (*TEXTS, *NAMES):
            row = PoolRow(0, "a", text, 0, 0, 0, 0, 0)
            await database.write_shared("next", partial(SharedTx.update, table="user_pool", row=row))
            with database.read() as tx:
                assert tx.row("user_pool", 0) == row
                assert tx.digests()["user_pool"] == expected("user_pool", [row])

    with_database(tmp_path / "koinon.db", test)


def test_bodies_at_the_limit_pass_whatever_they_are_made_of(tmp_path: Path) -> None:
    async def test(database: Database) -> None:
        for at, body in enumerate(LARGE):
            await database.write_shared("large", insert([PoolRow(at, str(at), body, 0, 0, 0, 0, 0)]))
            with database.read() as tx:
                found = tx.row("user_pool", at)
                assert found is not None
                assert found.body == body
                (logged,) = read_commits(tx, at, statements=1)
                assert logged.commit.changes[0].values[2] == body  # type: ignore[union-attr] # it is an insert

        def two_more(tx: SharedTx) -> None:
            for oid in (100, 101):
                tx.insert("user_pool", PoolRow(oid, str(oid), LARGE[0], 0, 0, 0, 0, 0))

        await database.write_shared("two in one commit", two_more)
        with database.read() as tx:
            assert {len(body) for (body,) in tx.fetch("SELECT body FROM user_pool WHERE oid >= 100")} == {len(LARGE[0])}

    with_database(tmp_path / "koinon.db", test)


@pytest.mark.parametrize("unit", ["x", "'", "😀"], ids=["letter", "quote", "four-bytes"])
def test_one_byte_above_the_limit_of_a_body_is_refused(tmp_path: Path, unit: str) -> None:
    """Bytes count, not characters, and not those that an engine or a driver adds."""
    fits = unit * (MAX_BODY_BYTES // len(unit.encode()))

    above = PoolRow(0, "a", fits + "x", 0, 0, 0, 0, 0)

    async def test(database: Database) -> None:
        with pytest.raises(InvalidError, match="4194305 bytes"):
            await database.write_shared("above", insert([above]))
        await database.write_shared("at", insert([PoolRow(0, "a", fits, 0, 0, 0, 0, 0)]))
        with pytest.raises(InvalidError, match="4194305 bytes"):
            await database.write_shared("above", partial(SharedTx.update, table="user_pool", row=above))
        with database.read() as tx:
            assert [row.body for row in tx.rows("user_pool")] == [fits]

    with_database(tmp_path / "koinon.db", test)


def test_a_commit_holds_16_mib_of_statements_and_not_one_byte_more(tmp_path: Path) -> None:
    def rows_of(total: int) -> list[PoolRow]:
        shell = sum(len(render(Insert("user_pool", (oid, "a", "", 0, 0, 0, 0, 0))).encode()) for oid in range(4, 9))
        size = (total - shell) // 5
        return [PoolRow(oid, str(oid), "x" * size, 0, 0, 0, 0, 0) for oid, size in enumerate([size] * 4 + [total - shell - 4 * size], 4)]

    async def test(database: Database) -> None:
        with pytest.raises(InvalidError, match=f"{MAX_COMMIT_BYTES + 1} bytes at once"):
            await database.write_shared("above", insert(rows_of(MAX_COMMIT_BYTES + 1)))
        await database.write_shared("at", insert(rows_of(MAX_COMMIT_BYTES)))
        with database.read() as tx:
            assert tx.rows("user_pool") == rows_of(MAX_COMMIT_BYTES)
            (logged,) = read_commits(tx, 0, statements=10)
            assert sum(len(render(change).encode()) for change in logged.commit.changes) == MAX_COMMIT_BYTES

    with_database(tmp_path / "koinon.db", test)


@pytest.mark.parametrize("table", ["user_pool", "acl"])
def test_one_beyond_the_ends_of_its_numbers_is_refused_before_the_engine_sees_it(tmp_path: Path, table: str) -> None:
    """MariaDB in another mode would store the end itself."""
    lowest, highest = INT32 if table == "user_pool" else INT64

    async def test(database: Database) -> None:
        for number in (lowest - 1, highest + 1):
            row = insert([PoolRow(0, "a", "", number, 0, 0, 0, 0)]) if table == "user_pool" else insert([], [AclRow(0, number, 0, 0, 0)])
            with pytest.raises(InternalError, match="not within"):
                await database.write_shared("beyond", row)
        with database.read() as tx:
            assert tx.rows("user_pool") == []
            assert tx.acl() == []

    with_database(tmp_path / "koinon.db", test)


@pytest.mark.parametrize("text", FORBIDDEN, ids=ascii)
def test_what_xml_forbids_is_refused_alike(tmp_path: Path, text: str) -> None:
    async def test(database: Database) -> None:
        with pytest.raises(InternalError, match="XML does not allow"):
            await database.write_shared("forbidden", insert([PoolRow(0, "a", text, 0, 0, 0, 0, 0)]))
        with pytest.raises(InternalError, match="XML does not allow"):
            await database.write_shared("forbidden", insert([PoolRow(0, text, "", 0, 0, 0, 0, 0)]))
        with database.read() as tx:
            assert tx.rows("user_pool") == []
            assert tx.state.position == 0

    with_database(tmp_path / "koinon.db", test)


def test_raw_bytes_and_nothing_come_back_as_they_went(tmp_path: Path) -> None:
    values = [b"", b"\x00", bytes(range(256)), b"'\\\"%?" * 100, b"\xff" * 100_000]

    async def test(database: Database) -> None:
        await database.write_zone(
            "raw",
            lambda tx: tx.later(
                "INSERT INTO federation_setting (name, value) VALUES (?, ?)", *[(str(at), raw) for at, raw in enumerate(values)]
            ),
        )
        with database.read() as tx:
            found = [value for (value,) in tx.fetch("SELECT value FROM federation_setting ORDER BY name")]
        assert found == values
        assert {type(value) for value in found} == {bytes}

    with_database(tmp_path / "koinon.db", test)

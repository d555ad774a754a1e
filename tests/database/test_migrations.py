"""Schema versions: what they make is what tables.py declares, and what a zone holds survives them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, create_engine, inspect

from harness import engines
from koinon.database import migrations
from koinon.database.database import Database
from koinon.database.dialects import choose
from koinon.database.tables import metadata
from koinon.database.transactions import SharedTx
from koinon.errors import UnavailableError
from koinon.statements.schema import PoolRow

FOLDER = Path(migrations.__file__).parent
pytestmark = pytest.mark.engines
GROUP = PoolRow(100, "dev", "<GROUP><ID>100</ID></GROUP>", 0, 100, 1, 1, 0)


def migrate(path: Path, revision: str = migrations.HEAD) -> None:
    migrations.upgrade(choose(engines.url(path)), revision)


def alchemy(path: Path) -> Engine:
    dialect = choose(engines.url(path))
    return create_engine(f"{dialect.alchemy}://", creator=dialect.migrator, poolclass=NullPool)


def differences(path: Path) -> list[object]:
    with alchemy(path).connect() as connection:
        found: list[object] = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    return found


def columns(path: Path) -> dict[str, list[tuple[str, str, bool]]]:
    """Columns of every table in their order: name, type, whether they may be empty; and what the keys are."""
    looked = inspect(alchemy(path))
    tables = [name for name in looked.get_table_names() if name != "alembic_version"]
    found = {name: [(str(row["name"]), repr(row["type"]), bool(row["nullable"])) for row in looked.get_columns(name)] for name in tables}
    return found | {f"{name} key": [(str(looked.get_pk_constraint(name)["constrained_columns"]), "", False)] for name in tables}


def test_head_is_the_newest_version() -> None:
    assert ScriptDirectory(str(FOLDER)).get_heads() == [migrations.HEAD]


def test_the_names_of_all_tables_are_known_without_loading_their_columns() -> None:
    assert sorted(migrations.TABLES) == sorted(metadata.tables)


def test_a_migrated_database_has_the_declared_tables(tmp_path: Path) -> None:
    migrated, declared = tmp_path / "migrated.db", tmp_path / "declared.db"
    migrate(migrated)
    assert differences(migrated) == []
    metadata.create_all(alchemy(declared))
    assert columns(migrated) == columns(declared)


def test_an_older_schema_would_be_noticed(tmp_path: Path) -> None:
    migrate(tmp_path / "old.db", "0001")
    assert differences(tmp_path / "old.db") != []


def test_a_zone_of_the_first_schema_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "koinon.db"
    migrate(path, "0001")

    async def write_and_read() -> None:
        database = Database.open(engines.url(path))
        database.start()
        with database.read() as tx:
            assert tx.row("group_pool", 100) == GROUP
            assert tx.counter("group_pool") == 100
            assert tx.fetch("SELECT COUNT(*) FROM cluster_pool") == [(0,)]
        await database.write_shared("test", lambda tx: tx.next_id("group_pool"))
        await database.close()

    with engines.by_hand(path) as connection:
        connection.execute("INSERT INTO group_pool VALUES (100, 'dev', ?, 0, 100, 1, 1, 0, ?)", (GROUP.body, bytes(32)))
        connection.execute("INSERT INTO pool_control VALUES ('group_pool', 100, ?)", (bytes(32),))
    asyncio.run(write_and_read())
    with engines.by_hand(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (migrations.HEAD,)


def test_a_database_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "koinon.db"
    migrate(path, "0001")
    with engines.by_hand(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = columns(path)
    with pytest.raises(UnavailableError, match="newer koinon"):
        Database.open(engines.url(path))
    assert columns(path) == before


def test_opening_twice_migrates_once(tmp_path: Path) -> None:
    async def add(tx_name: str) -> None:
        database = Database.open(engines.url(tmp_path / "koinon.db"))
        database.start()

        def job(tx: SharedTx) -> None:
            tx.insert("group_pool", PoolRow(tx.next_id("group_pool"), tx_name, "<GROUP/>", 0, 0, 1, 1, 0))

        await database.write_shared("test", job)
        with database.read() as tx:
            assert [row.name for row in tx.rows("group_pool")][-1] == tx_name
        await database.close()

    asyncio.run(add("one"))
    asyncio.run(add("two"))


def test_a_first_start_that_was_interrupted_can_be_made_again(tmp_path: Path) -> None:
    """MariaDB keeps the tables that were made before the end came."""
    path = tmp_path / "koinon.db"
    migrate(path)
    with engines.by_hand(path) as connection:
        for table in ("alembic_version", "outbox", "reign"):
            connection.execute(f"DROP TABLE {table}")
        for table in ("shared_digest", "zone_state"):
            connection.execute(f"DELETE FROM {table}")
    migrate(path)
    assert differences(path) == []
    with engines.by_hand(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM zone_state").fetchone() == (1,)

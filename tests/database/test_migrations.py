"""Schema versions: what they make is what tables.py declares, and what a zone holds survives them."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from koinon.database import migrations
from koinon.database.database import Database
from koinon.database.tables import metadata
from koinon.database.transactions import SharedTx
from koinon.errors import UnavailableError
from koinon.statements.schema import PoolRow

FOLDER = Path(migrations.__file__).parent
GROUP = PoolRow(100, "dev", "<GROUP><ID>100</ID></GROUP>", 0, 100, 1, 1, 0)


def migrate(path: Path, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{path}")
    command.upgrade(config, revision)


def differences(path: Path) -> list[object]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        found: list[object] = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    engine.dispose()
    return found


def columns(path: Path) -> dict[str, list[tuple[str, str, int, int]]]:
    """Columns of every table in their order: name, type, whether they may be empty, place in the key."""
    with sqlite3.connect(path) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'")
        ]
        found = {name: [(row[1], row[2], row[3], row[5]) for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    connection.close()
    return found


def test_head_is_the_newest_version() -> None:
    assert ScriptDirectory(str(FOLDER)).get_heads() == [migrations.HEAD]


def test_a_migrated_database_has_the_declared_tables(tmp_path: Path) -> None:
    migrated, declared = tmp_path / "migrated.db", tmp_path / "declared.db"
    migrate(migrated, migrations.HEAD)
    assert differences(migrated) == []
    engine = create_engine(f"sqlite:///{declared}")
    metadata.create_all(engine)
    engine.dispose()
    assert columns(migrated) == columns(declared)


def test_an_older_schema_would_be_noticed(tmp_path: Path) -> None:
    migrate(tmp_path / "old.db", "0001")
    assert differences(tmp_path / "old.db") != []


def test_a_zone_of_the_first_schema_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "koinon.db"
    migrate(path, "0001")

    async def write_and_read() -> None:
        database = Database.open(path)
        database.start()
        with database.read() as tx:
            assert tx.row("group_pool", 100) == GROUP
            assert tx.counter("group_pool") == 100
            assert tx.fetch("SELECT COUNT(*) FROM cluster_pool") == [(0,)]
        await database.write_shared("test", lambda tx: tx.next_id("group_pool"))
        await database.close()

    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO group_pool VALUES (100, 'dev', ?, 0, 100, 1, 1, 0, ?)", (GROUP.body, bytes(32)))
        connection.execute("INSERT INTO pool_control VALUES ('group_pool', 100, ?)", (bytes(32),))
    connection.close()
    asyncio.run(write_and_read())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (migrations.HEAD,)
    connection.close()


def test_a_database_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "koinon.db"
    migrate(path, "0001")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = columns(path)
    with pytest.raises(UnavailableError, match="newer koinon"):
        Database.open(path)
    assert columns(path) == before


def test_opening_twice_migrates_once(tmp_path: Path) -> None:
    async def add(tx_name: str) -> None:
        database = Database.open(tmp_path / "koinon.db")
        database.start()

        def job(tx: SharedTx) -> None:
            tx.insert("group_pool", PoolRow(tx.next_id("group_pool"), tx_name, "<GROUP/>", 0, 0, 1, 1, 0))

        await database.write_shared("test", job)
        with database.read() as tx:
            assert [row.name for row in tx.rows("group_pool")][-1] == tx_name
        await database.close()

    asyncio.run(add("one"))
    asyncio.run(add("two"))

"""A zone's database copied, backed up and restored: on and between all engines, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import NullPool, create_engine, inspect

from harness import engines
from koinon.daemon import moving
from koinon.database import backup_file, migrations
from koinon.database.closed import Mark
from koinon.database.contents import TABLES, Filling, unserved
from koinon.database.database import Database
from koinon.database.dialects import choose
from koinon.database.state import GENERATION
from koinon.database.transactions import SharedTx
from koinon.errors import UnavailableError
from koinon.federation import outbox
from koinon.federation.operations import object_deleted
from koinon.objects.kinds import Kind
from koinon.settings import DatabaseSettings, Settings
from koinon.statements.schema import MAX_BODY_BYTES, AclRow, PoolRow

NAMES = ("Bob", "bob", "bob ", "Bób", "Bo\u0301b", "😀", "😁", "it's \\ \"x\" %s ? :a ''", "two\nlines\ttab")
LONG = "é'\\" * (MAX_BODY_BYTES // 4)
GROUPS = [PoolRow(100 + at, name, f"<GROUP>{name}</GROUP>", 0, 100 + at, 1, 1, 0) for at, name in enumerate(NAMES)]
RULES = [AclRow(0, 2**63 - 1, -(2**63), 1, 0), AclRow(2**31 - 1, -1, 1, 2**63 - 1, -(2**63))]


def tell(_text: str) -> None:
    """Nobody listens."""


def settings(folder: Path, engine: str = "", name: str = "koinon.db") -> Settings:
    return Settings(state_dir=str(folder), database=DatabaseSettings(url=engines.url(folder / name, engine)))


def elsewhere(folder: Path, engine: str) -> Settings:
    """A place on another engine, if that is installed."""
    try:
        return settings(folder / "other", engine)
    except engines.Missing as missing:
        pytest.skip(str(missing))


def in_zone(where: Settings, act: Callable[[Database], Any]) -> Any:
    """Let a server's database act."""

    async def run() -> Any:
        database = Database.open(where.database.url)
        database.start()
        try:
            return await act(database)
        finally:
            await database.close()

    return asyncio.run(run())


def fill(tx: SharedTx) -> None:
    for group in GROUPS:
        tx.insert("group_pool", group)
    tx.insert("group_pool", PoolRow(2**31 - 1, "long", LONG, 0, -1, 1, 1, 0))
    tx.set_counter("group_pool", 108)
    for rule in RULES:
        tx.insert("acl", rule)
    tx.execute("INSERT INTO system_attributes (name, body) VALUES (?, ?)", ("", "'\\ 😀"))
    tx.execute("INSERT INTO federation_setting (name, value) VALUES (?, ?)", ("bytes", bytes(range(256))))
    outbox.put(tx, object_deleted(Kind.HOST, 7), now_ms=1)


@pytest.fixture
def zone(tmp_path: Path) -> Settings:
    """A stopped zone with values that engines treat differently."""
    made = settings(tmp_path)
    in_zone(made, lambda database: database.write_shared("fill", fill))
    return made


@pytest.fixture(params=engines.ENGINES)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Where the zone's rows go: each engine after each."""
    return elsewhere(tmp_path, request.param)


def contents(where: Settings) -> dict[str, list[tuple[Any, ...]]]:
    dialect = choose(where.database.url)
    connection = dialect.reader()
    try:
        return {
            table: sorted((_plain(table, row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}")), key=repr)
            for table, columns in TABLES.items()
        }
    finally:
        connection.close()


def _plain(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row without the generation, which is the database's own."""
    at = TABLES[table].index("write_seq") if table == "zone_state" else len(row)
    return *row[:at], *(value % GENERATION for value in row[at : at + 1]), *row[at + 1 :]


async def write_on(database: Database) -> tuple[int, list[int]]:
    """What a zone goes on with: its position, and the ids of its outbox."""
    written = await database.write_shared("more", lambda tx: tx.next_id("group_pool"))
    assert written.value == 109
    await database.write_zone("more", lambda tx: outbox.put(tx, object_deleted(Kind.HOST, 8), now_ms=1))
    with database.read() as tx:
        return written.head.index, [oid for (oid,) in tx.fetch("SELECT id FROM outbox ORDER BY id")]


@pytest.mark.engines
def test_a_copy_of_a_stopped_zone_is_the_zone(zone: Settings, other: Settings) -> None:
    before = contents(zone)
    told = moving.copy(zone, other.database.url, replace=False, tell=tell)
    assert told["opened"]
    assert told["faults"] == []
    assert contents(other) == before
    index, ids = in_zone(other, write_on)
    assert index == len(before["federation_log"]) + 1
    assert len(set(ids)) == 2


@pytest.mark.engines
def test_a_backup_is_restored_on_another_engine(zone: Settings, tmp_path: Path) -> None:
    following = engines.ENGINES[(engines.ENGINES.index(engines.current) + 1) % len(engines.ENGINES)]
    other = elsewhere(tmp_path, following)
    before = contents(zone)
    file = tmp_path / "backup"
    moving.back_up(zone, file, with_keys=False, tell=tell)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size < MAX_BODY_BYTES // 10
    told = moving.restore(other, file, replace=False, tell=tell)
    assert told["position"] == f"0.{len(before['federation_log'])}"
    assert contents(other) == before
    _, ids = in_zone(other, write_on)
    assert len(set(ids)) == 2


@pytest.mark.engines
def test_a_copy_of_a_running_zone_is_closed_until_it_is_made_again_with_the_zone_stopped(zone: Settings, tmp_path: Path) -> None:
    other = settings(tmp_path / "other")

    async def copy_while_it_runs(database: Database) -> None:
        told = await asyncio.to_thread(moving.copy, zone, other.database.url, replace=False, tell=tell)
        assert not told["opened"]
        await database.write_shared("later", lambda tx: tx.next_id("user_pool"))

    in_zone(zone, copy_while_it_runs)
    with pytest.raises(UnavailableError, match=r"closed.* while the zone ran.* with the zone stopped"):
        Database.open(other.database.url)
    put: list[str] = []
    told = moving.copy(zone, other.database.url, replace=False, tell=lambda text: put.append(text) if "rows" in text else None)
    assert told["opened"]
    assert contents(other) == contents(zone)
    assert not [text for text in put if text.startswith("group_pool")]  # it was there
    in_zone(other, write_on)


@pytest.mark.engines
def test_the_database_that_a_zone_has_left_is_closed_until_it_is_taken_back(zone: Settings, tmp_path: Path) -> None:
    """A machine whose settings were forgotten would go on with what is no longer the zone."""
    other = settings(tmp_path / "other")
    moving.copy(zone, other.database.url, replace=False, tell=tell)
    left = contents(zone)
    for attempt in (
        lambda: Database.open(zone.database.url),
        lambda: moving.back_up(zone, tmp_path / "backup", with_keys=False, tell=tell),
        lambda: moving.copy(zone, engines.url(tmp_path / "third.db"), replace=False, tell=tell),
    ):
        with pytest.raises(UnavailableError, match=r"a zone that moved to .* Set `url`"):
            attempt()
    in_zone(other, write_on)
    with pytest.raises(UnavailableError, match="not empty"):
        moving.copy(other, zone.database.url, replace=False, tell=tell)
    assert contents(zone) == left
    assert moving.take_back(zone)["position"] == f"0.{len(left['federation_log'])}"
    with pytest.raises(UnavailableError, match="is open"):
        moving.take_back(zone)
    in_zone(zone, write_on)
    moving.copy(zone, other.database.url, replace=True, tell=tell)
    assert contents(other) == contents(zone)
    in_zone(other, lambda database: database.write_zone("nothing", lambda tx: None))


@pytest.mark.engines
def test_only_what_was_left_is_taken_back(zone: Settings, tmp_path: Path) -> None:
    other = settings(tmp_path / "other")

    async def copy_while_it_runs(_database: Database) -> None:
        await asyncio.to_thread(moving.copy, zone, other.database.url, replace=False, tell=tell)

    in_zone(zone, copy_while_it_runs)
    with pytest.raises(UnavailableError, match="stays closed: it holds an unfinished copy"):
        moving.take_back(other)
    with pytest.raises(UnavailableError, match=r"holds no zone|there is no such file"):
        moving.take_back(settings(tmp_path / "nothing"))
    in_zone(zone, write_on)


@pytest.mark.engines
def test_a_copy_that_breaks_off_is_closed_and_goes_on(zone: Settings, tmp_path: Path) -> None:
    other = settings(tmp_path / "other")

    def breaking(text: str) -> None:
        if text.startswith("group_pool"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        moving.copy(zone, other.database.url, replace=False, tell=breaking)
    with pytest.raises(UnavailableError, match="unfinished copy"):
        Database.open(other.database.url)
    with pytest.raises(UnavailableError, match="unfinished copy"):
        moving.back_up(other, tmp_path / "backup", with_keys=False, tell=tell)
    moving.copy(zone, other.database.url, replace=False, tell=tell)
    assert contents(other) == contents(zone)
    in_zone(other, write_on)


def test_a_row_that_did_not_arrive_as_it_was_is_found(zone: Settings, tmp_path: Path) -> None:
    other = settings(tmp_path / "other")

    def meddle(text: str) -> None:
        if text == "checking acl":
            with engines.by_hand(tmp_path / "other" / "koinon.db") as connection:
                connection.execute("UPDATE system_attributes SET body = ?", ("'\\ 😁",))

    with pytest.raises(UnavailableError, match="not a true copy: system_attributes was sent as 1 rows"):
        moving.copy(zone, other.database.url, replace=False, tell=meddle)
    with pytest.raises(UnavailableError, match="unfinished copy"):
        Database.open(other.database.url)


@pytest.mark.engines
def test_what_is_there_is_given_up_only_when_told_to(zone: Settings, tmp_path: Path) -> None:
    other = settings(tmp_path / "other")
    in_zone(other, lambda database: database.write_shared("theirs", lambda tx: tx.insert("group_pool", GROUPS[0])))
    theirs = contents(other)
    file = tmp_path / "backup"
    moving.back_up(zone, file, with_keys=False, tell=tell)
    with pytest.raises(UnavailableError, match="not empty"):
        moving.copy(zone, other.database.url, replace=False, tell=tell)
    with pytest.raises(UnavailableError, match="not empty"):
        moving.restore(other, file, replace=False, tell=tell)
    assert contents(other) == theirs
    moving.restore(other, file, replace=True, tell=tell)
    assert contents(other) == contents(zone)


@pytest.mark.engines
def test_a_database_that_a_server_runs_on_is_left_alone(zone: Settings, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    moving.back_up(zone, file, with_keys=False, tell=tell)
    other = settings(tmp_path / "other")

    async def try_it(_database: Database) -> None:
        with pytest.raises(UnavailableError, match="in use by another koinon server"):
            await asyncio.to_thread(moving.restore, zone, file, replace=True, tell=tell)
        with pytest.raises(UnavailableError, match="in use by another koinon server"):
            await asyncio.to_thread(moving.copy, other, zone.database.url, replace=True, tell=tell)

    in_zone(other, lambda database: database.write_zone("nothing", lambda tx: None))
    in_zone(zone, try_it)
    in_zone(zone, write_on)


def test_a_backup_of_an_older_schema_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old.db"
    dialect = choose(engines.url(old))
    migrations.upgrade(dialect, "0002")
    looked = inspect(create_engine(f"{dialect.alchemy}://", creator=dialect.migrator, poolclass=NullPool))
    there = {table: {column["name"] for column in looked.get_columns(table)} for table in looked.get_table_names()}
    tables = {table: tuple(one for one in columns if one in there[table]) for table, columns in TABLES.items() if table in there}
    assert "outbox" not in tables
    header = backup_file.Header(1, "0.0", "0002", "sqlite", 0, "standalone", "", 0, 0, bytes(32), 0, "old")
    connection = dialect.reader()
    select = "SELECT {} FROM {}"
    with monkeypatch.context() as patch:
        patch.setattr(backup_file, "TABLES", tables)
        backup_file.write(
            tmp_path / "backup", header, [], lambda table: connection.execute(select.format(", ".join(tables[table]), table)), tell
        )
    connection.close()
    new = settings(tmp_path / "new")
    moving.restore(new, tmp_path / "backup", replace=False, tell=tell)
    in_zone(new, lambda database: database.write_zone("outbox", lambda tx: outbox.put(tx, object_deleted(Kind.HOST, 8), now_ms=1)))


def test_hand_edits_are_told_of_and_copied(zone: Settings, tmp_path: Path) -> None:
    with engines.by_hand(tmp_path / "koinon.db") as connection:
        connection.execute("UPDATE group_pool SET uid = 7 WHERE oid = 100")
    other = settings(tmp_path / "other")
    assert moving.copy(zone, other.database.url, replace=False, tell=tell)["faults"] == ["group_pool"]
    assert contents(other) == contents(zone)


def test_nothing_is_made_where_no_zone_is(tmp_path: Path) -> None:
    nowhere = settings(tmp_path / "nowhere")
    with pytest.raises(UnavailableError, match=r"no such file|holds no zone"):
        moving.copy(nowhere, f"sqlite:///{tmp_path}/other.db", replace=False, tell=tell)
    with pytest.raises(UnavailableError, match=r"no such file|holds no zone"):
        moving.back_up(nowhere, tmp_path / "backup", with_keys=False, tell=tell)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["", "oracle://x/y", "sqlite://relative"])
def test_what_is_no_address_is_refused(zone: Settings, to: str) -> None:
    with pytest.raises(UnavailableError, match="not the address of a database"):
        moving.copy(zone, to, replace=False, tell=tell)
    with pytest.raises(UnavailableError, match="the zone's own database"):
        moving.copy(zone, zone.database.url, replace=True, tell=tell)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def backup(zone: Settings, tmp_path: Path) -> Path:
    file = tmp_path / "backup"
    moving.back_up(zone, file, with_keys=False, tell=tell)
    return file


def test_a_file_that_is_there_is_kept(zone: Settings, backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(UnavailableError, match="there already"):
        moving.back_up(zone, backup, with_keys=False, tell=tell)
    assert backup.read_bytes() == before


def test_a_backup_that_breaks_off_leaves_no_file(zone: Settings, tmp_path: Path) -> None:
    def breaking(_text: str) -> None:
        raise KeyboardInterrupt

    in_zone(
        zone,
        lambda database: database.write_zone(
            "many", lambda tx: tx.later("INSERT INTO user_quotas (user_oid, body) VALUES (?, 'x')", *[(oid,) for oid in range(1500)])
        ),
    )
    (tmp_path / "backups").mkdir()
    with pytest.raises(KeyboardInterrupt):
        moving.back_up(zone, tmp_path / "backups" / "file", with_keys=False, tell=breaking)
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_damaged_file_changes_nothing(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    other = settings(tmp_path / "other")
    for at in (0, 20, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        backup.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UnavailableError, match=r"damaged|no backup"):
            moving.restore(other, backup, replace=False, tell=tell)
    for size in (0, 5, 14, 30, len(whole) // 2, len(whole) - 1):
        backup.write_bytes(whole[:size])
        with pytest.raises(UnavailableError, match=r"damaged|no backup"):
            moving.look(other, backup)
    assert not (tmp_path / "other" / "koinon.db").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"format": 2}, "does not know"), ({"schema": "9999"}, "Upgrade koinon"), ({"schema": "head"}, "newer koinon")],
)
def test_a_file_of_a_newer_koinon_is_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    header = backup_file.Header(1, "0.0", migrations.HEAD, "sqlite", 0, "standalone", "", 0, 0, bytes(32), 0, "")
    backup_file.write(tmp_path / "backup", msgspec.structs.replace(header, **changed), [], lambda table: [], tell)
    with pytest.raises(UnavailableError, match=told):
        moving.look(settings(tmp_path), tmp_path / "backup")


def test_a_file_can_name_no_other_places(tmp_path: Path) -> None:
    """A hash that is right proves no good will."""
    header = backup_file.Header(1, "0.0", migrations.HEAD, "sqlite", 0, "standalone", "", 0, 0, bytes(32), 0, "")
    keys = [backup_file.KeyFile("../outside", b"x")]
    backup_file.write(tmp_path / "backup", header, keys, lambda table: [], tell)
    with pytest.raises(UnavailableError, match="no file of a zone's keys"):
        moving.look(settings(tmp_path), tmp_path / "backup")


def test_a_table_of_another_name_leaves_the_database_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = backup_file.Header(1, "0.0", migrations.HEAD, "sqlite", 0, "standalone", "", 0, 0, bytes(32), 0, "")
    with monkeypatch.context() as patch:
        patch.setattr(backup_file, "TABLES", {"acl; DROP TABLE acl": ("oid",)})
        backup_file.write(tmp_path / "backup", header, [], lambda table: [], tell)
    other = settings(tmp_path / "other")
    with pytest.raises(UnavailableError, match="not one of a zone's"):
        moving.restore(other, tmp_path / "backup", replace=False, tell=tell)
    with pytest.raises(UnavailableError, match="unfinished copy of a backup"):
        Database.open(other.database.url)


def test_keys_go_along_when_asked_for(zone: Settings, tmp_path: Path) -> None:
    (tmp_path / "federation").mkdir()
    for name in ("one_auth", "federation/zone.key"):
        (tmp_path / name).write_text(f"secret of {name}")
    (tmp_path / "recovery-1.key").write_text("kept offline")
    told = moving.back_up(zone, tmp_path / "backup", with_keys=True, tell=tell)
    assert told["keys"] == ["one_auth", "federation/zone.key"]
    other = settings(tmp_path / "other")
    moving.restore(other, tmp_path / "backup", replace=False, tell=tell)
    for name in ("one_auth", "federation/zone.key"):
        assert (other.state / name).read_text() == f"secret of {name}"
        assert (other.state / name).stat().st_mode & 0o777 == 0o600
    (other.state / "one_auth").write_text("another")
    with pytest.raises(UnavailableError, match=r"other files than the backup: one_auth.*renamed"):
        moving.restore(settings(tmp_path / "other", name="empty.db"), tmp_path / "backup", replace=False, tell=tell)
    moving.restore(other, tmp_path / "backup", replace=True, tell=tell)
    assert (other.state / "one_auth").read_text() == "secret of one_auth"
    assert (other.state / "one_auth.before-restore").read_text() == "another"


def test_tables_of_someone_else_are_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with engines.by_hand(tmp_path / "other" / "koinon.db") as connection:
        connection.execute("CREATE TABLE acl (mine INTEGER)")
    other = settings(tmp_path / "other")
    dialect = choose(other.database.url)
    with unserved(dialect) as connection, pytest.raises(UnavailableError, match=r"tables of the same names \(acl\)"):
        Filling(dialect, connection, Mark("a test", "Nothing."), replace=False)

"""A process whose database is closed or filled behind its back: it gets through neither with new sessions nor with those that it has."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import engines
from koinon.daemon import moving
from koinon.database import contents, fence, lease
from koinon.database.closed import Closed
from koinon.database.database import Database
from koinon.database.dialects import choose
from koinon.errors import UnavailableError
from koinon.settings import DatabaseSettings, Settings
from koinon.statements.schema import PoolRow
from tests.database.test_writer import add_user

EVERY_ENGINE = pytest.mark.engines


@asynccontextmanager
async def unseen(where: Settings) -> AsyncIterator[Database]:
    """A process that goes on while others think that the zone is stopped."""
    database = Database.open(where.database.url)
    database.start()
    (where.state / "koinon.db.lock").unlink(missing_ok=True)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(lease, "require_unheld", lambda *_: None)
    return settings(tmp_path)


@pytest.fixture(params=["sessions end", "sessions go on"])
def sessions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to end them, they go on."""
    if request.param == "sessions go on":
        for name in ("sqlite.SQLite", "postgresql.PostgreSQL", "mariadb.MariaDB"):
            monkeypatch.setattr(f"koinon.database.dialects.{name}.end_others", lambda _self, _own: 3)


def settings(folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    return Settings(state_dir=str(folder), database=DatabaseSettings(url=engines.url(folder / "koinon.db")))


def rows(where: Settings) -> Any:
    found = engines.save(where.state / "koinon.db")
    del found["lease"]
    return found


class Trying:
    """Writes and reads at each step of an operation that runs in a thread; afterwards, what was written to a database that was shut."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._shut = False
        self.refused = 0
        shut = fence.shut

        def shutting(*arguments: Any, **options: Any) -> int:
            left = shut(*arguments, **options)
            self._shut = True
            self.tell("")
            return left

        monkeypatch.setattr(contents, "shut", shutting)
        monkeypatch.setattr(moving, "shut", shutting)

    def tell(self, _text: str) -> None:
        if self._shut:
            asyncio.run_coroutine_threadsafe(self._try(), self._loop).result()

    async def _try(self) -> None:
        with pytest.raises(UnavailableError):
            await self._database.write_shared("write", lambda tx: tx.insert("group_pool", PoolRow(900, "x", "<GROUP/>", 0, 900, 1, 1, 0)))
        with pytest.raises(UnavailableError), self._database.read():
            pass
        self.refused += 1


@EVERY_ENGINE
@pytest.mark.usefixtures("sessions")
def test_nothing_gets_into_a_database_while_it_is_restored_nor_after(
    zone: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with unseen(zone) as database:
            await database.write_shared("add", add_user())
            moving.back_up(zone, tmp_path / "backup", with_keys=False, tell=lambda _: None)
            trying = Trying(database, monkeypatch)
            for _ in range(2):  # the second time it holds what the first has put there
                await asyncio.to_thread(moving.restore, zone, tmp_path / "backup", replace=True, tell=trying.tell)
                (zone.state / "koinon.db.lock").unlink(missing_ok=True)
            assert trying.refused > 10
            before = rows(zone)
            for kind in (database.write_zone, database.write_shared, database.apply):
                with pytest.raises(Closed, match=r"restored or copied into|unfinished copy of a backup"):
                    await kind("write", lambda tx: tx.execute("DELETE FROM outbox"))
            with pytest.raises(Closed):
                await database.read_in_thread(lambda tx: tx.state)
            with pytest.raises(Closed):
                database.query("SELECT 1")
            assert rows(zone) == before
            assert "start it again" in database.closed
        async with unseen(zone) as database:
            await database.write_shared("add", add_user())

    asyncio.run(run())


@EVERY_ENGINE
@pytest.mark.usefixtures("sessions")
def test_nothing_gets_into_a_database_that_was_left_nor_when_it_is_taken_back(
    zone: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = settings(tmp_path / "other")

    async def run() -> None:
        async with unseen(zone) as database:
            await database.write_shared("add", add_user())
            ended = asyncio.Event()
            database.on_closed(ended.set)
            trying = Trying(database, monkeypatch)
            monkeypatch.setattr(contents, "shut", fence.shut)  # of the copy
            await asyncio.to_thread(moving.copy, zone, other.database.url, replace=False, tell=trying.tell)
            assert trying.refused == 1
            before = rows(zone)
            async with asyncio.timeout(60):
                await ended.wait()
            moving.take_back(zone)
            with pytest.raises(Closed, match=r"a zone that moved to|was closed, restored"):
                await database.write_shared("add", add_user())
            assert rows(zone) == before

    asyncio.run(run())


def test_who_is_not_asked_for_anything_finds_out_too(zone: Settings, tmp_path: Path) -> None:
    """On SQLite no watch does it."""

    async def run() -> None:
        async with unseen(zone) as database:
            ended = asyncio.Event()
            database.on_closed(ended.set)
            await asyncio.to_thread(moving.copy, zone, settings(tmp_path / "other").database.url, replace=False, tell=lambda _: None)
            async with asyncio.timeout(60):
                await ended.wait()
            assert "a zone that moved to" in database.closed

    asyncio.run(run())


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("by", ["another file", "nothing"])
def test_a_file_that_was_taken_away_is_not_written_to(zone: Settings, by: str) -> None:
    """What was acknowledged then would be nowhere."""
    file = zone.state / "koinon.db"

    async def run() -> None:
        async with unseen(zone) as database:
            await database.write_shared("add", add_user())
            shutil.copy(file, zone.state / "copy")
            file.unlink()
            if by == "another file":
                (zone.state / "copy").rename(file)
            with pytest.raises(Closed, match="was removed or replaced"):
                await database.write_shared("add", add_user())

    asyncio.run(run())


@pytest.mark.engines("postgresql", "mariadb")
def test_sessions_are_ended_as_far_as_rights_go(tmp_path: Path, engine: str) -> None:
    server = engines.server(engine)
    name = engines.database_name(tmp_path)
    url = server.database(name)
    if engine == "postgresql":
        server.administer("CREATE ROLE keeper LOGIN", "CREATE ROLE stranger LOGIN")
        of = {role: url.replace("//koinon@", f"//{role}@") for role in ("keeper", "stranger")}
    else:
        server.administer(*(f"GRANT ALL ON {name}.* TO {role}@localhost IDENTIFIED BY 'x'" for role in ("keeper", "stranger")))
        of = {role: url.replace("//root@", f"//{role}:x@") for role in ("keeper", "stranger")}
    keeper, stranger = choose(of["keeper"]), choose(of["stranger"])
    asking, reading, other, foreign = keeper.connect(), keeper.connect(), keeper.connect(), stranger.connect()
    try:
        left = keeper.end_others([asking, reading])
        assert left == (1 if engine == "postgresql" else 0)  # MariaDB does not show it
        for session, dialect in ((asking, keeper), (reading, keeper), (foreign, stranger)):
            assert session.execute("SELECT 7").fetchone() == (7,)
            assert not dialect.is_gone(session)
        with pytest.raises(keeper.driver_error):
            other.execute("SELECT 7")
    finally:
        for session in (asking, reading, other, foreign):
            session.close()

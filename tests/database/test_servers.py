"""Servers that are not fit, go away and come back: each is told in words for an operator."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from harness import engines
from harness.engines import Server
from koinon.database.database import Database
from koinon.database.dialects import mariadb, postgresql, servers
from koinon.errors import UnavailableError
from tests.database.test_writer import add_user, assert_log_is_whole
from tests.federation.copies import until

postgresql_only = pytest.mark.engines("postgresql")
mariadb_only = pytest.mark.engines("mariadb")


@pytest.fixture(scope="module")
def server(engine: str) -> Iterator[Server]:
    """A server of our own: these tests spoil it."""
    made = {"postgresql": engines.PostgreSQL, "mariadb": engines.MariaDB}[engine]()
    made.start()
    yield made
    made.remove()


def refused(url: str) -> str:
    with pytest.raises(UnavailableError) as caught:
        Database.open(url)
    assert "Traceback" not in caught.value.text
    return caught.value.text


def opens(url: str, accept: Collection[str] = ()) -> None:
    async def run() -> None:
        database = Database.open(url, accept=accept)
        database.start()
        await database.close()

    asyncio.run(run())


@postgresql_only
@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit"])
def test_postgresql_that_would_lose_writes_is_refused_unless_that_is_accepted(server: Server, setting: str) -> None:
    url = server.database(f"unsafe_{setting}")
    server.administer(f"ALTER SYSTEM SET {setting} = off", "SELECT pg_reload_conf()")
    try:
        engines.wait_until(lambda: server.administer(f"SHOW {setting}") == [("off",)])
        said = refused(url)
        assert f"{setting} = off" in said
        assert f'accept = "{setting}"' in said
        opens(url, accept={setting})
    finally:
        server.administer(f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
        engines.wait_until(lambda: server.administer(f"SHOW {setting}") == [("on",)])


@postgresql_only
def test_postgresql_that_is_not_utf8_is_refused(server: Server) -> None:
    server.administer("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    assert "keeps text as SQL_ASCII" in refused(server.url("ascii"))


@postgresql_only
def test_postgresql_where_we_may_not_make_tables_is_refused(server: Server) -> None:
    url = server.database("poor")
    server.administer("CREATE ROLE poor LOGIN")
    said = refused(url.replace("koinon@", "poor@"))
    assert "poor may not make tables in the schema public" in said
    assert "GRANT CREATE" in said


@postgresql_only
def test_postgresql_where_we_may_not_write_is_refused(server: Server) -> None:
    url = server.database("reading")
    opens(url)
    server.administer("CREATE ROLE reading LOGIN")
    with engines.session(url) as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO reading")
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reading")
    assert "too few rights" in refused(url.replace("koinon@", "reading@"))


@postgresql_only
def test_an_older_postgresql_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "OLDEST", 990000)
    assert "is version 15" in refused(server.database("older"))


@mariadb_only
def test_mariadb_that_would_lose_writes_is_refused_unless_that_is_accepted(server: Server) -> None:
    url = server.database("unsafe")
    server.administer("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        assert "innodb_flush_log_at_trx_commit = 2" in refused(url)
        opens(url, accept={"innodb_flush_log_at_trx_commit"})
    finally:
        server.administer("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


@mariadb_only
@pytest.mark.parametrize(
    ("set_up", "set_back", "said"),
    [
        ("SET GLOBAL max_allowed_packet = 1048576", "SET GLOBAL max_allowed_packet = 16777216", "max_allowed_packet = 16M"),
        ("SET GLOBAL default_storage_engine = MyISAM", "SET GLOBAL default_storage_engine = InnoDB", "has no transactions"),
        ("ALTER DATABASE unfit CHARACTER SET latin1", "ALTER DATABASE unfit CHARACTER SET utf8mb4", "keeps text as latin1"),
    ],
    ids=("packet", "storage", "encoding"),
)  # fmt: skip
def test_mariadb_that_is_not_fit_is_refused(server: Server, set_up: str, set_back: str, said: str) -> None:
    url = server.database("unfit")
    server.administer(set_up)
    try:
        assert said in refused(url)
    finally:
        server.administer(set_back)
    opens(url)


@mariadb_only
def test_an_older_mariadb_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mariadb, "OLDEST", (99, 0))
    assert "is version 10.11" in refused(server.database("older"))


@mariadb_only
def test_mariadb_where_we_may_not_write_is_refused(server: Server) -> None:
    url = server.database("reading")
    opens(url)
    server.administer("CREATE USER reading@localhost", "GRANT SELECT ON reading.* TO reading@localhost")
    assert "too few rights" in refused(url.replace("root@", "reading@"))


@mariadb_only
def test_a_wrong_password_is_told_and_not_shown(server: Server) -> None:
    url = server.database("guarded")
    server.administer("CREATE USER guarded@localhost IDENTIFIED BY 'right'", "GRANT ALL ON guarded.* TO guarded@localhost")
    said = refused(url.replace("root@", "guarded:wr0ng@"))
    assert "Access denied" in said
    assert "wr0ng" not in said
    opens(url.replace("root@", "guarded:right@"))


@pytest.mark.engines("postgresql", "mariadb")
def test_a_database_or_a_server_that_is_not_there_is_told(server: Server) -> None:
    assert "nowhere" in refused(server.url("nowhere"))
    scheme = server.url("nowhere").partition("://")[0]
    assert "can't be reached" in refused(f"{scheme}://koinon@127.0.0.1:1/nowhere")


@pytest.mark.engines("postgresql", "mariadb")
def test_a_server_that_goes_away_makes_plain_errors_and_is_found_again(server: Server) -> None:
    url = server.database("restarts")

    async def run() -> None:
        database = Database.open(url)
        database.start()
        await database.write_shared("add", add_user("before"))
        server.stop()
        with pytest.raises(UnavailableError, match=r"can't be reached|ended the session"), database.read() as tx:
            tx.fetch("SELECT 1")
        with pytest.raises(UnavailableError, match="can't be reached"):
            await database.write_shared("add", add_user("refused"))
        with pytest.raises(UnavailableError, match="can't be reached"):
            await database.read_in_thread(lambda tx: tx.counter("user_pool"))
        server.start()  # from this thread, with which it ends
        assert (await database.write_shared("add", add_user("after"))).value == 1

        def reads() -> bool:
            try:
                with database.read() as tx:
                    return [row.name for row in tx.rows("user_pool")] == ["before", "after"]
            except UnavailableError:
                return False

        await until(reads)
        assert await database.read_in_thread(lambda tx: tx.counter("user_pool")) == 1
        assert_log_is_whole(database)
        await database.close()

    asyncio.run(run())


@pytest.mark.engines("postgresql", "mariadb")
def test_a_server_that_keeps_silent_is_given_up(server: Server, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop waits for short reads itself: it must not do so for ever."""
    monkeypatch.setattr(servers, "SILENCE_S", 1)
    forever = {"postgresql": "SELECT pg_sleep(60)", "mariadb": "SELECT SLEEP(60)"}[engine]

    async def run() -> None:
        database = Database.open(server.database("silent"))
        database.start()
        began = time.monotonic()
        with pytest.raises(UnavailableError), database.read() as tx:
            tx.fetch(forever)
        assert time.monotonic() - began < 30

        def reads() -> bool:
            with contextlib.suppress(UnavailableError), database.read() as tx:
                return tx.counter("user_pool") == -1
            return False

        await until(reads)
        await database.close()

    asyncio.run(run())


@pytest.mark.engines("postgresql", "mariadb")
def test_an_idle_zone_hardly_notices_that_its_server_was_restarted(server: Server, tmp_path: Path) -> None:
    """Its session for reads is replaced before somebody asks."""

    async def run() -> None:
        database = Database.open(server.database("idle"))
        database.start()
        first = database._reader
        server.stop()
        server.start()  # from this thread, with which it ends
        await until(lambda: database._reader is not first)
        with database.read() as tx:
            assert tx.counter("user_pool") == -1
        await database.close()

    asyncio.run(run())

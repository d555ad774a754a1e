"""Servers that are not fit, go away and come back: each is told in words for an operator."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from harness import engines, processes
from harness.engines import Server
from koinon.database import migrations
from koinon.database.database import Database
from koinon.database.dialects import choose, postgresql, servers
from koinon.database.dialects.protocol import Connection
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


@contextlib.contextmanager
def the_only_session(server: Server, url: str, end: str) -> Iterator[None]:
    """End a user's sessions until we have got the one that it may have."""
    with contextlib.ExitStack() as stack:

        def taken() -> bool:
            server.administer(end)
            with contextlib.suppress(Exception):
                stack.enter_context(engines.session(url)).execute("SELECT 1")
                return True
            return False

        engines.wait_until(taken)
        yield


@postgresql_only
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
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
    assert "reading lacks the right INSERT on the table alembic_version." in refused(url.replace("koinon@", "reading@"))


def _assert_each_right_is_missed(ours: str, superuser: Connection, user: str, shown: str) -> None:
    """Take one right on one table after the other."""
    dialect = choose(ours)
    with contextlib.closing(dialect.writer()) as session:
        dialect.require_rights(session, migrations.TABLES)
        for table in migrations.TABLES:
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                superuser.execute(f"REVOKE {right} ON {table} FROM {user}")
                with pytest.raises(UnavailableError) as caught:
                    dialect.require_rights(session, migrations.TABLES)
                assert f"{shown} lacks the right {right} on the table {table}." in caught.value.text
                superuser.execute(f"GRANT {right} ON {table} TO {user}")
        dialect.require_rights(session, migrations.TABLES)


def _granted_as_told(said: str, superuser: Connection) -> None:
    """Do what a refusal says."""
    superuser.execute(said.rpartition("As an administrator of the server: ")[2])


@postgresql_only
def test_each_right_that_postgresql_does_not_give_is_named_with_what_grants_it(server: Server) -> None:
    url = server.database("rights")
    opens(url)
    server.administer('CREATE ROLE "Zone-1" LOGIN')
    ours = url.replace("koinon@", "Zone-1@")
    with engines.session(url) as superuser:
        superuser.execute('GRANT CREATE ON SCHEMA public TO "Zone-1"')
        for right, what in (
            ("SELECT", "the table alembic_version"), ("SELECT", "the table acl"), ("USAGE", "the sequence outbox_id_seq"),
        ):  # fmt: skip
            if what.endswith("acl"):
                superuser.execute('REVOKE ALL ON acl FROM "Zone-1"')
            said = refused(ours)
            assert f"Zone-1 lacks the right {right} on {what}." in said
            _granted_as_told(said, superuser)
        opens(ours)
        _assert_each_right_is_missed(ours, superuser, '"Zone-1"', "Zone-1")


@postgresql_only
def test_tables_of_another_role_that_are_to_be_changed_are_told(server: Server) -> None:
    """Rights on rows are no rights to bring the schema up to date."""
    url = server.database("older")
    migrations.upgrade(choose(url), "0004")
    server.administer("CREATE ROLE heir LOGIN")
    with engines.session(url) as superuser:
        superuser.execute("GRANT CREATE ON SCHEMA public TO heir")
        superuser.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO heir")
        said = refused(url.replace("koinon@", "heir@"))
        assert "must be owner of table" in said
        assert "OWNER TO" in said
        assert superuser.execute("SELECT version_num FROM alembic_version").fetchone()[0] == "0004"
        for table in (migrations.TABLE, *migrations.TABLES):
            superuser.execute(f"ALTER TABLE IF EXISTS {table} OWNER TO heir")
    opens(url.replace("koinon@", "heir@"))


@postgresql_only
def test_postgresql_whose_tables_were_taken_from_us_is_refused(server: Server) -> None:
    server.administer("CREATE ROLE revoked LOGIN", "CREATE DATABASE revoked OWNER revoked")
    url = server.url("revoked").replace("koinon@", "revoked@")
    opens(url)
    with engines.session(server.url("revoked")) as superuser:
        superuser.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM revoked")
    said = refused(url)
    assert "revoked lacks the right SELECT on the table alembic_version." in said
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO revoked;" in said


@postgresql_only
def test_a_session_that_postgresql_does_not_grant_is_told_with_the_way_out(server: Server) -> None:
    """No SQLSTATE comes with these: libpq's and the server's words are all there is."""
    server.administer(
        "CREATE ROLE guarded LOGIN PASSWORD 'p@ss/w:rd%é'", "CREATE DATABASE guarded OWNER guarded", "CREATE ROLE outside LOGIN",
        "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
    )  # fmt: skip
    rules = server.folder / "data/pg_hba.conf"
    before = rules.read_text()
    rules.write_text("local all all trust\nhost all guarded 127.0.0.1/32 scram-sha-256\nhostssl all outside 127.0.0.1/32 trust\n")
    server.administer("SELECT pg_reload_conf()")
    there = f"127.0.0.1:{server.port}/guarded"
    silent = processes.free_port()
    try:
        engines.wait_until(lambda: "password" in refused(f"postgresql://guarded@{there}"))
        opens(f"postgresql://guarded:{quote('p@ss/w:rd%é', safe='')}@{there}")
        for url, what, remedy in (
            (f"postgresql://guarded:wr0ng@{there}", "password authentication failed", "Mend the user and the password"),
            (f"postgresql://guarded@{there}?password=wr0ng", "password authentication failed", "Mend the user and the password"),
            (f"postgresql://guarded@{there}", "no password supplied", "Mend the user and the password"),
            (f"postgresql://outside@{there}", "no pg_hba.conf entry", "sslmode=require"),
            (f"postgresql://guarded:wr0ng@{there}?sslmode=require", "does not support SSL", "Mend sslmode"),
            (f"postgresql://guarded:wr0ng@{there}?sslmode=nonsense", "invalid sslmode", "Mend the address"),
            (f"postgresql://guarded:wr0ng@{there}?slmode=require", "slmode", "Mend the address"),
            (server.url("guarded").replace("koinon@", "crowded@"), "too many connections", "end others"),
            (server.url("nowhere"), 'database "nowhere" does not exist', "Make it"),
            (server.url("guarded").replace("koinon@", "nobody@"), 'role "nobody" does not exist', "Mend the user"),
            (f"postgresql://guarded:wr0ng@[::1]:{silent},127.0.0.1:{silent}/guarded", "::1", "Start it"),
        ):
            said = refused(url)
            assert what in said, said
            assert remedy in said, said
            assert "wr0ng" not in said
            assert "goes on" not in said, said  # nothing runs that would
    finally:
        rules.write_text(before)
        server.administer("SELECT pg_reload_conf()")


@postgresql_only
def test_of_several_hosts_each_ones_reason_is_told(server: Server) -> None:
    server.administer("CREATE ROLE listed LOGIN", "ALTER ROLE listed SET default_transaction_read_only = on")
    silent = processes.free_port()
    there, away = f"127.0.0.1:{server.port}", f"127.0.0.1:{silent}"
    said = refused(f"postgresql://listed:wr0ng@{away},{there},nowhere.invalid:5432/postgres")
    assert f"({away}: Connection refused; {there}: " in said
    assert "session is read-only; nowhere.invalid: the name has no address)" in said
    assert "name its primary" in said
    assert "wr0ng" not in said
    many = refused(f"postgresql://listed@{','.join([away] * 40)}/postgres")
    assert "; and 34 more). Start it" in many
    assert f"127.0.0.1:{silent}: Connection refused; the other names have no address" not in many
    assert "the other names have no address" in refused(f"postgresql://listed@nowhere.invalid:5432,{away}/postgres")


@mariadb_only
def test_of_several_hosts_of_mariadb_each_ones_reason_is_told(server: Server) -> None:
    silent = processes.free_port()
    there, away = f"127.0.0.1:{server.port}", f"127.0.0.1:{silent}"
    said = refused(f"mysql://listed:wr0ng@{there},{away}/nowhere")
    assert f"({there}: 1045 Access denied for user 'listed'" in said
    assert f"; {away}: 2003 Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)). Mend the user" in said
    assert "wr0ng" not in said
    many = refused(f"mysql://listed@{','.join([away] * 40)}/nowhere")
    assert "; and 34 more). Start it" in many
    assert len(many) < 3000


@postgresql_only
def test_a_postgresql_that_takes_no_writes_is_refused(server: Server) -> None:
    server.administer("CREATE ROLE reader LOGIN", "ALTER ROLE reader SET default_transaction_read_only = on")
    said = refused(server.database("for_readers").replace("koinon@", "reader@"))
    assert "session is read-only" in said
    assert "name its primary" in said


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
@pytest.mark.parametrize("version", ["8.0.39", "5.7.44-log", "10.6.18-MariaDB"])
def test_a_mysql_and_an_old_mariadb_are_refused_by_what_they_call_themselves(version: str) -> None:
    """They lack what a session begins with, so the version must be looked at before that."""
    other = engines.MariaDB(f"--version={version}")
    other._answers = lambda: (other.folder / "socket").exists()  # type: ignore[method-assign] # no session of ours is granted
    try:
        other.start()
        said = refused(other.url("mysql"))
        assert f"it is version {version}" in said
        assert "Koinon needs MariaDB 10.11 or newer" in said
    finally:
        other.remove()


@mariadb_only
def test_mariadb_that_could_tear_a_page_is_refused_unless_that_is_accepted() -> None:
    other = engines.MariaDB("--skip-innodb-doublewrite")
    try:
        other.start()
        assert "innodb_doublewrite = off" in refused(other.database("torn"))
        opens(other.url("torn"), accept={"innodb_doublewrite"})
    finally:
        other.remove()


@mariadb_only
def test_mariadb_where_we_may_not_make_tables_is_refused(server: Server) -> None:
    url = server.database("poor")
    server.administer("CREATE USER poor@localhost", "GRANT SELECT, INSERT, UPDATE, DELETE ON poor.* TO poor@localhost")
    said = refused(url.replace("root@", "poor@"))
    assert "CREATE command denied" in said
    assert "Grant ALL ON poor.*" in said


@mariadb_only
def test_a_session_that_mariadb_does_not_grant_is_told_with_the_way_out(server: Server) -> None:
    there = f"127.0.0.1:{server.port}/granted"
    server.database("granted")
    for user, more in (("plain", "IDENTIFIED BY 'p@ss/w:rd%é€'"), ("tls", "REQUIRE SSL"), ("locked", "ACCOUNT LOCK")):
        server.administer(f"CREATE USER {user}@'127.0.0.1' {more}", f"GRANT ALL ON granted.* TO {user}@'127.0.0.1'")
    opens(f"mysql://plain:{quote('p@ss/w:rd%é€', safe='')}@{there}")
    trusted = server.folder / "ca.pem"
    silent = processes.free_port()
    for url, what, remedy in (
        (f"mysql://plain:wr0ng€@{there}", "Access denied", "Mend the user and the password"),
        (f"mysql://tls@{there}", "Access denied", "name ssl_ca"),
        (f"mysql://locked@{there}", "locked", "ACCOUNT UNLOCK"),
        (f"mysql://plain:wr0ng@{there}?ssl_ca={trusted}", "No such file", "Mend its name"),
        (f"mysql://plain:wr0ng@{there}?ssl_caa=x", "ssl_caa", "options are"),
        (server.url("nowhere"), "Unknown database", "Make it"),
        (f"mysql://plain:wr0ng@[::1]:{silent},127.0.0.1:{silent}/granted", "Connection refused", "Start it"),
    ):
        said = refused(url)
        assert what in said, said
        assert remedy in said, said
        assert "wr0ng" not in said
        assert "goes on" not in said, said  # nothing runs that would


@pytest.mark.engines("postgresql", "mariadb")
def test_what_prevents_a_start_is_one_line_and_exit_code_1(server: Server, engine: str, tmp_path: Path) -> None:
    """As the operator sees it: the real program, a database in which nobody may make tables."""
    url = server.database("closed")
    if engine == "postgresql":
        server.administer("CREATE ROLE closed LOGIN")
        url = url.replace("koinon@", "closed:s3cret@")
    else:
        server.administer("CREATE USER closed@localhost IDENTIFIED BY 's3cret'", "GRANT SELECT ON closed.* TO closed@localhost")
        url = url.replace("root@", "closed:s3cret@")
    config = tmp_path / "koinon.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n[database]\nurl = "{url}"\n')
    done = subprocess.run([sys.executable, "-m", "koinon", "server", "--config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("koinon: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "s3cret" not in done.stderr + done.stdout


@mariadb_only
def test_mariadb_where_we_may_not_write_is_refused(server: Server) -> None:
    url = server.database("reading")
    opens(url)
    server.administer("CREATE USER reading@localhost", "GRANT SELECT ON reading.* TO reading@localhost")
    said = refused(url.replace("root@", "reading@"))
    assert "'reading'@'localhost' lacks the right INSERT on the table alembic_version." in said


@mariadb_only
def test_each_right_that_mariadb_does_not_give_is_named_with_what_grants_it(server: Server) -> None:
    url = server.database("rights")
    opens(url)
    server.administer("CREATE USER 'zone-1'@'%'", "GRANT SELECT ON rights.alembic_version TO 'zone-1'@'%'")
    ours = url.replace("root@", "zone-1@")
    with engines.session(url) as superuser:
        for right in ("INSERT", "UPDATE", "DELETE"):
            assert f"lacks the right {right} on the table alembic_version." in refused(ours)
            superuser.execute(f"GRANT {right} ON alembic_version TO 'zone-1'@'%'")
        said = refused(ours)  # none on any other table, which it does not even see
        assert "'zone-1'@'%' lacks the right SELECT on the table acl." in said
        for table in migrations.TABLES:
            superuser.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO 'zone-1'@'%'")
        opens(ours)
        _assert_each_right_is_missed(ours, superuser, "'zone-1'@'%'", "'zone-1'@'%'")
        superuser.execute("REVOKE ALL ON acl FROM 'zone-1'@'%'")
        _granted_as_told(refused(ours), superuser)
        opens(ours)


@mariadb_only
def test_rights_that_come_with_a_role_of_mariadb_count(server: Server) -> None:
    url = server.database("by_role")
    opens(url)
    server.administer(
        "CREATE ROLE zones", "GRANT ALL ON by_role.* TO zones", "CREATE USER member@localhost", "GRANT zones TO member@localhost",
        "SET DEFAULT ROLE zones FOR member@localhost",
    )  # fmt: skip
    opens(url.replace("root@", "member@"))


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
def test_a_zone_that_gets_no_connection_says_so_and_goes_on_when_there_is_one(server: Server, engine: str) -> None:
    """The sessions are ended, and somebody else has the only one that is left to our user."""
    if engine == "postgresql":
        server.administer("CREATE ROLE thronged LOGIN", "CREATE DATABASE thronged OWNER thronged")
        url = server.url("thronged").replace("koinon@", "thronged@")
        few, many = "ALTER ROLE thronged CONNECTION LIMIT 1", "ALTER ROLE thronged CONNECTION LIMIT -1"
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'thronged'"
    else:
        url = server.database("thronged").replace("root@", "thronged@")
        server.administer("CREATE USER thronged@localhost", "GRANT ALL ON thronged.* TO thronged@localhost")
        few, many = (f"GRANT USAGE ON *.* TO thronged@localhost WITH MAX_USER_CONNECTIONS {most}" for most in (1, 0))
        end = "KILL USER thronged"

    async def run() -> None:
        database = Database.open(url)
        database.start()
        await database.write_shared("add", add_user("before"))
        server.administer(few)
        with the_only_session(server, url, end):
            with pytest.raises(UnavailableError, match="no connection left") as caught:
                await database.write_shared("add", add_user("refused"))
            assert "goes on when it can" in caught.value.text
        server.administer(many, end)
        assert (await database.write_shared("add", add_user("after"))).value == 1
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

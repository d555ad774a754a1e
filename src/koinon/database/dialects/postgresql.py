"""PostgreSQL, through psycopg 3: any server from version 15 on, or a list of hosts of which one takes writes.

Path:     writer() and reader() -> libpq.Session, which speaks as sqlite3's connections do
Holds:    sessions are in autocommit mode, and BEGIN and COMMIT are statements: ``commit()`` of the driver raises nothing when the
          transaction was aborted.
Source:   PostgreSQL 15 manual: 13.2 Transaction Isolation, 34.1 libpq connection strings, Appendix A (error codes).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from koinon.database.dialects import servers
from koinon.database.dialects.libpq import AGAIN, ENDED, Session
from koinon.database.dialects.protocol import Connection
from koinon.database.dialects.queries import Table, collected
from koinon.errors import UnavailableError
from koinon.settings import without_password

OLDEST: Final = 150000
#: The key of our advisory lock, which is the database's own: "koinon" in ASCII.
_ALONE: Final = int.from_bytes(b"koinon")
_QUERIED_AT_ONCE: Final = 20  # rows may be long
_DURABILITY: Final = {
    "fsync": ("on", "set fsync = on in postgresql.conf"),
    "full_page_writes": ("on", "set full_page_writes = on in postgresql.conf"),
    "synchronous_commit": ("on, local, remote_write or remote_apply", "set synchronous_commit = on for the server and for this role"),
}
#: Sessions like ours that have changed the row which orders writers, and of which the server expects the rest of a pipeline.
_STALLED: Final = f"""
    SELECT a.pid, a.query_start, a.state_change
    FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
    WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = 'zone_state'::regclass
    AND l.mode = 'RowExclusiveLock' AND l.granted AND a.usename = current_user AND a.application_name = 'koinon' AND a.state = 'active'
    AND a.wait_event = 'ClientRead' AND a.xact_start < clock_timestamp() - INTERVAL '{servers.LOCK_WAIT_S} s'"""
#: What the driver says of each host of a list that it has tried; libpq's question whether the server runs is left out.
_ATTEMPT: Final = re.compile(
    r"^- host: '?(?P<host>.*?)'?, port: '?(?P<port>\d*)'?, hostaddr: (?:'.*?'|None): (?:connection failed: )?"
    r"(?:connection to server .*? failed: )?(?P<why>.*)",
    re.MULTILINE,
)
_OWNER: Final = re.compile(r"must be owner")
_STALLED_FOR_S: Final = 0.2
#: Of servers, whatever their role: those of one that was given another role count too.
_OTHERS: Final = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'koinon'"
_TO_END_MS: Final = 5000
#: Who we are, the first right that we lack on tables or on what numbers their rows, and the statement that grants it there to all alike.
_MISSING_RIGHT: Final = """
    WITH ours AS (SELECT oid, relnamespace::regnamespace AS space FROM pg_class WHERE oid IN (SELECT to_regclass(unnest(?::text[])))),
    needed AS (
        SELECT oid, space, 'TABLE' AS kind, ordinal, word, has_table_privilege(oid, word) AS held
        FROM ours, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS words (word, ordinal)
        UNION ALL
        SELECT s.oid, space, 'SEQUENCE', 5, 'USAGE', CASE s.relkind WHEN 'S' THEN has_sequence_privilege(s.oid, 'USAGE') END
        FROM ours JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = ours.oid AND d.deptype = 'a'
        JOIN pg_class s ON d.classid = 'pg_class'::regclass AND s.oid = d.objid AND s.relkind = 'S'
    )
    SELECT current_user::text, word, 'the ' || lower(kind) || ' ' || oid::regclass,
        'GRANT ' || CASE kind WHEN 'TABLE' THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE word END
        || ' ON ALL ' || kind || 'S IN SCHEMA ' || space || ' TO ' || quote_ident(current_user) || ';'
    FROM needed WHERE NOT held ORDER BY kind DESC, oid::regclass::text, ordinal LIMIT 1"""
#: What libpq and the server say when no session comes about, and what to do. There is no SQLSTATE then, and a server may use other words.
_NO_SESSION: Final = (
    (re.compile(r'database ".*" does not exist'), "Make it, with ENCODING 'UTF8' TEMPLATE template0, or mend the name in the address."),
    (re.compile(r"pg_hba\.conf"), "Let it in there; where it says 'no encryption', TLS is wanted: sslmode=require in the address."),
    (
        re.compile(r'authentication failed|no password supplied|role ".*" does not exist|not permitted to log in|CONNECT privilege'),
        "Mend the user and the password in the address, or that role's rights.",
    ),
    (
        re.compile(r"SSL|certificate"),
        "Mend sslmode and the files that go with it in the address, or the server's certificate.",
    ),
    (re.compile(r"read-only|hot standby"), "It takes no writes: name its primary, or set default_transaction_read_only = off."),
    (re.compile(r"too many|connection slots"), "It has no connection left: end others, or raise max_connections or the limit of the role."),
    (re.compile(r"not currently accepting connections"), "ALTER DATABASE ... ALLOW_CONNECTIONS true."),
    (re.compile(rf"could not (write|extend)|{servers.NO_SPACE}"), "Its disk seems to be full: free space there."),
    (re.compile(r"is bad: invalid"), "Mend the address."),
)


class PostgreSQL:
    """One database of a server.

    Args:
        url: as libpq takes it, ``postgresql://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?OPTIONS``. Of several hosts the first one that
            takes writes is used, unless ``target_session_attrs`` in it says otherwise.
        accepted: names of ``_DURABILITY`` that need not be as we want them.
    """

    alchemy = "postgresql+psycopg"
    driver_error: type[Exception] = psycopg.Error
    integrity_error: type[Exception] = psycopg.IntegrityError
    waits = True
    shared = True
    now_ms = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)"
    doubt_patience_s = servers.DOUBT_PATIENCE_S

    def __init__(self, url: str, accepted: Collection[str] = ()) -> None:
        self._url = url if "target_session_attrs=" in url else f"{url}{'&' if '?' in url else '?'}target_session_attrs=read-write"
        try:
            self._hosts = str(conninfo_to_dict(url).get("host", "")).split(",")
        except psycopg.ProgrammingError as error:  # it names an option that libpq does not know, or is no address
            raise UnavailableError(f"[database] url: {' '.join(str(error).split())}. Mend the address.") from error
        self._accepted = accepted
        self.place = f"PostgreSQL at {without_password(url)}"

    def claim(self) -> None:
        """Any number of processes may serve it."""

    def release(self) -> None:
        """There is nothing to let go of."""

    def alone(self, connection: Connection) -> None:
        servers.be_alone(self.place, lambda: bool(connection.execute("SELECT pg_try_advisory_lock(?)", (_ALONE,)).fetchone()[0]))

    def require_fit(self, connection: Connection) -> None:
        raw = _raw(connection)
        if raw.info.server_version < OLDEST:
            raise UnavailableError(
                f"{self.place} is version {raw.info.parameter_status('server_version')}. Koinon needs 15 or newer: upgrade it."
            )
        encoding = raw.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise UnavailableError(
                f"{self.place} keeps text as {encoding}, which can't hold every name. Make the database with "
                "ENCODING 'UTF8' TEMPLATE template0."
            )
        for name, (needed, remedy) in _DURABILITY.items():
            value = str(connection.execute(f"SHOW {name}").fetchone()[0])
            if value == "off" and name not in self._accepted:
                raise servers.refuse_unsafe(self.place, name, value, needed, remedy)
        schema, may_create = connection.execute(
            "SELECT current_schema(), current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE')"
        ).fetchone()
        if not may_create:
            raise UnavailableError(
                f"{self.place}: {raw.info.user} may not make tables in the schema {schema or 'public'}. As a superuser: "
                f"GRANT CREATE, USAGE ON SCHEMA {schema or 'public'} TO {raw.info.user}, or let that role own the database. "
                "Its search_path must name the schema."
            )

    def require_rights(self, connection: Connection, tables: Sequence[str]) -> None:
        missing = connection.execute(_MISSING_RIGHT, (list(tables),)).fetchone()
        if missing is not None:
            user, right, what, remedy = missing
            raise servers.refuse_poor(self.place, user, right, what, remedy)

    def connect(self) -> Connection:
        return self._connect()

    def _connect(self) -> Session:
        session = Session(self._open())
        session.execute("SET idle_session_timeout = 0")
        return session

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            client_encoding="utf8",
            connect_timeout=servers.CONNECT_TIMEOUT_S,
            application_name="koinon",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=servers.SILENCE_S * 1000,
        )

    def writer(self) -> Connection:
        session = self._connect()
        try:
            session.execute(f"SET lock_timeout = '{servers.LOCK_WAIT_S}s'")
            session.execute(f"SET idle_in_transaction_session_timeout = '{servers.IDLE_IN_TRANSACTION_S}s'")
            # A COMMIT that waits for a standby and is cut short by this would count as made, and be lost with the primary.
            session.execute("SET statement_timeout = 0")
        except BaseException:
            session.close()
            raise
        return session

    def reader(self) -> Connection:
        session = self._connect()
        session.execute("SET default_transaction_read_only = on")
        session.execute(f"SET statement_timeout = '{servers.SILENCE_S}s'")  # the loop may be the one that waits
        return session

    def query(self, sql: str, *, seconds: float, most_bytes: int) -> Table:
        raw = self._open()
        end_s = time.monotonic() + seconds
        try:
            raw.execute(f"SET statement_timeout = {max(1, round(seconds * 1000))}")
            raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # A cursor is for one query and nothing else. Prepared: otherwise the server would take several statements at once.
            raw.execute(f"DECLARE asked NO SCROLL CURSOR FOR {sql}", prepare=True)
            first = raw.execute(f"FETCH {_QUERIED_AT_ONCE} FROM asked")
            names = [column.name for column in first.description or ()]
            return collected(names, _fetched(raw, first), most_bytes=most_bytes, end_s=end_s)
        except psycopg.errors.QueryCanceled as error:
            raise TimeoutError(str(error)) from error
        finally:
            raw.close()

    def migrator(self) -> Any:
        return psycopg.connect(self._url, client_encoding="utf8", connect_timeout=servers.CONNECT_TIMEOUT_S)

    def has_table(self, connection: Connection, name: str) -> bool:
        return connection.execute("SELECT to_regclass(?)", (name,)).fetchone()[0] is not None

    def go_on_numbering(self, connection: Connection, table: str) -> None:
        """A sequence does not see what is written by hand."""
        connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), COALESCE(MAX(id), 0) + 1, false) FROM {table}")

    def tidy(self) -> None:
        """Autovacuum is the server's."""

    def begin(self, connection: Connection) -> None:
        connection.later("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", ())

    def begin_snapshot(self, connection: Connection) -> None:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def in_transaction(self, connection: Connection) -> bool:
        session = _session(connection)
        return not session.lost and session.raw.info.transaction_status == TransactionStatus.INTRANS

    def rollback(self, connection: Connection) -> None:
        _session(connection).rollback()

    def lost_transaction(self, connection: Connection) -> bool:
        session = _session(connection)
        return session.lost or session.raw.info.transaction_status not in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def is_gone(self, connection: Connection) -> bool:
        raw = _raw(connection)
        if raw.closed or raw.broken:
            return True
        if not servers.readable(raw.fileno()):
            return False
        with contextlib.suppress(psycopg.Error):  # a notice, or the end
            raw.pgconn.consume_input()
            return raw.pgconn.status != psycopg.pq.ConnStatus.OK
        return True

    def end_stalled(self) -> int:
        """The server ends what is idle in a transaction by itself, but counts no idle time in the middle of a pipeline."""
        raw = self._open()
        try:
            stalled = set(raw.execute(_STALLED).fetchall())
            if stalled:
                time.sleep(_STALLED_FOR_S)  # one that is alive sends more meanwhile
                stalled &= set(raw.execute(_STALLED).fetchall())
            return sum(bool(raw.execute("SELECT pg_terminate_backend(%s)", (pid,)).fetchall()[0][0]) for pid, *_ in stalled)
        finally:
            raw.close()

    def end_others(self, own: Sequence[Connection]) -> int:
        asking = own[0]
        kept = {connection.execute("SELECT pg_backend_pid()").fetchone()[0] for connection in own}
        left = 0
        for (pid,) in asking.execute(_OTHERS).fetchall():
            if pid not in kept:
                try:
                    asking.execute("SELECT pg_terminate_backend(CAST(? AS INTEGER), ?)", (pid, _TO_END_MS))
                except psycopg.errors.InsufficientPrivilege:
                    left += 1
        return left

    def identity(self) -> object:
        return None

    def held_up(self) -> str:
        """A full disk is an error there, or ends the server."""
        return ""

    def commit_in_doubt(self, connection: Connection) -> bool:
        """A server that still answers has said that it did not."""
        return self.is_gone(connection)

    def await_own_end(self, connection: Connection) -> None:
        """A primary that was restarted shows transactions that its standby may lack. A commit after them waits until that has them too."""
        self.begin(connection)
        connection.execute("UPDATE zone_state SET write_seq = write_seq WHERE id = 1")
        connection.execute("COMMIT")

    def is_full(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) == "53100" or servers.NO_SPACE in str(error)

    def explain(self, error: BaseException, *, serving: bool = True) -> str:
        text = " ".join(str(error).split())
        code = error.sqlstate if isinstance(error, psycopg.Error) else None
        if code in AGAIN:
            return f"Another session holds rows that are needed ({text}). End it, or try again in a moment; nothing was changed."
        if isinstance(error, psycopg.IntegrityError):
            return f"{self.place} refused: {text}."
        if code is None:
            text = self._told_of_each(str(error)) or text
            for words, remedy in _NO_SESSION:
                if words.search(text):
                    return servers.unusable(self.place, text, remedy, serving=serving)
        if code is None or code.startswith(ENDED):
            return servers.unusable(self.place, text, serving=serving)
        if self.is_full(error):
            return servers.without_space(self.place, text)
        if code[:2] == "53":
            return f"{self.place} has run out of something ({text}). Free it there; nothing was changed."
        if code == "42501" and _OWNER.search(text):
            return (
                f"{self.place}: tables of another role are to be changed ({text}). As a superuser, for each table of this zone: "
                "ALTER TABLE ... OWNER TO the role in the address; nothing was changed."
            )
        if code == "42501":
            return (
                f"{self.place}: the role has too few rights ({text}). As the owner of the tables: GRANT ALL ON ALL TABLES IN SCHEMA ... "
                "TO that role, and the same for ALL SEQUENCES; nothing was changed."
            )
        if code in ("25006", "25P02"):
            return f"{self.place} does not take writes ({text}). Name its primary, or add target_session_attrs=read-write to the address."
        return f"{self.place} refused: {text}."

    def _told_of_each(self, text: str) -> str:
        """Why each host of a list can't be used; empty if there is no list. Names without an address have not been tried, nor told of."""
        if len(self._hosts) < 2:
            return ""
        tried = [(found["host"], found["port"], " ".join(found["why"].split())) for found in _ATTEMPT.finditer(text)]
        if not tried:
            return f"{' '.join(text.split())}; the other names have no address"
        nameless = [f"{host}: the name has no address" for host in self._hosts if host not in {host for host, *_ in tried}]
        return servers.told_of_each([*(f"{host}:{port}: {why}" for host, port, why in tried), *nameless])

    def free_bytes(self) -> int | None:
        return None


def _fetched(raw: psycopg.Connection[tuple[Any, ...]], cursor: psycopg.Cursor[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows of a first FETCH, and then those that are left."""
    while rows := cursor.fetchall():
        yield from rows
        cursor = raw.execute(f"FETCH {_QUERIED_AT_ONCE} FROM asked")


def _session(connection: Connection) -> Session:
    assert isinstance(connection, Session)
    return connection


def _raw(connection: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    return _session(connection).raw

"""MariaDB from version 10.11 on, through PyMySQL: one server, or the nodes of a Galera cluster of which the first that is ready is used.

Path:     writer() and reader() -> pymysql_session.py
Holds:    sessions are strict, know no backslash escapes, count rows that were found (not only those that changed), and are in autocommit
          mode: BEGIN and COMMIT are statements. Text columns compare by their bytes (columns.py).
Source:   MariaDB Knowledge Base: SQL_MODE, Server System Variables, MariaDB Error Codes.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT, SERVER_STATUS
from pymysql.cursors import SSCursor

from koinon.database.dialects import servers
from koinon.database.dialects.protocol import Connection
from koinon.database.dialects.pymysql_session import AGAIN, GONE, Driver, RowList, Session, code_of, text_of
from koinon.database.dialects.queries import Table, collected
from koinon.errors import UnavailableError
from koinon.settings import without_password

T = TypeVar("T")

#: What a commit needs: its longest statement is twice a body, a third more on its way to the server.
LEAST_PACKET: Final = 16 * 2**20
_OUT_OF_SESSIONS: Final = "It has no connection left: end others, or raise max_connections or the limit of the user."
_LET_IN: Final = "Mend the user and the password in the address; if the server demands TLS, name ssl_ca there."
#: Why no session comes about, and what to do.
_NO_SESSION: Final = {
    1040: _OUT_OF_SESSIONS,
    1203: _OUT_OF_SESSIONS,
    1226: _OUT_OF_SESSIONS,
    1045: _LET_IN,
    1698: _LET_IN,
    1820: "Set a new password for the user.",
    4151: "ALTER USER ... ACCOUNT UNLOCK.",
    1049: "Make it, with CHARACTER SET utf8mb4, or mend the name in the address.",
    2026: "Mend ssl_ca, ssl_cert and ssl_key in the address, or give the server a certificate.",
}
_OTHERS: Final = """
    SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND user = SUBSTRING_INDEX(USER(), '@', 1)"""
_TO_END_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.02
_DENIED: Final = 1142  #: a right on a table
_DENIED_TABLE: Final = re.compile(r"for table .*?(\w+)`?'?$")
#: The disk is full; a table can't grow.
_FULL: Final = (1021, 1114)
#: What a session does whose commit finds no space for the binary log: it looks again once a minute, and all that write wait behind it.
_WAITS_FOR_SPACE: Final = "Waiting for someone to free space"
#: The statement took more than max_statement_time.
_TOO_LONG: Final = 1969
#: What READ ONLY lets through is more than queries: SET, KILL, HANDLER.
_QUERY: Final = re.compile(r"[\s(]*(SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE)
_SQL_MODE: Final = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES"
_FLUSH: Final = "innodb_flush_log_at_trx_commit"
_DOUBLE: Final = "innodb_doublewrite"
_OPTIONS: Final = frozenset({"unix_socket", "ssl_ca", "ssl_cert", "ssl_key"})


class _NoHost(pymysql.OperationalError):  # type: ignore[misc] # PyMySQL has no types
    """None of several hosts can be used.

    Attributes:
        failures: why, host by host.
    """

    def __init__(self, hosts: Sequence[tuple[str, int]], failures: Sequence[pymysql.Error]) -> None:
        told = [f"{name}:{port}: {text_of(error)}" for (name, port), error in zip(hosts, failures, strict=True)]
        super().__init__(2003, servers.told_of_each(told))
        self.failures = failures


class MariaDB:
    """One database of a server.

    Args:
        url: ``mysql://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?unix_socket=...&ssl_ca=...``.
        accepted: may hold ``innodb_flush_log_at_trx_commit`` and ``innodb_doublewrite``.
    """

    alchemy = "mariadb+pymysql"
    driver_error: type[Exception] = pymysql.Error
    integrity_error: type[Exception] = pymysql.IntegrityError
    waits = True
    shared = True
    now_ms = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
    doubt_patience_s = servers.DOUBT_PATIENCE_S

    def __init__(self, url: str, accepted: Collection[str] = ()) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        if unknown := sorted(set(options) - _OPTIONS):
            raise UnavailableError(f"[database] url: {unknown[0]!r:.40} is not known; options are {', '.join(sorted(_OPTIONS))}.")
        for name in sorted(set(options) - {"unix_socket"}):
            try:
                Path(options[name]).open("rb").close()
            except OSError as error:
                raise UnavailableError(
                    f"[database] url: the file of {name}, {options[name]}, can't be read: {error.strerror}. Mend its name or its rights."
                ) from error
        self._name = unquote(parts.path.lstrip("/"))
        self._accepted = accepted
        account, _, places = parts.netloc.rpartition("@")
        user, _, password = account.partition(":")
        self._hosts = [_host_and_port(place) for place in places.split(",")]
        self._arguments: dict[str, Any] = {
            "user": unquote(user) or None,
            "password": unquote(password).encode(),  # the driver would take it for Latin-1
            "database": self._name,
            **options,
        }
        self.place = f"MariaDB at {without_password(url)}"

    def claim(self) -> None:
        """Any number of processes may serve it."""

    def release(self) -> None:
        """There is nothing to let go of."""

    def alone(self, connection: Connection) -> None:
        name = ("koinon." + self._name,)  # names of locks are the server's, not the database's
        servers.be_alone(self.place, lambda: bool(connection.execute("SELECT GET_LOCK(?, 0)", name).fetchone()[0]))

    def require_fit(self, connection: Connection) -> None:
        packet, flush, double, engine, encoding, binlog, form = connection.execute(
            f"SELECT @@global.max_allowed_packet, @@global.{_FLUSH}, @@global.{_DOUBLE}, @@default_storage_engine, "
            "@@character_set_database, @@log_bin, @@binlog_format"
        ).fetchone()
        if encoding != "utf8mb4":
            raise UnavailableError(
                f"{self.place} keeps text as {encoding}, which can't hold every name. ALTER DATABASE {self._name} CHARACTER SET utf8mb4."
            )
        if packet < LEAST_PACKET:
            raise UnavailableError(
                f"{self.place} takes statements of {packet} bytes at most, and large objects need {LEAST_PACKET}: set "
                f"max_allowed_packet = {LEAST_PACKET >> 20}M for the server."
            )
        if str(engine).lower() != "innodb":
            raise UnavailableError(
                f"{self.place} makes tables in {engine}, which has no transactions: set default_storage_engine = InnoDB."
            )
        if int(binlog) and form == "STATEMENT":
            raise UnavailableError(f"{self.place} writes its binary log as statements, which loses rows: set binlog_format = ROW or MIXED.")
        if int(flush) != 1 and _FLUSH not in self._accepted:
            raise servers.refuse_unsafe(self.place, _FLUSH, str(flush), "1", f"set {_FLUSH} = 1 for the server")
        if str(double) in ("0", "OFF") and _DOUBLE not in self._accepted:
            raise servers.refuse_unsafe(self.place, _DOUBLE, "off", "on", f"set {_DOUBLE} = on for the server")

    def require_rights(self, connection: Connection, tables: Sequence[str]) -> None:
        marks = ", ".join("?" * len(tables))
        held: dict[str, set[str]] = {}
        # Whatever gives a right, a role or a pattern, the server has put it together here; what we may do nothing with is not shown.
        for table, rights in connection.execute(
            f"SELECT table_name, privileges FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN ({marks})",
            tables,
        ).fetchall():
            words = set(rights.upper().split(","))
            held[table] = words & held.get(table, words)
        for table in tables:
            for right in ("SELECT", "INSERT", "UPDATE"):
                if right not in held.get(table, ()):
                    raise self._refuse_poor(connection, right, table)
        connection.defers = True
        try:  # it is no right on columns; all in one packet, of which the first that is denied ends the rest
            for table in tables:
                connection.later(f"DELETE FROM {table} WHERE 1 = 0", ())
            connection.flush()
        except pymysql.OperationalError as error:
            denied = _DENIED_TABLE.search(str(error.args[-1]))
            if code_of(error) != _DENIED or denied is None:
                raise
            self.rollback(connection)
            raise self._refuse_poor(connection, "DELETE", denied[1]) from error
        finally:
            connection.defers = False

    def _refuse_poor(self, connection: Connection, right: str, table: str) -> UnavailableError:
        name, _, host = connection.execute("SELECT CURRENT_USER()").fetchone()[0].rpartition("@")
        user = f"'{name}'@'{host}'"
        return servers.refuse_poor(self.place, user, right, f"the table {table}", f"GRANT ALL ON `{self._name}`.* TO {user};")

    def connect(self) -> Connection:
        return self._connect()

    def _connect(self, flags: int = 0) -> Session:
        return self._first(partial(self._session, flags=flags))

    def _first(self, attempt: Callable[[tuple[str, int]], T]) -> T:
        """What an attempt gives on the first host where it succeeds."""
        failures: list[pymysql.Error] = []
        for host in self._hosts:
            try:
                return attempt(host)
            except pymysql.Error as error:
                if len(self._hosts) == 1:
                    raise
                failures.append(error)
        raise _NoHost(self._hosts, failures)

    def _session(self, host: tuple[str, int], *, flags: int) -> Session:
        session = Session(self._open(host, autocommit=True, silence_s=servers.SILENCE_S, flags=flags))
        try:
            session.execute(
                f"SET SESSION sql_mode = '{_SQL_MODE}', wait_timeout = 31536000, innodb_lock_wait_timeout = {servers.LOCK_WAIT_S}"
            )
            # A node of a cluster may be about to apply what another one has acknowledged. We may have come because that one has failed.
            session.execute("SET SESSION wsrep_sync_wait = 1")
            session.execute("SELECT 1")
            session.execute("SET SESSION wsrep_sync_wait = DEFAULT")
        except BaseException:
            session.close()
            raise
        return session

    def _open(self, host: tuple[str, int], *, autocommit: bool, silence_s: int | None, flags: int = 0) -> Driver:
        return Driver(
            host=host[0],
            port=host[1],
            **self._arguments,
            cursorclass=RowList,
            charset="utf8mb4",
            collation="utf8mb4_nopad_bin",
            autocommit=autocommit,
            client_flag=CLIENT.FOUND_ROWS | flags,
            connect_timeout=servers.CONNECT_TIMEOUT_S,
            read_timeout=silence_s,
            write_timeout=silence_s,
        )

    def writer(self) -> Connection:
        session = self._connect(CLIENT.MULTI_STATEMENTS)
        try:
            session.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            session.execute(f"SET SESSION idle_transaction_timeout = {servers.IDLE_IN_TRANSACTION_S}")
        except BaseException:
            session.close()
            raise
        return session

    def reader(self) -> Connection:
        session = self._connect()
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return session

    def query(self, sql: str, *, seconds: float, most_bytes: int) -> Table:
        if _QUERY.match(sql) is None:
            raise pymysql.ProgrammingError("it does not begin with SELECT, WITH, VALUES or TABLE")
        session = self._connect()
        end_s = time.monotonic() + seconds
        try:
            session.execute(f"SET SESSION max_statement_time = {seconds}")
            session.execute("START TRANSACTION READ ONLY")
            cursor = session.raw.cursor(SSCursor)
            cursor.execute(sql)
            return collected([column[0] for column in cursor.description or ()], cursor, most_bytes=most_bytes, end_s=end_s)
        except pymysql.OperationalError as error:
            if code_of(error) == _TOO_LONG:
                raise TimeoutError(str(error)) from error
            raise
        finally:
            if session.raw._result is not None:
                session.raw._result.unbuffered_active = False  # the driver would read all that is left
            session.close()

    def migrator(self) -> Any:
        # a large table takes its time
        return self._first(partial(self._open, autocommit=False, silence_s=None))

    def has_table(self, connection: Connection, name: str) -> bool:
        found = connection.execute("SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", (name,))
        return found.fetchone() is not None

    def go_on_numbering(self, connection: Connection, table: str) -> None:
        """It takes one more than the greatest."""

    def tidy(self) -> None:
        """Purging is the server's."""

    def begin(self, connection: Connection) -> None:
        connection.later("START TRANSACTION READ WRITE", ())

    def begin_snapshot(self, connection: Connection) -> None:
        connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def in_transaction(self, connection: Connection) -> bool:
        session = _session(connection)
        return not session.lost and bool(session.raw.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def rollback(self, connection: Connection) -> None:
        _session(connection).rollback()

    def lost_transaction(self, connection: Connection) -> bool:
        return not self.in_transaction(connection)

    def is_gone(self, connection: Connection) -> bool:
        raw = _session(connection).raw
        # A server says nothing unasked but farewell.
        return not raw.open or servers.readable(raw._sock.fileno())

    def end_stalled(self) -> int:
        """The server does that by itself (idle_transaction_timeout), also in the middle of a packet."""
        return 0

    def end_others(self, own: Sequence[Connection]) -> int:
        """Sessions of other users are not to be seen without further rights, and their programs not to be told apart: they stay."""
        asking = own[0]
        kept = {connection.execute("SELECT CONNECTION_ID()").fetchone() for connection in own}
        end_s = time.monotonic() + _TO_END_S
        while (others := set(asking.execute(_OTHERS).fetchall()) - kept) and time.monotonic() < end_s:
            for (number,) in others:
                with contextlib.suppress(pymysql.Error):  # it has just ended, or is not ours to end
                    asking.execute(f"KILL CONNECTION {int(number)}")
            time.sleep(_LOOK_AGAIN_S)
        return len(others)

    def identity(self) -> object:
        return None

    def held_up(self) -> str:
        session = self._connect()
        try:
            found = session.execute("SELECT 1 FROM information_schema.processlist WHERE state = ?", (_WAITS_FOR_SPACE,)).fetchone()
        finally:
            session.close()
        if found is None:
            return ""
        return (
            f"{self.place} has no space left for its binary log, and no write ends there ({_WAITS_FOR_SPACE}). Free it on the server's "
            "disk: it goes on within a minute then."
        )

    def commit_in_doubt(self, connection: Connection) -> bool:
        """A server that still answers has said that it did not."""
        return self.is_gone(connection)

    def await_own_end(self, connection: Connection) -> None:
        self.begin(connection)
        connection.execute("SELECT write_seq FROM zone_state WHERE id = 1 FOR UPDATE")

    def is_full(self, error: BaseException) -> bool:
        return code_of(error) in _FULL or servers.NO_SPACE in str(error)

    def explain(self, error: BaseException, *, serving: bool = True) -> str:
        code = code_of(error)
        if isinstance(error, _NoHost):
            remedies = dict.fromkeys(filter(None, map(_remedy, error.failures)))
            return servers.unusable(self.place, error.args[1], " ".join(remedies), serving=serving)
        text = text_of(error)
        if isinstance(error, pymysql.NotSupportedError):
            return f"{self.place} can't be used: {text}. {_remedy(error)}"
        if code in AGAIN:
            return f"Another session holds rows that are needed ({text}). End it, or try again in a moment; nothing was changed."
        if code in GONE:
            return servers.unusable(self.place, text, serving=serving)
        if remedy := _NO_SESSION.get(code):
            return servers.unusable(self.place, text, remedy, serving=serving)
        if self.is_full(error):
            return servers.without_space(self.place, text)
        if code in (1044, _DENIED, 1143, 1227):
            return f"{self.place}: the user has too few rights ({text}). Grant ALL ON {self._name}.* to it; nothing was changed."
        if code in (1290, 1836):
            return f"{self.place} does not take writes ({text}). Name its primary; nothing was changed."
        return f"{self.place} refused: {text}."

    def free_bytes(self) -> int | None:
        return None


def _remedy(error: pymysql.Error) -> str:
    """What to do that a session comes about; empty if nobody seems to be there."""
    if isinstance(error, pymysql.NotSupportedError):
        return "Koinon needs MariaDB 10.11 or newer: use that."
    return _NO_SESSION.get(code_of(error), "")


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{text}")
        return found.hostname or "localhost", found.port or 3306
    except ValueError as error:
        raise UnavailableError(f"[database] url: {text!r:.80} is no host and port ({error}).") from error


def _session(connection: Connection) -> Session:
    assert isinstance(connection, Session)
    return connection

"""A session with a MariaDB server: PyMySQL's connection with the surface of sqlite3's.

Path:     execute() -> what ``later`` has left, and this statement -> one text of several statements -> the answer to the last
Holds:    rows of one INSERT are joined. An error in a statement left for later ends the transaction for this session: whose it was, nobody
          could tell.
Why:      docs/decisions/0018-round-trips.md
Source:   PyMySQL's converters; MariaDB Knowledge Base: MariaDB Error Codes.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import pymysql
from pymysql.cursors import Cursor, SSCursor

from koinon.database.dialects import servers
from koinon.database.dialects.protocol import Rows
from koinon.database.dialects.servers import translated

OLDEST: Final = (10, 11)
#: Deadlock, lock not to be had in time, record changed, no such savepoint: the transaction is lost or may be.
AGAIN: Final = frozenset({1213, 1205, 1020, 1305})
#: The session is over: gone away, lost during a query, killed, shut down, aborted.
GONE: Final = frozenset({0, 1047, 2003, 2006, 2013, 2014, 2055, 1053, 1152, 1927, 4031})
#: A node of a Galera cluster that is not one of the majority, or not up to date: it answers, but not to us.
_NOT_READY: Final = 1047
_LONG_TEXT: Final = 2**20


class Driver(pymysql.Connection):  # type: ignore[misc] # PyMySQL has no types
    """PyMySQL's connection, to a MariaDB that is new enough.

    Long text travels as base64: with every quote doubled it would not fit the packet that servers allow.
    """

    def escape(self, obj: Any, mapping: Any = None) -> Any:
        if isinstance(obj, str) and len(obj) > _LONG_TEXT:
            return f"CONVERT(FROM_BASE64('{base64.b64encode(obj.encode()).decode()}') USING utf8mb4)"
        return super().escape(obj, mapping)

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Part of connecting: an older server or a MySQL lacks the collation, so the version is looked at first."""
        self.query("SELECT @@version")
        ((version,),) = self._result.rows
        number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if "mariadb" not in version.lower() or number < OLDEST:
            raise pymysql.NotSupportedError(f"it is version {version}")
        super().set_character_set(charset, collation)


class RowList(Cursor):  # type: ignore[misc] # as above
    """Rows come as a list, as sqlite3 gives them."""

    def fetchall(self) -> list[Any]:
        return list(super().fetchall())


class Session:
    """A PyMySQL connection with the surface of sqlite3's. What ``later`` leaves goes with the next statement, as one text of several."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.lost = False
        self.defers = False
        self._binder: Any = raw.cursor()
        self._waiting: list[tuple[str, bool]] = []  # statements, and whether each must find a row
        self._waiting_bytes = 0

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        return self._run(self._bound(sql, parameters))

    def later(self, sql: str, *rows: Sequence[Any]) -> None:
        into, values, marks = sql.rpartition(" VALUES ")
        if values and len(rows) > 1:
            for text in _joined([self._bound(marks, row) for row in rows], ", "):
                self._leave(f"{into} VALUES {text}")
        else:
            for row in rows:
                self._leave(self._bound(sql, row))

    def flush(self) -> None:
        if self._waiting:
            self._run("")

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        self.flush()
        with self._noting(lambda: False), self.raw.cursor(SSCursor) as cursor:
            cursor.execute(translated(sql), parameters)
            yield from cursor

    def rollback(self) -> None:
        """End a transaction, if there is one, and forget what waits; never fails."""
        self._taken()
        try:
            self.raw.query("ROLLBACK")
            self.lost = False
        except pymysql.Error:
            self.close()
            self.lost = True

    def close(self) -> None:
        with contextlib.suppress(pymysql.Error):  # closing twice is an error there
            self.raw.close()

    def _bound(self, sql: str, parameters: Sequence[Any]) -> str:
        self._refuse_if_lost()
        return str(self._binder.mogrify(translated(sql), parameters))

    def later_one(self, sql: str, parameters: Sequence[Any], /) -> None:
        self._leave(self._bound(sql, parameters), finds=True)

    def _leave(self, text: str, *, finds: bool = False) -> None:
        if not self.defers:
            self._run(text, finds=finds)
            return
        if self._waiting_bytes + len(text) > servers.WAITING_BYTES:
            self.flush()
        self._waiting.append((text, finds))
        self._waiting_bytes += len(text)

    def _taken(self) -> list[tuple[str, bool]]:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    def _run(self, last: str, *, finds: bool = False) -> Rows:
        """Run what waits, and then this, if it is not empty."""
        waiting = self._taken()
        batch = [*waiting, (last, finds)] if last else waiting
        cursor: Any = self.raw.cursor()
        done = 0
        with self._noting(lambda: done < len(waiting)):
            cursor.execute(";\n".join([text for text, _ in batch]))
            for _, must_find in batch:
                if must_find and not cursor.rowcount:
                    raise pymysql.IntegrityError("the row is gone")
                done += 1
                cursor.nextset()
        return cursor  # type: ignore[no-any-return] # as above

    def _refuse_if_lost(self) -> None:
        if self.lost:
            raise pymysql.OperationalError(2013, "the transaction was lost")

    @contextlib.contextmanager
    def _noting(self, left_for_later: Callable[[], bool]) -> Iterator[None]:
        """Note what an error has cost. Whose it was that had been left for later, nobody could tell."""
        self._refuse_if_lost()
        try:
            yield
        except pymysql.Error as error:
            if code_of(error) == _NOT_READY:
                self.close()
            self.lost = left_for_later() or code_of(error) in AGAIN or code_of(error) in GONE or not self.raw.open
            raise


def _joined(texts: Iterable[str], mark: str) -> Iterator[str]:
    """Texts in as few as may be, none of them too long unless one alone is."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and size + len(text) > servers.WAITING_BYTES:
            yield mark.join(part)
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield mark.join(part)


def text_of(error: BaseException) -> str:
    """What the driver or the server says, code included."""
    return " ".join(str(part) for part in error.args) or str(error)


def code_of(error: BaseException) -> int:
    """The number of an error, -1 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1

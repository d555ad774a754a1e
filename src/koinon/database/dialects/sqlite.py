"""SQLite: one file, one process that writes it, every commit synced to disk.

A write group's statements touch memory and the page cache only, so they run on the event loop; COMMIT, which waits for the disk, does not.
Source: sqlite.org "Write-Ahead Logging", "PRAGMA synchronous"; settings measured in docs/performance.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from koinon.database.dialects import protocol
from koinon.database.dialects.queries import Table, collected
from koinon.errors import UnavailableError

_READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_STEPS: Final = 10_000  #: of SQLite's machine between two looks at the clock


class Connection(sqlite3.Connection):
    """A session; its rows always come one by one, and nothing is gained by waiting."""

    defers = False

    def later(self, sql: str, /, *rows: Sequence[Any]) -> None:
        if len(rows) == 1:
            self.execute(sql, rows[0])
        else:
            self.executemany(sql, rows)

    def later_one(self, sql: str, parameters: Sequence[Any], /) -> None:
        if not self.execute(sql, parameters).rowcount:
            raise sqlite3.IntegrityError("the row is gone")

    def flush(self) -> None:
        pass

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterable[tuple[Any, ...]]:
        return self.execute(sql, parameters)


class SQLite:
    """One database file.

    Args:
        path: the file; its folder must exist.
    """

    driver_error: type[Exception] = sqlite3.Error
    integrity_error: type[Exception] = sqlite3.IntegrityError
    alchemy = "sqlite"
    waits = False
    shared = False
    now_ms = ""  # nobody to agree with
    doubt_patience_s = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = f"SQLite file {path}"
        self._lock: int | None = None

    def claim(self) -> None:
        """Hold a lock on a file beside the database. The kernel lets go when the process ends, however it ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise UnavailableError(
                f"{self.path} is in use by another koinon server. A SQLite zone has one server process: stop the other one first."
            ) from error
        self._lock = lock

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def alone(self, connection: protocol.Connection) -> None:
        """The claim has seen to that."""

    def require_fit(self, connection: protocol.Connection) -> None:
        """The library is part of this program."""

    def require_rights(self, connection: protocol.Connection, tables: Sequence[str]) -> None:
        """Rights are the file's."""

    def writer(self) -> Connection:
        """It never waits for a lock: nobody else holds one but a tool that copies the file."""
        connection = self.connect()
        connection.execute("PRAGMA busy_timeout = 0")  # waiting here would stop the event loop; the writer tries again instead
        # A COMMIT that has to checkpoint as well takes many times as long; ``tidy`` does that elsewhere. This bound (16 MiB) is for when it
        # can't keep up; a larger one makes all commits slower: a log that grows costs the file system twice what writing over one does.
        connection.execute("PRAGMA wal_autocheckpoint = 4096")
        # A new file becomes readable to its owner only: it holds verifiers.
        with contextlib.suppress(FileNotFoundError):
            os.chmod(self.path, 0o600)
        return connection

    def reader(self) -> Connection:
        """It makes no file: one that is not there holds nothing to read."""
        if not self.path.exists():
            raise sqlite3.OperationalError("there is no such file")
        connection = self.connect()
        connection.execute("PRAGMA query_only = 1")
        return connection

    def query(self, sql: str, *, seconds: float, most_bytes: int) -> Table:
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            end_s = time.monotonic() + seconds
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most_bytes)
            # Not only what writes: ATTACH would reach other files, and PRAGMA change how this one is read.
            connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY)
            connection.set_progress_handler(lambda: time.monotonic() > end_s, _STEPS)
            cursor = connection.execute(sql)
            if cursor.description is None:
                raise sqlite3.ProgrammingError("there is no statement")
            return collected([column[0] for column in cursor.description], cursor, most_bytes=most_bytes, end_s=end_s)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:  # errors of the driver itself have none
                raise TimeoutError(str(error)) from error
            raise
        finally:
            connection.close()

    def connect(self) -> Connection:
        # The writer's connection is used by the loop's thread and by the one that commits, never by both at once.
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=5.0, factory=Connection
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = 1")
        connection.execute("PRAGMA cache_size = -16000")
        return connection

    def tidy(self) -> None:
        """Move what was committed from the write-ahead log to the database file; blocks neither readers nor the writer."""
        connection = self.connect()
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()

    def migrator(self) -> Any:
        return sqlite3.connect(self.path)

    def has_table(self, connection: protocol.Connection, name: str) -> bool:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone())

    def go_on_numbering(self, connection: protocol.Connection, table: str) -> None:
        """It takes one more than the greatest."""

    def begin(self, connection: protocol.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def begin_snapshot(self, connection: protocol.Connection) -> None:
        connection.execute("BEGIN")

    def in_transaction(self, connection: Any) -> bool:
        return bool(connection.in_transaction)

    def rollback(self, connection: Any) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()

    def lost_transaction(self, connection: Any) -> bool:
        """A full disk may do that."""
        return not connection.in_transaction

    def is_gone(self, connection: protocol.Connection) -> bool:
        return False

    def end_stalled(self) -> int:
        """There is no other process."""
        return 0

    def end_others(self, own: Sequence[protocol.Connection]) -> int:
        """There are none to end: a process has the file open, and sees at its next statement what was done to it."""
        return 0

    def identity(self) -> object:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def held_up(self) -> str:
        """A call of the library ends."""
        return ""

    def commit_in_doubt(self, connection: protocol.Connection) -> bool:
        """A disk that fails in the middle tells too little."""
        return True

    def await_own_end(self, connection: protocol.Connection) -> None:
        """It has ended with the call that failed."""

    def is_full(self, error: BaseException) -> bool:
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL

    def explain(self, error: BaseException, *, serving: bool = True) -> str:
        text = str(error)
        if self.is_full(error):
            return f"The disk of {self.path.parent} is full ({text}). Free space there; nothing was changed."
        if "locked" in text:
            return f"Another program holds {self.path} ({text}). Close it; nothing was changed."
        return f"The database {self.path} refused: {text}."

    def free_bytes(self) -> int | None:
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

"""SQLite: one file, one process that writes it, every commit synced to disk.

A write group's statements touch memory and the page cache only, so they run on the event loop; COMMIT, which waits for the disk, does not.
Source: sqlite.org "Write-Ahead Logging", "PRAGMA synchronous"; settings measured in docs/performance.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from koinon.errors import UnavailableError

Connection = sqlite3.Connection


class SQLite:
    """One database file.

    Args:
        path: the file; its folder must exist.
    """

    driver_error: Final = sqlite3.Error
    integrity_error: Final = sqlite3.IntegrityError
    upsert_counter: Final = (
        "INSERT INTO pool_control (tablename, last_oid, row_hash) VALUES (?, ?, ?) "
        "ON CONFLICT (tablename) DO UPDATE SET last_oid = excluded.last_oid, row_hash = excluded.row_hash"
    )
    upsert_digest: Final = (
        "INSERT INTO shared_digest (tablename, digest) VALUES (?, ?) ON CONFLICT (tablename) DO UPDATE SET digest = excluded.digest"
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def claim(self) -> None:
        """Make sure that no other process serves this file. The kernel lets go when the process ends, however it ends.

        Raises:
            UnavailableError: another process holds it.
        """
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

    def writer(self) -> Connection:
        """The one connection that writes. It never waits for a lock: nobody else holds one but a tool that copies the file."""
        connection = self._connect()
        connection.execute("PRAGMA busy_timeout = 0")  # waiting here would stop the event loop; the writer tries again instead
        # A COMMIT that has to checkpoint as well takes many times as long; ``tidy`` does that elsewhere. This bound (16 MiB) is for when it
        # can't keep up; a larger one makes all commits slower: a log that grows costs the file system twice what writing over one does.
        connection.execute("PRAGMA wal_autocheckpoint = 4096")
        # A new file becomes readable to its owner only: it holds verifiers.
        with contextlib.suppress(FileNotFoundError):
            os.chmod(self.path, 0o600)
        return connection

    def reader(self) -> Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = 1")
        return connection

    def _connect(self) -> Connection:
        # The writer's connection is used by the loop's thread and by the one that commits, never by both at once.
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=5.0)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = 1")
        connection.execute("PRAGMA cache_size = -16000")
        return connection

    def tidy(self) -> None:
        """Move what was committed from the write-ahead log to the database file; blocks neither readers nor the writer."""
        connection = self._connect()
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()

    def begin(self, connection: Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def begin_snapshot(self, connection: Connection) -> None:
        """Start a transaction in which every read sees one state."""
        connection.execute("BEGIN")

    def in_transaction(self, connection: Connection) -> bool:
        return connection.in_transaction

    def rollback(self, connection: Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()

    def lost_transaction(self, connection: Connection) -> bool:
        """Whether an error has thrown the whole transaction away, and not just the statement (a full disk may)."""
        return not connection.in_transaction

    def explain(self, error: Exception) -> str:
        """Say what a driver error means for an operator."""
        text = str(error)
        if "full" in text:
            return f"The disk of {self.path.parent} is full ({text}). Free space there; nothing was changed."
        if "locked" in text:
            return f"Another program holds {self.path} ({text}). Close it; nothing was changed."
        return f"The database {self.path} refused: {text}."

    def free_bytes(self) -> int:
        """Space that is left for the file."""
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

"""Database engines for tests: private servers from the system's packages, and a database for each path.

Path:     url(path) -> the engine under test -> sqlite:///path, or a database of a server that this process starts when first needed
Holds:    servers listen in a directory of their own under the temporary folder and on a loopback port, with data that is as durable as
          in earnest, and end with the process that started them. Start them from its main thread.
"""

from __future__ import annotations

import atexit
import contextlib
import getpass
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from harness import processes
from koinon.database.dialects import choose
from koinon.database.dialects.protocol import Connection

ENGINES: Final = ("sqlite", "postgresql", "mariadb")
#: the engine that ``url`` takes unless it is said; tests/conftest.py sets it
current = os.environ.get("ENGINE", "sqlite")

_PATIENCE_S: Final = 120.0


class Missing(Exception):
    """The packages of a server are not installed."""


class Server(ABC):
    """One private server. ``start`` makes its data the first time.

    Attributes:
        folder: for data, socket and log.
        port: on the loopback address.
        process: None when stopped.
    """

    #: the user of Debian's package; root's servers run as that one
    account: str
    #: ends it without waiting for its sessions
    farewell = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"koinon-{self.account}-"))
        self.port = processes.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._made: set[str] = set()
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.account)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        atexit.register(self.remove)

    @property
    def _user(self) -> str | None:
        return self.account if os.geteuid() == 0 else None

    def start(self) -> None:
        """Start and wait until it takes connections."""
        data = self.folder / "data"
        if not data.exists():
            self._run(self._setup(data))
        self.process = processes.start(self._command(data), log=self.folder / "server.log", user=self._user)
        wait_until(self._answers)

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None:
            processes.end(self.process, by=self.farewell)
            self.process = None

    def remove(self) -> None:
        """End it and forget its data."""
        if self.process is not None:
            processes.kill_family(self.process)  # or the children would write on where we delete
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, name: str) -> str:
        """The address of a database, made if it is not there."""
        if name not in self._made:
            self.administer(f"CREATE DATABASE {name}")
            self._made.add(name)
        return self.url(name)

    def administer(self, *statements: str) -> list[Any]:
        """Run statements as the server's own administrator; rows of the last one, if it has any."""
        connection = choose(self.url(self.home)).connect()
        try:
            for statement in statements:
                rows = connection.execute(statement)
            with contextlib.suppress(Exception):
                return rows.fetchall()
            return []
        finally:
            connection.close()

    #: a database that is always there
    home: str

    @abstractmethod
    def url(self, name: str) -> str:
        """The address of a database."""

    @abstractmethod
    def _setup(self, data: Path) -> list[str | Path]: ...

    @abstractmethod
    def _command(self, data: Path) -> list[str | Path]: ...

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"{self.account} ended by itself:\n{(self.folder / 'server.log').read_text()[-3000:]}")
        with contextlib.suppress(Exception):
            self.administer("SELECT 1")
            return True
        return False

    def _run(self, command: list[str | Path]) -> None:
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class PostgreSQL(Server):
    """PostgreSQL, from the packages' newest version."""

    account = "postgres"
    farewell = signal.SIGINT
    home = "postgres"

    def __init__(self, *options: str) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            raise Missing("PostgreSQL is not installed: apt install postgresql")
        self._programs = found[-1].parent
        self._options = options
        super().__init__()

    def url(self, name: str) -> str:
        return f"postgresql://koinon@/{name}?host={self.folder}&port={self.port}"

    def _setup(self, data: Path) -> list[str | Path]:
        return [
            self._programs / "initdb", "-D", data, "-U", "koinon", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        ]  # fmt: skip

    def _command(self, data: Path) -> list[str | Path]:
        own = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "shared_buffers=32MB", *self._options]
        return [self._programs / "postgres", "-D", data, "-p", str(self.port), *(part for option in own for part in ("-c", option))]


class Standby(PostgreSQL):
    """A PostgreSQL that follows another one, from whose data it is made at its first start."""

    def __init__(self, primary: PostgreSQL, *options: str) -> None:
        self._primary = primary
        super().__init__("wal_retrieve_retry_interval=200ms", *options)

    def url(self, name: str) -> str:
        return super().url(name) + "&target_session_attrs=any"

    def _setup(self, data: Path) -> list[str | Path]:
        source = f"host={self._primary.folder} port={self._primary.port} user=koinon application_name=standby"
        return [self._programs / "pg_basebackup", "-D", data, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"]

    def become_synchronous(self) -> None:
        """From now on the primary acknowledges nothing that we do not hold."""
        self._primary.administer("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
        deadline = time.monotonic() + _PATIENCE_S
        while not self._primary.administer("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)

    def receiver(self) -> int:
        """The process id of what takes the primary's log."""
        return int(self.administer("SELECT pid FROM pg_stat_wal_receiver")[0][0])

    def promote(self) -> None:
        """Become a primary."""
        assert self.administer("SELECT pg_promote()") == [(True,)]


def either(servers: Sequence[PostgreSQL], name: str) -> str:
    """The address of a database of whichever of these servers is the primary."""
    hosts = ",".join(str(server.folder) for server in servers)
    return f"postgresql://koinon@/{name}?host={hosts}&port={','.join(str(server.port) for server in servers)}"


class MariaDB(Server):
    """MariaDB, with no settings but ours."""

    account = "mysql"
    home = "mysql"

    def __init__(self, *options: str) -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
        found = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
        if not all(found):
            raise Missing("MariaDB is not installed: apt install mariadb-server")
        self._daemon, self._installer = str(found[0]), str(found[1])
        self._options = options
        super().__init__()

    def url(self, name: str) -> str:
        return f"mysql://root@localhost/{name}?unix_socket={self.folder}/socket"

    def _setup(self, data: Path) -> list[str | Path]:
        return [
            self._installer, "--no-defaults", f"--datadir={data}", f"--user={self._user or getpass.getuser()}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--skip-name-resolve",
        ]  # fmt: skip

    def _command(self, data: Path) -> list[str | Path]:
        return [
            self._daemon, "--no-defaults", f"--datadir={data}", f"--socket={self.folder}/socket", f"--port={self.port}",
            "--character-set-server=utf8mb4", "--bind-address=127.0.0.1",
            f"--pid-file={self.folder}/pid", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M",
            *self._options,
        ]  # fmt: skip


_servers: dict[str, Server] = {}


def server(engine: str) -> Server:
    """This process's server of an engine, started when first asked for.

    Raises:
        Missing: its packages are not installed.
    """
    if engine not in _servers:
        made = {"postgresql": PostgreSQL, "mariadb": MariaDB}[engine]()
        made.start()
        _servers[engine] = made
    return _servers[engine]


def database_name(path: Path) -> str:
    """The name of the database that stands for a path on a server."""
    return f"koinon_{hashlib.blake2b(str(path).encode(), digest_size=10).hexdigest()}"


def url(path: Path, engine: str = "") -> str:
    """The address of the database that a test wants at a path; on a server, one that has this path's name.

    Args:
        path: where its file would be.
        engine: the current one if empty.
    """
    engine = engine or current
    return f"sqlite:///{path}" if engine == "sqlite" else server(engine).database(database_name(path))


@contextlib.contextmanager
def session(address: str) -> Iterator[Connection]:
    """A session of one who looks at rows and edits them without asking Koinon: ``?`` marks, each statement on its own."""
    connection = choose(address).connect()
    try:
        yield connection
    finally:
        connection.close()


def by_hand(path: Path, engine: str = "") -> contextlib.AbstractContextManager[Connection]:
    """A ``session`` with the database of a path."""
    return session(url(path, engine))


def wait_until(check: Callable[[], bool]) -> None:
    """Wait until a server is as it was told to be."""
    deadline = time.monotonic() + _PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, "the server does not do as it was told"
        time.sleep(0.05)


def save(path: Path, engine: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a database, as they are in one moment: a backup."""
    dialect = choose(url(path, engine))
    connection = dialect.connect()
    try:
        dialect.begin_snapshot(connection)
        return {table.name: connection.execute(f"SELECT * FROM {table.name}").fetchall() for table in _tables()}
    finally:
        dialect.rollback(connection)
        connection.close()


def values(path: Path, engine: str = "") -> bytes:
    """All that a database's rows hold, one after the other, for tests that look for what must not be there."""
    found = [value for rows in save(path, engine).values() for row in rows for value in row]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in found)


def restore(path: Path, saved: dict[str, list[tuple[Any, ...]]], engine: str = "") -> None:
    """Put a backup back; the zone must be stopped."""
    dialect = choose(url(path, engine))
    connection = dialect.connect()
    try:
        dialect.begin(connection)
        for table, rows in saved.items():
            connection.execute(f"DELETE FROM {table}")
            if rows:
                connection.later(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", *rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _tables() -> Any:
    from koinon.database.tables import metadata

    return metadata.sorted_tables

"""Move a zone's whole database: to another engine, into a file, and back.

Path:     `koinon database copy`, `koinon backup`, `koinon restore` -> __main__.py -> here -> database/contents.py, backup_file.py
Holds:    what is copied is one committed state, of a zone that runs or not. A copy is opened to servers only if nothing was written to
          the zone while it was made, and then the database that it leaves is closed: two would be served as one zone. Of a running zone it
          is a rehearsal, and the same command with the zone stopped brings it up to date.
Not here: what is printed (cli/moving.py); what a federation does with a zone that was set back (federation/rollback.py, applier.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from koinon import clock
from koinon.daemon.bootstrap import ONE_AUTH
from koinon.daemon.secret_files import SERVER_AUTH
from koinon.database import backup_file, migrations
from koinon.database.backup_file import Backup, Header, KeyFile
from koinon.database.closed import Mark
from koinon.database.contents import TABLES, Filling, Reading, Tell, Total, reopen, unserved
from koinon.database.dialects import choose
from koinon.database.dialects.protocol import Connection, Dialect
from koinon.database.fence import shut
from koinon.errors import UnavailableError
from koinon.federation.keys import KeyStore, write_private
from koinon.settings import DATABASE_FORM, Settings, is_database

#: What ``write_private`` replaces is kept beside it.
_BEFORE: Final = ".before-restore"

Totals = dict[str, tuple[tuple[str, ...], Total]]


def copy(settings: Settings, to: str, *, replace: bool, tell: Tell) -> dict[str, Any]:
    """Make another database hold what this zone's holds.

    If the zone is stopped, and stays so meanwhile, the other one is opened to servers and its own is closed (``opened`` in the answer).

    Args:
        settings: the zone's; they name the source.
        to: address of the other database.
        replace: give up what it holds.
        tell: hears of the progress.

    Raises:
        UnavailableError: one of the two can't be used, or the other one is not empty; the text says what to do.
    """
    if not is_database(to):
        raise UnavailableError(f"--to is not the address of a database. It looks like {DATABASE_FORM}.")
    if to == settings.database.url:
        raise UnavailableError("--to is the zone's own database. Name another one.")
    source, target = _dialect(settings), choose(to, accepted=settings.database.accepted)
    with _plain_errors(source), Reading(source):
        pass  # there is something to copy
    with _plain_errors(source), _held(source) as held, Reading(source) as reading:
        with _plain_errors(target):
            totals, left = _copy(source, held, reading, target, replace=replace, tell=tell)
        return _told(target.place, reading, _rows(totals)) | {"opened": held is not None, "sessions_left": left}


def _copy(source: Dialect, held: Connection | None, reading: Reading, target: Dialect, *, replace: bool, tell: Tell) -> tuple[Totals, int]:
    again = "with the zone stopped, give the command `koinon database copy` again: it goes on from what is here"
    broken = Mark(f"an unfinished copy of {source.place}", f"It was interrupted: {again}.")
    with unserved(target) as connection:
        filling = Filling(target, connection, broken, replace=replace)
        left = filling.sessions_left
        totals: Totals = {}
        for table, columns in TABLES.items():
            tell(f"copying {table}")
            there = filling.has(table, partial(reading.rows, table))
            totals[table] = columns, there or filling.put(table, columns, reading.rows(table), tell)
        filling.check(totals, tell)
        if held is not None:
            since = reading.state.write_seq
            with _plain_errors(source):
                left += shut(source, held, _left_for(target), read_by=reading.connection, since=since)  # first: at no time are both open
            filling.open()
        else:
            position = reading.state.head.position
            filling.leave_closed(Mark(broken.holds, f"It was made at {position} while the zone ran, and lacks what came later: {again}."))
    return totals, left


def _left_for(target: Dialect) -> Mark:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(clock.now_s()))
    return Mark(
        f"a zone that moved to {target.place} on {when}",
        "Set `url` in [database] to that address. Only if the zone is to go on here, and not there: koinon database reopen.",
        left=True,
    )


def take_back(settings: Settings) -> dict[str, Any]:
    """Open the database that a zone has left by ``copy``, for it is to go on there after all.

    Args:
        settings: the zone's; they name that database.

    Raises:
        UnavailableError: it can't be used, or was not left.
    """
    dialect = _dialect(settings)
    with _plain_errors(dialect):
        reopen(dialect)
        with Reading(dialect) as reading:
            return {"place": dialect.place, "zone_id": reading.state.zone_id, "position": str(reading.state.head.position)}


def back_up(settings: Settings, path: Path, *, with_keys: bool, tell: Tell) -> dict[str, Any]:
    """Write a zone's rows to a file, whether the zone runs or not.

    Args:
        settings: the zone's.
        path: of the new file.
        with_keys: also the secret files of the state directory.
        tell: hears of the progress.

    Raises:
        UnavailableError: the database can't be read, the file is there, or its directory is not.
        OSError: the file can't be written; nothing is left of it.
    """
    if path.exists():
        raise UnavailableError(f"{path} is there already. Name another file, or remove it.")
    if not path.parent.is_dir():
        raise UnavailableError(f"{path.parent} is no directory. Make it, or name another file.")
    source = _dialect(settings)
    with _plain_errors(source), Reading(source) as reading:
        state = reading.state
        header = Header(
            format=backup_file.FORMAT,
            program=version("koinon"),
            schema=migrations.HEAD,
            engine=settings.database.engine,
            zone_id=state.zone_id,
            role=state.role,
            federation_id=state.federation_id,
            epoch=state.epoch,
            position=state.position,
            chain=state.chain,
            made_at_ms=clock.now_ms(),
            zone_name=reading.zone_name(),
        )
        keys = [KeyFile(name, file.read_bytes()) for name, file in _key_files(settings.state).items() if file.exists()] if with_keys else []
        size, rows = backup_file.write(path, header, keys, reading.rows, tell)
        return _told(str(path), reading, rows) | {"size": size, "keys": [key.name for key in keys]}


def look(settings: Settings, path: Path) -> dict[str, Any]:
    """What a backup says of itself.

    Raises:
        UnavailableError: it is none, damaged, or newer than this program.
        OSError: it can't be read.
    """
    with _open(path) as backup:
        return msgspec.structs.asdict(backup.header)


def restore(settings: Settings, path: Path, *, replace: bool, tell: Tell) -> dict[str, Any]:
    """Make the zone's database what it was when a backup was made. The zone must be stopped.

    Args:
        settings: the zone's; they name the database and the state directory.
        path: of the backup.
        replace: give up what the database holds; key files that differ are kept under another name.
        tell: hears of the progress.

    Raises:
        UnavailableError: a server runs on the database, it is not empty, or the file is damaged; the text says what to do.
        OSError: the state directory can't be written.
    """
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = _dialect(settings)
    with _open(path) as backup:
        keys = _Keys(settings.state, backup.keys)
        if keys.in_the_way and not replace:
            raise UnavailableError(
                f"{settings.state} holds other files than the backup: {', '.join(keys.in_the_way)}. They may be another zone's: check "
                f"--config. With --replace they are renamed (NAME{_BEFORE}). Nothing was changed."
            )
        mark = Mark("an unfinished copy of a backup", "Give the command `koinon restore` again.")
        with _plain_errors(target), unserved(target) as connection:
            filling = Filling(target, connection, mark, replace=replace, schema=backup.header.schema)
            totals: Totals = {}
            for table, columns, rows in backup.tables():
                tell(f"restoring {table}")
                totals[table] = columns, filling.put(table, columns, rows, tell)
            filling.check(totals, tell)
            keys.put()
            filling.open()
    with _plain_errors(target), Reading(target) as reading:
        told = _told(target.place, reading, _rows(totals)) | {"sessions_left": filling.sessions_left}
    lacks_keys = told["role"] != "standalone" and not KeyStore(settings.state).zone_key_file.exists()
    return told | {"keys": [key.name for key in backup.keys], "lacks_keys": lacks_keys}


#: What the command line asks for, by name.
OPERATIONS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "copy": copy,
    "take_back": take_back,
    "back_up": back_up,
    "look": look,
    "restore": restore,
}


class _Keys:
    """The secret files of a backup on their way to a state directory."""

    def __init__(self, state: Path, keys: Sequence[KeyFile]) -> None:
        files = _key_files(state)
        self._files = [(files[key.name], key.content) for key in keys]
        self._differ = [file for file, content in self._files if file.exists() and file.read_bytes() != content]
        #: names of files that are there and differ
        self.in_the_way = [file.name for file in self._differ]

    def put(self) -> None:
        """Put them in place; what differs is kept under another name."""
        for file, content in self._files:
            if file in self._differ:
                file.rename(file.with_name(file.name + _BEFORE))
            file.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(file, content)


def _open(path: Path) -> Backup:
    return Backup(path, newest_schema=migrations.HEAD, key_files=_key_files(Path()))


def _key_files(state: Path) -> dict[str, Path]:
    store = KeyStore(state)
    federation = (store.ca_key_file, store.ca_file, store.zone_key_file, store.certificate_file)
    files = (state / ONE_AUTH, state / SERVER_AUTH, *federation)
    return {str(file.relative_to(state)): file for file in files}


def _told(place: str, reading: Reading, rows: int) -> dict[str, Any]:
    """What is said of each operation: where the rows are now, whose they are, how many, and which shared tables do not have the digest that
    the zone keeps of them (nor had they before).
    """
    state = reading.state
    return {
        "place": place,
        "zone_id": state.zone_id,
        "role": state.role,
        "federation_id": state.federation_id,
        "position": str(state.head.position),
        "rows": rows,
        "faults": reading.faults(),
    }


def _rows(totals: Totals) -> int:
    return sum(total.rows for _, total in totals.values())


def _dialect(settings: Settings) -> Dialect:
    return choose(settings.database.url, accepted=settings.database.accepted)


@contextmanager
def _plain_errors(dialect: Dialect) -> Iterator[None]:
    try:
        yield
    except dialect.driver_error as error:
        raise UnavailableError(dialect.explain(error, serving=False)) from error


@contextmanager
def _held(dialect: Dialect) -> Iterator[Connection | None]:
    """A session with a database on which no server runs and none can start within the block; None if one runs."""
    with ExitStack() as stack:
        try:
            held = stack.enter_context(unserved(dialect))
        except UnavailableError:
            held = None
        yield held

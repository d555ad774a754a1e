"""The mark of a database that is being filled from elsewhere: while it is there, no server starts on it.

Holds:    the mark is a table of its own, so that it can be made before all others, and stays whatever happens to them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.dialects.protocol import Connection, Dialect
from koinon.errors import UnavailableError

_TABLE: Final = "unfinished_copy"
_LENGTH: Final = 500


class Mark(msgspec.Struct, frozen=True):
    """What a closed database says of itself.

    Attributes:
        source: what it is filled from.
        remedy: what an operator has to do.
    """

    source: str
    remedy: str


def set_mark(dialect: Dialect, connection: Connection, mark: Mark) -> None:
    """Close a database, or let one that is closed say something else."""
    if not dialect.has_table(connection, _TABLE):
        connection.execute(f"CREATE TABLE {_TABLE} (id INTEGER PRIMARY KEY, source VARCHAR({_LENGTH}), remedy VARCHAR({_LENGTH}))")
    connection.execute(f"DELETE FROM {_TABLE}")
    connection.execute(f"INSERT INTO {_TABLE} (id, source, remedy) VALUES (1, ?, ?)", (mark.source[:_LENGTH], mark.remedy[:_LENGTH]))


def remove_mark(connection: Connection) -> None:
    """Open a database."""
    connection.execute(f"DROP TABLE {_TABLE}")


def mark_of(dialect: Dialect, connection: Connection) -> Mark | None:
    """The mark of a database; None if it has none."""
    if not dialect.has_table(connection, _TABLE):
        return None
    row = connection.execute(f"SELECT source, remedy FROM {_TABLE}").fetchone()
    return Mark(*row) if row else Mark("another database", "Fill it again.")  # it was interrupted between two statements


def require_whole(dialect: Dialect, connection: Connection) -> None:
    """Refuse a database that was not filled to the end.

    Raises:
        UnavailableError: it was not.
    """
    mark = mark_of(dialect, connection)
    if mark is not None:
        raise UnavailableError(f"{dialect.place} is closed: it holds an unfinished copy of {mark.source}. {mark.remedy}")

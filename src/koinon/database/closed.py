"""The mark of a database on which no server may start: it is being filled from elsewhere, or its zone has moved away.

Holds:    the mark is a table of its own, so that it can be made before all others, and stays whatever happens to them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.dialects.protocol import Connection, Dialect
from koinon.errors import UnavailableError

_TABLE: Final = "closed"
_LENGTH: Final = 500


class Mark(msgspec.Struct, frozen=True):
    """What a closed database says of itself.

    Attributes:
        holds: what is in it, for a sentence.
        remedy: what an operator has to do.
        left: it is whole, but its zone has moved to another one.
    """

    holds: str
    remedy: str
    left: bool = False


def set_mark(dialect: Dialect, connection: Connection, mark: Mark) -> None:
    """Close a database, or let one that is closed say something else."""
    if not dialect.has_table(connection, _TABLE):
        connection.execute(
            f"CREATE TABLE {_TABLE} (id INTEGER PRIMARY KEY, holds VARCHAR({_LENGTH}), remedy VARCHAR({_LENGTH}), was_left INTEGER)"
        )
    connection.execute(f"DELETE FROM {_TABLE}")
    row = (mark.holds[:_LENGTH], mark.remedy[:_LENGTH], int(mark.left))
    connection.execute(f"INSERT INTO {_TABLE} (id, holds, remedy, was_left) VALUES (1, ?, ?, ?)", row)


def remove_mark(connection: Connection) -> None:
    """Open a database."""
    connection.execute(f"DROP TABLE {_TABLE}")


def mark_of(dialect: Dialect, connection: Connection) -> Mark | None:
    """The mark of a database; None if it has none."""
    if not dialect.has_table(connection, _TABLE):
        return None
    row = connection.execute(f"SELECT holds, remedy, was_left FROM {_TABLE}").fetchone()
    if row is None:  # it was interrupted between two statements
        return Mark("what nobody has vouched for", "Fill it again, with --replace.")
    return Mark(row[0], row[1], bool(row[2]))


def require_open(dialect: Dialect, connection: Connection) -> None:
    """Refuse a database that is closed.

    Raises:
        UnavailableError: it is.
    """
    mark = mark_of(dialect, connection)
    if mark is not None:
        raise UnavailableError(f"{dialect.place} is closed: it holds {mark.holds}. {mark.remedy}")

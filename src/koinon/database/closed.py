"""The mark of a database on which no server may start: it is being filled from elsewhere, or its zone has moved away.

Holds:    the mark is a table of its own, so that it can be made before all others, and stays whatever happens to them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.database.dialects.protocol import Connection, Dialect
from koinon.errors import UnavailableError

_TABLE: Final = "closed"
_UNDER_WAY: Final = "closing"  # a table that is made is there before its row
_LENGTH: Final = 500


class Closed(UnavailableError):
    """No server may use this database, or this server may not any more; the text says why and what to do."""


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
    """Close a database, or let one that is closed say something else. At no moment it says nothing."""
    row = (mark.holds[:_LENGTH], mark.remedy[:_LENGTH], int(mark.left))
    if dialect.has_table(connection, _TABLE):
        connection.execute(f"UPDATE {_TABLE} SET holds = ?, remedy = ?, was_left = ? WHERE id = 1", row)
        return
    connection.execute(f"DROP TABLE IF EXISTS {_UNDER_WAY}")
    connection.execute(
        f"CREATE TABLE {_UNDER_WAY} (id INTEGER PRIMARY KEY, holds VARCHAR({_LENGTH}), remedy VARCHAR({_LENGTH}), was_left INTEGER)"
    )
    connection.execute(f"INSERT INTO {_UNDER_WAY} (id, holds, remedy, was_left) VALUES (1, ?, ?, ?)", row)
    connection.execute(f"ALTER TABLE {_UNDER_WAY} RENAME TO {_TABLE}")


def remove_mark(connection: Connection) -> None:
    """Open a database."""
    connection.execute(f"DROP TABLE {_TABLE}")


def mark_of(dialect: Dialect, connection: Connection) -> Mark | None:
    """The mark of a database; None if it has none."""
    if not dialect.has_table(connection, _TABLE):
        return None
    holds, remedy, left = connection.execute(f"SELECT holds, remedy, was_left FROM {_TABLE}").fetchone()
    return Mark(holds, remedy, bool(left))


def require_open(dialect: Dialect, connection: Connection) -> None:
    """Refuse a database that is closed.

    Raises:
        Closed: it is.
    """
    mark = mark_of(dialect, connection)
    if mark is not None:
        raise Closed(f"{dialect.place} is closed: it holds {mark.holds}. {mark.remedy}")

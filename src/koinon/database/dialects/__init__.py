"""What differs between database engines, a class for each; ``choose`` picks one by the address of a database."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from koinon.database.dialects.protocol import Dialect


def choose(url: str, *, accepted: Collection[str] = ()) -> Dialect:
    """The engine that an address names. Only its own driver is loaded.

    Args:
        url: ``sqlite:///PATH``, ``postgresql://...``, ``mysql://...`` or ``mariadb://...``.
        accepted: dangers of the server's settings that the operator has accepted, by name.

    Raises:
        ValueError: it names no engine.
    """
    scheme, _, rest = url.partition("://")
    match scheme:
        case "sqlite":
            from koinon.database.dialects.sqlite import SQLite

            return SQLite(Path(rest.removeprefix("/")))
        case "postgresql":
            from koinon.database.dialects.postgresql import PostgreSQL

            return PostgreSQL(url, accepted)
        case "mysql" | "mariadb":
            from koinon.database.dialects.mariadb import MariaDB

            return MariaDB(url, accepted)
    raise ValueError(f"{scheme!r:.40} is no database engine")

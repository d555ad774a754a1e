"""Schema versions, applied in order by Alembic, which is imported only when there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from koinon.database.dialects.sqlite import Connection

HEAD: Final = "0003"  #: the newest file in versions/; a test holds this to be true


def version(connection: Connection) -> str:
    """Schema version of a database, empty for a new one."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return ""
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def upgrade(url: str) -> None:
    """Bring the database at ``url`` (SQLAlchemy form) to ``HEAD``, each version in one transaction."""
    from alembic import command  # 250 ms that a start without migrations need not pay
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, HEAD)

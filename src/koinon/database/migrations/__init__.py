"""Schema versions, applied in order by Alembic, which is imported only when there is something to do.

Holds:    MariaDB ends a transaction at each CREATE TABLE. A version that was interrupted can therefore be made again: it makes what is not
          there yet, and its rows come last, together with its number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from koinon.database.dialects.protocol import Connection, Dialect

HEAD: Final = "0008"  #: the newest file in versions/; a test holds this to be true
TABLE: Final = "alembic_version"  #: where Alembic keeps a database's version
#: What HEAD holds: the names in tables.py, which loads SQLAlchemy; a test holds this to be true.
TABLES: Final = (
    "acl", "cluster_datastore_relation", "cluster_network_relation", "cluster_pool", "document_pool", "federation_commit",
    "federation_log", "federation_setting", "group_member", "group_pool", "group_quotas", "group_vlans", "host_pool", "invitation",
    "lease", "marketplace_pool", "marketplaceapp_pool", "outbox", "pool_control", "reign", "request_outcome", "shared_digest",
    "signed_group", "snapshot_offer", "snapshot_row", "system_attributes", "user_pool", "user_quotas", "vdc_pool", "zone_pool",
    "zone_position", "zone_refusal", "zone_state", "zone_stream",
)  # fmt: skip


def version(dialect: Dialect, connection: Connection) -> str:
    """Schema version of a database, empty for a new one."""
    if not dialect.has_table(connection, TABLE):
        return ""
    row = connection.execute(f"SELECT version_num FROM {TABLE}").fetchone()
    return str(row[0]) if row else ""


def upgrade(dialect: Dialect, until: str = HEAD) -> None:
    """Bring a database to a version, each one on the way in one transaction as far as the engine can.

    Raises:
        the driver's own error.
    """
    from alembic import command  # 250 ms that a start without migrations need not pay
    from alembic.config import Config
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    engine = create_engine(f"{dialect.alchemy}://", creator=dialect.migrator, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, until)
    except DBAPIError as error:
        raise error.orig or error from error

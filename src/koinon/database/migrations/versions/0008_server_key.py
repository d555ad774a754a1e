"""A verifier of the key that the zone shares with its servers, as its last start found it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    if not any(column["name"] == "server_key" for column in sa.inspect(op.get_bind()).get_columns("zone_state")):
        op.add_column("zone_state", sa.Column("server_key", columns.word(255)))

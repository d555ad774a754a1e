"""What one process of a master has seen of other zones, so that each can tell it: streams that ended, refusals, troubles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table, column in (("zone_stream", sa.Column("gone_at", sa.BigInteger)), ("zone_position", sa.Column("trouble", columns.TEXT))):
        if not any(known["name"] == column.name for known in sa.inspect(op.get_bind()).get_columns(table)):
            op.add_column(table, column)
    op.create_table(
        "zone_refusal",
        sa.Column("zone_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("reason", columns.word(32), nullable=False),
        sa.Column("error", columns.TEXT, nullable=False),
        sa.Column("refused_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )

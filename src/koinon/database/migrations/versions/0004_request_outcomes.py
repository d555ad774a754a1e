"""What writes of the zone's own answered, for those who repeat them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "request_outcome",
        sa.Column("request_id", columns.word(64), primary_key=True),
        sa.Column("request_hash", columns.HASH, nullable=False),
        sa.Column("outcome", columns.BLOB, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("request_outcome_made_at", "request_outcome", ["made_at"], if_not_exists=True)

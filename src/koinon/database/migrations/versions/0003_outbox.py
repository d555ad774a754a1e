"""What a slave has to tell its master about itself, until the master has taken it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("request_id", columns.word(32), nullable=False),
        sa.Column("kind", columns.word(32), nullable=False),
        sa.Column("body", columns.BLOB, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )

"""By what a write group is known again that is not in the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "signed_group",
        sa.Column("writer", columns.word(32), primary_key=True),
        sa.Column("write_seq", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )

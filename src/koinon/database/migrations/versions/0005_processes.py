"""Several processes on one database: the lease, what the newest write groups changed, and what each process tells the others of zones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    if not any(column["name"] == "recent" for column in sa.inspect(op.get_bind()).get_columns("zone_state")):
        op.add_column("zone_state", sa.Column("recent", columns.BLOB))
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", columns.word(32), nullable=False),
        sa.Column("name", columns.word(255), nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("said", columns.BLOB, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "zone_stream",
        sa.Column("zone_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run", columns.word(32), nullable=False),
        sa.Column("superseded", columns.word(1024), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "snapshot_offer",
        sa.Column("snapshot_id", columns.word(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    lease = sa.table("lease", *(sa.column(name) for name in ("id", "holder", "name", "until_ms", "said")))
    op.execute(lease.delete())
    op.execute(lease.insert().values(id=1, holder="", name="", until_ms=0, said=sa.literal(b"", columns.BLOB)))

"""The zone's own objects: clusters, hosts, documents; quotas, VLAN rules and defaults of the zone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0002"
down_revision = "0001"


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _pool(name: str, *numbers: str, unique: bool) -> None:
    op.create_table(
        name,
        _key("oid"),
        sa.Column("name", columns.word(128), nullable=False),
        sa.Column("body", columns.TEXT, nullable=False),
        *(sa.Column(column, sa.Integer, nullable=False) for column in numbers),
        *([sa.UniqueConstraint("name")] if unique else []),
        if_not_exists=True,
    )


def upgrade() -> None:
    _pool("cluster_pool", "uid", "gid", "owner_u", "group_u", "other_u", unique=True)
    _pool("host_pool", "state", "uid", "gid", "owner_u", "group_u", "other_u", "cid", unique=True)
    op.create_index("host_pool_cid", "host_pool", ["cid"], if_not_exists=True)
    _pool("document_pool", "type", "uid", "gid", "owner_u", "group_u", "other_u", unique=False)
    op.create_index("document_pool_type", "document_pool", ["type"], if_not_exists=True)
    for name in ("cluster_datastore_relation", "cluster_network_relation"):
        op.create_table(name, _key("cid"), _key("oid"), if_not_exists=True)
    for name, key in (("user_quotas", "user_oid"), ("group_quotas", "group_oid"), ("group_vlans", "group_oid")):
        op.create_table(name, _key(key), sa.Column("body", columns.TEXT, nullable=False), if_not_exists=True)
    op.create_table(
        "system_attributes",
        sa.Column("name", columns.word(128), primary_key=True),
        sa.Column("body", columns.TEXT, nullable=False),
        if_not_exists=True,
    )

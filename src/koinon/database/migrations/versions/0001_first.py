"""The first schema: shared tables, the log, membership, derived rows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from koinon.database import columns

revision = "0001"
down_revision = None

_POOLS = ("user_pool", "group_pool", "vdc_pool", "zone_pool", "marketplace_pool", "marketplaceapp_pool")
_DIGESTED = (*_POOLS, "acl", "pool_control")


def _key(name: str, kind: Any = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _needed(kind: Any, *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def upgrade() -> None:
    for name in _POOLS:
        unique = {"marketplace_pool": [], "marketplaceapp_pool": [sa.UniqueConstraint("name", "uid")]}.get(
            name, [sa.UniqueConstraint("name")]
        )
        op.create_table(
            name,
            _key("oid"),
            *_needed(columns.word(128), "name"),
            *_needed(columns.TEXT, "body"),
            *_needed(sa.Integer, "uid", "gid", "owner_u", "group_u", "other_u"),
            *_needed(columns.HASH, "row_hash"),
            *unique,
            if_not_exists=True,
        )
    op.create_table(
        "acl",
        _key("oid"),
        *_needed(sa.BigInteger, "userset", "resource", "rights", "zone"),
        *_needed(columns.HASH, "row_hash"),
        sa.UniqueConstraint("userset", "resource", "rights", "zone"),
        if_not_exists=True,
    )
    op.create_table(
        "pool_control",
        sa.Column("tablename", columns.word(32), primary_key=True),
        *_needed(sa.Integer, "last_oid"),
        sa.Column("row_hash", columns.HASH),
        if_not_exists=True,
    )
    versions = [f"v_{name}" for name in (*_POOLS, "acl")]
    op.create_table(
        "zone_state",
        _key("id"),
        *_needed(sa.Integer, "zone_id"),
        *_needed(columns.word(16), "role"),
        *_needed(columns.word(32), "federation_id"),
        *_needed(sa.BigInteger, "write_seq", "epoch", "position"),
        *_needed(columns.HASH, "chain"),
        *_needed(sa.BigInteger, *versions),
        if_not_exists=True,
    )
    op.create_table(
        "shared_digest", sa.Column("tablename", columns.word(32), primary_key=True), *_needed(columns.HASH, "digest"), if_not_exists=True
    )
    op.create_table(
        "federation_commit",
        _key("last_idx", columns.INDEX),
        *_needed(sa.BigInteger, "first_idx"),
        *_needed(columns.word(32), "commit_id"),
        *_needed(sa.BigInteger, "epoch"),
        *_needed(sa.Integer, "origin_zone"),
        sa.Column("request_id", columns.word(64), unique=True),
        *_needed(columns.HASH, "request_hash"),
        *_needed(columns.BLOB, "outcome", "digests"),
        *_needed(columns.HASH, "chain"),
        *_needed(sa.BigInteger, "committed_at"),
        if_not_exists=True,
    )
    op.create_table(
        "federation_log",
        _key("idx", columns.INDEX),
        *_needed(columns.word(32), "commit_id"),
        *_needed(columns.TEXT, "statement"),
        if_not_exists=True,
    )
    op.create_table("group_member", _key("gid"), _key("uid"), if_not_exists=True)
    op.create_index("group_member_uid", "group_member", ["uid"], if_not_exists=True)
    op.create_table(
        "reign",
        _key("epoch", sa.BigInteger),
        *_needed(columns.word(32), "federation_id"),
        *_needed(sa.Integer, "master_zone"),
        *_needed(sa.BigInteger, "start_index"),
        *_needed(columns.HASH, "start_chain", "ca_public_key", "recovery_public_key"),
        *_needed(columns.word(16), "signer"),
        *_needed(columns.raw(64), "signature"),
        if_not_exists=True,
    )
    op.create_table(
        "invitation",
        _key("zone_id"),
        *_needed(columns.HASH, "secret_hash"),
        *_needed(sa.BigInteger, "expires_at"),
        sa.Column("bound_key", columns.HASH),
        sa.Column("used_at", sa.BigInteger),
        if_not_exists=True,
    )
    op.create_table("zone_position", _key("zone_id"), *_needed(sa.BigInteger, "epoch", "position", "reported_at"), if_not_exists=True)
    op.create_table(
        "federation_setting", sa.Column("name", columns.word(64), primary_key=True), *_needed(columns.BLOB, "value"), if_not_exists=True
    )
    op.create_table(
        "snapshot_row",
        sa.Column("tablename", columns.word(32), primary_key=True),
        _key("oid"),
        *_needed(columns.BLOB, "row"),
        *_needed(columns.HASH, "row_hash"),
        if_not_exists=True,
    )
    zero = bytes(32)
    digests = sa.table("shared_digest", sa.column("tablename"), sa.column("digest"))
    op.bulk_insert(digests, [{"tablename": name, "digest": zero} for name in _DIGESTED])
    state = {"id": 1, "zone_id": 0, "role": "standalone", "federation_id": "", "write_seq": 0, "epoch": 0, "position": 0, "chain": zero}
    state |= dict.fromkeys(versions, 0)
    op.bulk_insert(sa.table("zone_state", *(sa.column(name) for name in state)), [state])

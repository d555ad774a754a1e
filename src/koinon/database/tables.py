"""Every table, declared once.

Shared tables have OpenNebula's names and columns, and one more: ``row_hash``, so that the digest of a table can follow each change without
reading the table. All others are local to the zone.
Source: OpenNebula src/sql/OneDB.cc.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, UniqueConstraint

from koinon.database import columns
from koinon.statements.schema import POOL_TABLES, SHARED_TABLES

metadata = MetaData()


def _pool(name: str) -> Table:
    unique = {
        "marketplace_pool": [],  # OpenNebula checks these names in code only
        "marketplaceapp_pool": [UniqueConstraint("name", "uid")],
    }.get(name, [UniqueConstraint("name")])
    return Table(
        name,
        metadata,
        Column("oid", Integer, primary_key=True, autoincrement=False),
        Column("name", columns.word(128), nullable=False),
        Column("body", columns.TEXT, nullable=False),
        *(Column(column, Integer, nullable=False) for column in ("uid", "gid", "owner_u", "group_u", "other_u")),
        Column("row_hash", columns.HASH, nullable=False),
        *unique,
    )


POOLS = {name: _pool(name) for name in POOL_TABLES}

acl = Table(
    "acl",
    metadata,
    Column("oid", Integer, primary_key=True, autoincrement=False),
    *(Column(column, BigInteger, nullable=False) for column in ("userset", "resource", "rights", "zone")),
    Column("row_hash", columns.HASH, nullable=False),
    UniqueConstraint("userset", "resource", "rights", "zone"),
)

# The table is local, its rows of the shared tables are not: they have a row_hash, the others have none.
pool_control = Table(
    "pool_control",
    metadata,
    Column("tablename", columns.word(32), primary_key=True),
    Column("last_oid", Integer, nullable=False),
    Column("row_hash", columns.HASH),
)

zone_state = Table(
    "zone_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("zone_id", Integer, nullable=False),
    Column("role", columns.word(16), nullable=False),
    Column("federation_id", columns.word(32), nullable=False),
    Column("write_seq", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("chain", columns.HASH, nullable=False),
    *(Column(f"v_{name}", BigInteger, nullable=False) for name in SHARED_TABLES),
    Column("recent", columns.BLOB),
    Column("server_key", columns.word(255)),
)

shared_digest = Table(
    "shared_digest", metadata, Column("tablename", columns.word(32), primary_key=True), Column("digest", columns.HASH, nullable=False)
)

federation_commit = Table(
    "federation_commit",
    metadata,
    Column("last_idx", columns.INDEX, primary_key=True, autoincrement=False),
    Column("first_idx", BigInteger, nullable=False),
    Column("commit_id", columns.word(32), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("origin_zone", Integer, nullable=False),
    Column("request_id", columns.word(64), unique=True),
    Column("request_hash", columns.HASH, nullable=False),
    Column("outcome", columns.BLOB, nullable=False),
    Column("digests", columns.BLOB, nullable=False),
    Column("chain", columns.HASH, nullable=False),
    Column("committed_at", BigInteger, nullable=False),  # ms since 1970, the master's clock
)

federation_log = Table(
    "federation_log",
    metadata,
    Column("idx", columns.INDEX, primary_key=True, autoincrement=False),
    Column("commit_id", columns.word(32), nullable=False),
    Column("statement", columns.TEXT, nullable=False),
)

group_member = Table(
    "group_member",
    metadata,
    Column("gid", Integer, primary_key=True, autoincrement=False),
    Column("uid", Integer, primary_key=True, autoincrement=False),
    Index("group_member_uid", "uid"),
)

reign = Table(
    "reign",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("federation_id", columns.word(32), nullable=False),
    Column("master_zone", Integer, nullable=False),
    Column("start_index", BigInteger, nullable=False),
    Column("start_chain", columns.HASH, nullable=False),
    Column("ca_public_key", columns.HASH, nullable=False),
    Column("recovery_public_key", columns.HASH, nullable=False),
    Column("signer", columns.word(16), nullable=False),
    Column("signature", columns.raw(64), nullable=False),
)

invitation = Table(
    "invitation",
    metadata,
    Column("zone_id", Integer, primary_key=True, autoincrement=False),
    Column("secret_hash", columns.HASH, nullable=False),
    Column("expires_at", BigInteger, nullable=False),  # s since 1970
    Column("bound_key", columns.HASH),
    Column("used_at", BigInteger),
)

zone_position = Table(
    "zone_position",
    metadata,
    Column("zone_id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("reported_at", BigInteger, nullable=False),  # ms since 1970
    Column("trouble", columns.TEXT),
)

federation_setting = Table(
    "federation_setting", metadata, Column("name", columns.word(64), primary_key=True), Column("value", columns.BLOB, nullable=False)
)

# Where a snapshot waits until it is whole: rows as msgpack.
snapshot_row = Table(
    "snapshot_row",
    metadata,
    Column("tablename", columns.word(32), primary_key=True),
    Column("oid", Integer, primary_key=True, autoincrement=False),
    Column("row", columns.BLOB, nullable=False),
    Column("row_hash", columns.HASH, nullable=False),
)


def _local_pool(name: str, *, after_body: tuple[str, ...] = (), at_end: tuple[str, ...] = (), unique: bool = True) -> Table:
    numbers = (*after_body, "uid", "gid", "owner_u", "group_u", "other_u", *at_end)
    return Table(
        name,
        metadata,
        Column("oid", Integer, primary_key=True, autoincrement=False),
        Column("name", columns.word(128), nullable=False),
        Column("body", columns.TEXT, nullable=False),
        *(Column(column, Integer, nullable=False) for column in numbers),
        *([UniqueConstraint("name")] if unique else []),
    )


def _relation(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("cid", Integer, primary_key=True, autoincrement=False),
        Column("oid", Integer, primary_key=True, autoincrement=False),
    )


def _bodies(name: str, key: str) -> Table:
    return Table(name, metadata, Column(key, Integer, primary_key=True, autoincrement=False), Column("body", columns.TEXT, nullable=False))


cluster_pool = _local_pool("cluster_pool")
cluster_datastore_relation = _relation("cluster_datastore_relation")
cluster_network_relation = _relation("cluster_network_relation")

host_pool = _local_pool("host_pool", after_body=("state",), at_end=("cid",))
Index("host_pool_cid", host_pool.c.cid)

document_pool = _local_pool("document_pool", after_body=("type",), unique=False)  # two documents may have one name
Index("document_pool_type", document_pool.c.type)

user_quotas = _bodies("user_quotas", "user_oid")
group_quotas = _bodies("group_quotas", "group_oid")
group_vlans = _bodies("group_vlans", "group_oid")

system_attributes = Table(
    "system_attributes", metadata, Column("name", columns.word(128), primary_key=True), Column("body", columns.TEXT, nullable=False)
)

# Zone operations that the master has not taken yet, in the order in which they are sent.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("request_id", columns.word(32), nullable=False),
    Column("kind", columns.word(32), nullable=False),
    Column("body", columns.BLOB, nullable=False),
    Column("made_at", BigInteger, nullable=False),  # ms since 1970
)

# What requests answered that must take effect once, where the log does not tell.
request_outcome = Table(
    "request_outcome",
    metadata,
    Column("request_id", columns.word(64), primary_key=True),
    Column("request_hash", columns.HASH, nullable=False),
    Column("outcome", columns.BLOB, nullable=False),
    Column("made_at", BigInteger, nullable=False),  # ms since 1970
)
Index("request_outcome_made_at", request_outcome.c.made_at)

# Which process does the work that only one should do; one row.
lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("holder", columns.word(32), nullable=False),
    Column("name", columns.word(255), nullable=False),
    Column("until_ms", BigInteger, nullable=False),  # ms since 1970, the database's clock
    Column("said", columns.BLOB, nullable=False),
)

# Which process of a zone that follows us was the last to open a stream, at whichever of our processes.
zone_stream = Table(
    "zone_stream",
    metadata,
    Column("zone_id", Integer, primary_key=True, autoincrement=False),
    Column("run", columns.word(32), nullable=False),
    Column("superseded", columns.word(1024), nullable=False),
    Column("gone_at", BigInteger),  # ms since 1970; none while the stream is open
)

# Why a zone that would follow us was refused last, at whichever of our processes.
zone_refusal = Table(
    "zone_refusal",
    metadata,
    Column("zone_id", Integer, primary_key=True, autoincrement=False),
    Column("reason", columns.word(32), nullable=False),
    Column("error", columns.TEXT, nullable=False),
    Column("refused_at", BigInteger, nullable=False),  # ms since 1970
)

# Snapshots that are being loaded from any of our processes: the log after them is kept.
snapshot_offer = Table(
    "snapshot_offer",
    metadata,
    Column("snapshot_id", columns.word(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("told_at", BigInteger, nullable=False),  # ms since 1970
)

# The newest group of each writer that is not in the log. Others may have written since: ``write_seq`` alone does not tell whose it was.
signed_group = Table(
    "signed_group",
    metadata,
    Column("writer", columns.word(32), primary_key=True),
    Column("write_seq", BigInteger, nullable=False),
)

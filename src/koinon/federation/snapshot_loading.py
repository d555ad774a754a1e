"""A zone's side of snapshots: load the file, lay its rows aside, then change the shared tables to them in one transaction.

Path:     applier.py, joining.py -> load() -> snapshot_download.py -> snapshot_staging.py -> differences -> ApplyTx
Holds:    nothing shared changes before the whole snapshot is here, its hash and signature fit and ``check`` agrees; then rows, counters,
          digests, outcomes and position change together. It can be killed at any point and begun again. Of two loads of one zone, in
          whichever processes, the older one hears that it is overtaken.
Not here: how the master makes it (snapshot.py); when a zone needs one (applier.py).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from koinon.database.database import Database
from koinon.database.row_changes import Different
from koinon.database.statement_log import replace_log
from koinon.database.transactions import ApplyTx, ReadTx
from koinon.errors import CloudError
from koinon.federation import reign
from koinon.federation.link import Link
from koinon.federation.reign import ReignError, ReignRecord
from koinon.federation.snapshot import KEPT_UNUSED_S, SIGNING_CONTEXT, SWEEP_EVERY_S
from koinon.federation.snapshot_download import downloaded, remove_parts
from koinon.federation.snapshot_file import Counter, Header, Item, Reign, Row, SnapshotError, read_items
from koinon.federation.snapshot_staging import Staging, empty, remove_stale
from koinon.federation.trust import read_raw_key
from koinon.objects import xml
from koinon.statements import digest
from koinon.statements.commits import Head
from koinon.statements.schema import (
    COUNTERS,
    POOL_TABLES,
    SHARED_TABLES,
    AclRow,
    Delete,
    Insert,
    PoolRow,
    RowChange,
    SetCounter,
    Update,
)
from koinon.wire.messages import Manifest, SignedManifest

log = structlog.get_logger(__name__)

_STAGED_AT_ONCE: Final = 500

Rows = Mapping[str, Sequence[PoolRow | AclRow]]


class Refusal(SnapshotError):
    """``check`` did not agree; nothing was changed.

    Attributes:
        found: its lines.
    """

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__("; ".join(found))
        self.found = list(found)


class _Extras(msgspec.Struct):
    """What a snapshot holds besides rows."""

    counters: dict[str, int] = {}
    reigns: list[bytes] = []
    headers: list[Header] = []


async def load(
    link: Link,
    database: Database,
    directory: Path,
    *,
    master_key: Ed25519PublicKey | None,
    at_least: int = 0,
    leaves: Head | None = None,
    check: Callable[[Rows], Sequence[str]] | None = None,
    also: Callable[[ApplyTx], None] | None = None,
) -> Head:
    """Make the shared tables those of the master's snapshot.

    Args:
        link: to the master.
        database: this zone's.
        directory: where the file is kept until it is applied, for all processes on this machine.
        master_key: who must have signed the manifest. None for a zone that joins, which knows no keys yet: TLS under the CA that its
            invitation names proves the master, and the signature must fit the master's record in the snapshot itself.
        at_least: do not go back behind this index.
        leaves: the head that the snapshot takes the place of, and no other: the one by which the caller found that it needs a snapshot.
            None takes any that is there when the rows have come.
        check: is given all rows by table before anything shared changes; lines in its answer refuse the snapshot.
        also: what else must change in the same transaction, directly after the old position was claimed.

    Returns:
        The head that this zone holds now.

    Raises:
        SnapshotError: the snapshot is damaged, not from our master, of another federation, or refused by ``check`` (Refusal).
        LinkError: the master can't be reached or the transfer broke; call again to go on from there.
        Overtaken: this zone moved meanwhile, or another load of it has begun since (Superseded); nothing was changed.
        CloudError: the database refused.
    """
    staging = Staging(database)
    async with downloaded(link, directory, master_key=master_key, at_least=at_least) as (manifest, signed, path):
        try:
            extras = await _stage(staging, path, manifest)
            if master_key is None:
                await database.read_in_thread(lambda tx: _require_own_key(tx, staging, signed, manifest))
            if check is not None:
                found = check(await database.read_in_thread(lambda tx: _staged_rows(tx, staging)))
                if found:
                    raise Refusal(found)
            seen, changes = await database.read_in_thread(lambda tx: (tx.state.head, _differences(tx, staging)))
            old = leaves or seen
            head: Head = await database.apply("snapshot", lambda tx: _apply(tx, old, staging, manifest, changes, extras, also))
        except Different as error:  # rows of ours were edited meanwhile
            await _give_up(staging)
            raise SnapshotError(f"the snapshot does not fit: {error}") from error
        except Exception:
            await _give_up(staging)
            raise
    log.info("snapshot applied", snapshot=manifest.snapshot_id, index=manifest.head.position.index, changes=len(changes))
    return head


async def keep_swept(database: Database, directory: Path) -> None:
    """Remove what killed loads have left, until cancelled. The master drops a snapshot as soon: then there is nothing to go on with."""
    while True:
        try:
            before = time.time() - KEPT_UNUSED_S
            remove_parts(directory, before=before)
            await remove_stale(database, before_ms=int(before * 1000))
        except (CloudError, OSError) as error:
            log.warning("left-overs of loads not removed, will retry", error=str(error))
        await asyncio.sleep(SWEEP_EVERY_S)


async def _give_up(staging: Staging) -> None:
    with contextlib.suppress(CloudError):  # what can't be removed now is removed later
        await staging.end()


# The rows laid aside --------------------------------------------------------------------------------------------------


async def _stage(staging: Staging, path: Path, manifest: Manifest) -> _Extras:
    """Lay the file's rows aside and make sure that they are those of the manifest's digests."""
    extras = _Extras({}, [], [])
    sums = dict.fromkeys((*SHARED_TABLES, COUNTERS), digest.EMPTY)
    await staging.begin()
    with path.open("rb") as file:
        blocks = read_items(file)
        while (items := await asyncio.to_thread(next, blocks, None)) is not None:
            rows = [(item, digest.row_hash(item.table, item.values)) for item in items if isinstance(item, Row)]
            for item, row_hash in rows:
                sums[item.table] = digest.add(sums[item.table], row_hash)
            _gather(items, extras)
            for part in _parts(rows):
                await staging.lay_aside(part)
    for table, last_oid in extras.counters.items():
        sums[COUNTERS] = digest.add(sums[COUNTERS], digest.counter_hash(table, last_oid))
    for table, total in sums.items():
        if manifest.digests.get(table) != digest.to_bytes(total):
            raise SnapshotError(f"the snapshot's rows of {table} are not those of its digest")
    return extras


def _gather(items: Iterable[Item], extras: _Extras) -> None:
    for item in items:
        if isinstance(item, Counter):
            extras.counters[item.table] = item.last_oid
        elif isinstance(item, Reign):
            extras.reigns.append(item.record)
        elif isinstance(item, Header):
            extras.headers.append(item)


def _parts(rows: Sequence[tuple[Row, bytes]]) -> Iterator[list[tuple[Row, bytes]]]:
    source = iter(rows)
    while part := list(islice(source, _STAGED_AT_ONCE)):
        yield part


def _staged_rows(tx: ReadTx, staging: Staging) -> Rows:
    staging.require(tx)
    pools = {table: [msgspec.convert(values, PoolRow) for values in staging.rows(tx, table)] for table in POOL_TABLES}
    return {**pools, "acl": [msgspec.convert(values, AclRow) for values in staging.rows(tx, "acl")]}


def _require_own_key(tx: ReadTx, staging: Staging, signed: SignedManifest, manifest: Manifest) -> None:
    staging.require(tx)
    found = staging.row(tx, "zone_pool", manifest.zone_id)
    key = _zone_key(msgspec.convert(found, PoolRow).body) if found else None
    try:
        if key is not None:
            key.verify(signed.signature, SIGNING_CONTEXT + signed.payload)
            return
    except InvalidSignature:
        pass
    raise SnapshotError("the snapshot is not signed with the key of the zone that sent it")


def _zone_key(body: str) -> Ed25519PublicKey | None:
    try:
        template = xml.parse(body).find("TEMPLATE")
        return None if template is None else read_raw_key(base64.b64decode(xml.text_of(template, "PUBLIC_KEY"), validate=True))
    except ValueError:
        return None


# The change -----------------------------------------------------------------------------------------------------------


def _differences(tx: ReadTx, staging: Staging) -> list[RowChange]:
    """What turns our rows into those laid aside. Our row hashes are not believed: someone may have edited rows by hand."""
    staging.require(tx)
    deletes: list[RowChange] = []
    updates: list[RowChange] = []
    inserts: list[RowChange] = []
    for table, shape in SHARED_TABLES.items():
        ours = {
            row[0]: (bytes(row[-1]), row[1:-1])
            for row in tx.stream(f"SELECT {', '.join(shape.names)}, row_hash FROM {table}")  # noqa: S608 - our own names
        }
        # What must be unique: two rows may have swapped it, so rows that change it go before any comes.
        unique = slice(0, 1) if table in POOL_TABLES else slice(0, 4)
        for values in staging.rows(tx, table):
            oid, rest = int(values[0]), values[1:]
            row_hash, mine = ours.pop(oid, (b"", None))
            if mine is None:
                inserts.append(Insert(table, values))
            elif mine[unique] != rest[unique]:
                deletes.append(Delete(table, oid))
                inserts.append(Insert(table, values))
            elif mine != rest or row_hash != digest.row_hash(table, values):
                updates.append(Update(table, oid, shape.names[1:], rest))
        deletes += [Delete(table, oid) for oid in ours]
    return [*deletes, *updates, *inserts]


def _apply(
    tx: ApplyTx,
    old: Head,
    staging: Staging,
    manifest: Manifest,
    changes: Sequence[RowChange],
    extras: _Extras,
    also: Callable[[ApplyTx], None] | None,
) -> Generator[None, None, Head]:
    """A step per change, so that those who read meanwhile need not wait for all."""
    tx.claim(old)
    staging.require(tx)
    if also is not None:
        also(tx)
    if tx.state.federation_id != manifest.federation_id:
        raise SnapshotError(f"the snapshot is of federation {manifest.federation_id}, ours is {tx.state.federation_id}")
    _take_reigns(tx, extras.reigns)
    surplus = [(table,) for table in SHARED_TABLES if table not in extras.counters]
    tx.later("DELETE FROM pool_control WHERE tablename = ?", *surplus)
    _sum_digests(tx)
    for change in changes:
        tx.change(change)
        yield
    for table, last_oid in extras.counters.items():
        tx.change(SetCounter(table, last_oid))
    tx.derive_anew()
    now = tx.digests()
    for table, expected in manifest.digests.items():
        if now.get(table) != expected:
            raise Different(f"with the snapshot applied, the digest of {table} is not the master's")
    replace_log(tx, [])
    tx.later(
        "INSERT INTO federation_commit (commit_id, first_idx, last_idx, epoch, origin_zone, request_id, request_hash, outcome, digests, "
        "chain, committed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *map(msgspec.structs.astuple, extras.headers),
    )
    empty(tx)
    tx.set_head(manifest.head)
    return manifest.head


def _sum_digests(tx: ApplyTx) -> None:
    """Count from the digests of the rows that are there: after a hand edit the stored ones are others."""
    digests = {}
    for table in SHARED_TABLES:
        total = digest.EMPTY
        for (row_hash,) in tx.stream(f"SELECT row_hash FROM {table}"):  # noqa: S608 - our own names
            total = digest.add(total, bytes(row_hash))
        digests[table] = total
    total = digest.EMPTY
    for table, row_hash in tx.fetch("SELECT tablename, row_hash FROM pool_control"):
        if table in SHARED_TABLES and row_hash is not None:
            total = digest.add(total, bytes(row_hash))
    tx.replace_digests({**digests, COUNTERS: total})


def _take_reigns(tx: ApplyTx, records: Iterable[bytes]) -> None:
    newest = reign.load_newest(tx)
    try:
        for record in sorted((ReignRecord.decode(raw) for raw in records), key=lambda record: record.epoch):
            if newest is not None and record.epoch <= newest.epoch:
                continue
            reign.verify(record, newest)
            reign.store(tx, record)
            newest = record
    except ReignError as error:
        raise SnapshotError(f"the snapshot holds a reign that is not to be believed: {error}") from error

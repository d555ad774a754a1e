"""What a zone runs because it is, or may come to be, in a federation: the listener for zones, the stream or the applier, purge, renewals.

Path:     wiring.py -> Federated.start(); admin.py -> operations()
Holds:    a change of role (init, join, leave) stops what belonged to the old one and starts what belongs to the new, without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from koinon import clock
from koinon.daemon.admin import Invite, Join, Leave, Nothing, Operation, Refusal, Revoke
from koinon.daemon.federation_routes import LogRoutes, ObjectRoutes, all_paths
from koinon.daemon.listeners import HttpListener
from koinon.database.database import Database
from koinon.database.transactions import ApplyTx, ReadTx
from koinon.errors import ActionError, CloudError, UnavailableError
from koinon.federation import outbox, snapshot_loading, status, trust
from koinon.federation.applier import Applier, master_of
from koinon.federation.applier import Status as Following
from koinon.federation.clashes import Rows
from koinon.federation.existence import Existence, Find
from koinon.federation.forwarding import Forwarding, Take
from koinon.federation.joining import ClashError, Joining
from koinon.federation.keys import KeyFileError, KeyStore, reload_certificate, server_context
from koinon.federation.link import Link, LinkError
from koinon.federation.links import Links
from koinon.federation.listener import Gate, TrustRoutes, application
from koinon.federation.membership import Membership
from koinon.federation.outbox import Sender
from koinon.federation.positions import Positions
from koinon.federation.retention import Retention
from koinon.federation.rollback import RollbackGuard
from koinon.federation.snapshot import Snapshots
from koinon.federation.snapshot_file import SnapshotError
from koinon.federation.stream import Feed
from koinon.settings import Settings
from koinon.statements.commits import Head
from koinon.wire.frames import ZoneReport

log = structlog.get_logger(__name__)

_RENEW_EVERY_S: Final = 86_400.0


class Federated:
    """The federation's services of one zone.

    Args:
        settings: complete.
        database: open and started.
        find: looks among the zone's own objects for one that another zone asks about.

    Attributes:
        forwarding: sends shared writes to the master.
        existence: asks other zones about their objects.
    """

    def __init__(self, settings: Settings, database: Database, find: Find) -> None:
        self._settings = settings
        self._database = database
        self._store = KeyStore(settings.state)
        self._links = Links(database, self._store)
        self._key: Ed25519PrivateKey | None = None
        self._guard = RollbackGuard(database, self._zone_key)
        self._positions = Positions(database, _enrolled)
        self._feed = Feed(database, self._zone_key, self._guard, heartbeat_s=settings.federation.heartbeat_s, reports=self._reports)
        self._snapshots = Snapshots(database, settings.state / "snapshots", self._zone_key)
        self._retention = Retention(
            database,
            keep=settings.federation.log_keep,
            cap=settings.federation.log_cap,
            low_water=self._positions.low_water,
            pin=self._snapshots.pin,
        )
        self._applier = Applier(
            database,
            lambda: master_of(database, self._links),
            state_dir=settings.state,
            heartbeat_s=settings.federation.heartbeat_s,
            batch_statements=settings.federation.apply_batch_statements,
        )
        self.forwarding = Forwarding(database, self._links, self._applier.silence_s, settings.federation)
        self.existence = Existence(database, self._links, find)
        self._outbox = Sender(database, self._links, self.halted)
        self._membership = Membership(
            database,
            self._store,
            self._links,
            state_dir=settings.state,
            endpoint=settings.zone.endpoint,
            federation_endpoint=settings.federation.endpoint,
            on_certificate=self._reload_certificate,
        )
        self._joining = Joining(
            database,
            self._store,
            self._links,
            self._load_for_join,
            password_file=settings.state / "one_auth",
            endpoint=settings.zone.endpoint,
            federation_endpoint=settings.federation.endpoint,
        )
        self._gate: Gate | None = None
        self._tls: ssl.SSLContext | None = None
        self._listener: HttpListener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()

    async def start(self, take: Take) -> None:
        """Run what belongs to this zone's role.

        Args:
            take: does a redirected call (api.dispatch).

        Raises:
            UnavailableError: the listener or the keys can't be used.
        """
        self._take = take
        await self._begin()

    async def stop(self) -> None:
        """Stop it all and say good-bye to the zones that follow."""
        await self._end()
        await self._links.close()

    def halted(self) -> str | None:
        """Why this zone refuses shared writes, None if it does not."""
        return self._guard.halted

    def operations(self) -> dict[tuple[str, str], tuple[type[msgspec.Struct], Operation]]:
        """What the admin socket offers."""
        return {
            ("GET", "/status"): (Nothing, self._status),
            ("POST", "/federation/init"): (Nothing, self._init),
            ("POST", "/federation/invite"): (Invite, self._invite),
            ("POST", "/federation/join"): (Join, self._join),
            ("POST", "/federation/revoke"): (Revoke, self._revoke),
            ("POST", "/federation/accept-loss"): (Nothing, self._accept_loss),
            ("POST", "/federation/leave"): (Leave, self._leave),
            ("POST", "/federation/resync"): (Nothing, self._resync),
        }

    # Roles ------------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        role = self._database.state().role
        self._run("purge", self._retention.run())
        self._run("outbox", self._outbox.run())  # in each role: what waited for a master may be left to us to do
        if role == "standalone":
            return
        gate = self._gate = Gate(self._database)
        try:
            self._tls = server_context(self._store)
        except KeyFileError as error:
            raise UnavailableError(f"This zone's keys can't be used: {error}. Restore the directory `federation`.") from error
        trust_routes = TrustRoutes(self._database, self._store, self._membership, gate)
        log_routes = LogRoutes(gate, self._feed, self._positions, self._guard, self._snapshots, self._take)
        federation = self._settings.federation
        object_routes = ObjectRoutes(gate, self._database, self._guard, self.existence)
        app = application(all_paths(trust_routes, log_routes, object_routes))
        self._listener = HttpListener("listener for zones", federation.listen, federation.port, app, self._tls)
        await self._listener.start()
        self._run("renewal", self._renew_daily())
        if role == "master":
            self._run("heartbeat", self._feed.keep_beating())
            self._run("positions", self._positions.keep_stored())
            self._run("snapshots", self._snapshots.keep_swept())
        else:
            self._run("applier", self._applier.follow())

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._gate is not None:
            self._gate.close()
        await self.forwarding.close()
        if self._listener is not None:
            await self._listener.stop()
        self._gate = self._listener = None
        self._key = None
        with contextlib.suppress(CloudError):
            await self._positions.store()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(_report_failure)

    async def _renew_daily(self) -> None:
        while True:
            try:
                if await self._membership.renew_if_due():
                    log.info("certificate renewed")
            except (LinkError, KeyFileError, CloudError) as error:
                log.warning("certificate not renewed, will retry", error=str(error))
            await asyncio.sleep(_RENEW_EVERY_S)

    def _reload_certificate(self) -> None:
        if self._tls is not None:
            reload_certificate(self._tls, self._store)

    def _zone_key(self) -> Ed25519PrivateKey:
        if self._key is None:
            self._key = self._store.zone_key()
        return self._key

    def _reports(self) -> tuple[ZoneReport, ...]:
        with self._database.read() as tx:
            return status.reports(tx, self._positions, self._feed.following(), self._feed.troubles)

    async def _load_for_join(self, link: Link, check: Callable[[Rows], list[str]], also: Callable[[ApplyTx], None], at_least: int) -> Head:
        directory = self._settings.state / "snapshots" / "loading"
        return await snapshot_loading.load(link, self._database, directory, master_key=None, at_least=at_least, check=check, also=also)

    # The admin socket -------------------------------------------------------------------------------------------------

    async def _init(self, _fields: Nothing) -> dict[str, Any]:
        async with self._changing:
            made = await self._membership.init()
            await self._end()
            await self._begin()
        return msgspec.structs.asdict(made)

    async def _invite(self, fields: Invite) -> dict[str, Any]:
        return msgspec.structs.asdict(await self._membership.invite(fields.name, fields.endpoint))

    async def _join(self, fields: Join) -> dict[str, Any]:
        async with self._changing:
            if fields.plan:
                return msgspec.structs.asdict(await self._joining.plan(fields.token))
            try:
                joined = await self._joining.join(fields.token, replace=fields.replace)
            except ClashError as error:
                raise Refusal(error.text, clashes=error.clashes) from error
            await self._end()
            await self._begin()
        return msgspec.structs.asdict(joined)

    async def _revoke(self, fields: Revoke) -> dict[str, Any]:
        with self._database.read() as tx:
            row = tx.named("zone_pool", fields.name)
        if row is None:
            raise ActionError(f"There is no zone named {fields.name}.")
        await self._membership.revoke(row.oid)
        return {"zone_id": row.oid}

    async def _accept_loss(self, _fields: Nothing) -> dict[str, Any]:
        lost = self.halted()
        if lost is None:
            raise ActionError("This zone has lost nothing that it had signed: shared writes are not stopped.")
        await self._guard.accept_loss()
        return {"lost": lost}

    async def _leave(self, fields: Leave) -> dict[str, Any]:
        async with self._changing:
            await self._membership.leave(force=fields.force)
            await self._end()
            await self._begin()
        return {"role": self._database.state().role}

    async def _resync(self, _fields: Nothing) -> dict[str, Any]:
        if self._database.state().role != "slave":
            raise ActionError("Only a slave can load a snapshot from its master.")
        try:
            head = await self._applier.resync()
        except (LinkError, SnapshotError) as error:
            raise UnavailableError(f"The snapshot could not be loaded: {error}. This zone is as it was.") from error
        return {"epoch": head.position.epoch, "position": head.position.index}

    async def _status(self, _fields: Nothing) -> dict[str, Any]:
        following = self._applier.status() if self._database.state().role == "slave" else None
        with self._database.read() as tx:
            state, own, digests = tx.state, trust.trust_of(tx, tx.state.zone_id), tx.digests()
            backlog = outbox.backlog(tx, clock.now_ms())
            troubles = {} if following else self._feed.troubles
            zones = status.zones(tx, following.zones if following else self._reports(), troubles)
        found: dict[str, Any] = {
            "zone_id": state.zone_id,
            "name": own.name if own else "",
            "role": state.role,
            "federation_id": state.federation_id,
            "epoch": state.epoch,
            "position": state.position,
            "chain": state.chain.hex(),
            "endpoint": self._settings.zone.endpoint,
            "federation_endpoint": self._settings.federation.endpoint,
            "state": "halted" if self.halted() else "ok",
            "last_error": self.halted(),
            "master": None,
            "lag": {"statements": 0, "seconds": 0.0},
            "outbox": {"waiting": backlog.waiting, "oldest_s": backlog.oldest_s},
            "zones": zones,
            "digests": {table: value.hex() for table, value in digests.items()},
        }
        if following is not None:
            found["state"], found["last_error"] = following.state, following.last_error
            found["lag"] = {"statements": following.lag_statements, "seconds": following.lag_s}
            found["master"] = self._master_as_seen(following)
        return found

    def _master_as_seen(self, following: Following) -> dict[str, Any] | None:
        try:
            link = self._links.master()
        except CloudError:
            return None
        return {
            "zone_id": link.zone_id,
            "endpoint": link.endpoint,
            "connected": following.connected,
            "heartbeat_age_s": following.silence_s,
            "last_error": following.last_error,
        }


def _enrolled(tx: ReadTx) -> list[int]:
    return [zone.zone_id for zone in trust.all_zones(tx) if zone.trust == "ENROLLED"]


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("background work ended", work=task.get_name(), exc_info=task.exception())

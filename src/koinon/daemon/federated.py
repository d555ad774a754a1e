"""What a zone runs because it is, or may come to be, in a federation: the listener for zones, the stream or the applier, purge, renewals.

Path:     wiring.py -> Federated.start(); admin.py -> operations()
Holds:    a change of role (init, join, leave), made here or through another process, stops what belonged to the old one and starts what
          belongs to the new, without a restart. What only one process of a zone should do runs in the one with the lease.
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
from koinon.database.lease import RENEW_EVERY_S
from koinon.database.state import CommitNotice, Role, ZoneState
from koinon.database.transactions import ApplyTx, ReadTx
from koinon.errors import ActionError, CloudError, UnavailableError
from koinon.federation import outbox, own_keys, snapshot_loading, status, trust
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
from koinon.federation.positions import STORE_EVERY_S, STORE_OFTEN_S, Positions
from koinon.federation.resync import Resync
from koinon.federation.retention import Retention
from koinon.federation.rollback import RollbackGuard
from koinon.federation.snapshot import Snapshots
from koinon.federation.stream import Feed
from koinon.settings import Settings
from koinon.statements.commits import Head
from koinon.wire.frames import ZoneReport

log = structlog.get_logger(__name__)

_RENEW_EVERY_S: Final = 86_400.0
_RETRY_S: Final = 2.0
_AGREE_EVERY_S: Final = 0.25
#: What the process with the lease says is so old at most when another one reads it, as long as all goes well.
_SAID_AT_LEAST_EVERY_S: Final = _AGREE_EVERY_S + 2 * RENEW_EVERY_S


class Federated:
    """The federation's services of one zone.

    Args:
        settings: complete.
        database: open and started.
        find: looks among the zone's own objects for one that another zone asks about.
        share_ports: other processes on this machine listen on the same port.

    Attributes:
        forwarding: sends shared writes to the master.
        existence: asks other zones about their objects.
        trouble: why this process can't do what its zone's role asks for, empty if it can.
    """

    def __init__(self, settings: Settings, database: Database, find: Find, *, share_ports: bool = False) -> None:
        self._settings = settings
        self._share_ports = share_ports
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
        self._resync = Resync(database, self._applier.resync)
        self.forwarding = Forwarding(
            database, self._links, lambda: self.following().silence_s, settings.federation, lambda: self.following().refusal
        )
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
            halted=self.halted,
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
        self._loading = settings.state / "snapshots" / "loading"
        self._gate: Gate | None = None
        self._tls: ssl.SSLContext | None = None
        self._listener: HttpListener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._single: set[asyncio.Task[None]] = set()
        self._keeping: list[asyncio.Task[None]] = []
        self._runs_as: tuple[tuple[Role, str, int], tuple[int, ...]] | None = None
        self._changing = asyncio.Lock()
        self._unsettled = asyncio.Event()
        self._unsubscribe: Callable[[], None] = _nothing
        self.trouble = ""

    async def start(self, take: Take) -> None:
        """Run what belongs to this zone's role, and to this process.

        Args:
            take: does a redirected call (api.dispatch).

        Raises:
            UnavailableError: the listener or the keys can't be used.
        """
        self._take = take
        async with self._changing:
            await self._settle()
        self._unsubscribe = self._database.on_commit(self._heard)
        self._database.lease.on_change(self._unsettled.set)
        self._keeping = [
            asyncio.create_task(self._keep_settled(), name="roles"),
            asyncio.create_task(snapshot_loading.keep_swept(self._database, self._loading), name="left-overs"),
        ]
        if not self._database.lease.alone:
            self._keeping.append(asyncio.create_task(self._keep_agreed(), name="agreement"))
        for task in self._keeping:
            task.add_done_callback(_report_failure)

    async def stop(self) -> None:
        """Stop it all and say good-bye to the zones that follow. May be called again."""
        self._unsubscribe()
        self._unsubscribe = _nothing
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
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
            ("POST", "/federation/resync"): (Nothing, self._load_anew),
        }

    # Roles ------------------------------------------------------------------------------------------------------------

    def _heard(self, notice: CommitNotice) -> None:
        if self._runs_as is not None and _identity(notice.state) != self._runs_as[0]:
            self._unsettled.set()

    async def _keep_settled(self) -> None:
        """Whenever this zone's role, its keys or the lease have changed, here or through another process, run what belongs to it."""
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            async with self._changing:
                try:
                    await self._settle()
                    self.trouble = ""
                except CloudError as error:
                    if self.trouble != str(error):
                        log.error("this zone has changed and this process can't follow, will retry", error=str(error))
                    self.trouble = str(error)
                    asyncio.get_running_loop().call_later(_RETRY_S, self._unsettled.set)

    async def _settle(self) -> None:
        identity = _identity(self._database.state())
        wanted = (identity, self._store.stamp() if identity[0] != "standalone" else ())
        if self._runs_as != wanted:
            await self._end()
            self._links.forget()
            with self._database.read() as tx:
                self._guard.load(tx)
            await self._begin(identity[0])
            self._runs_as = wanted
        if self._database.lease.held != bool(self._single):
            if self._single:
                await _cancel(self._single)
                log.info("another process does this zone's single work now")
            else:
                self._begin_single(identity[0])

    async def _begin(self, role: Role) -> None:
        """Start what every process runs."""
        if role == "standalone":
            return
        try:
            with self._database.read() as tx:
                own_keys.require(tx, self._store)
            self._tls = server_context(self._store)
        except KeyFileError as error:
            raise UnavailableError(
                f"This zone's keys can't be used: {error}. Restore the directory `federation`, or copy it from another machine that serves "
                "this zone."
            ) from error
        gate = self._gate = Gate(self._database, on_clone=lambda zone_id, error: self._feed.refused(zone_id, "cloned", error))
        trust_routes = TrustRoutes(self._database, self._store, self._membership, gate)
        log_routes = LogRoutes(gate, self._feed, self._positions, self._guard, self._snapshots, self._take)
        federation = self._settings.federation
        object_routes = ObjectRoutes(gate, self._database, self._guard, self.existence)
        app = application(all_paths(trust_routes, log_routes, object_routes))
        self._listener = HttpListener("listener for zones", federation.listen, federation.port, app, self._tls, share=self._share_ports)
        await self._listener.start()
        self._run("renewal", self._renew_daily())
        if role == "master":
            self._run("heartbeat", self._feed.keep_beating())
            self._run("positions", self._positions.keep_stored(STORE_EVERY_S if self._database.lease.alone else STORE_OFTEN_S))
            self._run("snapshots", self._snapshots.keep_swept())
            if not self._database.lease.alone:
                self._run("snapshots told", self._snapshots.keep_told())

    def _begin_single(self, role: Role) -> None:
        """Start what the process with the lease runs."""
        works = {"purge": self._retention.run(), "outbox": self._outbox.run()}  # in each role: what waited for a master may be ours to do
        if role == "slave":
            works |= {"applier": self._applier.follow(), "resync": self._resync.run()}
        for name, work in works.items():
            self._run(name, work, self._single)
        if not self._database.lease.alone:
            log.info("this process does the zone's single work", work=list(works))

    async def _end(self) -> None:
        self._runs_as = None
        await _cancel(self._single)
        await _cancel(self._tasks)
        if self._gate is not None:
            self._gate.close()
        await self.forwarding.close()
        if self._listener is not None:
            await self._listener.stop()
        self._gate = self._listener = None
        self._key = None
        with contextlib.suppress(CloudError):
            await self._positions.store()
            await self._snapshots.close()

    def _run(self, name: str, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]] | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        (self._tasks if among is None else among).add(task)
        task.add_done_callback(_report_failure)

    async def _keep_agreed(self) -> None:
        """Tell the other processes of this zone what they need of us, and hear what we need of them."""
        certificate = self._store.certificate_stamp()
        while True:
            await asyncio.sleep(_AGREE_EVERY_S)
            try:
                role = self._database.state().role
                self._database.lease.to_say = msgspec.msgpack.encode(self._applier.status()) if role == "slave" else b""
                with self._database.read() as tx:
                    self._guard.load(tx)
                    self._positions.load(tx)
                if role == "master":
                    await self._feed.agree()
                if certificate != (certificate := self._store.certificate_stamp()):
                    self._reload_certificate()
                if self._runs_as is not None and role != "standalone" and self._runs_as[1] != self._store.stamp():
                    self._unsettled.set()
            except CloudError as error:
                log.debug("not agreed with the other processes, will retry", error=str(error))

    def following(self) -> Following:
        """How following the master goes, in whichever process does it.

        ``silent`` is the bound at which shared writes are refused. They still go through in a process whose own channel hears the master.
        """
        found, bound_s = self._followed(), self._settings.federation.master_silent_s
        if found.state != "ok" or found.silence_s is None or found.silence_s <= bound_s:
            return found
        return msgspec.structs.replace(found, state="silent", last_error=f"no sign of life from the master for more than {bound_s:g} s")

    def _followed(self) -> Following:
        said = self._database.lease.said()
        if said is None:
            return self._applier.status()
        try:
            told, age_s = msgspec.msgpack.decode(said[0], type=Following), said[1]
        except msgspec.MsgspecError:  # of another version of koinon
            return self._applier.status()
        silence_s = None if told.silence_s is None else told.silence_s + max(0.0, age_s - _SAID_AT_LEAST_EVERY_S)
        return msgspec.structs.replace(told, silence_s=silence_s)

    async def _renew_daily(self) -> None:
        while True:
            try:
                if await self._membership.renew_if_due():
                    log.info("certificate renewed")
            except (LinkError, CloudError) as error:
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
            return tuple(seen.report for seen in self._seen(tx))

    def _seen(self, tx: ReadTx) -> list[status.Seen]:
        return status.as_master(tx, self._positions, self._feed.following(), self._feed.refusals(), self.halted())

    async def _load_for_join(self, link: Link, check: Callable[[Rows], list[str]], also: Callable[[ApplyTx], None], at_least: int) -> Head:
        return await snapshot_loading.load(link, self._database, self._loading, master_key=None, at_least=at_least, check=check, also=also)

    # The admin socket -------------------------------------------------------------------------------------------------

    async def _init(self, _fields: Nothing) -> dict[str, Any]:
        async with self._changing:
            made = await self._membership.init()
            await self._settle()
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
            await self._settle()
        return msgspec.structs.asdict(joined)

    async def _revoke(self, fields: Revoke) -> dict[str, Any]:
        with self._database.read() as tx:
            row = tx.named("zone_pool", fields.name)
        if row is None:
            raise ActionError(f"There is no zone named {fields.name}.")
        await self._membership.revoke(row.oid)
        return {"zone_id": row.oid, "halted": self.halted() is not None}

    async def _accept_loss(self, _fields: Nothing) -> dict[str, Any]:
        lost = self.halted()
        if lost is None:
            raise ActionError("This zone has lost nothing that it had signed: shared writes are not stopped.")
        await self._guard.accept_loss()
        return {"lost": lost}

    async def _leave(self, fields: Leave) -> dict[str, Any]:
        async with self._changing:
            await self._membership.leave(force=fields.force)
            await self._settle()
        return {"role": self._database.state().role}

    async def _load_anew(self, _fields: Nothing) -> dict[str, Any]:
        position = await self._resync.ask()
        return {"epoch": position.epoch, "position": position.index}

    async def _status(self, _fields: Nothing) -> dict[str, Any]:
        following = self.following() if self._database.state().role == "slave" else None
        with self._database.read() as tx:
            state, own, digests = tx.state, trust.trust_of(tx, tx.state.zone_id), tx.digests()
            backlog = outbox.backlog(tx, clock.now_ms())
            zones = status.shown(tx, status.as_slave(tx, following) if following else self._seen(tx))
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
            "last_error": self.halted() or self.trouble or None,
            "process": self._database.process,
            "lease": {"held": self._database.lease.held, "holder": self._database.lease.holder},
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


def _nothing() -> None:
    """There is nothing to end."""


def _enrolled(tx: ReadTx) -> list[int]:
    return [zone.zone_id for zone in trust.all_zones(tx) if zone.trust == "ENROLLED"]


def _identity(state: ZoneState) -> tuple[Role, str, int]:
    return state.role, state.federation_id, state.zone_id


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("background work ended", work=task.get_name(), exc_info=task.exception())

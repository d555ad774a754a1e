"""Builds every object of a zone's process by hand, once, and says in which order they start and stop.

Path:     server.py -> Zone.start() -> ... -> Zone.stop()
Holds:    what listens starts last and stops first. A zone that founds, joins or leaves a federation changes its services while it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from koinon.accounting import quota_rows
from koinon.api import acl, clusters, documents, groups, hosts, quotas, system, users, vdcs, zones
from koinon.api.bindings import Bindings, Services
from koinon.api.dispatch import Dispatcher
from koinon.api.health import Health
from koinon.api.http import XmlRpcApp
from koinon.api.json_face import application
from koinon.daemon import secret_files, server_keys
from koinon.daemon.admin import AdminListener
from koinon.daemon.bootstrap import bootstrap
from koinon.daemon.federated import Federated
from koinon.daemon.listeners import HttpListener
from koinon.daemon.plain_calls import PlainCallProtocol
from koinon.database.database import Database
from koinon.identity import membership
from koinon.identity.login import Login
from koinon.identity.passwords import Hasher
from koinon.infrastructure import targets
from koinon.settings import Settings

log = structlog.get_logger(__name__)


class Zone:
    """One zone's process.

    Args:
        settings: complete, from ``settings.load``.
        share_ports: other processes on this machine listen on the same ports.
    """

    def __init__(self, settings: Settings, *, share_ports: bool = False) -> None:
        self._settings = settings
        self._share_ports = share_ports
        self._health: Health | None = None
        self._stopping_early: asyncio.Task[None] | None = None
        self._stopping: list[Callable[[], Awaitable[None]]] = []

    async def start(self) -> None:
        """Open, fill if new, serve.

        Raises:
            CloudError: something can't be used; the text says what to do.
        """
        settings = self._settings
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = self._database = Database.open(
            settings.database.url,
            accept=settings.database.accepted,
            derivations=[membership.MEMBERS, *quota_rows.DERIVATIONS],
            reserve_bytes=settings.database.disk_reserve_mib << 20,
            hints=settings.state / "processes",
        )
        database.start()
        self._stopping.append(database.close)
        hasher = Hasher()
        self._stopping.append(_at_once(hasher.close))
        created = await bootstrap(
            database,
            settings.state,
            hasher,
            zone_name=settings.zone.name,
            endpoint=settings.zone.endpoint,
            scheme=settings.login.password_hash,
        )
        if created:
            log.info("new zone", password_file=str(settings.state / "one_auth"))
        server_key = secret_files.server_key(settings.state)
        await server_keys.compare(database, settings.state, hasher)
        login = Login(database, hasher, remember_s=int(settings.login.remember_s), server_key=server_key)
        federated = Federated(settings, database, targets.known, share_ports=self._share_ports)
        bindings = bind_all(Services(settings, database, hasher, federated.existence.ask))
        wait_s = settings.federation.read_your_writes_s
        dispatcher = Dispatcher(database, login, bindings, federated.forwarding, federated.halted, wait_s=wait_s)
        self._stopping.append(federated.stop)
        await federated.start(dispatcher.answer_forwarded)
        database.on_closed(lambda: self._end_federation(federated))
        limit = settings.server.max_request_mib << 20
        health = self._health = Health(
            database, federated.following, lambda: federated.trouble, caught_up_s=settings.federation.caught_up_s
        )
        app = XmlRpcApp(dispatcher, limit, application(dispatcher, limit), health)
        protocol = partial(PlainCallProtocol, door=dispatcher, max_request_bytes=limit)
        listen, port = settings.server.listen, settings.server.port
        clients = HttpListener("server for clients", listen, port, app, protocol=protocol, share=self._share_ports)
        self._stopping.append(clients.stop)
        await clients.start()
        admin = AdminListener(settings.state / "admin.sock", federated.operations())
        self._stopping.append(admin.stop)
        await admin.start()
        state = database.state()
        log.info("zone serves", zone=state.zone_id, role=state.role, head=str(state.head.position), port=port)

    def _end_federation(self, federated: Federated) -> None:
        """The database is not ours any more: other zones are to look for who serves it. Clients go on being told why they are refused."""
        self._stopping_early = asyncio.get_running_loop().create_task(federated.stop(), name="stopping early")

    async def stop(self) -> None:
        """Stop what was started, the last first."""
        if self._health is not None:
            self._health.stopping = True
        while self._stopping:
            await self._stopping.pop()()


def _at_once(stop: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def stopping() -> None:
        stop()

    return stopping


def bind_all(services: Services) -> Bindings:
    """Every row of wire/calls with its function."""
    bindings = Bindings()
    users.bind(bindings, services)
    groups.bind(bindings, services)
    quotas.bind(bindings)
    acl.bind(bindings)
    vdcs.bind(bindings, services)
    zones.bind(bindings, services)
    system.bind(bindings, services)
    clusters.bind(bindings, services)
    hosts.bind(bindings, services)
    documents.bind(bindings, services)
    return bindings

"""Zones for tests of trust and membership: a real database, real keys, and the real listener over TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path

import uvicorn
from starlette.routing import BaseRoute

from harness import engines
from koinon.database.database import Database
from koinon.database.transactions import ApplyTx, SharedTx
from koinon.federation.clashes import Rows
from koinon.federation.joining import Joining, SnapshotLoader
from koinon.federation.keys import KeyStore, reload_certificate, server_context
from koinon.federation.link import Link
from koinon.federation.links import Links
from koinon.federation.listener import Gate, TrustRoutes, application
from koinon.federation.membership import Membership
from koinon.identity import zones
from koinon.objects.template import Template
from koinon.statements.commits import Head
from koinon.statements.schema import POOL_TABLES, AclRow, Delete, Insert, PoolRow


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a test on a loop of its own; one that takes minutes waits for what does not come."""
    asyncio.run(asyncio.wait_for(test(), 300))


def user(oid: int, name: str, body: str = "<USER/>") -> PoolRow:
    return PoolRow(oid, name, body, oid, 1, 1, 0, 0)


class Zone:
    """One zone without its API. ``listen`` once it is in a federation."""

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir()
        self.state_dir = state_dir
        self.database = Database.open(engines.url(state_dir / "koinon.db"))
        self.database.start()
        self.store = KeyStore(state_dir)
        self.links = Links(self.database, self.store)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.gate = Gate(self.database)
        self.context: ssl.SSLContext | None = None
        self.halted: str | None = None
        self.membership = Membership(
            self.database,
            self.store,
            self.links,
            state_dir=state_dir,
            endpoint="http://127.0.0.1:2633/RPC2",
            federation_endpoint=self.address,
            on_certificate=self.reload,
            halted=lambda: self.halted,
        )
        self._stop: list[Callable[[], None]] = []
        self._serving: list[asyncio.Task[None]] = []

    def reload(self) -> None:
        if self.context is not None:
            reload_certificate(self.context, self.store)

    async def first_start(self, *extra: PoolRow) -> None:
        """What a zone has before it meets others: users 0 and 1, its own record, and what the test adds."""

        def job(tx: SharedTx) -> None:
            template = Template()
            template.set("ENDPOINT", "http://localhost:2633/RPC2")
            tx.insert("zone_pool", zones.Zone(0, "OpenNebula", 0, template).as_row())
            for row in (user(0, "oneadmin"), user(1, "serveradmin"), *extra):
                tx.insert("user_pool", row)

        await self.database.write_shared("first start", job)
        (self.state_dir / "one_auth").write_text("oneadmin:own")

    async def listen(self, *more: BaseRoute) -> None:
        self.context = context = server_context(self.store)
        routes = TrustRoutes(self.database, self.store, self.membership, self.gate).routes()
        config = uvicorn.Config(
            application([*routes, *more]),
            ssl_context_factory=lambda _config, _default: context,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        self._serving.append(asyncio.create_task(server._serve([self.socket])))
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
            await asyncio.sleep(0.005)

        def stop() -> None:
            server.should_exit = True

        self._stop.append(stop)

    def joining(self, master: Zone) -> Joining:
        return Joining(
            self.database,
            self.store,
            self.links,
            copier(self, master),
            password_file=self.state_dir / "one_auth",
            endpoint="http://127.0.0.1:3633/RPC2",
            federation_endpoint=self.address,
        )

    async def close(self) -> None:
        self.gate.close()
        await self.links.close()
        for stop in self._stop:
            stop()
        await asyncio.gather(*self._serving)
        self.socket.close()
        await self.database.close()


def copier(zone: Zone, master: Zone) -> SnapshotLoader:
    """Stands in for the snapshot loader: proves the link with a real request, then takes the master's rows from its database."""

    async def load(link: Link, check: Callable[[Rows], list[str]], also: Callable[[ApplyTx], None], at_least: int) -> Head:
        (await link.request("POST", "/federation/v1/certificate", timeout_s=60)).expect()
        with master.database.read() as tx:
            head = tx.state.head
            assert head.position.index >= at_least
            rows: dict[str, Sequence[PoolRow | AclRow]] = {"acl": tx.acl(), **{table: list(tx.rows(table)) for table in POOL_TABLES}}
        if check(rows):
            raise RuntimeError("refused by the check")
        await asyncio.sleep(0)  # loading takes time: what was begun meanwhile comes first

        def job(tx: ApplyTx) -> None:
            tx.claim(tx.state.head)
            for table in POOL_TABLES:
                for row in tx.rows(table):
                    tx.change(Delete(table, row.oid))
                for new in rows[table]:
                    tx.change(Insert(table, tuple(getattr(new, name) for name in new.__struct_fields__)))
            also(tx)
            tx.set_head(head)

        await zone.database.apply("load", job)
        return head

    return load


@contextlib.asynccontextmanager
async def zone_at(state_dir: Path, *extra: PoolRow) -> AsyncIterator[Zone]:
    zone = Zone(state_dir)
    try:
        await zone.first_start(*extra)
        yield zone
    finally:
        await zone.close()


@contextlib.asynccontextmanager
async def master_at(state_dir: Path, *extra: PoolRow, routes: Callable[[Zone], list[BaseRoute]] = lambda _zone: []) -> AsyncIterator[Zone]:
    """A zone that has founded a federation and listens."""
    async with zone_at(state_dir, *extra) as zone:
        await zone.membership.init()
        await zone.listen(*routes(zone))
        yield zone

"""A zone's real database with its default objects, driven step by step from a test without async."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from harness import engines
from koinon.accounting import quota_rows
from koinon.daemon.bootstrap import NewZone, fill
from koinon.database.database import Database
from koinon.database.transactions import ReadTx, SharedTx
from koinon.identity import groups, membership, users
from koinon.identity.user_record import User
from koinon.objects.acl import Rule
from koinon.policy.caller import Caller
from tests.xsd.schemas import validate

T = TypeVar("T")

ADMIN = Caller(uid=0, gid=0, groups=(0,), name="oneadmin", zone_id=0)
PLAN = NewZone(
    zone_name="OpenNebula",
    endpoint="http://localhost:2633/RPC2",
    admin_name="oneadmin",
    verifier="aa" * 32,
    server_key="bb" * 32,
    token_passwords=("11" * 32, "22" * 32),
)


class Site:
    """One zone. Every write is a commit of its own, every read sees all commits before it."""

    def __init__(self, folder: Path, *, empty: bool = False) -> None:
        self._runner = asyncio.Runner()
        self._runner.get_loop()
        self.database: Database = self.run(self._open(folder))
        if not empty:
            self.write(lambda tx: fill(tx, PLAN))

    @staticmethod
    async def _open(folder: Path) -> Database:
        database = Database.open(engines.url(folder / "koinon.db"), derivations=[membership.MEMBERS, *quota_rows.DERIVATIONS])
        database.start()
        return database

    def close(self) -> None:
        self.run(self.database.close())
        self._runner.close()

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    def write(self, job: Callable[[SharedTx], T]) -> T:
        return self.run(self.database.write_shared("test", job)).value

    def read(self, job: Callable[[ReadTx], T]) -> T:
        async def run() -> T:
            with self.database.read() as tx:
                return job(tx)

        return self.run(run())

    def become_master(self) -> None:
        self.run(self.database.write_zone("test", lambda tx: tx.set_membership(zone_id=0, role="master", federation_id="f" * 32, epoch=1)))

    def add_user(self, name: str, *gids: int, by: Caller = ADMIN, verifier: str = "cc" * 32, driver: str = "") -> int:
        return self.write(lambda tx: users.create(tx, by, name, verifier, driver, gids, token_password="33" * 32))

    def add_group(self, name: str) -> int:
        return self.write(lambda tx: groups.create(tx, ADMIN, name))

    def caller(self, uid: int, zone_id: int = 0) -> Caller:
        user = self.user(uid)
        return Caller(uid=uid, gid=user.gid, groups=tuple(user.groups), name=user.name, zone_id=zone_id)

    def user(self, uid: int) -> User:
        return self.read(lambda tx: users.get(tx, uid))

    def rules(self) -> list[str]:
        return self.read(lambda tx: [Rule(row.userset, row.resource, row.rights, row.zone).text() for row in tx.acl()])

    def members(self, gid: int) -> list[int]:
        return self.read(lambda tx: tx.members(gid))


def plain(document: bytes | list[bytes]) -> str:
    """The document that a client sees, checked against its schema."""
    text = html.unescape((document if isinstance(document, bytes) else b"".join(document)).decode())
    validate(text)
    return text

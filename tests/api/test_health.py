"""What load balancers are told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import engines
from koinon.api.health import Health
from koinon.database.database import Database
from koinon.database.lease import Seen
from koinon.federation.applier import Status
from koinon.statements.commits import Position

GOING = Status("ok", "", True, 0.2, Position(1, 7), 0, 0.0, ())


def ask(
    tmp_path: Path, path: str, *, role: str = "slave", following: Status = GOING, change: Callable[[Any, Health], None] | None = None
) -> Any:
    """Status and text of an answer; ``change`` is given the database and what answers."""

    async def run() -> tuple[int, str]:
        database = Database.open(engines.url(tmp_path / "koinon.db"))
        changed = asyncio.Event()
        database.lease.on_change(changed.set)
        database.start()
        try:
            await database.write_zone("be", lambda tx: tx.set_membership(zone_id=3, role=role, federation_id="f" * 32, epoch=1))  # type: ignore[arg-type] # a role's name
            while not database.lease.held:  # on a server it is asked for in a thread
                await changed.wait()
            health = Health(database, lambda: following, lambda: "", caught_up_s=5.0)
            if change is not None:
                change(database, health)
            status, body = health.answer(path)
        finally:
            await database.close()
        said = msgspec.json.decode(body)
        assert (said["zone"], said["role"]) == (3, role)
        return status, said["status"]

    return asyncio.run(run())


def test_a_process_that_runs_alone_is_healthy_ready_and_leads(tmp_path: Path) -> None:
    for path in ("/healthz", "/readyz", "/leader", "/caught-up"):
        assert ask(tmp_path, path) == (200, "ok")


def _stop(_: Any, health: Health) -> None:
    health.stopping = True


def _lose_database(database: Any, _: Health) -> None:
    database.silence_s = lambda: math.inf


def _close_database(database: Any, _: Health) -> None:
    database._fence.reason = "the zone has moved away"


def _lose_lease(database: Any, _: Health) -> None:
    database.lease.alone = False
    database.lease.see(Seen(None, "", b"", 0.0))


def _lose_both(database: Any, health: Health) -> None:
    database.lease.alone = False
    database.lease.see(Seen(None, "ourselves", b"", 0.0))
    _lose_database(database, health)


@pytest.mark.parametrize(
    ("path", "change", "why"),
    [
        ("/readyz", _stop, "this process is stopping"),
        ("/readyz", _lose_database, "the database does not answer"),
        ("/caught-up", _lose_database, "the database does not answer"),
        ("/leader", _lose_both, "the database does not answer"),
        ("/leader", _lose_lease, "no process is the leader now"),
    ],
)
def test_what_it_can_not_do_is_said(tmp_path: Path, path: str, change: Callable[[Any, Health], None], why: str) -> None:
    assert ask(tmp_path, path, change=change) == (503, why)
    assert ask(tmp_path, "/healthz", change=change) == (200, "ok")


def test_a_process_whose_database_was_closed_wants_to_be_started_again(tmp_path: Path) -> None:
    for path in ("/healthz", "/readyz", "/leader", "/caught-up"):
        assert ask(tmp_path, path, change=_close_database) == (503, "the zone has moved away")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lag_statements": 12, "lag_s": 5.1}, "behind by 12 statements, 5.1 s"),
        ({"lag_statements": 12, "lag_s": None}, "behind by 12 statements"),
        ({"lag_statements": 12, "lag_s": 4.9}, "ok"),
        ({"silence_s": 6.0}, "the master has been silent for 6 s: the lag is not known"),
        ({"silence_s": None, "state": "connecting"}, "the master has not been heard (connecting): the lag is not known"),
        ({"state": "forked"}, "this zone does not follow its master: forked"),
    ],
)
def test_a_slave_is_caught_up_within_a_bound(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    following = msgspec.structs.replace(GOING, **changes)
    assert ask(tmp_path, "/caught-up", following=following) == (200 if why == "ok" else 503, why)
    assert ask(tmp_path, "/caught-up", following=following, role="master") == (200, "ok")

"""A zone of two processes on PostgreSQL under Patroni: the primary is changed and killed under load, nothing acknowledged is lost.

And the same two behind HAProxy. The settings of Patroni and HAProxy are those that docs/guide/high-availability.md tells people to write.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness import engines, processes
from harness.haproxy import Balancer
from harness.patroni import Cluster
from harness.replies import Caller
from harness.zones import Zone, wait_until
from tests.acceptance.guide_page import GUIDES
from tests.database.load import Load, check_log
from tests.servers import needed

#: seconds; Patroni's `ttl`, its `loop_wait`, the promotion, and the zone finds the new primary
_FAILOVER_S: Final = 60.0


def _told(language: str) -> str:
    """The one block of this language in the guide."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", (GUIDES / "high-availability.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with needed():
        made = Cluster(3, _told("yaml"))
    yield made
    made.remove()


def _pair(url: str, folder: Path) -> tuple[Zone, Zone]:
    one = Zone(folder / "zone1", "zone", engine="sqlite", settings={"database": {"url": url}})
    return one, Zone(folder / "zone2", "zone", engine="sqlite", settings={"database": {"url": url}}, beside=one)


@pytest.mark.soak
def test_acknowledged_writes_survive_a_switchover_and_the_loss_of_the_primary(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.database("zone")
    pair = _pair(url, tmp_path)
    try:
        for process in pair:
            process.start()
        with Load(*pair) as load:
            load.goes_on()
            cluster.switch_over()
            load.goes_on(timeout_s=_FAILOVER_S)
            cluster.await_whole()
            for _ in range(2):
                dead = cluster.primary
                dead.kill()
                for process in pair:
                    wait_until("it wants no calls", lambda process=process: process.health("/readyz")[0] == 503)  # type: ignore[misc] # a lambda with a default
                    assert process.health("/healthz")[0] == 200
                wait_until("nobody leads once the lease has run out", lambda: not any(process.leads for process in pair))
                load.goes_on(timeout_s=_FAILOVER_S)
                for process in pair:
                    wait_until("it takes calls", lambda process=process: process.health("/readyz")[0] == 200)  # type: ignore[misc] # as above
                wait_until("one leads", lambda: sum(process.leads for process in pair) == 1)
                cluster.rejoin(dead)
                load.goes_on()
        load.check(pair[0])
        check_log(url)
    finally:
        for process in pair:
            process.stop()


@pytest.mark.soak
def test_clients_of_a_load_balancer_lose_nothing_when_one_of_two_processes_is_killed(tmp_path: Path) -> None:
    server = engines.PostgreSQL()
    server.start()
    pair = _pair(server.database("zone"), tmp_path)
    try:
        for process in pair:
            process.start()
        balancer = _balancer(pair)
        try:
            wait_until("the balancer has looked", lambda: _asked(pair[0], balancer.port) == 200)
            with Load(*pair, port=balancer.port) as load:
                for victim in (*pair, *pair):
                    load.goes_on()
                    victim.kill()
                    load.goes_on()
                    victim.start()
                    load.goes_on()
            assert load.cut, "no answer was lost: what is to be shown did not happen"
            assert not load.refused
            load.check(pair[0])
            check_log(server.url("zone"))
            server.stop()
            wait_until("the balancer passes nothing on", lambda: "status 503" in _cut(pair[0], balancer.port))
        finally:
            balancer.remove()
    finally:
        for process in pair:
            process.stop()
        server.remove()


def _balancer(pair: tuple[Zone, Zone]) -> Balancer:
    port = processes.free_port()
    settings = _told("haproxy").replace("bind :2633", f"bind 127.0.0.1:{port}")
    for number, process in enumerate(pair, 1):
        settings = settings.replace(f"front{number}:2633", f"127.0.0.1:{process.port}")
    with needed():
        return Balancer(settings, port)


def _asked(process: Zone, port: int) -> int:
    """What ``/readyz`` says through the balancer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _cut(process: Zone, port: int) -> str:
    """Why a call through the balancer has no answer of Koinon's; empty if it has one."""
    caller = Caller(port, process.secret)
    try:
        caller.call("one.user.info", 0)
    except OSError as error:
        return str(error)
    finally:
        caller.close()
    return ""

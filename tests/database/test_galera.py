"""A zone on a Galera cluster of three: the node that it uses is killed under load, the next takes over, nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness.galera import Cluster
from harness.zones import Zone, wait_until
from koinon.database.dialects import choose
from tests.database.load import Load, check_log
from tests.servers import needed

#: Until the others have given the dead node up (4 s here), and the zone has found the next one.
_RETURN_S: Final = 20.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with needed():
        made = Cluster(3)
    made.nodes[0].administer("CREATE DATABASE zone CHARACTER SET utf8mb4")
    yield made
    made.remove()


@pytest.mark.soak
def test_acknowledged_writes_survive_the_loss_of_the_node_that_is_written_to(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.url("zone")
    zone = Zone(tmp_path / "zone", "zone", engine="sqlite", settings={"database": {"url": url}})
    zone.start()
    try:
        with Load(zone) as load:
            load.goes_on()
            for node in cluster.nodes[:2]:
                cluster.kill(node)  # the first one that is ready is the one that is written to
                load.goes_on(timeout_s=_RETURN_S)
                cluster.rejoin(node)
                load.goes_on()
        load.check(zone)
        check_log(url)
        pools = {_users(node.url("zone")) for node in cluster.nodes}
        assert len(pools) == 1, "the nodes hold different users"
        for node in cluster.nodes[1:]:
            cluster.kill(node)
        wait_until("the one that is left refuses", lambda: "can't be reached" in _refusal(zone))
    finally:
        zone.stop()


def _refusal(zone: Zone) -> str:
    reply = zone.caller().call("one.user.allocate", "minority", "x", "public", [])
    return "" if reply[0] else str(reply[1])


def _users(url: str) -> tuple[tuple[object, ...], ...]:
    connection = choose(url).connect()
    try:
        return tuple(map(tuple, connection.execute("SELECT oid, name, row_hash FROM user_pool ORDER BY oid")))
    finally:
        connection.close()

"""Every call of the API, made with pyone against a real master and through a real slave, and read at once where it was written.

Not here: what is done with each call (exercises/, a module for each noun).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from harness.zones import Federation, federation
from koinon.wire.calls import CALLS
from tests.federation.exercises import EXERCISES, Exercise, Place

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("calls"), 2, settings={"server": {"sql_queries": True}}) as made:
        yield made


@pytest.fixture(params=["master", "slave"])
def place(request: pytest.FixtureRequest, zones: Federation) -> Place:
    return Place(zones, zones.master if request.param == "master" else zones.slaves[0])


def test_every_call_of_the_table_has_an_exercise() -> None:
    """A call that is added to the table needs a real client's word that it works."""
    assert set(EXERCISES) == set(CALLS)


@pytest.mark.parametrize("call", list(dict.fromkeys(EXERCISES.values())), ids=lambda function: function.__name__)
def test_a_real_client_finds_the_call_as_it_knows_it(call: Exercise, place: Place) -> None:
    """Made at a zone and read there at once, whichever zone it is."""
    call(place)


REFUSED: Final[dict[str, tuple[str, tuple[Any, ...]]]] = {
    "unknown user": ("one.user.delete", (99_999,)),
    "taken name": ("one.user.allocate", ("serveradmin", "Secret1", "")),
    "bad name": ("one.user.allocate", ("a b", "Secret1", "")),
    "system group": ("one.group.delete", (0,)),
    "update type": ("one.group.update", (1, "A=1", 9)),
    "unknown VDC": ("one.vdc.addgroup", (99_999, 1)),
    "resource not in the VDC": ("one.vdc.delhost", (0, 0, 99)),
    "no such rule": ("one.acl.delrule", (99_999,)),
    "not a number": ("one.acl.addrule", ("zz", "1", "1", "1")),
    "zone without endpoint": ("one.zone.allocate", ("NAME=x",)),
    "unknown name": ("one.user.login", ("nobody-here", "", 60, -1)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_reads_the_same_in_every_zone(case: str, zones: Federation) -> None:
    """A client must not see whether its zone is the master: same code, same text, five elements."""
    method, arguments = REFUSED[case]
    replies = [zones.caller(zone).call(method, *arguments) for zone in zones.zones]
    assert replies[0] == replies[1]
    assert (replies[0][0], len(replies[0])) == (False, 5)
    assert replies[0][1].startswith(f"[{method}] ")


def test_zones_are_equal_after_all_of_it(zones: Federation) -> None:
    """Whatever the tests above did, both zones hold the same rows and show the same documents."""
    zones.settled()
    for method in ("one.userpool.info", "one.grouppool.info", "one.acl.info", "one.vdcpool.info", "one.zonepool.info"):
        master, slave = (zones.caller(zone).value(method) for zone in zones.zones)
        assert master == slave

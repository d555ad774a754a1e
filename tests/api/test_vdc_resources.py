"""Adding a resource of another zone to a VDC: that zone is asked first, outside the write, and only for those who may add it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from koinon.api.bindings import Services
from koinon.api.dispatch import Dispatcher
from koinon.daemon.wiring import bind_all
from koinon.federation.forwarding import Forwarding
from koinon.objects.kinds import Kind
from koinon.settings import Settings
from tests.api.desk import AUTHORIZATION, INTERNAL, NO_EXISTS, Desk, Failure, session

ELSEWHERE = 100
HERE = 0


class Answers:
    """Another zone: which clusters and hosts it has, and what it was asked. Nobody answers for ids above 90."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Kind, int]] = []

    async def __call__(self, zone_id: int, kind: Kind, oid: int) -> bool | None:
        self.asked.append((zone_id, kind, oid))
        return None if oid > 90 else oid < 10


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def desk(tmp_path: Path, answers: Answers) -> Iterator[Desk]:
    """A master whose administrator knows a second zone."""
    desk = Desk(tmp_path)
    settings = Settings(state_dir=str(tmp_path))
    bindings = bind_all(Services(settings, desk.site.database, desk.hasher, answers))
    forwarding = Forwarding(desk.site.database, desk.links, lambda: None, settings.federation)
    desk.dispatcher = Dispatcher(desk.site.database, desk.login, bindings, forwarding, lambda: None)
    desk.site.become_master()
    assert desk.as_admin("one.zone.allocate", 'NAME="elsewhere"\nENDPOINT="http://x:2633/RPC2"') == ELSEWHERE
    yield desk
    desk.close()


@pytest.fixture
def vdc(desk: Desk) -> int:
    return int(desk.as_admin("one.vdc.allocate", 'NAME="lab"', -1))


@pytest.mark.parametrize(("word", "kind", "label"), [("cluster", Kind.CLUSTER, "cluster"), ("host", Kind.HOST, "host")])
def test_what_its_zone_does_not_have_is_refused(desk: Desk, vdc: int, answers: Answers, word: str, kind: Kind, label: str) -> None:
    before = desk.site.database.state().position
    refusal = desk.failure(session("oneadmin"), f"one.vdc.add{word}", vdc, ELSEWHERE, 20)
    assert refusal == Failure(NO_EXISTS, f"Error getting {label} [20].", 20)
    assert desk.site.database.state().position == before
    assert desk.as_admin(f"one.vdc.add{word}", vdc, ELSEWHERE, 7) == vdc
    assert answers.asked == [(ELSEWHERE, kind, 20), (ELSEWHERE, kind, 7)]


def test_a_zone_that_gives_no_answer_is_no_reason_to_refuse(desk: Desk, vdc: int) -> None:
    assert desk.as_admin("one.vdc.addhost", vdc, ELSEWHERE, 99) == vdc


def test_nobody_is_asked_about_all_resources_or_about_our_own(desk: Desk, vdc: int, answers: Answers) -> None:
    desk.as_admin("one.vdc.addhost", vdc, ELSEWHERE, -10)
    desk.as_admin("one.vdc.addcluster", vdc, HERE, 0)
    desk.as_admin("one.vdc.delhost", vdc, ELSEWHERE, -10)
    assert answers.asked == []


def test_nobody_is_asked_for_one_who_may_not_or_for_what_can_t_be(desk: Desk, vdc: int, answers: Answers) -> None:
    """Else whoever can log in could find out what other zones have."""
    desk.user("ann")
    desk.as_admin("one.vdc.addhost", vdc, ELSEWHERE, 5)
    answers.asked.clear()
    oneadmin = session("oneadmin")
    assert desk.failure(session("ann"), "one.vdc.addhost", vdc, ELSEWHERE, 20).code == AUTHORIZATION
    assert desk.failure(oneadmin, "one.vdc.addhost", vdc, ELSEWHERE, 5).code == INTERNAL
    assert desk.failure(oneadmin, "one.vdc.addhost", vdc, 999, 5) == Failure(NO_EXISTS, "Error getting zone [999].", 999)
    assert desk.failure(oneadmin, "one.vdc.addhost", 999, ELSEWHERE, 5) == Failure(NO_EXISTS, "Error getting VDC [999].", 999)
    assert answers.asked == []

"""Quotas through the API: local writes, their codes, their texts, and documents as clients read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from koinon.database.jobs import Request
from koinon.errors import InternalError
from koinon.wire import xmlrpc as wire
from koinon.wire.calls import CALLS, Call, Runs
from tests.api.desk import ACTION, AUTHORIZATION, INTERNAL, NO_EXISTS, ONEADMIN, Desk, Failure, session
from tests.xsd.schemas import validate

LOCAL_WRITES = [call for call in CALLS.values() if call.writes and call.runs is Runs.LOCAL]


@pytest.fixture
def slave(tmp_path: Path) -> Iterator[Desk]:
    """A slave whose master is nowhere."""
    desk = Desk(tmp_path)
    desk.user("ada")
    desk.site.run(
        desk.site.database.write_zone("test", lambda tx: tx.set_membership(zone_id=100, role="slave", federation_id="f" * 32, epoch=1))
    )
    yield desk
    desk.close()


def test_a_slave_sets_its_own_quotas_without_its_master(slave: Desk) -> None:
    before = slave.site.database.state().head
    assert slave.as_admin("one.user.quota", 2, "VM=[CPU=4]") == 2
    assert slave.as_admin("one.group.quota", 1, "VM=[CPU=5]") == 1
    assert slave.as_admin("one.group.vlan", 1, "RULE=[ID=7]") == 1
    updated = slave.as_admin("one.userquota.update", "VM=[CPU=6]")
    assert "<CPU>6</CPU>" in updated
    assert slave.as_admin("one.userquota.info") == updated
    assert slave.value(session("ada"), "one.userquota.info") == updated
    assert slave.as_admin("one.groupquota.update", "VM=[CPU=7]") == slave.value(session("ada"), "one.groupquota.info")
    shown = slave.value(session("ada"), "one.user.info", -1)
    assert shown.index("<CPU>4</CPU>") < shown.index("<CPU>6</CPU>")
    for method, arguments in (("one.user.info", (2,)), ("one.userpool.info", ()), ("one.group.info", (1,)), ("one.grouppool.info", ())):
        document = slave.as_admin(method, *arguments)
        validate(document)
        assert document.count("<VM>") == 2, method
    assert "<RULE><ID><![CDATA[7]]></ID>" in slave.as_admin("one.grouppool.info")
    assert slave.site.database.state().head == before


def test_refusals_have_opennebulas_codes_and_texts(desk: Desk) -> None:
    uid, name = desk.user("ada-of-quotas"), session("ada-of-quotas")
    for method, kind in (("one.user.quota", "user"), ("one.group.quota", "group")):
        assert desk.failure(ONEADMIN, method, 0, "") == Failure(ACTION, f"Cannot set quotas for oneadmin {kind}", 0)
        assert desk.failure(ONEADMIN, method, 99_999, "") == Failure(NO_EXISTS, f"Error getting {kind} [99999].", 99_999)
    wrong = Failure(ACTION, "Negative limits or bad format in quota VM = [ CPU=-7 ]", -1)
    assert desk.failure(ONEADMIN, "one.user.quota", uid, "VM=[CPU=-7]") == wrong
    assert desk.failure(ONEADMIN, "one.groupquota.update", "VM=[CPU=-7]") == wrong
    assert desk.failure(ONEADMIN, "one.user.quota", uid, "VM=[").text.startswith("Parse error")
    refused = f"User [{uid}] : The default quotas can only be updated by users in the oneadmin group."
    assert desk.failure(name, "one.userquota.update", "VM=[") == Failure(AUTHORIZATION, refused, -1)
    assert desk.failure(name, "one.user.quota", uid, "VM=[").code == AUTHORIZATION


@pytest.mark.parametrize("call", LOCAL_WRITES, ids=lambda call: call.name)
def test_a_local_write_is_never_taken_from_another_zone(desk: Desk, call: Call) -> None:
    body = wire.encode_call(call.name, (ONEADMIN,))
    with pytest.raises(InternalError, match=f"{call.name} is not redirected: every zone answers it itself"):
        desk.site.run(desk.dispatcher.answer_forwarded(body, Request(100, "ab" * 16, b"h" * 32)))


def test_a_disabled_zone_shows_its_defaults_and_changes_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.as_admin("one.zone.enable", 0, False)
    assert "DEFAULT_USER_QUOTAS" in desk.as_admin("one.userquota.info")
    assert desk.failure(ONEADMIN, "one.user.quota", 1, "") == Failure(INTERNAL, "Cannot process request, zone disabled", -1)
    desk.close()


def test_shared_writes_may_be_halted_and_local_ones_go_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.halted = "the log is ahead"
    assert desk.failure(ONEADMIN, "one.user.update", 1, "", 1).code == INTERNAL
    assert desk.as_admin("one.user.quota", 1, "VM=[CPU=4]") == 1
    desk.close()

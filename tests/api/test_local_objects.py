"""Calls about the zone's own objects, from the XML-RPC body on: they need no master, and touch the log only to clean up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from koinon.database.jobs import Request
from koinon.errors import InternalError
from koinon.wire import xmlrpc
from tests.api.desk import ACTION, AUTHORIZATION, INTERNAL, NO_EXISTS, ONEADMIN, RPC_API, Desk, Failure, session
from tests.xsd.schemas import validate


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def become_slave(desk: Desk) -> None:
    """Of a master that is not there."""
    change = desk.site.database.write_zone("test", lambda tx: tx.set_membership(zone_id=0, role="slave", federation_id="f" * 32, epoch=1))
    desk.site.run(change)


def head(desk: Desk) -> int:
    return desk.site.database.state().position


def fill(desk: Desk) -> tuple[int, int, int]:
    """A cluster with a host, and a document."""
    cluster = desk.as_admin("one.cluster.allocate", "east")
    host = desk.as_admin("one.host.allocate", "h0", "kvm", "kvm", cluster)
    return cluster, host, desk.as_admin("one.document.allocate", 'NAME = "d"', 200)


def test_every_document_fits_its_schema(zone: Desk) -> None:
    cluster, host, document = fill(zone)
    zone.as_admin("one.document.lock", document, 4)
    for call, *arguments in (
        ("one.cluster.info", cluster), ("one.clusterpool.info",), ("one.host.info", host, True), ("one.hostpool.info",),
        ("one.host.monitoring", host), ("one.hostpool.monitoring",), ("one.hostpool.monitoring", 0), ("one.document.info", document),
        ("one.documentpool.info", -2, -1, -1, 200),
    ):  # fmt: skip
        validate(zone.as_admin(call, *arguments))


def test_local_writes_leave_the_log_alone(zone: Desk) -> None:
    before = head(zone)
    cluster, host, document = fill(zone)
    zone.as_admin("one.cluster.delhost", cluster, host)
    zone.as_admin("one.host.delete", host)
    zone.as_admin("one.cluster.delete", cluster)
    zone.as_admin("one.document.delete", document)
    assert head(zone) == before


@pytest.mark.parametrize("halted", [False, True])
def test_a_slave_without_its_master_changes_its_own_objects(zone: Desk, halted: bool) -> None:
    zone.rule("#5 HOST/#0 USE #0")
    rules = zone.site.rules()
    become_slave(zone)
    zone.halted = "This zone's log has forked." if halted else None
    before = head(zone)
    cluster, host, document = fill(zone)
    zone.as_admin("one.document.chmod", document, 1, 1, 0, 1, 0, 0, 0, 0, 0)
    zone.as_admin("one.host.status", host, 2)
    zone.as_admin("one.host.delete", host)
    zone.as_admin("one.cluster.delete", cluster)
    assert head(zone) == before
    assert zone.site.rules() == rules  # shared: not for a slave to change


def test_a_deleted_host_takes_its_rules_along_where_the_zone_keeps_the_log(zone: Desk) -> None:
    _, host, _ = fill(zone)
    rules = zone.site.rules()
    zone.rule(f"#5 HOST/#{host} USE #0")
    before = head(zone)
    zone.as_admin("one.host.delete", host)
    assert zone.site.rules() == rules
    assert head(zone) > before


def test_a_halted_master_still_deletes_what_is_its_own(zone: Desk) -> None:
    _, host, _ = fill(zone)
    zone.rule(f"#5 HOST/#{host} USE #0")
    rules, before = zone.site.rules(), head(zone)
    zone.halted = "Another zone is the master now."
    zone.as_admin("one.host.delete", host)
    assert (zone.site.rules(), head(zone)) == (rules, before)


def test_a_local_write_is_not_taken_from_another_zone(zone: Desk) -> None:
    body = xmlrpc.encode_call("one.cluster.allocate", (ONEADMIN, "east"))
    with pytest.raises(InternalError, match="every zone answers it itself"):
        zone.site.run(zone.dispatcher.answer_forwarded(body, Request(7, "r" * 32, b"h" * 32)))


def test_a_disabled_zone_shows_its_objects_and_changes_none(zone: Desk) -> None:
    cluster, host, document = fill(zone)
    zone.as_admin("one.zone.enable", 0, False)
    disabled = Failure(INTERNAL, "Cannot process request, zone disabled", -1)
    assert zone.failure(ONEADMIN, "one.host.delete", host) == disabled
    assert zone.failure(ONEADMIN, "one.document.lock", document, 1) == disabled
    assert zone.failure(ONEADMIN, "one.cluster.info", cluster) == disabled  # OpenNebula's leader-only calls
    assert zone.failure(ONEADMIN, "one.host.monitoring", host) == disabled
    for call in ("one.hostpool.info", "one.clusterpool.info", "one.hostpool.monitoring"):
        zone.as_admin(call)
    zone.as_admin("one.document.info", document)


def test_refusals_are_in_the_words_and_with_the_codes_of_opennebula(zone: Desk) -> None:
    cluster, host, document = fill(zone)
    uid = zone.user("alice")
    alice = session("alice")
    assert zone.failure(alice, "one.host.info", host) == Failure(
        AUTHORIZATION, f"User [{uid}] : Not authorized to perform USE HOST [{host}].", -1
    )
    assert zone.failure(ONEADMIN, "one.document.info", 9) == Failure(NO_EXISTS, "Error getting document [9].", 9)
    assert zone.failure(ONEADMIN, "one.cluster.delete", cluster).code == ACTION
    assert zone.failure(ONEADMIN, "one.host.status", host, 9) == Failure(INTERNAL, "Wrong status code", host)
    assert zone.failure(ONEADMIN, "one.documentpool.info", -5, -1, -1, 1) == Failure(RPC_API, "Incorrect filter_flag", -1)
    assert zone.failure(ONEADMIN, "one.document.lock", document, 0) == Failure(ACTION, "Wrong lock level specified", document)
    zone.as_admin("one.document.lock", document, 3)
    since = etree.fromstring(zone.as_admin("one.document.info", document)).findtext("LOCK/TIME")
    assert zone.failure(ONEADMIN, "one.document.lock", document, 3, True) == Failure(ACTION, since or "", document)
    assert zone.failure(ONEADMIN, "one.document.chmod", document, -1, -1, 0, 1, 1, 1, -1, -1, -1) == Failure(
        AUTHORIZATION, f"User [0] : DOCUMENT is locked. [{document}].", -1
    )


def test_an_explanation_knows_the_cluster_of_a_host(zone: Desk) -> None:
    cluster, host, _ = fill(zone)
    uid = zone.user("alice")
    asked = ("koinon.acl.explain", uid, "USE", f"HOST/#{host}", -1)
    assert '"allowed":false' in zone.as_admin(*asked)
    zone.rule(f"#{uid} HOST/%{cluster} USE #0")
    assert '"allowed":true' in zone.as_admin(*asked)

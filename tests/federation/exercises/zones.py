"""Exercises of the calls about zones."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise
from tests.xsd.schemas import validate


@exercise("one.zone.allocate", "one.zone.delete")
def allocate_zone(at: Place) -> None:
    name = at.name("zone")
    zid = at.one.zone.allocate(f'NAME="{name}" ENDPOINT="http://10.0.0.1:2633/RPC2"')
    assert zid >= 100
    made = at.one.zone.info(zid)
    assert (made.NAME, made.TEMPLATE["ENDPOINT"]) == (name, "http://10.0.0.1:2633/RPC2")
    with pytest.raises(pyone.OneException, match="ENDPOINT not present in template"):
        at.one.zone.allocate(f'NAME="{at.name("zone")}"')
    with pytest.raises(pyone.OneException):
        at.one.zone.allocate(f'NAME="{name}" ENDPOINT="http://10.0.0.1:2633/RPC2"')
    assert at.one.zone.delete(zid) == zid
    with pytest.raises(pyone.OneNoExistsException):
        at.one.zone.info(zid)
    with pytest.raises(pyone.OneActionException):
        at.one.zone.delete(0)


@exercise("one.zone.info")
def show_zone(at: Place) -> None:
    own = at.zone.status()["zone_id"]
    at.document("one.zone.info", own)
    assert at.one.zone.info(own).NAME == at.zone.name
    _, name = at.user()
    assert at.zone.client(name, "Secret1").zone.info(own).TEMPLATE["ENDPOINT"] == at.zone.endpoint


@exercise("one.zone.update", "one.zone.rename")
def change_zone(at: Place) -> None:
    own = at.zone.status()["zone_id"]
    before = at.one.zone.info(own).TEMPLATE
    kept = {key: before[key] for key in ("FEDERATION_ENDPOINT", "PUBLIC_KEY", "TRUST") if key in before}
    assert len(kept) == 3
    assert at.one.zone.update(own, 'FLOOR="3" PUBLIC_KEY="stolen" TRUST="REVOKED"', 1) == own
    after = at.one.zone.info(own).TEMPLATE
    assert (after["FLOOR"], after["ENDPOINT"]) == ("3", at.zone.endpoint)
    assert {key: after[key] for key in kept} == kept
    name = at.name("renamed")
    assert at.one.zone.rename(own, name) == own
    assert at.one.zone.info(own).NAME == name
    assert at.one.zone.rename(own, at.zone.name) == own


@exercise("one.zone.enable")
def enable_zone(at: Place) -> None:
    own = at.zone.status()["zone_id"]
    try:
        assert at.one.zone.enable(own, False) == own
        assert at.one.zone.info(own).STATE == 1
        with pytest.raises(pyone.OneInternalException, match="zone disabled"):
            at.one.user.allocate(at.name("user"), "Secret1", "", [])
    finally:
        assert at.one.zone.enable(own, True) == own
    assert at.one.zone.info(own).STATE == 0
    at.user()
    with pytest.raises(pyone.OneException):
        at.one.zone.enable(99_999, False)


@exercise("one.zone.raftstatus")
def log_status(at: Place) -> None:
    document = at.document("one.zone.raftstatus")
    assert f"<FEDLOG_INDEX>{at.zone.status()['position']}</FEDLOG_INDEX>" in document
    _, name = at.user()
    with pytest.raises(pyone.OneAuthorizationException):
        at.zone.client(name, "Secret1").zone.raftstatus()


@exercise("one.zonepool.info")
def list_zones(at: Place) -> None:
    validate(at.raw.value("one.zonepool.info"))
    listed = {zone.NAME: zone for zone in at.one.zonepool.info().ZONE}
    assert {zone.name for zone in at.zones.zones} <= set(listed)
    _, name = at.user()
    assert {zone.ID for zone in at.zone.client(name, "Secret1").zonepool.info().ZONE} == {zone.ID for zone in listed.values()}


@exercise("one.zone.addserver", "one.zone.delserver", "one.zone.resetserver")
def servers_of_zones(at: Place) -> None:
    """Through the zone itself, which has the master write its record; every zone shows it then."""
    own = at.zone.status()["zone_id"]
    name = at.name("server")
    assert at.one.zone.addserver(own, f'SERVER=[NAME="{name}", ENDPOINT="http://10.0.0.9:2633/RPC2"]') == own
    (made,) = [server for server in at.one.zone.info(own).SERVER_POOL.SERVER if server.NAME == name]
    assert made.ENDPOINT == "http://10.0.0.9:2633/RPC2"
    at.document("one.zone.info", own)
    at.document("one.zonepool.info")
    assert at.one.zone.resetserver(own, made.ID) == own
    _, stranger = at.user()
    for verb, argument in (("addserver", 'SERVER=[NAME="n", ENDPOINT="e"]'), ("delserver", made.ID), ("resetserver", made.ID)):
        with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform ADMIN ZONE \[{own}\]\."):
            getattr(at.zone.client(stranger, "Secret1").zone, verb)(own, argument)
        with pytest.raises(pyone.OneActionException, match=r"Servers have to be (added|deleted) through the target zone endpoints"):
            getattr(at.one.zone, verb)(99_999, argument)
    assert at.one.zone.delserver(own, made.ID) == own
    with pytest.raises(pyone.OneActionException, match="SERVER not found in zone"):
        at.one.zone.delserver(own, made.ID)
    assert at.one.zone.info(own).SERVER_POOL.SERVER == []

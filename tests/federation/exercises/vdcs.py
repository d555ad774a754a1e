"""Exercises of the calls about VDCs."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise


def _rules_of(at: Place, group: int) -> set[str]:
    return {rule.STRING for rule in at.one.acl.info().ACL if rule.STRING.startswith(f"@{group} ")}


def _vdc(at: Place) -> int:
    return int(at.one.vdc.allocate(f'NAME="{at.name("vdc")}"'))


def _own_group(at: Place) -> int:
    """A group that has left the default VDC, and its rules with it."""
    group = at.group()
    assert len(_rules_of(at, group)) == 3
    assert at.one.vdc.delgroup(0, group) == 0
    assert _rules_of(at, group) == set()
    return group


@exercise("one.vdc.allocate", "one.vdc.info", "one.vdcpool.info", "one.vdc.delete")
def allocate_vdc(at: Place) -> None:
    name = at.name("Ünïcode 日本 ")
    oid = at.one.vdc.allocate({"TEMPLATE": {"NAME": name, "NOTE": "<&> ]]"}})
    made = at.one.vdc.info(oid)
    assert (made.NAME, made.TEMPLATE["NOTE"], made.GROUPS.ID, made.HOSTS.HOST) == (name, "<&> ]]", [], [])
    at.document("one.vdc.info", oid)
    at.document("one.vdcpool.info")
    assert {vdc.ID for vdc in at.one.vdcpool.info().VDC} >= {0, oid}
    with pytest.raises(pyone.OneInternalException, match=rf"NAME is already taken by Vdc {oid}\."):
        at.one.vdc.allocate(f'NAME="{name}"')
    with pytest.raises(pyone.OneInternalException, match="NAME, it cannot be empty"):
        at.one.vdc.allocate('NOTE="x"')
    _, user = at.user()
    theirs = at.zone.client(user, "Secret1")
    assert theirs.vdcpool.info().VDC == []
    with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform USE VDC \[{oid}\]"):
        theirs.vdc.info(oid)
    with pytest.raises(pyone.OneActionException, match=r"System VDCs \(ID < 100\) cannot be deleted\."):
        at.one.vdc.delete(0)
    assert at.one.vdc.delete(oid) == oid
    with pytest.raises(pyone.OneNoExistsException, match=rf"Error getting VDC \[{oid}\]\."):
        at.one.vdc.info(oid)


@exercise("one.vdc.update", "one.vdc.rename")
def change_vdc(at: Place) -> None:
    oid = _vdc(at)
    assert at.one.vdc.update(oid, 'A="1"', 0) == oid
    assert at.one.vdc.update(oid, 'B="2"', 1) == oid
    assert at.one.vdc.info(oid).TEMPLATE == {"A": "1", "B": "2"}
    name = at.name("renamed")
    assert at.one.vdc.rename(oid, name) == oid
    assert at.one.vdc.info(oid).NAME == name
    with pytest.raises(pyone.OneActionException, match="collides with VDC 0"):
        at.one.vdc.rename(oid, "default")


@exercise("one.vdc.addgroup", "one.vdc.delgroup")
def groups_of_vdcs(at: Place) -> None:
    oid, group = _vdc(at), _own_group(at)
    at.one.vdc.addvnet(oid, 0, 4)
    assert at.one.vdc.addgroup(oid, group) == oid
    assert at.one.vdc.info(oid).GROUPS.ID == [group]
    assert _rules_of(at, group) == {f"@{group} NET/#4 USE #0"}
    with pytest.raises(pyone.OneInternalException, match=rf"Group {group} is already assigned to the VDC {oid}$"):
        at.one.vdc.addgroup(oid, group)
    assert at.one.vdc.delgroup(oid, group) == oid
    assert _rules_of(at, group) == set()
    with pytest.raises(pyone.OneInternalException, match=rf"Group {group} is not assigned to the VDC {oid}$"):
        at.one.vdc.delgroup(oid, group)
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting group \[99999\]"):
        at.one.vdc.addgroup(oid, 99_999)


@exercise(*(f"one.vdc.{verb}{word}" for verb in ("add", "del") for word in ("cluster", "host", "datastore", "vnet")))
def resources_of_vdcs(at: Place) -> None:
    """In the zone that is asked and in the other: a rule counts where the resource is."""
    one, two, group = _vdc(at), _vdc(at), _own_group(at)
    at.one.vdc.addgroup(one, group)
    at.one.vdc.addgroup(two, group)
    zone_ids = [zone.status()["zone_id"] for zone in at.zones.zones]
    for word, kinds in (("host", ("HOST MANAGE",)), ("datastore", ("DATASTORE USE",)), ("vnet", ("NET USE",))):
        add, remove = getattr(at.one.vdc, f"add{word}"), getattr(at.one.vdc, f"del{word}")
        kind, right = kinds[0].split()
        for zone_id in zone_ids:
            assert (add(one, zone_id, -10), add(two, zone_id, -10)) == (one, two)
            rule = f"@{group} {kind}/* {right} #{zone_id}"
            assert _rules_of(at, group) == {rule}
            assert remove(one, zone_id, -10) == one
            assert _rules_of(at, group) == {rule}, "the other VDC gives it still"
            assert remove(two, zone_id, -10) == two
            assert _rules_of(at, group) == set()
    away = zone_ids[-1]
    cluster = at.zones.client(at.zones.zones[-1]).cluster.allocate(at.name("cluster"))
    assert at.one.vdc.addcluster(one, away, cluster) == one
    rests = (f"HOST/%{cluster} MANAGE", f"NET/%{cluster} USE", f"DATASTORE/%{cluster} USE")
    assert _rules_of(at, group) == {f"@{group} {rest} #{away}" for rest in rests}
    assert at.one.vdc.addcluster(one, away, -10) == one
    shown = at.one.vdc.info(one).CLUSTERS.CLUSTER
    assert [(cluster.ZONE_ID, cluster.CLUSTER_ID) for cluster in shown] == [(away, -10)]
    with pytest.raises(pyone.OneInternalException, match=rf"CLUSTER -10 from Zone {away} is already assigned to the VDC$"):
        at.one.vdc.addcluster(one, away, -10)
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting zone \[99999\]"):
        at.one.vdc.addcluster(one, 99_999, cluster)
    assert at.one.vdc.delcluster(one, away, -10) == one
    with pytest.raises(pyone.OneInternalException, match=rf"CLUSTER {cluster} from Zone {away} is not assigned to the VDC"):
        at.one.vdc.delcluster(one, away, cluster)
    assert _rules_of(at, group) == set()

"""Exercises of the calls about clusters, and about the hosts in them."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import pyone
import pytest
from pyone.acl import OneAcl

from tests.federation.exercises.place import Place, exercise


@exercise(
    "one.cluster.allocate", "one.cluster.info", "one.clusterpool.info", "one.cluster.update", "one.cluster.rename", "one.cluster.delete"
)
def clusters(at: Place) -> None:
    name = at.name("cluster ")
    oid = at.one.cluster.allocate(name)
    assert oid >= 100
    with pytest.raises(pyone.OneInternalException, match=rf"NAME is already taken by CLUSTER {oid}\."):
        at.one.cluster.allocate(name)
    at.one.cluster.update(oid, 'A="<1>"', 0)
    at.one.cluster.rename(oid, f"{name} renamed")
    made = at.one.cluster.info(oid)
    assert (made.NAME, made.TEMPLATE["A"], made.HOSTS.ID) == (f"{name} renamed", "<1>", [])
    at.document("one.cluster.info", oid)
    at.document("one.clusterpool.info")
    assert {cluster.ID for cluster in at.one.clusterpool.info().CLUSTER} >= {0, oid}
    assert at.one.cluster.delete(oid) == oid
    with pytest.raises(pyone.OneNoExistsException, match=rf"Error getting cluster \[{oid}\]\."):
        at.one.cluster.info(oid)
    with pytest.raises(pyone.OneActionException, match=r"System Clusters \(ID < 100\) cannot be deleted"):
        at.one.cluster.delete(0)


@exercise("one.cluster.addhost", "one.cluster.delhost")
def hosts_of_clusters(at: Place) -> None:
    """A user restricted to one cluster of the zone sees its hosts and no other, nor those of a cluster with that id elsewhere."""
    cluster = at.one.cluster.allocate(at.name("cluster"))
    host = at.one.host.allocate(at.name("host"), "kvm", "kvm", -1)
    other = at.one.host.allocate(at.name("host"), "kvm", "kvm", cluster)
    assert at.one.cluster.addhost(cluster, host) == cluster
    assert at.one.cluster.info(cluster).HOSTS.ID == [host, other]
    assert at.one.cluster.delhost(cluster, other) == cluster
    uid, name = at.user()
    zone = at.zone.status()["zone_id"]
    at.one.acl.addrule(*OneAcl().parse_rule(f"#{uid} HOST/%{cluster} USE #{zone}"))
    theirs = at.zone.client(name, "Secret1")
    assert [found.ID for found in theirs.hostpool.info().HOST] == [host]
    with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform USE HOST \[{other}\]"):
        theirs.host.info(other)


@exercise(*(f"one.cluster.{verb}{word}" for verb in ("add", "del") for word in ("datastore", "vnet")))
def what_clusters_cannot_have(at: Place) -> None:
    """Zones have neither datastores nor networks: there is none with any id, and no fault says so."""
    cluster = at.one.cluster.allocate(at.name("cluster"))
    _, name = at.user()
    for who in (at.one, at.zone.client(name, "Secret1")):
        for verb in ("add", "del"):
            with pytest.raises(pyone.OneNoExistsException, match=r"Error getting datastore \[1\]\."):
                getattr(who.cluster, f"{verb}datastore")(cluster, 1)
            with pytest.raises(pyone.OneNoExistsException, match=r"Error getting virtual network \[1\]\."):
                getattr(who.cluster, f"{verb}vnet")(cluster, 1)
            with pytest.raises(pyone.OneNoExistsException, match=r"Error getting cluster \[99999\]\."):
                getattr(who.cluster, f"{verb}vnet")(99_999, 1)
    made = at.one.cluster.info(cluster)
    assert (made.DATASTORES.ID, made.VNETS.ID) == ([], [])


@exercise("one.cluster.optimize", "one.cluster.planexecute", "one.cluster.plandelete")
def plans_of_clusters(at: Place) -> None:
    cluster = at.one.cluster.allocate(at.name("cluster"))
    _, name = at.user()
    for verb in ("optimize", "planexecute", "plandelete"):
        with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform ADMIN CLUSTER \[{cluster}\]\."):
            getattr(at.zone.client(name, "Secret1").cluster, verb)(cluster)
        with pytest.raises(pyone.OneNoExistsException, match=r"Error getting cluster \[99999\]\."):
            getattr(at.one.cluster, verb)(99_999)
    with pytest.raises(pyone.OneInternalException, match=r"Can't find plan for existing cluster\."):
        at.one.cluster.optimize(cluster)
    with pytest.raises(pyone.OneActionException, match="Plan is not ready"):
        at.one.cluster.planexecute(cluster)
    with pytest.raises(pyone.OneActionException, match=f"Plan for cluster {cluster} does not exist"):
        at.one.cluster.plandelete(cluster)
    at.document("one.cluster.info", cluster)

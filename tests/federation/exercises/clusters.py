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

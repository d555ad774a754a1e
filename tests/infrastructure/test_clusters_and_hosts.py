"""Clusters and hosts: what changes, what is refused, and who sees what."""

from __future__ import annotations

import pytest
from lxml import etree

from koinon.errors import ActionError, AuthorizationError, CloudError, InternalError, NotFoundError
from koinon.infrastructure import clusters, hosts, targets
from koinon.objects.kinds import Kind
from tests.identity.site import ADMIN
from tests.infrastructure.ground import Ground, ids


def host(ground: Ground, oid: int) -> etree._Element:
    return ground.shown(lambda tx: hosts.show(tx, ADMIN, oid))


def cluster(ground: Ground, oid: int) -> etree._Element:
    return ground.shown(lambda tx: clusters.show(tx, ADMIN, oid))


def test_a_zone_begins_with_cluster_0_and_the_next_one_is_100(ground: Ground) -> None:
    assert cluster(ground, 0).findtext("NAME") == "default"
    assert ground.cluster("east") == 100
    ground.change(clusters.ensure_default)
    assert ground.cluster("west") == 101
    listed = ground.shown(lambda tx: clusters.pool_document(tx, ADMIN))
    assert ids(listed, "CLUSTER/ID") == [101, 100, 0]


def test_a_host_is_in_one_cluster_that_knows_it(ground: Ground) -> None:
    east, west = ground.cluster("east"), ground.cluster("west")
    first, second = ground.host("h0"), ground.host("h1", east)
    assert (first, second) == (0, 1)
    assert (host(ground, 0).findtext("CLUSTER_ID"), host(ground, 0).findtext("CLUSTER")) == ("0", "default")
    assert ids(cluster(ground, east), "HOSTS/ID") == [1]
    ground.change(lambda tx: clusters.add_host(tx, ADMIN, west, 1))
    assert ids(cluster(ground, east), "HOSTS/ID") == []
    assert ids(cluster(ground, west), "HOSTS/ID") == [1]
    ground.change(lambda tx: clusters.rename(tx, ADMIN, west, "far west"))
    assert host(ground, 1).findtext("CLUSTER") == "far west"
    with pytest.raises(ActionError, match="is not in cluster 100"):
        ground.change(lambda tx: clusters.del_host(tx, ADMIN, east, 1))
    ground.change(lambda tx: clusters.del_host(tx, ADMIN, west, 1))
    assert ids(cluster(ground, 0), "HOSTS/ID") == [0, 1]


def test_what_a_cluster_is_refused(ground: Ground) -> None:
    east = ground.cluster("east")
    ground.host("h0", east)
    for job, text, code in (
        (lambda tx: clusters.create(tx, ADMIN, "east"), "NAME is already taken by CLUSTER 100.", 0x2000),
        (lambda tx: clusters.create(tx, ADMIN, ""), "Invalid NAME, it cannot be empty", 0x2000),
        (lambda tx: clusters.delete(tx, ADMIN, 0), "Cannot delete cluster. System Clusters (ID < 100) cannot be deleted.", 0x800),
        (lambda tx: clusters.delete(tx, ADMIN, east), "Cannot delete cluster. Cluster 100 is not empty, it contains 1 hosts.", 0x800),
        (lambda tx: clusters.rename(tx, ADMIN, east, "default"), "cluster cannot be renamed to default because it collides with cluster 0",
         0x800),
        (lambda tx: clusters.delete(tx, ADMIN, 7), "Error getting cluster [7].", 0x400),
        (lambda tx: clusters.add_host(tx, ADMIN, east, 7), "Error getting host [7].", 0x400),
        (lambda tx: hosts.create(tx, ADMIN, "h0", "kvm", "kvm", -1), "NAME is already taken by HOST 0.", 0x2000),
        (lambda tx: hosts.create(tx, ADMIN, "h1", "", "kvm", -1), "IM_MAD_NAME cannot be empty.", 0x2000),
        (lambda tx: hosts.create(tx, ADMIN, "h1", "kvm", "]]>", -1), "can't be a VM_MAD", 0x2000),
        (lambda tx: hosts.create(tx, ADMIN, "h1", "kvm", "kvm", 5), "Error getting cluster [5].", 0x400),
        (lambda tx: hosts.set_status(tx, ADMIN, 0, 3), "Wrong status code", 0x2000),
        (lambda tx: hosts.update(tx, ADMIN, 0, "A=1", 2), "Wrong update type", 0x1000),
    ):  # fmt: skip
        with pytest.raises(CloudError) as refused:
            ground.change(job)
        assert text in refused.value.text
        assert refused.value.code == code
    assert ground.read(lambda tx: tx.counter("host_pool")) == 0  # what was refused took no id


def test_states_are_those_that_people_set(ground: Ground) -> None:
    ground.host("h0")
    seen = []
    for status in (1, 2, 0, 0):
        ground.change(lambda tx, status=status: hosts.set_status(tx, ADMIN, 0, status))  # type: ignore[misc]  # bound per round
        seen.append((host(ground, 0).findtext("STATE"), host(ground, 0).findtext("PREV_STATE")))
    assert seen == [("4", "0"), ("8", "4"), ("0", "8"), ("0", "8")]


def test_templates_and_names_change_and_nothing_else(ground: Ground) -> None:
    east = ground.cluster("east")
    ground.host("h0", east)
    ground.change(lambda tx: hosts.update(tx, ADMIN, 0, 'RACK = "<7>"', 0))
    ground.change(lambda tx: hosts.update(tx, ADMIN, 0, "ROW = 2", 1))
    ground.change(lambda tx: hosts.rename(tx, ADMIN, 0, "node"))
    ground.change(lambda tx: clusters.update(tx, ADMIN, east, "POWER = [ MAX = 9 ]", 0))
    found = host(ground, 0)
    assert (found.findtext("NAME"), found.findtext("TEMPLATE/RACK"), found.findtext("TEMPLATE/ROW")) == ("node", "<7>", "2")
    assert (found.findtext("IM_MAD"), found.findtext("CLUSTER")) == ("kvm", "east")
    assert cluster(ground, east).findtext("TEMPLATE/POWER/MAX") == "9"
    assert found.findall("MONITORING/*") == []
    assert ground.shown(lambda tx: hosts.samples(tx, ADMIN, 0)).tag == "MONITORING_DATA"


def test_a_user_restricted_to_one_cluster_sees_and_manages_its_hosts_only(ground: Ground) -> None:
    """Recipe: `@100 HOST/%100 USE+MANAGE+ADMIN #0`."""
    east, west = ground.cluster("east"), ground.cluster("west")
    inside, outside = ground.host("in", east), ground.host("out", west)
    gid = ground.add_group("tenants")
    ground.allow(f"@{gid} HOST/%{east} USE+MANAGE+ADMIN #0")
    tenant, stranger = ground.newcomer("tenant", gid), ground.newcomer("stranger")
    assert ids(ground.shown(lambda tx: hosts.pool_document(tx, tenant)), "HOST/ID") == [inside]
    assert ground.shown(lambda tx: hosts.show(tx, tenant, inside)).findtext("NAME") == "in"
    with pytest.raises(AuthorizationError, match=rf"Not authorized to perform USE HOST \[{outside}\]"):
        ground.read(lambda tx: hosts.show(tx, tenant, outside))
    ground.change(lambda tx: hosts.set_status(tx, tenant, inside, 1))
    with pytest.raises(AuthorizationError):
        ground.change(lambda tx: hosts.set_status(tx, tenant, outside, 1))
    assert ids(ground.shown(lambda tx: hosts.pool_document(tx, stranger)), "HOST/ID") == []
    # The rule follows the host, not the other way round.
    ground.change(lambda tx: clusters.add_host(tx, ADMIN, west, inside))
    assert ids(ground.shown(lambda tx: hosts.pool_document(tx, tenant)), "HOST/ID") == []
    with pytest.raises(AuthorizationError):
        ground.change(lambda tx: clusters.add_host(tx, tenant, east, inside))


def test_a_rule_of_another_zone_shows_nothing_here(ground: Ground) -> None:
    east = ground.cluster("east")
    ground.host("in", east)
    user = ground.newcomer("user")
    ground.allow(f"#{user.uid} HOST/%{east} USE #7")
    assert ids(ground.shown(lambda tx: hosts.pool_document(tx, user)), "HOST/ID") == []
    ground.allow(f"#{user.uid} HOST/%{east} USE *")
    assert ids(ground.shown(lambda tx: hosts.pool_document(tx, user)), "HOST/ID") == [0]


def test_the_rights_that_a_vdc_gives_list_no_hosts(ground: Ground) -> None:
    """As in OpenNebula: MANAGE, which is what scheduling asks for, does not list."""
    east = ground.cluster("east")
    inside, outside = ground.host("in", east), ground.host("out")
    gid = ground.add_group("tenants")
    ground.allow(f"@{gid} HOST/%{east} MANAGE #0")
    tenant = ground.newcomer("tenant", gid)
    assert ids(ground.shown(lambda tx: hosts.pool_document(tx, tenant)), "HOST/ID") == []
    with pytest.raises(AuthorizationError):
        ground.read(lambda tx: hosts.show(tx, tenant, inside))
    with pytest.raises(AuthorizationError):
        ground.read(lambda tx: hosts.show(tx, tenant, outside))


def test_a_new_host_needs_admin_of_its_cluster_unless_that_is_the_default_one(ground: Ground) -> None:
    east = ground.cluster("east")
    user = ground.newcomer("user")
    ground.allow(f"#{user.uid} HOST/* CREATE #0")
    assert ground.change(lambda tx: hosts.create(tx, user, "a", "kvm", "kvm", -1)) == 0
    with pytest.raises(AuthorizationError, match=rf"perform ADMIN CLUSTER \[{east}\]"):
        ground.change(lambda tx: hosts.create(tx, user, "b", "kvm", "kvm", east))
    ground.allow(f"#{user.uid} CLUSTER/#{east} ADMIN #0")
    assert ground.change(lambda tx: hosts.create(tx, user, "b", "kvm", "kvm", east)) == 1


def test_a_deleted_object_takes_along_the_rules_about_it_in_this_zone(ground: Ground) -> None:
    east = ground.cluster("east")
    ground.host("h0")
    before = ground.rules()
    kept = [
        "#5 HOST/#0 USE #7",
        "#5 HOST/#1 USE #0",
        "#5 HOST+CLUSTER/#0 USE #0",
        f"#5 HOST/%{east + 1} USE #0",
        f"#5 HOST/%{east} USE #7",
        f"#5 HOST/%{east} USE *",
    ]
    for text in ("#5 HOST/#0 USE #0", f"#5 HOST+NET/%{east} USE #0", f"@1 CLUSTER/#{east} USE+MANAGE #0", *kept):
        ground.allow(text)
    ground.write(lambda tx: hosts.delete(tx, ADMIN, 0))
    ground.write(lambda tx: clusters.delete(tx, ADMIN, east))
    assert ground.rules() == [*before, *kept]
    with pytest.raises(NotFoundError):
        ground.read(lambda tx: hosts.show(tx, ADMIN, 0))


def test_without_the_log_a_delete_leaves_the_rules_alone(ground: Ground) -> None:
    ground.host("h0")
    ground.allow("#5 HOST/#0 USE #0")
    before = ground.rules()
    ground.change(lambda tx: hosts.delete(tx, ADMIN, 0))
    assert ground.rules() == before
    assert ground.host("h1") == 1  # an id that rules name is given to nobody else


def test_objects_are_found_by_kind_and_id(ground: Ground) -> None:
    ground.host("h0")
    assert ground.read(lambda tx: targets.exists(tx, Kind.HOST, 0))
    assert not ground.read(lambda tx: targets.exists(tx, Kind.HOST, 1))
    assert not ground.read(lambda tx: targets.exists(tx, Kind.CLUSTER, 5))
    assert not ground.read(lambda tx: targets.exists(tx, Kind.IMAGE, 0))
    found = ground.read(lambda tx: targets.find(tx, Kind.HOST, 0))
    assert found is not None
    assert found.clusters == (0,)
    with pytest.raises(NotFoundError, match=r"Error getting document \[3\]"):
        ground.read(lambda tx: targets.find(tx, Kind.DOCUMENT, 3))


def test_a_spoilt_body_is_told_and_harms_no_other(ground: Ground) -> None:
    ground.host("h0")
    ground.cluster("east")
    ground.change(lambda tx: tx.execute("UPDATE host_pool SET body = '<HOST'"))
    with pytest.raises(InternalError, match="stored body of host 0 can't be read"):
        ground.read(lambda tx: hosts.show(tx, ADMIN, 0))
    assert cluster(ground, 100).findtext("NAME") == "east"

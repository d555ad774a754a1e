"""Quotas and VLAN rules: who sets them, who sees them, and that they stay in their zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from koinon.database.transactions import ApplyTx, ReadTx, ZoneTx
from koinon.errors import ActionError, AuthorizationError, InternalError, InvalidError, NotFoundError
from koinon.identity import group_record, groups, local_limits, user_documents, users
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from koinon.statements.schema import Delete
from tests.identity.site import ADMIN, Site, plain


def write(site: Site, job: Callable[[ZoneTx], Any]) -> Any:
    return site.run(site.database.write_zone("test", job))


def set_quotas(site: Site, oid: int, text: str, by: Caller = ADMIN) -> Any:
    return write(site, lambda tx: local_limits.set_user_quotas(tx, by, oid, text))


def set_group_quotas(site: Site, oid: int, text: str, by: Caller = ADMIN) -> Any:
    return write(site, lambda tx: local_limits.set_group_quotas(tx, by, oid, text))


def user_text(site: Site, oid: int) -> str:
    return plain(site.read(lambda tx: user_documents.document(tx, oid)))


def group_text(site: Site, oid: int) -> str:
    return plain(site.read(lambda tx: group_record.document(tx, oid)))


def users_text(site: Site) -> str:
    return plain(site.read(lambda tx: user_documents.pool_document(tx, ADMIN)))


def groups_text(site: Site) -> str:
    return plain(site.read(lambda tx: group_record.pool_document(tx, ADMIN)))


def rows(site: Site) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("user_quotas", "group_quotas", "group_vlans")
    return site.read(lambda tx: {table: tx.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables})


def test_quotas_are_no_longer_than_any_other_document(site: Site) -> None:
    """What every engine can store is the same for all."""
    uid, gid = site.add_user("ada"), site.add_group("lab")
    many = " ".join(f"IMAGE=[ID={number},RVMS=1]" for number in range(80_000))
    rules = " ".join(f"RULE=[ID={number}]" for number in range(80_000))
    changes: list[Callable[[ZoneTx], Any]] = [
        lambda tx: local_limits.set_user_quotas(tx, ADMIN, uid, many),
        lambda tx: local_limits.set_group_quotas(tx, ADMIN, gid, many),
        lambda tx: local_limits.set_user_defaults(tx, ADMIN, many),
        lambda tx: local_limits.set_group_vlans(tx, ADMIN, gid, rules),
    ]
    for change in changes:
        with pytest.raises(InvalidError, match="larger than 4 MiB"):
            write(site, change)
    assert rows(site) == {"user_quotas": [], "group_quotas": [], "group_vlans": []}


def test_quotas_are_shown_at_once_in_both_documents_and_nowhere_in_the_log(site: Site) -> None:
    uid, gid = site.add_user("ada"), site.add_group("lab")
    before = site.read(lambda tx: tx.state.head)
    assert "<VM_QUOTA></VM_QUOTA>" in user_text(site, uid)
    assert "<VM>" not in users_text(site) + groups_text(site)
    assert set_quotas(site, uid, "VM=[CPU=4,MEMORY=2048] DATASTORE=[ID=1,SIZE=9]") == uid
    assert set_group_quotas(site, gid, "NETWORK=[ID=2,LEASES=5]") == gid
    assert "<VM><CPU>4</CPU><CPU_USED>0</CPU_USED><MEMORY>2048</MEMORY>" in user_text(site, uid)
    assert re.search(rf"<QUOTAS><ID>{uid}</ID><DATASTORE_QUOTA><DATASTORE><ID>1</ID>.*?<VM><CPU>4</CPU>", users_text(site))
    assert "<NETWORK><ID>2</ID><LEASES>5</LEASES>" in group_text(site, gid)
    assert re.search(rf"<QUOTAS><ID>{gid}</ID><DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA><NETWORK><ID>2</ID>", groups_text(site))
    assert "<VM>" not in user_text(site, 1)
    set_quotas(site, uid, "VM=[CPU=-1] DATASTORE=[ID=1]")
    assert "<VM_QUOTA></VM_QUOTA>" in user_text(site, uid)
    assert "<VM>" not in users_text(site)
    assert rows(site)["user_quotas"] == []
    assert site.read(lambda tx: tx.state.head) == before


def test_default_quotas_are_shown_in_every_document(site: Site) -> None:
    uid = site.add_user("ada")
    old = user_text(site, uid) + users_text(site) + group_text(site, 1) + groups_text(site)
    made = write(site, lambda tx: local_limits.set_user_defaults(tx, ADMIN, "VM=[VMS=3] NETWORK=[ID=1,LEASES=2]"))
    assert made.startswith("<DEFAULT_USER_QUOTAS><DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA><NETWORK><ID>1</ID><LEASES>2</LEASES>")
    assert made not in old
    assert made in user_text(site, uid)
    assert user_text(site, 0).count("<VMS>3</VMS>") == 1
    assert users_text(site).endswith(f"{made}</USER_POOL>")
    for_groups = write(site, lambda tx: local_limits.set_group_defaults(tx, ADMIN, "VM=[CPU=1.5]"))
    assert "<CPU>1.50</CPU>" in for_groups
    assert for_groups in group_text(site, 1)
    assert groups_text(site).endswith(f"{for_groups}</GROUP_POOL>")
    ada = site.caller(uid)
    assert site.read(lambda tx: local_limits.user_defaults(tx, ada)) == made
    assert site.read(lambda tx: local_limits.group_defaults(tx, ada)) == for_groups
    write(site, lambda tx: local_limits.set_user_defaults(tx, ADMIN, "VM=[VMS=-2] NETWORK=[ID=1]"))
    assert user_text(site, uid) + users_text(site) == old[: len(user_text(site, uid) + users_text(site))]


def test_vlan_rules_are_replaced_as_a_whole(site: Site) -> None:
    gid = site.add_group("lab")
    assert f"<VLAN_RULES><ID>{gid}</ID></VLAN_RULES>" in group_text(site, gid)
    write(site, lambda tx: local_limits.set_group_vlans(tx, ADMIN, gid, 'RULE=[ID=3,SCOPE="x",VNTEMPLATE=1] RULE=[ID=4]'))
    assert group_text(site, gid).count("<RULE>") == groups_text(site).count("<RULE>") == 2
    write(site, lambda tx: local_limits.set_group_vlans(tx, ADMIN, gid, "RULE=[ID=4]"))
    assert group_text(site, gid).count("<RULE>") == 1
    write(site, lambda tx: local_limits.set_group_vlans(tx, ADMIN, gid, ""))
    assert rows(site)["group_vlans"] == []
    assert "<RULE>" not in groups_text(site)


def test_who_may_set_them(site: Site) -> None:
    lab = site.add_group("lab")
    boss = site.caller(site.add_user("boss", lab))
    pupil, stranger = site.add_user("pupil", lab), site.add_user("stranger")
    with pytest.raises(AuthorizationError, match=rf"Not authorized to perform ADMIN USER \[{boss.uid}\]"):
        set_quotas(site, boss.uid, "VM=[CPU=4]", by=boss)
    site.write(lambda tx: groups.add_admin(tx, ADMIN, lab, boss.uid))
    set_quotas(site, pupil, "VM=[CPU=4]", by=boss)
    for uid in (stranger, 0):
        with pytest.raises(AuthorizationError, match=rf"Not authorized to perform ADMIN USER \[{uid}\]"):
            set_quotas(site, uid, "VM=[CPU=4]", by=boss)
    for job in (local_limits.set_group_quotas, local_limits.set_group_vlans):
        with pytest.raises(AuthorizationError, match=rf"Not authorized to perform ADMIN GROUP \[{lab}\]"):
            write(site, lambda tx, job=job: job(tx, boss, lab, ""))  # type: ignore[misc]  # a lambda's default has no type
    for defaults in (local_limits.set_user_defaults, local_limits.set_group_defaults):
        with pytest.raises(AuthorizationError) as caught:
            write(site, lambda tx, defaults=defaults: defaults(tx, boss, "VM=[CPU=1]"))  # type: ignore[misc]  # as above
        assert caught.value.text == f"User [{boss.uid}] : The default quotas can only be updated by users in the oneadmin group."
    assert len(rows(site)["user_quotas"]) == 1


def test_administrators_themselves_have_no_quotas(site: Site) -> None:
    with pytest.raises(ActionError, match="Cannot set quotas for oneadmin user"):
        set_quotas(site, 0, "VM=[CPU=4]")
    with pytest.raises(ActionError, match="Cannot set quotas for oneadmin group"):
        set_group_quotas(site, 0, "VM=[CPU=4]")
    with pytest.raises(NotFoundError):
        set_quotas(site, 99, "VM=[CPU=4]")
    with pytest.raises(NotFoundError):
        set_group_quotas(site, 99, "VM=[CPU=4]")


def test_a_slave_sets_its_own_and_its_masters_changes_leave_them_alone(site: Site) -> None:
    uid, gid = site.add_user("ada"), site.add_group("lab")

    def become_slave(tx: ZoneTx) -> None:
        tx.set_membership(zone_id=100, role="slave", federation_id="f" * 32, epoch=1)

    set_quotas(site, uid, "VM=[CPU=4]")
    site.write(lambda tx: users.update(tx, ADMIN, uid, 'NOTE="x"', 0))
    site.write(lambda tx: groups.update(tx, ADMIN, gid, 'NOTE="x"', 0))
    write(site, become_slave)
    set_group_quotas(site, gid, "VM=[CPU=7]")
    write(site, lambda tx: local_limits.set_user_defaults(tx, ADMIN, "VM=[CPU=9]"))
    assert "<NOTE><![CDATA[x]]></NOTE>" in user_text(site, uid)
    assert "<CPU>4</CPU>" in user_text(site, uid)
    assert "<CPU>7</CPU>" in group_text(site, gid)


@pytest.mark.parametrize("applied", [False, True], ids=["written here", "applied from the master"])
def test_a_deleted_user_or_group_leaves_no_row(site: Site, applied: bool) -> None:
    uid, kept, gid = site.add_user("ada"), site.add_user("bob"), site.add_group("lab")
    for one in (uid, kept):
        set_quotas(site, one, "VM=[CPU=4]")
    for one in (gid, 1):
        set_group_quotas(site, one, "VM=[CPU=4]")
        write(site, lambda tx, one=one: local_limits.set_group_vlans(tx, ADMIN, one, "RULE=[ID=4]"))  # type: ignore[misc]  # as above
    if applied:

        def delete(tx: ApplyTx) -> None:
            tx.claim(tx.state.head)
            tx.change(Delete("user_pool", uid))
            tx.change(Delete("group_pool", gid))

        site.run(site.database.apply("test", delete))
    else:
        site.write(lambda tx: users.delete(tx, ADMIN, uid))
        site.write(lambda tx: groups.delete(tx, ADMIN, gid))
    assert {table: [row[0] for row in found] for table, found in rows(site).items()} == {
        "user_quotas": [kept],
        "group_quotas": [1],
        "group_vlans": [1],
    }


def test_someone_else_under_the_same_id_begins_without_quotas(site: Site) -> None:
    uid = site.add_user("ada")
    set_quotas(site, uid, "VM=[CPU=4]")
    user = site.user(uid)
    user.name = "eve"
    site.write(lambda tx: tx.update("user_pool", user.as_row()))
    assert rows(site)["user_quotas"] == []
    write(site, lambda tx: tx.execute("INSERT INTO user_quotas (user_oid, body) VALUES (?, '')", (uid + 1,)))
    assert site.add_user("bob") == uid + 1
    assert rows(site)["user_quotas"] == []


def test_a_stored_body_that_can_not_be_read_is_said_so(site: Site) -> None:
    uid = site.add_user("ada")
    write(site, lambda tx: tx.execute("INSERT INTO user_quotas (user_oid, body) VALUES (?, '<QUOTAS')", (uid,)))
    with pytest.raises(InternalError, match=rf"The stored quotas user_quotas {uid} can't be read"):
        set_quotas(site, uid, "VM=[CPU=4]")


def test_a_cluster_quota_needs_the_cluster(site: Site) -> None:
    uid = site.add_user("ada")

    def cluster(tx: ZoneTx) -> None:
        tx.execute("INSERT INTO cluster_pool (oid, name, body, uid, gid, owner_u, group_u, other_u) VALUES (500, 'c', '', 0, 0, 1, 0, 0)")

    with pytest.raises(ActionError, match="Cluster 500 does not exist"):
        set_quotas(site, uid, 'VM=[CLUSTER_IDS="500",CPU=4]')
    write(site, cluster)
    set_quotas(site, uid, 'VM=[CLUSTER_IDS="500",CPU=4]')
    assert "<VM><CLUSTER_IDS>500</CLUSTER_IDS><CPU>4</CPU>" in user_text(site, uid)


def test_what_a_client_is_shown_it_can_send_back(site: Site) -> None:
    uid = site.add_user("ada")
    set_quotas(site, uid, "VM=[CPU=4,MEMORY=2048] DATASTORE=[ID=1,SIZE=9]")

    def entries(tx: ReadTx) -> str:
        body = str(tx.fetch("SELECT body FROM user_quotas")[0][0])
        return "<TEMPLATE>" + "".join(re.findall(r"<(?:\w+)_QUOTA>(.*?)</\w+_QUOTA>", body)) + "</TEMPLATE>"

    before, template = rows(site), site.read(entries)
    assert len(Template.parse(template)) == 2
    set_quotas(site, uid, template)
    assert rows(site) == before

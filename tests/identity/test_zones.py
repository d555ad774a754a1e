"""Zone records."""

from __future__ import annotations

import pytest

from koinon.errors import ActionError, AllocationError, AuthorizationError, InternalError, NotFoundError, TakenError
from koinon.identity import acl, zone_servers, zones
from koinon.objects.acl import Rule
from koinon.policy.caller import Caller
from koinon.statements.schema import PoolRow
from tests.identity.site import ADMIN, Site, plain

BRANCH = 'NAME="branch" ENDPOINT="http://branch:2633/RPC2" TRUST="ENROLLED" SERVER=[ NAME="x" ]'


@pytest.fixture
def master(site: Site) -> Site:
    site.become_master()
    return site


def test_only_a_master_has_other_zones(site: Site) -> None:
    with pytest.raises(AllocationError) as caught:
        site.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    assert caught.value.text == "Error allocating a new zone. New zones can only be created at federation master"


def test_a_caller_says_nothing_about_trust(master: Site) -> None:
    oid = master.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    zone = master.read(lambda tx: zones.find(tx, oid))
    assert zone is not None
    assert (oid, zone.name, zone.state, zone.template.names()) == (100, "branch", zones.ENABLED, ["ENDPOINT"])


def test_what_federation_keeps_outlives_updates(master: Site) -> None:
    oid = master.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    master.write(lambda tx: zones.set_attributes(tx, oid, {"TRUST": "ENROLLED", "PUBLIC_KEY": "k"}))
    master.write(lambda tx: zones.update(tx, ADMIN, oid, 'TRUST="REVOKED" FEDERATION_ENDPOINT="evil:1" NOTE="n" SERVER=[ID="1"]', 0))
    zone = master.read(lambda tx: zones.find(tx, oid))
    assert zone is not None
    assert dict(zone.template.items()) == {"ENDPOINT": "-", "NOTE": "n", "PUBLIC_KEY": "k", "TRUST": "ENROLLED"}
    master.write(lambda tx: zones.update(tx, ADMIN, oid, 'INSTANCE="x" ENDPOINT="http://b/RPC2"', 1))
    master.write(lambda tx: zones.set_attributes(tx, oid, {"TRUST": None}))
    zone = master.read(lambda tx: zones.find(tx, oid))
    assert zone is not None
    assert dict(zone.template.items()) == {"ENDPOINT": "http://b/RPC2", "NOTE": "n", "PUBLIC_KEY": "k"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('NAME="a"', "ENDPOINT not present in template."),
        ('ENDPOINT="e"', "Invalid NAME, it cannot be empty"),
        ('NAME="OpenNebula" ENDPOINT="e"', "NAME is already taken by ZONE 0."),
        ("NAME=[", "Parse error"),
    ],
)
def test_bad_templates(master: Site, text: str, wanted: str) -> None:
    with pytest.raises(InternalError) as caught:
        master.write(lambda tx: zones.create(tx, ADMIN, text))
    assert caught.value.text.startswith(wanted)


def test_rename(master: Site) -> None:
    oid = master.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    master.write(lambda tx: zones.rename(tx, ADMIN, oid, "office"))
    assert master.read(lambda tx: zones.named(tx, "branch")) is None
    assert "<NAME>office</NAME>" in plain(master.read(lambda tx: zones.document(tx, oid)))
    with pytest.raises(ActionError, match=f"zone cannot be renamed to office because it collides with zone {oid}"):
        master.write(lambda tx: zones.rename(tx, ADMIN, 0, "office"))
    with pytest.raises(ActionError, match="Invalid NAME"):
        master.write(lambda tx: zones.rename(tx, ADMIN, 0, ""))


def test_a_deleted_zone_takes_its_rules_along(master: Site) -> None:
    oid = master.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    before = master.rules()
    for text in (f"@1 HOST/* MANAGE #{oid}", f"#2 ZONE/#{oid} MANAGE *"):
        master.write(lambda tx, text=text: acl.ensure(tx, Rule.parse(text, 0)))  # type: ignore[misc]  # bound per round
    master.write(lambda tx: zones.delete(tx, ADMIN, oid))
    assert master.rules() == before
    with pytest.raises(ActionError, match=r"Cannot delete zone\. System Zones"):
        master.write(lambda tx: zones.delete(tx, ADMIN, 0))
    with pytest.raises(NotFoundError, match=rf"Error getting zone \[{oid}\]\."):
        master.read(lambda tx: zones.document(tx, oid))
    with pytest.raises(TakenError):
        master.write(lambda tx: zones.create(tx, ADMIN, 'NAME="OpenNebula" ENDPOINT="e"'))


def test_a_zone_is_disabled_and_enabled(master: Site) -> None:
    oid = master.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    there = Caller(uid=0, gid=0, groups=(0,), name="oneadmin", zone_id=oid)
    master.write(lambda tx: zones.set_enabled(tx, there, oid, False))
    assert not master.read(lambda tx: zones.is_enabled(tx, oid))
    master.write(lambda tx: zones.set_enabled(tx, there, oid, True))
    assert master.read(lambda tx: zones.is_enabled(tx, oid))


def test_everybody_sees_all_zones_and_changes_none(master: Site) -> None:
    master.write(lambda tx: zones.create(tx, ADMIN, BRANCH))
    caller = master.caller(master.add_user("ada"))
    assert plain(master.read(lambda tx: zones.pool_document(tx, caller))).count("<ZONE>") == 2
    assert master.read(lambda tx: zones.show(tx, caller, 0)) == master.read(lambda tx: zones.document(tx, 0))
    with pytest.raises(AuthorizationError, match=r"MANAGE ZONE \[0\]"):
        master.write(lambda tx: zones.update(tx, caller, 0, "A=1", 1))


def servers(master: Site, oid: int = 0) -> list[dict[str, str]]:
    return master.read(lambda tx: zones.get(tx, oid)).servers


def test_servers_stand_in_the_record_with_ids_from_0(master: Site) -> None:
    for text in (
        'SERVER = [ NAME = "one", ENDPOINT = "http://one:2633/RPC2", ID = "7" ]',
        "<T><SERVER><NAME>two</NAME><ENDPOINT>http://two:2633/RPC2</ENDPOINT></SERVER></T>",
    ):
        assert master.write(lambda tx, text=text: zone_servers.add(tx, ADMIN, 0, text)) == 0  # type: ignore[misc]  # bound per round
    assert [(server["ID"], server["NAME"]) for server in servers(master)] == [("0", "one"), ("1", "two")]
    shown = plain(master.read(lambda tx: zones.document(tx, 0)))  # as the schema has it
    assert (
        "<SERVER_POOL><SERVER><ENDPOINT><![CDATA[http://one:2633/RPC2]]></ENDPOINT><ID><![CDATA[0]]></ID><NAME><![CDATA[one]]></NAME></SERVER>"
        in shown
    )
    assert master.write(lambda tx: zone_servers.remove(tx, ADMIN, 0, 0)) == 0
    assert master.write(lambda tx: zone_servers.add(tx, ADMIN, 0, 'SERVER=[NAME="three", ENDPOINT_GRPC="three:2634"]')) == 0
    assert [(server["ID"], server["NAME"]) for server in servers(master)] == [("1", "two"), ("2", "three")]
    master.write(lambda tx: zones.update(tx, ADMIN, 0, 'NOTE="n"', 1))
    assert len(servers(master)) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Missing SERVER"),
        ("SERVER = one", "Missing SERVER"),
        ('SERVER = [ ENDPOINT = "x" ]', "Missing NAME in SERVER"),
        ('SERVER = [ NAME = "", ENDPOINT = "x" ]', "Missing NAME in SERVER"),
        ('SERVER = [ NAME = "x" ]', "Missing ENDPOINT or ENDPOINT_GRPC in SERVER"),
        ("SERVER = [", "Parse error"),
        ("<a>", "Parse error|XML"),
    ],
)
def test_a_server_without_name_or_address_is_refused(master: Site, text: str, why: str) -> None:
    with pytest.raises(ActionError, match=why):
        master.write(lambda tx: zone_servers.add(tx, ADMIN, 0, text))
    assert servers(master) == []


def test_only_a_server_that_is_there_can_be_removed(master: Site) -> None:
    for server_id in (0, -1, 2**31 - 1):
        with pytest.raises(ActionError, match="SERVER not found in zone"):
            master.write(lambda tx, oid=server_id: zone_servers.remove(tx, ADMIN, 0, oid))  # type: ignore[misc]  # bound per round
    assert master.write(lambda tx: zone_servers.reset(tx, ADMIN, 0, 9)) == 0


def test_servers_are_for_who_administers_the_zone(master: Site) -> None:
    caller = master.caller(master.add_user("ada"))
    for job in (
        lambda tx: zone_servers.add(tx, caller, 0, "SERVER=["),
        lambda tx: zone_servers.remove(tx, caller, 0, 0),
        lambda tx: zone_servers.reset(tx, caller, 0, 0),
    ):
        with pytest.raises(AuthorizationError, match=r"ADMIN ZONE \[0\]"):
            master.write(job)
        with pytest.raises(NotFoundError, match=r"zone \[77\]"):
            master.write(lambda tx: zone_servers.add(tx, caller, 77, ""))


def test_servers_of_an_opennebula_zone_are_kept(master: Site) -> None:
    body = (
        "<ZONE><ID>107</ID><NAME>one</NAME><STATE>0</STATE><TEMPLATE><ENDPOINT><![CDATA[e]]></ENDPOINT></TEMPLATE><SERVER_POOL><SERVER>"
        "<ENDPOINT><![CDATA[e]]></ENDPOINT><ID><![CDATA[4]]></ID><NAME><![CDATA[n]]></NAME></SERVER></SERVER_POOL></ZONE>"
    )
    master.write(lambda tx: tx.insert("zone_pool", PoolRow(107, "one", body, 0, 0, 1, 0, 0)))
    master.write(lambda tx: zones.update(tx, ADMIN, 107, 'NOTE="n"', 1))
    assert servers(master, 107) == [{"ENDPOINT": "e", "ID": "4", "NAME": "n"}]
    assert body.partition("<SERVER_POOL>")[2] in plain(master.read(lambda tx: zones.document(tx, 107)))
    master.write(lambda tx: zone_servers.add(tx, ADMIN, 107, 'SERVER=[NAME="m", ENDPOINT="f"]'))
    assert [server["ID"] for server in servers(master, 107)] == ["4", "5"]

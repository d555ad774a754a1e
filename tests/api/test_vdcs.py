"""The calls about VDCs as a client sees them: types, codes, texts, ids of objects, and what a VDC opens to its groups."""

from __future__ import annotations

import itertools
import xmlrpc.client
from collections.abc import Iterator
from typing import Any, Final

import pytest
from lxml import etree

from koinon.identity import access
from koinon.infrastructure import targets
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.policy.decide import Target, decide
from tests.api.desk import ACTION, INTERNAL, NO_EXISTS, ONEADMIN, RPC_API, Desk, Failure, session
from tests.xsd.schemas import validate

ELSEWHERE: Final = 100
WORDS: Final = ("cluster", "host", "datastore", "vnet")

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A master that knows a second zone."""
    desk = Desk(tmp_path_factory.mktemp("vdcs"))
    desk.site.become_master()
    assert desk.as_admin("one.zone.allocate", 'NAME="elsewhere" ENDPOINT="http://x:2633/RPC2"') == ELSEWHERE
    yield desk
    desk.close()


@pytest.fixture
def vdc(desk: Desk) -> int:
    """A new VDC."""
    oid = desk.as_admin("one.vdc.allocate", f'NAME="{fresh()}"')
    assert type(oid) is int
    return oid


def fresh() -> str:
    return f"name{next(_numbers)}"


@pytest.fixture
def cluster(desk: Desk) -> int:
    """A new cluster of the zone that answers."""
    return int(desk.as_admin("one.cluster.allocate", fresh()))


@pytest.fixture
def host(desk: Desk, cluster: int) -> int:
    """A new host in that cluster."""
    return int(desk.as_admin("one.host.allocate", fresh(), "kvm", "kvm", cluster))


def shown(desk: Desk, oid: int) -> etree._Element:
    text = desk.as_admin("one.vdc.info", oid)
    validate(text)
    return etree.fromstring(text)


# --- form


@pytest.mark.parametrize("text", ['NAME="{}"\nNOTE="é"', "<VDC><NAME>{}</NAME><NOTE>é</NOTE></VDC>"])
def test_a_template_comes_in_either_syntax(desk: Desk, text: str) -> None:
    name = f"日本 {fresh()}"
    found = shown(desk, desk.as_admin("one.vdc.allocate", text.format(name)))
    assert (found.findtext("NAME"), found.findtext("TEMPLATE/NOTE"), found.findtext("TEMPLATE/NAME")) == (name, "é", None)


def test_every_change_returns_the_id_and_is_seen_at_once(desk: Desk, vdc: int) -> None:
    name, group = fresh(), desk.site.add_group(fresh())
    changes: list[tuple[str, tuple[Any, ...]]] = [
        ("one.vdc.update", ('A="1"',)),  # the type of update may be left out
        ("one.vdc.rename", (name,)),
        ("one.vdc.addgroup", (group,)),
        *((f"one.vdc.add{word}", (ELSEWHERE, 7)) for word in WORDS),
    ]
    for method, arguments in changes:
        assert desk.as_admin(method, vdc, *arguments) == vdc
    found = shown(desk, vdc)
    assert (found.findtext("NAME"), found.findtext("TEMPLATE/A"), found.findtext("GROUPS/ID")) == (name, "1", str(group))
    for word in WORDS:
        tag = word.upper()
        assert (found.findtext(f"{tag}S/{tag}/ZONE_ID"), found.findtext(f"{tag}S/{tag}/{tag}_ID")) == (str(ELSEWHERE), "7")
        assert desk.as_admin(f"one.vdc.del{word}", vdc, ELSEWHERE, 7) == vdc
    assert desk.as_admin("one.vdc.delgroup", vdc, group) == vdc
    assert desk.as_admin("one.vdc.delete", vdc) == vdc
    assert f"<VDC><ID>{vdc}</ID>" not in desk.as_admin("one.vdcpool.info")


def test_the_list_is_whole_and_backwards(desk: Desk, vdc: int) -> None:
    text = desk.as_admin("one.vdcpool.info")
    validate(text)
    listed = [int(node.findtext("ID", "")) for node in etree.fromstring(text).findall("VDC")]
    assert listed == sorted(listed, reverse=True)
    assert {0, vdc} <= set(listed)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("one.vdc.allocate", ()),
        ("one.vdc.allocate", (1,)),
        ("one.vdc.info", ("0",)),
        ("one.vdc.info", (0, 1)),
        ("one.vdc.rename", (100, 5)),
        ("one.vdc.update", (100, "A=1", "0")),
        ("one.vdc.addgroup", (100,)),
        ("one.vdc.delgroup", (100, "1")),
        ("one.vdc.addcluster", (100, 0)),
        ("one.vdc.delhost", (100, 0, "3")),
        ("one.vdc.addvnet", (100, True, 3)),
    ],
)
def test_wrong_types_are_a_fault(desk: Desk, method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        desk.call(ONEADMIN, method, *arguments)
    assert fault.value.faultCode == -501


# --- refusals: code, text, id of the object


def test_each_refusal_names_what_is_wrong(desk: Desk, vdc: int, host: int) -> None:
    desk.as_admin("one.vdc.addgroup", vdc, 1)
    desk.as_admin("one.vdc.addhost", vdc, 0, host)
    name = shown(desk, vdc).findtext("NAME")
    expected: list[tuple[str, tuple[Any, ...], Failure]] = [
        ("one.vdc.allocate", (f'NAME="{name}"',), Failure(INTERNAL, f"NAME is already taken by Vdc {vdc}.", -1)),
        ("one.vdc.allocate", ("A=1",), Failure(INTERNAL, "Invalid NAME, it cannot be empty", -1)),
        ("one.vdc.info", (99_999,), Failure(NO_EXISTS, "Error getting VDC [99999].", 99_999)),
        ("one.vdc.info", (-1,), Failure(NO_EXISTS, "Error getting VDC Pool.", -1)),
        ("one.vdc.update", (vdc, "A=1", 5), Failure(RPC_API, "Wrong update type", -1)),
        (
            "one.vdc.rename",
            (vdc, "default"),
            Failure(ACTION, "VDC cannot be renamed to default because it collides with VDC 0", vdc),
        ),
        ("one.vdc.delete", (0,), Failure(ACTION, "Cannot delete VDC. System VDCs (ID < 100) cannot be deleted.", 0)),
        ("one.vdc.addgroup", (vdc, 1), Failure(INTERNAL, f"Group 1 is already assigned to the VDC {vdc}", -1)),
        ("one.vdc.addgroup", (vdc, 99_999), Failure(NO_EXISTS, "Error getting group [99999].", 99_999)),
        ("one.vdc.delgroup", (vdc, 0), Failure(INTERNAL, f"Group 0 is not assigned to the VDC {vdc}", -1)),
        ("one.vdc.addhost", (vdc, 0, host), Failure(INTERNAL, f"HOST {host} from Zone 0 is already assigned to the VDC", -1)),
        ("one.vdc.addhost", (vdc, 0, 99_999), Failure(NO_EXISTS, "Error getting host [99999].", 99_999)),
        ("one.vdc.addcluster", (vdc, 0, 99_999), Failure(NO_EXISTS, "Error getting cluster [99999].", 99_999)),
        ("one.vdc.addcluster", (vdc, 0, -1), Failure(NO_EXISTS, "Error getting cluster Pool.", -1)),
        ("one.vdc.delhost", (vdc, 0, 99_999), Failure(INTERNAL, "HOST 99999 from Zone 0 is not assigned to the VDC ", -1)),
        ("one.vdc.addhost", (vdc, 99_999, 3), Failure(NO_EXISTS, "Error getting zone [99999].", 99_999)),
        ("one.vdc.delvnet", (vdc, 0, -10), Failure(INTERNAL, "NET -10 from Zone 0 is not assigned to the VDC ", -1)),
    ]
    before = desk.as_admin("one.vdcpool.info"), desk.site.rules()
    for method, arguments, failure in expected:
        assert desk.failure(ONEADMIN, method, *arguments) == failure
    assert (desk.as_admin("one.vdcpool.info"), desk.site.rules()) == before


def test_a_disabled_zone_shows_vdcs_and_changes_none(desk: Desk, vdc: int) -> None:
    desk.as_admin("one.zone.enable", 0, False)
    try:
        for method, arguments in (("one.vdc.addgroup", (vdc, 1)), ("one.vdc.delete", (vdc,)), ("one.vdc.rename", (vdc, "x"))):
            assert desk.failure(ONEADMIN, method, *arguments) == Failure(INTERNAL, "Cannot process request, zone disabled", -1)
        shown(desk, vdc)
    finally:
        desk.as_admin("one.zone.enable", 0, True)


# --- what a VDC opens


def test_a_vdc_opens_its_resources_to_its_groups_in_their_zone_only(desk: Desk, vdc: int, cluster: int, host: int) -> None:
    lab, name = desk.site.add_group(fresh()), fresh()
    desk.as_admin("one.vdc.delgroup", 0, lab)
    uid = desk.user(name, lab)
    other = int(desk.as_admin("one.host.allocate", fresh(), "kvm", "kvm", 0))

    def may(right: Right, kind: Kind, oid: int, *clusters: int, zone_id: int = 0) -> bool:
        caller = desk.site.caller(uid, zone_id)
        target = Target(kind=kind, oid=oid, uid=0, gid=0, clusters=clusters)
        return desk.site.read(lambda tx: decide(caller, right, target, access.rules(tx, zone_id)))

    def may_manage(real_host: int) -> bool:
        caller = desk.site.caller(uid)
        target = desk.site.read(lambda tx: targets.find(tx, Kind.HOST, real_host))
        assert target is not None
        return desk.site.read(lambda tx: decide(caller, Right.MANAGE, target, access.rules(tx, 0)))

    def opened(zone_id: int) -> list[bool]:
        return [
            may(Right.MANAGE, Kind.HOST, host, cluster, zone_id=zone_id),
            may(Right.USE, Kind.NET, 1, cluster, zone_id=zone_id),
            may(Right.USE, Kind.DATASTORE, 1, 0, cluster, zone_id=zone_id),
        ]

    assert opened(0) == opened(ELSEWHERE) == [False] * 3
    desk.as_admin("one.vdc.addgroup", vdc, lab)
    desk.as_admin("one.vdc.addcluster", vdc, ELSEWHERE, cluster)
    assert (opened(0), opened(ELSEWHERE)) == ([False] * 3, [True] * 3)
    assert not may(Right.MANAGE, Kind.HOST, other, 0, zone_id=ELSEWHERE)
    assert not may(Right.USE, Kind.HOST, host, cluster, zone_id=ELSEWHERE)
    desk.as_admin("one.vdc.addcluster", vdc, 0, cluster)
    assert opened(0) == [True] * 3
    assert may_manage(host)
    assert not may_manage(other)
    desk.as_admin("one.vdc.addhost", vdc, 0, other)
    assert may_manage(other)
    desk.as_admin("one.vdc.delgroup", vdc, lab)
    assert opened(0) == opened(ELSEWHERE) == [False] * 3


def test_a_deleted_host_or_cluster_leaves_vdcs_and_rules_of_its_zone_only(desk: Desk, vdc: int, cluster: int, host: int) -> None:
    desk.as_admin("one.vdc.addgroup", vdc, 1)
    before = desk.site.rules()
    for zone_id in (0, ELSEWHERE):
        desk.as_admin("one.vdc.addhost", vdc, zone_id, host)
        desk.as_admin("one.vdc.addcluster", vdc, zone_id, cluster)
    desk.as_admin("one.host.delete", host)
    desk.as_admin("one.cluster.delete", cluster)
    assert [node.findtext("ZONE_ID") for tag in ("HOSTS/HOST", "CLUSTERS/CLUSTER") for node in shown(desk, vdc).findall(tag)] == [
        str(ELSEWHERE)
    ] * 2
    assert len(desk.site.rules()) == len(before) + 4
    assert all(rule.endswith(f" #{ELSEWHERE}") for rule in desk.site.rules()[len(before) :])


def test_a_plain_user_sees_no_vdc(desk: Desk, vdc: int) -> None:
    name = fresh()
    desk.user(name)
    assert desk.value(session(name), "one.vdcpool.info") == "<VDC_POOL></VDC_POOL>"

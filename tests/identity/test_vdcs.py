"""VDCs: what they grant, to whom, and which rules stay when one of them lets go."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koinon.database.transactions import ReadTx
from koinon.errors import ActionError, AuthorizationError, BadArgumentError, CloudError, InternalError, NotFoundError, TakenError
from koinon.identity import acl, groups, vdcs, zones
from koinon.objects.acl import Rule
from koinon.objects.kinds import Kind
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN, Site, plain

ELSEWHERE = 100  #: a second zone of the federation
ALL = vdcs.ALL_RESOURCES


@pytest.fixture
def two_zones(site: Site) -> Site:
    """A master that knows a second zone."""
    _add_zone(site)
    return site


def _add_zone(site: Site) -> None:
    site.become_master()
    assert site.write(lambda tx: zones.create(tx, ADMIN, 'NAME="elsewhere" ENDPOINT="http://x:2633/RPC2"')) == ELSEWHERE


def new_vdc(site: Site, name: str = "lab", text: str = "") -> int:
    return site.write(lambda tx: vdcs.create(tx, ADMIN, f'NAME="{name}"\n{text}'))


def nothing_kept(_tx: ReadTx, _kind: Kind, _oid: int) -> None:
    """Stands for a zone that keeps no resources: none is looked for."""


def give(site: Site, oid: int, gid: int) -> None:
    site.write(lambda tx: vdcs.give_to_group(tx, ADMIN, oid, gid))


def take(site: Site, oid: int, gid: int) -> None:
    site.write(lambda tx: vdcs.take_from_group(tx, ADMIN, oid, gid))


def add(site: Site, oid: int, kind: Kind, zone_id: int, resource_id: int) -> None:
    site.write(lambda tx: vdcs.add_resource(tx, ADMIN, oid, zone_id, resource_id, kind=kind, local_target=nothing_kept))


def remove(site: Site, oid: int, kind: Kind, zone_id: int, resource_id: int) -> None:
    site.write(lambda tx: vdcs.remove_resource(tx, ADMIN, oid, zone_id, resource_id, kind=kind, local_target=nothing_kept))


def by_hand(site: Site, text: str) -> int:
    return site.write(lambda tx: acl.add_rule(tx, ADMIN, Rule.parse(text, 0)))


def own_group(site: Site, name: str = "lab") -> int:
    """A group outside the default VDC: it has no rules yet."""
    gid = site.add_group(name)
    take(site, vdcs.DEFAULT_VDC, gid)
    return gid


def rules_of(site: Site, gid: int) -> list[str]:
    return [rule for rule in site.rules() if rule.startswith(f"@{gid} ")]


def shown(site: Site, oid: int) -> str:
    return plain(site.read(lambda tx: vdcs.show(tx, ADMIN, oid)))


# --- the record


def test_a_new_vdc_is_empty_and_keeps_its_template(site: Site) -> None:
    oid = new_vdc(site, "Ünïcode 日本", 'NOTE="<&> ]] é"\nLIMIT=[A="1"]')
    assert oid == vdcs.FIRST_ID
    assert shown(site, oid) == (
        "<VDC><ID>100</ID><NAME>Ünïcode 日本</NAME><GROUPS></GROUPS><CLUSTERS></CLUSTERS><HOSTS></HOSTS><DATASTORES></DATASTORES>"
        "<VNETS></VNETS><TEMPLATE><LIMIT><A><![CDATA[1]]></A></LIMIT><NOTE><![CDATA[<&> ]] é]]></NOTE></TEMPLATE></VDC>"
    )
    assert new_vdc(site, "second") == oid + 1


def test_the_default_vdc_says_what_it_is_for(site: Site) -> None:
    text = shown(site, vdcs.DEFAULT_VDC)
    assert "<NAME>default</NAME><GROUPS><ID>1</ID></GROUPS>" in text
    assert "<CLUSTER><ZONE_ID>0</ZONE_ID><CLUSTER_ID>-10</CLUSTER_ID></CLUSTER>" in text
    assert "<DESCRIPTION>" in text


def test_a_vdc_shows_groups_and_resources_in_order(two_zones: Site) -> None:
    oid, gid = new_vdc(two_zones), own_group(two_zones)
    for zone_id, number in ((ELSEWHERE, 4), (0, 7), (0, 3)):
        for kind in (Kind.HOST, Kind.NET, Kind.DATASTORE, Kind.CLUSTER):
            add(two_zones, oid, kind, zone_id, number)
    give(two_zones, oid, gid)
    give(two_zones, oid, 1)
    text = shown(two_zones, oid)
    assert f"<GROUPS><ID>1</ID><ID>{gid}</ID></GROUPS>" in text
    for tag in ("CLUSTER", "HOST", "DATASTORE", "VNET"):
        pairs = re.findall(rf"<{tag}><ZONE_ID>(\d+)</ZONE_ID><{tag}_ID>(\d+)</{tag}_ID></{tag}>", text)
        assert pairs == [("0", "3"), ("0", "7"), (str(ELSEWHERE), "4")]


def test_a_vdc_reads_back_what_it_wrote() -> None:
    template = Template()
    template.set("NOTE", "<&]")
    found = [Rule.parse("@1 HOST/* MANAGE #0", 0), Rule.parse("@100 NET/%5 USE #101", 0)]
    vdc = vdcs.Vdc(100, "second", [1, 100], [(0, -10)], [(0, 3), (101, 4)], [(0, 5)], [(101, 7)], template, found)
    assert vdcs.Vdc.from_row(vdc.as_row()) == vdc


def test_a_body_that_is_none_of_a_vdc_is_told(site: Site) -> None:
    row = vdcs.Vdc(100, "odd", [], [], [], [], [], Template()).as_row()
    for body in (
        "<VDC>",
        row.body.replace("<GROUPS>", "<GROUPS><ID>x</ID>"),
        row.body.replace("</VDC>", "<FOUND_RULES><RULE/></FOUND_RULES></VDC>"),
    ):
        with pytest.raises(InternalError, match="The stored body of VDC 100 can't be read"):
            vdcs.Vdc.from_row(type(row)(100, "odd", body, 0, 0, 1, 0, 0))


# --- names and templates


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "NAME, it cannot be empty"),
        ("NOTE=1", "NAME, it cannot be empty"),
        ('NAME="a/b"', "'/' is not allowed"),
        (f'NAME="{"x" * 129}"', "max length is 128"),
        ("NAME=[", "Parse error"),
        ("<VDC", "Parse error"),
    ],
)
def test_a_template_without_a_good_name_makes_no_vdc(site: Site, text: str, why: str) -> None:
    with pytest.raises(InternalError, match=re.escape(why)):
        site.write(lambda tx: vdcs.create(tx, ADMIN, text))


def test_a_taken_name_is_refused(site: Site) -> None:
    oid = new_vdc(site)
    with pytest.raises(TakenError, match=rf"^NAME is already taken by Vdc {oid}\.$"):
        new_vdc(site)
    other = new_vdc(site, "other")
    with pytest.raises(ActionError, match=rf"^VDC cannot be renamed to lab because it collides with VDC {oid}$"):
        site.write(lambda tx: vdcs.rename(tx, ADMIN, other, "lab"))


def test_rename(site: Site) -> None:
    oid = new_vdc(site)
    assert site.write(lambda tx: vdcs.rename(tx, ADMIN, oid, "new name")) == oid
    assert "<NAME>new name</NAME>" in shown(site, oid)
    assert site.write(lambda tx: vdcs.rename(tx, ADMIN, oid, "new name")) == oid
    with pytest.raises(ActionError, match="'<' is not allowed"):
        site.write(lambda tx: vdcs.rename(tx, ADMIN, oid, "a<b"))
    with pytest.raises(NotFoundError, match=r"^Error getting VDC \[999\]\.$"):
        site.write(lambda tx: vdcs.rename(tx, ADMIN, 999, "x"))


def test_update_leaves_groups_resources_and_rules_alone(site: Site) -> None:
    oid, gid = new_vdc(site, "lab", "A=1"), own_group(site)
    add(site, oid, Kind.HOST, 0, 3)
    give(site, oid, gid)
    before = site.rules()
    site.write(lambda tx: vdcs.update(tx, ADMIN, oid, "B=2", 1))
    assert "<TEMPLATE><A><![CDATA[1]]></A><B><![CDATA[2]]></B></TEMPLATE>" in shown(site, oid)
    site.write(lambda tx: vdcs.update(tx, ADMIN, oid, "B=3", 0))
    text = shown(site, oid)
    assert "<TEMPLATE><B><![CDATA[3]]></B></TEMPLATE>" in text
    assert f"<ID>{gid}</ID>" in text
    assert "<HOST_ID>3</HOST_ID>" in text
    assert site.rules() == before
    with pytest.raises(BadArgumentError, match="Wrong update type"):
        site.write(lambda tx: vdcs.update(tx, ADMIN, oid, "B=3", 2))


# --- rules


@pytest.mark.parametrize(
    ("kind", "number", "rules"),
    [
        (Kind.CLUSTER, 5, ["HOST/%5 MANAGE", "NET/%5 USE", "DATASTORE/%5 USE"]),
        (Kind.CLUSTER, ALL, ["HOST/* MANAGE", "NET/* USE", "DATASTORE/* USE"]),
        (Kind.HOST, 5, ["HOST/#5 MANAGE"]),
        (Kind.HOST, ALL, ["HOST/* MANAGE"]),
        (Kind.DATASTORE, 5, ["DATASTORE/#5 USE"]),
        (Kind.DATASTORE, ALL, ["DATASTORE/* USE"]),
        (Kind.NET, 5, ["NET/#5 USE"]),
        (Kind.NET, ALL, ["NET/* USE"]),
    ],
)
@pytest.mark.parametrize("zone_id", [0, ELSEWHERE])
def test_each_resource_gives_its_rules_in_its_zone_whoever_comes_first(
    two_zones: Site, kind: Kind, number: int, rules: list[str], zone_id: int
) -> None:
    first, second = own_group(two_zones, "first"), own_group(two_zones, "second")
    oid = new_vdc(two_zones)
    give(two_zones, oid, first)
    add(two_zones, oid, kind, zone_id, number)
    give(two_zones, oid, second)
    for gid in (first, second):
        assert rules_of(two_zones, gid) == [f"@{gid} {rule} #{zone_id}" for rule in rules]
    take(two_zones, oid, first)
    assert rules_of(two_zones, first) == []
    assert len(rules_of(two_zones, second)) == len(rules)
    remove(two_zones, oid, kind, zone_id, number)
    assert rules_of(two_zones, second) == []


def test_all_takes_the_place_of_the_single_ones_of_its_zone_and_kind(two_zones: Site) -> None:
    oid, gid = new_vdc(two_zones), own_group(two_zones)
    give(two_zones, oid, gid)
    for kind, zone_id, number in ((Kind.HOST, 0, 1), (Kind.HOST, 0, 2), (Kind.HOST, ELSEWHERE, 1), (Kind.NET, 0, 1)):
        add(two_zones, oid, kind, zone_id, number)
    add(two_zones, oid, Kind.HOST, 0, ALL)
    vdc = two_zones.read(lambda tx: vdcs.get(tx, oid))
    assert (vdc.hosts, vdc.vnets) == ([(0, ALL), (ELSEWHERE, 1)], [(0, 1)])
    assert sorted(rules_of(two_zones, gid)) == [
        f"@{gid} HOST/#1 MANAGE #{ELSEWHERE}",
        f"@{gid} HOST/* MANAGE #0",
        f"@{gid} NET/#1 USE #0",
    ]
    add(two_zones, oid, Kind.HOST, 0, 9)  # OpenNebula takes it beside "all", too
    assert two_zones.read(lambda tx: vdcs.get(tx, oid)).hosts == [(0, ALL), (0, 9), (ELSEWHERE, 1)]


def test_a_rule_that_two_resources_of_a_vdc_give_goes_with_the_second(site: Site) -> None:
    oid, gid = new_vdc(site), own_group(site)
    give(site, oid, gid)
    add(site, oid, Kind.CLUSTER, 0, ALL)
    add(site, oid, Kind.HOST, 0, ALL)
    assert len(rules_of(site, gid)) == 3
    remove(site, oid, Kind.HOST, 0, ALL)
    assert f"@{gid} HOST/* MANAGE #0" in rules_of(site, gid)
    remove(site, oid, Kind.CLUSTER, 0, ALL)
    assert rules_of(site, gid) == []


@pytest.mark.parametrize("first_to_go", [0, 1])
def test_a_rule_that_two_vdcs_give_goes_with_the_second(site: Site, first_to_go: int) -> None:
    gid, pair = own_group(site), (new_vdc(site, "one"), new_vdc(site, "two"))
    for oid in pair:
        add(site, oid, Kind.HOST, 0, 3)
        give(site, oid, gid)
    site.write(lambda tx: vdcs.delete(tx, ADMIN, pair[first_to_go]))
    assert rules_of(site, gid) == [f"@{gid} HOST/#3 MANAGE #0"]
    site.write(lambda tx: vdcs.delete(tx, ADMIN, pair[1 - first_to_go]))
    assert rules_of(site, gid) == []


def test_a_rule_made_by_hand_outlives_the_vdcs_that_came_to_need_it(site: Site) -> None:
    gid = own_group(site)
    rule = f"@{gid} HOST/#3 MANAGE #0"
    number = by_hand(site, rule)
    one, two = new_vdc(site, "one"), new_vdc(site, "two")
    for oid in (one, two):
        add(site, oid, Kind.HOST, 0, 3)
        give(site, oid, gid)
    assert rules_of(site, gid) == [rule]
    assert "FOUND" not in shown(site, one) + shown(site, two) + plain(site.read(lambda tx: vdcs.pool_document(tx, ADMIN)))
    site.write(lambda tx: vdcs.delete(tx, ADMIN, one))
    remove(site, two, Kind.HOST, 0, 3)
    assert rules_of(site, gid) == [rule]
    site.write(lambda tx: acl.delete_rule(tx, ADMIN, number))
    add(site, two, Kind.HOST, 0, 3)
    take(site, two, gid)
    assert rules_of(site, gid) == []  # this time nobody had made it by hand


def test_a_deleted_vdc_leaves_no_rule_of_its_own_or_about_it(site: Site) -> None:
    before, gid = site.rules(), own_group(site)
    oid = new_vdc(site)
    add(site, oid, Kind.CLUSTER, 0, 4)
    give(site, oid, gid)
    by_hand(site, f"@{gid} VDC/#{oid} USE *")
    kept = by_hand(site, f"@{gid} VDC/#{oid + 1} USE *")
    assert site.write(lambda tx: vdcs.delete(tx, ADMIN, oid)) == oid
    assert site.rules() == [*before, f"@{gid} VDC/#{oid + 1} USE *"]
    assert kept in [row.oid for row in site.read(lambda tx: tx.acl())]
    with pytest.raises(NotFoundError):
        shown(site, oid)
    assert new_vdc(site) == oid + 1


def test_a_deleted_group_leaves_every_vdc(site: Site) -> None:
    before, gid = site.rules(), site.add_group("lab")
    for name in ("one", "two"):
        oid = new_vdc(site, name)
        add(site, oid, Kind.CLUSTER, 0, 4)
        give(site, oid, gid)
    site.write(lambda tx: groups.delete(tx, ADMIN, gid))
    assert site.rules() == before
    assert [site.read(lambda tx, oid=oid: vdcs.get(tx, oid).groups) for oid in (0, 100, 101)] == [[1], [], []]  # type: ignore[misc]  # mypy can't type a lambda's default


def test_a_group_that_leaves_every_vdc_keeps_what_was_made_by_hand(site: Site) -> None:
    gid = own_group(site)
    by_hand(site, f"@{gid} HOST/#3 MANAGE #0")
    pair = new_vdc(site, "one"), new_vdc(site, "two")
    for oid, number in itertools.product(pair, (3, 4)):
        add(site, oid, Kind.HOST, 0, number)
    for oid in pair:
        give(site, oid, gid)
        give(site, oid, 1)
    others = rules_of(site, 1)
    site.write(lambda tx: vdcs.drop_group(tx, gid))
    assert rules_of(site, gid) == [f"@{gid} HOST/#3 MANAGE #0"]
    assert rules_of(site, 1) == others
    left = site.read(lambda tx: [vdcs.get(tx, oid) for oid in pair])
    assert [(vdc.groups, vdc.found) for vdc in left] == [([1], []), ([1], [])]


def test_a_resource_that_is_gone_leaves_every_vdc_and_its_rules_but_those_made_by_hand(two_zones: Site) -> None:
    site, gid = two_zones, own_group(two_zones)
    by_hand(site, f"@{gid} HOST/#3 MANAGE #0")
    pair = new_vdc(site, "one"), new_vdc(site, "two")
    for oid in pair:
        give(site, oid, gid)
        give(site, oid, 1)
        for zone_id, number in ((0, 3), (0, 4), (ELSEWHERE, 3)):
            add(site, oid, Kind.HOST, zone_id, number)
        add(site, oid, Kind.NET, 0, 3)
    before = site.rules()
    site.write(lambda tx: vdcs.drop_resource(tx, Kind.HOST, 0, 3))
    assert site.rules() == [rule for rule in before if rule != "@1 HOST/#3 MANAGE #0"]
    left = site.read(lambda tx: [vdcs.get(tx, oid) for oid in pair])
    assert [(vdc.hosts, vdc.vnets, vdc.found) for vdc in left] == [([(0, 4), (ELSEWHERE, 3)], [(0, 3)], [])] * 2


# --- refusals


def test_twice_is_refused_and_changes_nothing(two_zones: Site) -> None:
    oid, gid = new_vdc(two_zones), own_group(two_zones)
    give(two_zones, oid, gid)
    add(two_zones, oid, Kind.NET, ELSEWHERE, 3)
    before, text = two_zones.rules(), shown(two_zones, oid)
    attempts: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: give(two_zones, oid, gid), f"Group {gid} is already assigned to the VDC {oid}"),
        (lambda: take(two_zones, oid, 1), f"Group 1 is not assigned to the VDC {oid}"),
        (lambda: add(two_zones, oid, Kind.NET, ELSEWHERE, 3), f"NET 3 from Zone {ELSEWHERE} is already assigned to the VDC"),
        (lambda: remove(two_zones, oid, Kind.NET, 0, 3), "NET 3 from Zone 0 is not assigned to the VDC "),
        (lambda: remove(two_zones, oid, Kind.CLUSTER, 0, ALL), "CLUSTER -10 from Zone 0 is not assigned to the VDC "),
    )
    for again, why in attempts:
        with pytest.raises(InternalError, match=f"^{why}$"):
            again()
    assert (two_zones.rules(), shown(two_zones, oid)) == (before, text)


def test_what_is_not_there_is_not_added(site: Site) -> None:
    oid = new_vdc(site)
    attempts: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: give(site, 999, 1), r"Error getting VDC \[999\]\."),
        (lambda: give(site, oid, 999), r"Error getting group \[999\]\."),
        (lambda: add(site, 999, Kind.HOST, 0, 1), r"Error getting VDC \[999\]\."),
        (lambda: add(site, oid, Kind.HOST, 999, 1), r"Error getting zone \[999\]\."),
        (lambda: add(site, oid, Kind.HOST, 0, -1), r"Error getting host Pool\."),
        (lambda: remove(site, 999, Kind.HOST, 0, 1), r"Error getting VDC \[999\]\."),
    )
    for attempt, why in attempts:
        with pytest.raises(NotFoundError, match=f"^{why}$"):
            attempt()


def test_what_has_gone_is_still_taken_out(two_zones: Site) -> None:
    """The zone was deleted; a group's number stands in a body that came from elsewhere."""
    oid, gid = new_vdc(two_zones), own_group(two_zones)
    give(two_zones, oid, gid)
    add(two_zones, oid, Kind.HOST, ELSEWHERE, 3)
    two_zones.write(lambda tx: zones.delete(tx, ADMIN, ELSEWHERE))
    remove(two_zones, oid, Kind.HOST, ELSEWHERE, 3)
    vdc = two_zones.read(lambda tx: vdcs.get(tx, oid))
    assert vdc.hosts == []
    vdc.groups.append(999)
    two_zones.write(lambda tx: tx.update("vdc_pool", vdc.as_row()))
    take(two_zones, oid, 999)
    assert two_zones.read(lambda tx: vdcs.get(tx, oid)).groups == [gid]


def test_system_vdcs_stay(site: Site) -> None:
    with pytest.raises(ActionError, match=r"^Cannot delete VDC\. System VDCs \(ID < 100\) cannot be deleted\.$"):
        site.write(lambda tx: vdcs.delete(tx, ADMIN, vdcs.DEFAULT_VDC))


def test_every_operation_asks_for_its_rights(two_zones: Site) -> None:
    oid, gid = new_vdc(two_zones), own_group(two_zones)
    caller = two_zones.caller(two_zones.add_user("ada"))
    host = Kind.HOST
    for attempt, missing in (
        (lambda: two_zones.write(lambda tx: vdcs.create(tx, caller, "NAME=x")), "CREATE VDC"),
        (lambda: two_zones.write(lambda tx: vdcs.update(tx, caller, oid, "A=1", 1)), f"MANAGE VDC [{oid}]"),
        (lambda: two_zones.write(lambda tx: vdcs.rename(tx, caller, oid, "x")), f"MANAGE VDC [{oid}]"),
        (lambda: two_zones.write(lambda tx: vdcs.delete(tx, caller, oid)), f"ADMIN VDC [{oid}]"),
        (lambda: two_zones.read(lambda tx: vdcs.show(tx, caller, oid)), f"USE VDC [{oid}]"),
        (
            lambda: two_zones.write(lambda tx: vdcs.give_to_group(tx, caller, oid, gid)),
            f"ADMIN VDC [{oid}]; Not authorized to perform ADMIN GROUP [{gid}]",
        ),
        (
            lambda: two_zones.write(lambda tx: vdcs.take_from_group(tx, caller, oid, 999)),
            f"ADMIN VDC [{oid}]; Not authorized to perform ADMIN GROUP",
        ),
        (
            lambda: two_zones.write(lambda tx: vdcs.add_resource(tx, caller, oid, ELSEWHERE, 1, kind=host, local_target=nothing_kept)),
            f"ADMIN VDC [{oid}]; Not authorized to perform ADMIN ZONE [{ELSEWHERE}]",
        ),
        (
            lambda: two_zones.write(lambda tx: vdcs.remove_resource(tx, caller, oid, 999, 1, kind=host, local_target=nothing_kept)),
            f"ADMIN VDC [{oid}]",
        ),
    ):
        with pytest.raises(AuthorizationError) as refused:
            attempt()
        assert refused.value.text == f"User [{caller.uid}] : Not authorized to perform {missing}."


def test_a_list_shows_what_rules_let_one_see(site: Site) -> None:
    first, second = new_vdc(site, "first"), new_vdc(site, "second")
    caller = site.caller(site.add_user("ada"))

    def seen(by: Caller) -> list[int]:
        text = plain(site.read(lambda tx: vdcs.pool_document(tx, by)))
        return [int(found) for found in re.findall(r"<VDC><ID>(\d+)</ID>", text)]

    assert seen(ADMIN) == [second, first, 0]
    assert seen(caller) == []
    by_hand(site, f"#{caller.uid} VDC/#{first} USE *")
    assert seen(caller) == [first]
    assert site.read(lambda tx: vdcs.show(tx, caller, first)) == site.read(lambda tx: vdcs.document(tx, first))


# --- any sequence of operations

SLOTS = range(2)
_slot = st.sampled_from(SLOTS)
_resource = st.tuples(st.sampled_from([Kind.HOST, Kind.CLUSTER, Kind.NET]), st.sampled_from([0, ELSEWHERE]), st.sampled_from([ALL, 1]))
_by_hand = st.sampled_from(["HOST/* MANAGE #0", "HOST/#1 MANAGE #0", f"NET/* USE #{ELSEWHERE}", "VM/* USE *"])  # the last is never a VDC's
STEPS = st.one_of(
    st.tuples(st.just("create"), _slot),
    st.tuples(st.just("delete"), _slot),
    st.tuples(st.just("give"), _slot, _slot),
    st.tuples(st.just("take"), _slot, _slot),
    st.tuples(st.just("add"), _slot, _resource),
    st.tuples(st.just("remove"), _slot, _resource),
    st.tuples(st.just("default give"), _slot),
    st.tuples(st.just("default take"), _slot),
    st.tuples(st.just("new group"), _slot),
    st.tuples(st.just("make by hand"), _slot, _by_hand),
    st.tuples(st.just("delete by hand"), _slot, _by_hand),
)
_numbers = itertools.count()


class World:
    """Places for VDCs and groups, at first each group in each VDC, and the rules that were made by hand, as this test knows them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.base = set(site.rules())
        self.groups = [self._group() for _ in SLOTS]
        self.vdcs = [new_vdc(site, f"vdc{slot}") for slot in SLOTS]
        for oid, gid in itertools.product(self.vdcs, self.groups):
            give(site, oid, gid)
        self.by_hand: set[str] = set()

    def _group(self) -> int:
        return self.site.add_group(f"group{next(_numbers)}")

    def given(self) -> set[str]:
        """What the bodies of all VDCs say."""
        bodies = self.site.read(lambda tx: [vdcs.Vdc.from_row(row) for row in tx.rows("vdc_pool")])
        return {rule.text() for vdc in bodies for gid in vdc.groups for rule in vdc.rules_for(gid)}

    def step(self, what: str, *parts: object) -> None:
        """Do one thing; a refusal is a step that changes nothing."""
        before = self.site.rules()
        try:
            getattr(self, "_" + what.replace(" ", "_"))(*parts)
        except CloudError:
            assert self.site.rules() == before

    def _create(self, slot: int) -> None:
        """Refused while the one before is there: the name is its."""
        self.vdcs[slot] = new_vdc(self.site, f"vdc{slot}")

    def _delete(self, slot: int) -> None:
        self.site.write(lambda tx: vdcs.delete(tx, ADMIN, self.vdcs[slot]))

    def _give(self, slot: int, group: int) -> None:
        give(self.site, self.vdcs[slot], self.groups[group])

    def _take(self, slot: int, group: int) -> None:
        take(self.site, self.vdcs[slot], self.groups[group])

    def _add(self, slot: int, resource: tuple[Kind, int, int]) -> None:
        add(self.site, self.vdcs[slot], *resource)

    def _remove(self, slot: int, resource: tuple[Kind, int, int]) -> None:
        remove(self.site, self.vdcs[slot], *resource)

    def _default_give(self, group: int) -> None:
        give(self.site, vdcs.DEFAULT_VDC, self.groups[group])

    def _default_take(self, group: int) -> None:
        take(self.site, vdcs.DEFAULT_VDC, self.groups[group])

    def _new_group(self, group: int) -> None:
        gone = self.groups[group]
        self.site.write(lambda tx: groups.delete(tx, ADMIN, gone))
        self.by_hand = {rule for rule in self.by_hand if not rule.startswith(f"@{gone} ")}
        self.groups[group] = self._group()

    def _make_by_hand(self, group: int, rest: str) -> None:
        by_hand(self.site, f"@{self.groups[group]} {rest}")
        self.by_hand.add(f"@{self.groups[group]} {rest}")

    def _delete_by_hand(self, group: int, rest: str) -> None:
        """Only what no VDC gives: deleting a VDC's rule by hand is asking for it to be missing."""
        text = f"@{self.groups[group]} {rest}"
        if text not in self.by_hand or text in self.given():
            return
        oid = self.site.read(lambda tx: acl.find(tx, Rule.parse(text, 0)))
        assert oid is not None
        self.site.write(lambda tx: acl.delete_rule(tx, ADMIN, oid))
        self.by_hand.discard(text)

    def clear(self) -> None:
        """Take all of it away again."""
        for slot in SLOTS:
            self.step("delete", slot)
        for gid in self.groups:
            self.site.write(lambda tx, gid=gid: groups.delete(tx, ADMIN, gid))  # type: ignore[misc]  # mypy can't type a lambda's default
        assert set(self.site.rules()) == self.base


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One zone for all examples: each clears up behind it, and caches see many commits."""
    site = Site(tmp_path_factory.mktemp("vdcs"))
    _add_zone(site)
    yield site
    site.close()


@settings(max_examples=40)
@given(steps=st.lists(STEPS, min_size=8, max_size=30))
def test_stored_rules_are_what_the_vdcs_say_and_what_was_made_by_hand(long_lived: Site, steps: list[tuple[object, ...]]) -> None:
    world = World(long_lived)
    for what, *parts in steps:
        world.step(str(what), *parts)
        stored = long_lived.rules()
        assert len(stored) == len(set(stored))
        assert set(stored) == world.base | world.given() | world.by_hand, what
    world.clear()

"""``koinon vdc``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn, Vdc


@pytest.fixture
def lab(zone: StandIn) -> Vdc:
    """VDC 100, beside the default one."""
    zone.vdcs[100] = Vdc(100, "lab")
    return zone.vdcs[100]


@pytest.mark.parametrize("arguments", [("my lab",), ("--name", "my lab"), ("-n", "my lab")])
def test_create_from_a_name(koinon: Koinon, zone: StandIn, arguments: tuple[str, ...]) -> None:
    assert koinon("vdc", "create", *arguments).out == "ID: 100\n"
    assert zone.vdcs[100].name == "my lab"


def test_create_from_a_file_or_standard_input(koinon: Koinon, zone: StandIn, tmp_path: Path) -> None:
    template = 'NAME = "lab"\nNOTE = "é"\n'
    (tmp_path / "lab.txt").write_text(template)
    assert koinon("vdc", "create", str(tmp_path / "lab.txt")).code == 0
    assert koinon("vdc", "create", "-", stdin=template.replace("lab", "second")).code == 0
    assert zone.templates["vdc", 100] == template
    assert zone.vdcs[101].name == "second"


@pytest.mark.parametrize("arguments", [(), ("a", "--name", "b"), ("-", "--name", "b"), ("no/such/file",)])
def test_create_refuses_what_can_mean_two_things(koinon: Koinon, zone: StandIn, arguments: tuple[str, ...]) -> None:
    outcome = koinon("vdc", "create", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert zone.calls == []


def test_update_rename_delete(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    assert koinon("vdc", "update", "lab", "-", "--append", stdin="A = 1").code == 0
    assert zone.made("one.vdc.update") == [[100, "A = 1", 1]]
    assert koinon("vdc", "rename", "lab", "studio").code == 0
    assert lab.name == "studio"
    outcome = koinon("vdc", "delete", "99,studio")
    assert (outcome.code, list(zone.vdcs)) == (1, [0])
    assert "[one.vdc.delete] Error getting VDC [99]." in outcome.err


def test_groups_of_several_vdcs(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    assert koinon("vdc", "addgroup", "lab,0", "users").code == 0
    assert (lab.groups, zone.vdcs[0].groups) == ({1}, {1})
    assert koinon("vdc", "delgroup", "100", "1").code == 0
    assert lab.groups == set()


@pytest.mark.parametrize("noun", ["cluster", "host", "datastore", "vnet"])
def test_resources_by_id_and_all_of_them(koinon: Koinon, zone: StandIn, lab: Vdc, noun: str) -> None:
    for written in ("3", "ALL", "all"):
        assert koinon("vdc", f"add{noun}", "lab", "OpenNebula", written).code == 0
    assert lab.resources == {noun: {(0, 3), (0, -10)}}
    assert koinon("vdc", f"del{noun}", "lab", "0", "--", "-10").code == 0
    assert lab.resources == {noun: {(0, 3)}}


def test_a_resource_is_named_in_the_zone_that_has_it(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    zone.datastores[1] = "images"
    with StandIn(100) as branch:
        branch.datastores[5] = "images"
        zone.zones[100] = ("branch", 0, branch.url)
        assert koinon("vdc", "adddatastore", "lab", "branch", "images").code == 0
        assert koinon("vdc", "adddatastore", "lab", "0", "images").code == 0
        assert lab.resources["datastore"] == {(0, 1), (100, 5)}
        outcome = koinon("vdc", "adddatastore", "lab", "100", "nothing")
        assert (outcome.code, outcome.err) == (1, "No datastore that you may see in zone 100 is named 'nothing'. Give its id.\n")
    assert koinon("vdc", "adddatastore", "lab", "branch", "images").code == 3  # gone: no answer
    assert koinon("vdc", "adddatastore", "lab", "branch", "5").code == 0  # an id needs no other zone


def test_a_zone_that_lists_no_such_resources_says_so(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    outcome = koinon("vdc", "addvnet", "lab", "0", "private")
    assert outcome.code == 1
    assert "Zone 0 does not tell which vnet is named 'private'" in outcome.err
    assert "Give its id." in outcome.err


def test_an_unknown_zone_changes_nothing(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    assert koinon("vdc", "addhost", "lab", "nowhere", "3").code == 1
    assert lab.resources == {}


def test_list_and_show(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    lab.groups = {1, 0}
    lab.resources = {"host": {(0, 3), (100, -10)}}
    assert koinon("vdc", "list").lines == [
        ["ID", "NAME", "GROUPS", "CLUSTERS", "HOSTS", "VNETS", "DATASTORES"],
        ["0", "default", "0", "0", "0", "0", "0"],
        ["100", "lab", "2", "0", "2", "0", "0"],
    ]
    assert koinon("vdc", "list", "--csv", "--list", "NAME,MEMBERS").out == 'NAME,MEMBERS\ndefault,\nlab,"0,1"\n'
    lines = koinon("vdc", "show", "lab").lines
    assert ["GROUPS", ":", "0,1"] in lines
    assert ["HOSTS", ":", "0:3,100:ALL"] in lines
    assert koinon("vdc", "show", "lab", "--xml").out == lab.xml() + "\n"


def test_json_has_an_array_for_whatever_may_repeat(koinon: Koinon, zone: StandIn, lab: Vdc) -> None:
    lab.resources = {"host": {(0, 3)}}
    empty, one = json.loads(koinon("vdc", "list", "--json").out)["VDC_POOL"]["VDC"]
    assert (empty["GROUPS"], empty["HOSTS"], empty["VNETS"]) == ({"ID": []}, {"HOST": []}, {"VNET": []})
    assert one["HOSTS"] == {"HOST": [{"ZONE_ID": "0", "HOST_ID": "3"}]}

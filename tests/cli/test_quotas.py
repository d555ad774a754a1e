"""Quotas and VLAN rules on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koinon.cli.documents import read
from koinon.cli.quotas import limits_text
from tests.cli.conftest import Koinon
from tests.cli.stand_in import StandIn


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that keeps what it was given in ``seen`` and replaces ``CPU = "4"`` with ``CPU = "5"``."""
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen\nsed -i \'s/CPU = "4"/CPU = "5"/; s/ID = "20"/ID = "30"/\' "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    return tmp_path / "seen"


@pytest.mark.parametrize(("noun", "name"), [("user", "serveradmin"), ("group", "users")])
def test_quotas_come_from_a_file_or_standard_input(koinon: Koinon, zone: StandIn, tmp_path: Path, noun: str, name: str) -> None:
    (tmp_path / "limits").write_text("VM = [ CPU = 4 ]\n")
    assert koinon(noun, "quota", name, str(tmp_path / "limits")).code == 0
    assert koinon(noun, "quota", "1", "-", stdin="NETWORK = [ ID = 3, LEASES = 2 ]").code == 0
    assert zone.made(f"one.{noun}.quota") == [[1, "VM = [ CPU = 4 ]\n"], [1, "NETWORK = [ ID = 3, LEASES = 2 ]"]]
    outcome = koinon(noun, "quota", "0", "-", stdin="")
    assert (outcome.code, outcome.err) == (1, f"[one.{noun}.quota] Cannot set quotas for oneadmin {noun}\n")


@pytest.mark.parametrize("noun", ["user", "group"])
def test_an_editor_opens_on_the_limits_there_are(koinon: Koinon, zone: StandIn, editor: Path, noun: str) -> None:
    zone.limits(noun, 1).set_limits("VM=[CPU=4] NETWORK=[ID=3,LEASES=2]", clusters=())
    assert koinon(noun, "quota", "1").code == 0
    seen = editor.read_text()
    assert seen.startswith("# Limits in this zone. -1 takes the zone's default quota")
    assert 'NETWORK = [ ID = "3", LEASES = "2" ]' in seen
    assert "_USED" not in seen
    assert zone.limits(noun, 1).entries["VM"][()].limits["CPU"] == 5
    assert zone.limits(noun, 1).entries["NETWORK"][3,].limits["LEASES"] == 2
    outcome = koinon(noun, "quota", "1")
    assert (outcome.code, outcome.err) == (0, "Nothing was changed.\n")
    assert len(zone.made(f"one.{noun}.quota")) == 1


@pytest.mark.parametrize("noun", ["user", "group"])
def test_default_quotas_are_edited_alike(koinon: Koinon, zone: StandIn, editor: Path, noun: str) -> None:
    assert koinon(noun, "defaultquota", "-", stdin="VM=[CPU=4]").code == 0
    assert koinon(noun, "defaultquota").code == 0
    assert "whoever has none of their own. -2 is no limit" in editor.read_text()
    assert zone.limits(noun, -1).entries["VM"][()].limits["CPU"] == 5


def test_one_file_serves_several(koinon: Koinon, zone: StandIn) -> None:
    outcome = koinon("user", "batchquota", "0..1,99", "-", stdin="VM=[CPU=4]")
    assert outcome.code == 1
    assert [uid for uid, _ in zone.made("one.user.quota")] == [0, 1, 99]
    assert zone.limits("user", 1).entries["VM"][()].limits["CPU"] == 4
    assert koinon("group", "batchquota", "users", "-", stdin="VM=[CPU=4]").code == 0


def test_vlan_rules_are_edited_as_a_list(koinon: Koinon, zone: StandIn, editor: Path) -> None:
    assert koinon("group", "vlan", "users", "-", stdin='RULE=[ID="20",SCOPE="a b"] RULE=[ID=21]').code == 0
    assert koinon("group", "vlan", "users").code == 0
    assert 'RULE = [ ID = "20", SCOPE = "a b", VNTEMPLATE = "" ]' in editor.read_text()
    assert "<ID><![CDATA[30]]></ID><SCOPE><![CDATA[a b]]></SCOPE>" in zone.vlans[1]
    assert zone.vlans[1].count("<RULE>") == 2


def test_json_holds_arrays_however_many_there_are(koinon: Koinon, zone: StandIn) -> None:
    zone.limits("user", 1).set_limits("NETWORK=[ID=3,LEASES=2]", clusters=())
    shown = json.loads(koinon("user", "show", "1", "--json").out)["USER"]
    assert shown["NETWORK_QUOTA"] == {"NETWORK": [{"ID": "3", "LEASES": "2", "LEASES_USED": "0"}]}
    assert shown["VM_QUOTA"] == {"VM": []}
    zone.limits("user", 1).set_limits("VM=[VMS=5]", clusters=())
    shown = json.loads(koinon("user", "show", "1", "--json").out)["USER"]
    assert (shown["VM_QUOTA"]["VM"][0]["VMS"], shown["VM_QUOTA"]["VM"][0]["VMS_USED"]) == ("5", "0")


def test_what_the_editor_shows_a_zone_reads_back(zone: StandIn) -> None:
    zone.limits("user", 1).set_limits("VM=[CPU=1.5,VMS=-2] DATASTORE=[ID=1,SIZE=9] IMAGE=[ID=4,RVMS=1]", clusters=())
    before = zone.limits("user", 1).to_xml()
    zone.limits("user", 1).set_limits(limits_text(read(f"<USER>{before}</USER>")), clusters=())
    assert zone.limits("user", 1).to_xml() == before


@pytest.mark.parametrize("noun", ["user", "group"])
def test_show_tells_what_is_limited_in_the_zone(koinon: Koinon, zone: StandIn, noun: str) -> None:
    assert "QUOTAS" not in koinon(noun, "show", "1").out
    zone.limits(noun, 1).set_limits("VM=[CPU=4,MEMORY=-2] NETWORK=[ID=3,LEASES=2]", clusters=())
    outcome = koinon(noun, "show", "1")
    assert outcome.lines[-5:] == [
        ["QUOTAS", "IN", "THIS", "ZONE"],
        ["QUOTA", "OF", "METRIC", "USED", "LIMIT"],
        ["NETWORK", "3", "LEASES", "0", "2"],
        ["VM", "-", "CPU", "0", "4"],
        ["VM", "-", "MEMORY", "0", "none"],
    ]
    assert "QUOTAS IN" not in koinon(noun, "show", "1", "--csv").out

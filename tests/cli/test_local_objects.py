"""``koinon cluster``, ``host`` and ``document`` against a real zone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.api.desk import SECRET
from tests.cli.conftest import Koinon
from tests.cli.real_zone import RealZone


@pytest.fixture
def zone(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealZone]:
    with capture_logs(), RealZone(tmp_path_factory.mktemp("zone")) as zone:
        (home / ".one" / "one_endpoint").write_text(zone.url + "\n")
        (home / ".one" / "one_auth").write_text(f"oneadmin:{SECRET}\n")
        yield zone


def done(koinon: Koinon, *arguments: str, stdin: str = "") -> list[list[str]]:
    """Words of each line that a command which must succeed prints."""
    outcome = koinon(*arguments, stdin=stdin)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.lines


def refused(koinon: Koinon, *arguments: str, code: int = 1, stdin: str = "") -> str:
    """What a command that must fail says."""
    outcome = koinon(*arguments, stdin=stdin)
    assert outcome.code == code
    return outcome.err


def test_clusters_and_their_hosts(koinon: Koinon, zone: RealZone) -> None:
    assert done(koinon, "cluster", "create", "east") == [["ID:", "100"]]
    assert done(koinon, "host", "create", "h0") == [["ID:", "0"]]
    assert done(koinon, "host", "create", "h1", "--cluster", "east", "-i", "lxc", "-v", "lxc") == [["ID:", "1"]]
    assert done(koinon, "host", "create", "h2", "-c", "100") == [["ID:", "2"]]
    assert done(koinon, "cluster", "addhost", "east", "0,h1") == []
    assert done(koinon, "cluster", "list") == [
        ["ID", "NAME", "HOSTS", "VNETS", "DATASTORES"], ["0", "default", "0", "0", "0"], ["100", "east", "3", "0", "0"],
    ]  # fmt: skip
    assert "not in cluster 0" in refused(koinon, "cluster", "delhost", "default", "h0")
    done(koinon, "cluster", "delhost", "east", "0..1")
    done(koinon, "cluster", "rename", "east", "far")
    assert done(koinon, "host", "list", "--list", "id,cluster,vm_mad,cluster_id") == [
        ["ID", "CLUSTER", "VM_MAD", "CLUSTER_ID"], ["0", "default", "kvm", "0"], ["1", "default", "lxc", "0"], ["2", "far", "kvm", "100"],
    ]  # fmt: skip
    assert "is not empty" in refused(koinon, "cluster", "delete", "far")
    done(koinon, "host", "delete", "h2")
    done(koinon, "cluster", "delete", "far")
    assert "System Clusters" in refused(koinon, "cluster", "delete", "default")


def test_what_clusters_cannot_have_is_said_by_the_zone(koinon: Koinon, zone: RealZone) -> None:
    for verb in ("add", "del"):
        assert "Error getting datastore [1]." in refused(koinon, "cluster", f"{verb}datastore", "default", "1")
        assert "Error getting virtual network [2]." in refused(koinon, "cluster", f"{verb}vnet", "default", "2")
    said = refused(koinon, "cluster", "adddatastore", "0", "1..2,files")
    assert "datastore 2: [one.cluster.adddatastore] Error getting datastore [2]." in said
    assert "3 of 3 were refused" in said
    assert "Plan is not ready" in refused(koinon, "cluster", "planexecute", "default")
    assert "Plan for cluster 0 does not exist" in refused(koinon, "cluster", "plandelete", "0")
    assert "find plan" in refused(koinon, "cluster", "optimize", "0")


def test_a_cluster_and_a_host_are_shown_and_changed(koinon: Koinon, zone: RealZone) -> None:
    done(koinon, "host", "create", "h0")
    done(koinon, "host", "update", "h0", "-", stdin='RACK = "7"\n')
    done(koinon, "host", "update", "h0", "-", "--append", stdin="ROW = 2\n")
    done(koinon, "cluster", "update", "default", "-", stdin="POWER = 9\n")
    shown = done(koinon, "host", "show", "h0")
    assert ["STATE", ":", "init"] in shown
    assert ["RACK", "=", '"7"'] in shown
    assert ["ROW", "=", '"2"'] in shown
    assert ["HOSTS", ":", "0"] in done(koinon, "cluster", "show", "0")
    assert json.loads(koinon("cluster", "show", "0", "--json").out)["CLUSTER"] == {
        "ID": "0", "NAME": "default", "HOSTS": {"ID": ["0"]}, "DATASTORES": "", "VNETS": "", "TEMPLATE": {"POWER": "9"},
    }  # fmt: skip
    for verb, state in (("disable", "disabled"), ("offline", "offline"), ("enable", "init")):
        done(koinon, "host", verb, "h0")
        assert ["0", "h0", "default", state] in done(koinon, "host", "list")
    done(koinon, "host", "rename", "h0", "node")
    assert done(koinon, "host", "monitoring") == done(koinon, "host", "monitoring", "node")
    assert json.loads(koinon("host", "monitoring", "--json").out) == {"MONITORING_DATA": {"MONITORING": []}}


def test_a_host_that_several_names_stand_for_is_each_told(koinon: Koinon, zone: RealZone) -> None:
    done(koinon, "host", "create", "h0")
    said = refused(koinon, "host", "disable", "9,h0,nobody")
    assert "host 9: [one.host.status] Error getting host [9]." in said
    assert "No host that you may see is named 'nobody'" in said
    assert "2 of 3 were refused" in said
    assert ["0", "h0", "default", "disabled"] in done(koinon, "host", "list")


def test_documents_from_end_to_end(koinon: Koinon, zone: RealZone, tmp_path: Path) -> None:
    zone.desk.user("alice")
    (tmp_path / "notes.txt").write_text('NAME = "from file"\nBODY = "x"\n')
    assert done(koinon, "document", "create", str(tmp_path / "notes.txt"), "--type", "200") == [["ID:", "0"]]
    assert done(koinon, "document", "create", str(tmp_path / "notes.txt"), "-t", "200", "--name", "named here") == [["ID:", "1"]]
    assert ["NAME", ":", "named", "here"] in done(koinon, "document", "show", "1")
    assert done(koinon, "document", "create", "-t", "7", "--name", "bare") == [["ID:", "2"]]
    done(koinon, "document", "clone", "0", "copy")
    done(koinon, "document", "chmod", "0", "644")
    done(koinon, "document", "chown", "0", "alice", "users")
    done(koinon, "document", "update", "0", "-", "-a", stdin="MORE = 1\n")
    done(koinon, "document", "rename", "0", "final")
    done(koinon, "document", "lock", "0", "--level", "manage")
    rows = done(koinon, "document", "list", "--type", "200", "--list", "id,user,group,name,lock,permissions")
    assert ["0", "alice", "users", "final", "manage", "um-u--u--"] in rows
    shown = done(koinon, "document", "show", "0")
    assert ["MORE", "=", '"1"'] in shown
    assert next(line for line in shown if line[0] == "LOCK")[2:6] == ["manage", "by", "user", "0"]
    assert "DOCUMENT is locked. [0]" in refused(koinon, "document", "delete", "0")
    assert re.match(r"\[one\.document\.lock\] \d{10}$", refused(koinon, "document", "lock", "0", "--test"))  # since when
    done(koinon, "document", "unlock", "0")
    done(koinon, "document", "chgrp", "0", "oneadmin")
    assert ["0", "alice", "oneadmin", "final"] in [row[:4] for row in done(koinon, "document", "list", "-t", "200")]
    mine = done(koinon, "document", "list", "--type", "200", "--mine", "--list", "ID")
    assert ["0"] not in mine
    done(koinon, "document", "delete", "0")
    assert json.loads(koinon("document", "list", "-t", "99", "--json").out) == {"DOCUMENT_POOL": {"DOCUMENT": []}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("document", "create", "-t", "1"), "Give a file"),
        (("document", "create", "-t", "-1", "-n", "a"), "not in the range"),
        (("document", "chmod", "0", "888"), "three digits"),
        (("document", "chmod", "0", "64"), "three digits"),
        (("document", "delete", "0,notes"), "two may have one name"),
        (("document", "show", "notes"), "two may have one name"),
        (("document", "lock", "0", "--level", "most"), "is not one of"),
        (("document", "list"), "--type"),
        (("host", "create", "h", "--cluster", ""), "neither an id nor a name"),
    ],
)
def test_what_is_written_wrongly_is_refused_before_anything_is_asked(
    koinon: Koinon, zone: RealZone, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(koinon, *arguments, code=2)


def test_xml_and_a_name_do_not_go_together(koinon: Koinon, zone: RealZone) -> None:
    assert "in XML" in refused(koinon, "document", "create", "-", "-t", "1", "-n", "a", stdin="<T><NAME>b</NAME></T>", code=2)
    assert done(koinon, "document", "create", "-", "-t", "1", stdin="<T><NAME>b</NAME></T>") == [["ID:", "0"]]


def test_hosts_and_clusters_are_made_with_a_template(koinon: Koinon, zone: RealZone, tmp_path: Path) -> None:
    file = tmp_path / "template"
    file.write_text("RACK = 7\n")
    done(koinon, "cluster", "create", "east", "--set", "ROW=3")
    done(koinon, "host", "create", "h0", str(file))
    done(koinon, "host", "create", "h1", "--template", "-", stdin="RACK = 8")
    assert 'ROW = "3"' in koinon("cluster", "show", "east").out
    assert [f'RACK = "{rack}"' in koinon("host", "show", host, "--decrypt").out for host, rack in (("h0", 7), ("h1", 8))] == [True, True]
    assert "once" in refused(koinon, "host", "create", "h2", str(file), "--template", "-", code=2)
    assert len(done(koinon, "host", "list")) == 3


def test_hosts_are_shown_again_and_again(koinon: Koinon, zone: RealZone, monkeypatch: pytest.MonkeyPatch) -> None:
    done(koinon, "host", "create", "h0")
    done(koinon, "host", "create", "h1")
    done(koinon, "host", "disable", "h1")
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("koinon.cli.hosts.time.sleep", sleep)
    outcome = koinon("host", "top", "-d", "2.5", "--no-header", "-l", "name,stat,tvm")
    assert (outcome.code, waits) == (130, [2.5] * 3)
    assert outcome.lines == [["h0", "init", "0"], ["h1", "dsbl", "0"]] * 3
    assert koinon("host", "top", "-d", "0").code == 2

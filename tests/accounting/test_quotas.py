"""Quota templates: what they change, what they leave, what is refused and in which words."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from koinon.accounting.quotas import SECTIONS, VM, Quotas
from koinon.errors import ActionError

CLUSTERS = (0, 100, 101)


def quotas(*texts: str, for_all: bool = False) -> Quotas:
    made = Quotas(for_all=for_all)
    for text in texts:
        made.set_limits(text, clusters=CLUSTERS)
    return made


def values(made: Quotas, path: str) -> dict[str, str]:
    """Children of the one element at ``path``."""
    found = etree.fromstring(f"<Q>{made.to_xml()}</Q>").findall(path)
    assert len(found) == 1
    return {str(child.tag): child.text or "" for child in found[0]}


def refusal(text: str, *before: str, for_all: bool = False) -> str:
    made = quotas(*before, for_all=for_all)
    stored = made.to_xml()
    with pytest.raises(ActionError) as caught:
        made.set_limits(text, clusters=CLUSTERS)
    assert made.to_xml() == stored
    return caught.value.text


def test_limits_are_set_and_what_is_not_named_is_the_default_one() -> None:
    made = quotas('DATASTORE=[ID="1", SIZE="10240"] NETWORK=[ID=3, LEASES=4] VM=[CPU="1.5", VMS=-2] IMAGE=[ID=7, RVMS="0"]')
    assert values(made, "DATASTORE_QUOTA/DATASTORE") == {"ID": "1", "IMAGES": "-1", "IMAGES_USED": "0", "SIZE": "10240", "SIZE_USED": "0"}
    assert values(made, "NETWORK_QUOTA/NETWORK") == {"ID": "3", "LEASES": "4", "LEASES_USED": "0"}
    machines = values(made, "VM_QUOTA/VM")
    assert (machines["CPU"], machines["VMS"], machines["RUNNING_PCI_NIC"]) == ("1.50", "-2", "-1")
    assert list(machines) == sorted(machines, key=lambda name: (name.removesuffix("_USED"), name))
    assert "CLUSTER_IDS" not in machines
    assert values(made, "IMAGE_QUOTA/IMAGE") == {"ID": "7", "RVMS": "0", "RVMS_USED": "0"}


def test_xml_does_as_well() -> None:
    template = "<TEMPLATE><VM><CPU>2</CPU></VM><NETWORK><ID>3</ID><LEASES>4</LEASES></NETWORK></TEMPLATE>"
    assert quotas(template).to_xml() == quotas("VM=[CPU=2] NETWORK=[ID=3,LEASES=4]").to_xml()


def test_a_template_changes_all_limits_of_the_entries_it_names_and_of_no_other() -> None:
    made = quotas("DATASTORE=[ID=1,SIZE=5,IMAGES=2] DATASTORE=[ID=2,SIZE=6] VM=[CPU=1]", "DATASTORE=[ID=1,IMAGES=3]")
    shown = etree.fromstring(f"<Q>{made.to_xml()}</Q>")
    assert [[child.text for child in node] for node in shown.iter("DATASTORE")] == [["1", "3", "0", "-1", "0"], ["2", "-1", "0", "6", "0"]]
    assert values(made, "VM_QUOTA/VM")["CPU"] == "1"


def test_what_is_used_stays_and_a_callers_use_is_ignored() -> None:
    made = quotas("NETWORK=[ID=3,LEASES=4]")
    made.entries["NETWORK"][3,].used["LEASES"] = Decimal(2)
    made.set_limits("NETWORK=[ID=3,LEASES=9,LEASES_USED=0]", clusters=())
    assert values(made, "NETWORK_QUOTA/NETWORK") == {"ID": "3", "LEASES": "9", "LEASES_USED": "2"}
    made.set_limits("NETWORK=[ID=3]", clusters=())
    assert values(made, "NETWORK_QUOTA/NETWORK") == {"ID": "3", "LEASES": "-1", "LEASES_USED": "2"}


def test_an_entry_that_limits_and_counts_nothing_is_not_kept() -> None:
    assert quotas("NETWORK=[ID=3,LEASES=4] VM=[CPU=1]", 'NETWORK=[ID=3,LEASES=-1] VM=[CPU=""]').is_empty
    assert quotas("VM=[CPU=1]", "VM=[CPU=-2]", for_all=True).is_empty
    assert not quotas("VM=[CPU=-2]").is_empty  # no limit, whatever the default says
    assert quotas("").is_empty


@pytest.mark.parametrize(
    "text",
    [
        "VM = [ CPU=-3 ]",
        "VM = [ CPU=-1.5 ]",
        "VM = [ MEMORY=1.5 ]",
        "VM = [ MEMORY=1e3 ]",
        "VM = [ MEMORY=nan ]",
        "VM = [ MEMORY=٣ ]",
        "VM = [ MEMORY=1234567890123456 ]",
        "VM = [ CLUSTER_IDS=0;1 ]",
        "NETWORK = [ LEASES=1 ]",
        "NETWORK = [ ID=x,LEASES=1 ]",
        "NETWORK = [ ID=-1,LEASES=1 ]",
        "NETWORK = [ ID=2147483648,LEASES=1 ]",
        "DATASTORE = [ ID=1,IMAGES=3,SIZE=-7 ]",
    ],
)
def test_bad_limits_are_refused_in_opennebulas_words(text: str) -> None:
    assert refusal(text, "VM=[CPU=1] NETWORK=[ID=1,LEASES=1]") == f"Negative limits or bad format in quota {text}"


def test_a_template_with_one_bad_entry_changes_nothing() -> None:
    assert refusal("DATASTORE=[ID=1,SIZE=5] VM=[CPU=-9]", "DATASTORE=[ID=1,SIZE=4]").startswith("Negative limits")


def test_the_zones_default_has_no_default_itself() -> None:
    assert refusal("VM=[CPU=-1]", for_all=True) == "Negative limits or bad format in quota VM = [ CPU=-1 ]"
    assert values(quotas("VM=[CPU=3]", for_all=True), "VM_QUOTA/VM")["MEMORY"] == "-2"
    assert "default quotas hold in all clusters" in refusal('VM=[CLUSTER_IDS="0",CPU=3]', for_all=True)


def test_what_is_no_quota_is_named() -> None:
    assert refusal("CPU=3") == "CPU is no quota. Quotas are DATASTORE = [ ... ], NETWORK = [ ... ], VM = [ ... ], IMAGE = [ ... ]."
    assert refusal('VM="3"').startswith("VM is no quota.")
    assert refusal("VM=[CPUS=3]").startswith("CPUS is nothing that a VM quota limits. It limits CPU, MEMORY,")
    assert refusal("VM=[").startswith("Parse error")


def test_machines_are_limited_in_clusters_that_exist_each_once() -> None:
    made = quotas('VM=[CPU=9] VM=[CLUSTER_IDS="101, 100,100",CPU=3]')
    assert list(made.entries["VM"]) == [(), (100, 101)]
    assert "<VM><CLUSTER_IDS>100,101</CLUSTER_IDS><CPU>3</CPU>" in made.to_xml()
    made.set_limits('VM=[CLUSTER_IDS="100,101",CPU=4]', clusters=())  # known already: the clusters may be gone
    assert made.entries["VM"][100, 101].limits["CPU"] == 4
    assert refusal('VM=[CLUSTER_IDS="0,7",CPU=3]') == "Cluster 7 does not exist"
    assert refusal('VM=[CLUSTER_IDS="0,100",CPU=3]', 'VM=[CLUSTER_IDS="100",CPU=1]') == "Quota for cluster id 100 already exists"


LIMITS = st.integers(-2, 10**15 - 1).map(str)
FRACTIONS = st.one_of(LIMITS, st.decimals(0, 10**9, places=2).map(str))


@st.composite
def vectors(draw: st.DrawFn) -> str:
    section = draw(st.sampled_from(SECTIONS))
    keys = [] if section is VM else [f"ID={draw(st.integers(0, 2**31 - 1))}"]
    metrics = draw(st.lists(st.sampled_from(section.metrics), unique=True))
    limits = [f"{metric}={draw(FRACTIONS if metric in section.fractional else LIMITS)}" for metric in metrics]
    return f"{section.name}=[{','.join([*keys, *limits])}]"


@given(st.lists(vectors(), max_size=6))
def test_what_is_stored_is_read_back_the_same_and_setting_it_again_changes_nothing(texts: list[str]) -> None:
    made = quotas(*texts)
    again = Quotas.from_body(f"<QUOTAS><ID>5</ID>{made.to_xml()}</QUOTAS>")
    assert again == made
    again.set_limits("\n".join(texts), clusters=())
    again.set_limits("\n".join(texts), clusters=())
    stored = again.to_xml()
    again.set_limits("\n".join(texts), clusters=())
    assert again.to_xml() == stored
    root = etree.fromstring(f"<TEMPLATE>{made.to_xml()}</TEMPLATE>")
    template = "".join(etree.tostring(entry, encoding="unicode") for holder in root for entry in holder)
    assert quotas(f"<TEMPLATE>{template}</TEMPLATE>") == made  # clients send back what they were shown


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    made = Quotas()
    try:
        made.set_limits(text, clusters=CLUSTERS)
    except ActionError:
        assert made.is_empty


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("<QUOTAS", "Couldn't find end"),
        ("<Q><NETWORK_QUOTA><NETWORK></NETWORK></NETWORK_QUOTA></Q>", "NETWORK_QUOTA has no ID"),
    ],
)
def test_what_is_no_stored_body_is_refused(body: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Quotas.from_body(body)

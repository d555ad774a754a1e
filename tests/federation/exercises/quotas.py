"""Exercises of the calls about quotas and VLAN rules, which each zone has for itself."""

from __future__ import annotations

import re

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise


@exercise("one.user.quota", "one.group.quota", "one.userquota.info", "one.userquota.update", "one.groupquota.info", "one.groupquota.update")
def quotas(at: Place) -> None:
    """What one zone limits, it shows, and no other zone does."""
    other = next(zone for zone in at.zones.zones if zone is not at.zone)
    group = at.group()
    uid, name = at.user(group)
    assert at.one.user.quota(uid, 'VM=[CPU="2.5", MEMORY="2048"] DATASTORE=[ID="1", SIZE="-2"]') == uid
    shown = at.one.user.info(uid)
    assert (shown.VM_QUOTA.VM[0].CPU, shown.VM_QUOTA.VM[0].MEMORY, shown.VM_QUOTA.VM[0].VMS) == ("2.50", "2048", "-1")
    assert (shown.DATASTORE_QUOTA.DATASTORE[0].ID, shown.DATASTORE_QUOTA.DATASTORE[0].SIZE) == ("1", "-2")
    assert at.one.group.quota(group, 'NETWORK=[ID="3", LEASES="4"]') == group
    assert at.one.group.info(group).NETWORK_QUOTA.NETWORK[0].LEASES == "4"
    for kind in ("user", "group"):
        updated = at.raw.value(f"one.{kind}quota.update", "VM=[VMS=9]")
        assert at.raw.value(f"one.{kind}quota.info") == updated
        assert "<VMS>9</VMS>" in updated
    assert at.log_in(name, "Secret1").DEFAULT_USER_QUOTAS.VM_QUOTA.VM.VMS == "9"
    for pool in ("one.userpool.info", "one.grouppool.info"):
        assert at.document(pool).count("<VMS>9</VMS>") == 1
    at.zones.settled()
    for method, oid in (("one.user.info", uid), ("one.group.info", group)):
        assert "<VMS>" in at.document(method, oid)
        assert not {"<VMS>", "<LEASES>", "<DATASTORE>"} & set(re.findall("<[A-Z]+>", at.zones.caller(other).value(method, oid)))
    with pytest.raises(pyone.OneActionException, match=r"\[one.user.quota\] Negative limits or bad format in quota VM = \[ CPU=-7 \]"):
        at.one.user.quota(uid, "VM=[CPU=-7]")
    with pytest.raises(pyone.OneActionException, match="Cannot set quotas for oneadmin user"):
        at.one.user.quota(0, "VM=[CPU=7]")
    for kind in ("user", "group"):
        assert "<VM>" not in at.raw.value(f"one.{kind}quota.update", "VM=[VMS=-2]")
    at.one.user.quota(uid, "VM=[CPU=-1] DATASTORE=[ID=1]")
    at.one.group.quota(group, "NETWORK=[ID=3]")


@exercise("one.group.vlan")
def vlan_rules(at: Place) -> None:
    group = at.group()
    assert at.one.group.vlan(group, 'RULE=[ID="20", SCOPE="zone", VNTEMPLATE="4"] RULE=[ID="21"]') == group
    rules = at.one.group.info(group).VLAN_RULES.RULE
    assert [(rule.ID, rule.SCOPE, rule.VNTEMPLATE) for rule in rules] == [("20", "zone", "4"), ("21", "", "")]
    assert at.document("one.grouppool.info").count("<RULE>") == 2
    assert at.one.group.vlan(group, "") == group
    assert "<RULE>" not in at.document("one.group.info", group)

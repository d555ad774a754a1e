"""Exercises of the calls about hosts."""

from __future__ import annotations

import pyone
import pytest

from tests.federation.exercises.place import Place, exercise


@exercise(
    "one.host.allocate", "one.host.info", "one.hostpool.info", "one.host.update", "one.host.rename", "one.host.status", "one.host.delete"
)
def hosts(at: Place) -> None:
    name = at.name("host")
    oid = at.one.host.allocate(name, "kvm", "kvm", -1)
    at.one.host.update(oid, 'RACK="7"', 1)
    at.one.host.rename(oid, f"{name}.example")
    at.one.host.status(oid, pyone.HOST_STATUS.OFFLINE)
    made = at.one.host.info(oid)
    assert (made.NAME, made.CLUSTER, made.STATE, made.PREV_STATE, made.TEMPLATE["RACK"]) == (f"{name}.example", "default", 8, 0, "7")
    assert (made.IM_MAD, made.HOST_SHARE.RUNNING_VMS, made.VMS.ID) == ("kvm", 0, [])
    at.document("one.host.info", oid)
    at.document("one.hostpool.info")
    assert oid in [host.ID for host in at.one.hostpool.info().HOST]
    assert at.one.host.delete(oid) == oid
    with pytest.raises(pyone.OneNoExistsException):
        at.one.host.info(oid)


@exercise("one.host.monitoring", "one.hostpool.monitoring")
def samples_of_hosts(at: Place) -> None:
    oid = at.one.host.allocate(at.name("host"), "kvm", "kvm", -1)
    assert at.document("one.host.monitoring", oid) == at.document("one.hostpool.monitoring", 0) == at.document("one.hostpool.monitoring")

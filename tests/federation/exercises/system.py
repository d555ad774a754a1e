"""Exercises of the calls about the server itself."""

from __future__ import annotations

import json
import xmlrpc.client

import pyone
import pytest

from koinon.wire.calls import CALLS
from tests.federation.exercises.place import Place, exercise


@exercise("one.system.version")
def version(at: Place) -> None:
    assert at.one.system.version() == "7.4.0"


@exercise("one.system.config")
def configuration(at: Place) -> None:
    at.document("one.system.config")
    assert at.zones.secret.partition(":")[2] not in json.dumps(at.raw.value("one.system.config"))


@exercise("one.system.sqlquery", "one.system.sql")
def sql(at: Place) -> None:
    """Each zone answers from its own tables; no SQL changes anything."""
    found = at.raw.value("one.system.sqlquery", "SELECT zone_id, role FROM zone_state")  # pyone knows no such document
    assert f"<zone_id><![CDATA[{at.zone.status()['zone_id']}]]></zone_id>" in found
    with pytest.raises(pyone.OneActionException, match=r"The query was not answered: .*must be one SELECT"):
        at.one.system.sqlquery("DELETE FROM user_pool")
    _, name = at.user(0)
    for federate in (True, False):
        with pytest.raises(pyone.OneActionException, match="SQL that writes is not taken"):
            at.one.system.sql("DELETE FROM user_pool", federate)
        with pytest.raises(pyone.OneAuthorizationException, match="not authorized to perform action on -"):
            at.zone.client(name, "Secret1").system.sql("", federate)
    with pytest.raises(pyone.OneAuthorizationException, match="not authorized to perform action on -"):
        at.zone.client(name, "Secret1").system.sqlquery("SELECT 1 AS one")


@exercise(*(name for name in CALLS if name.startswith("system.")))
def introspection(at: Place) -> None:
    offered = {name for name in CALLS if name != "system.shutdown"}
    assert offered <= set(at.raw.call("system.listMethods", session=False))
    assert at.raw.call("system.methodSignature", "one.user.info", session=False)
    assert "user" in at.raw.call("system.methodHelp", "one.user.info", session=False)
    with pytest.raises(xmlrpc.client.Fault, match="not defined") as refused:
        at.raw.call("one.nothing.here")
    assert refused.value.faultCode == -506

"""Exercises of the calls about the server itself."""

from __future__ import annotations

import json
import xmlrpc.client

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


@exercise(*(name for name in CALLS if name.startswith("system.")))
def introspection(at: Place) -> None:
    offered = {name for name in CALLS if name != "system.shutdown"}
    assert offered <= set(at.raw.call("system.listMethods", session=False))
    assert at.raw.call("system.methodSignature", "one.user.info", session=False)
    assert "user" in at.raw.call("system.methodHelp", "one.user.info", session=False)
    with pytest.raises(xmlrpc.client.Fault, match="not defined") as refused:
        at.raw.call("one.nothing.here")
    assert refused.value.faultCode == -506

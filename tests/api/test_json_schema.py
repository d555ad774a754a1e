"""Whatever the OpenAPI document allows, and some of what it does not, asked of a real zone: the answers are as the document says.

Bounded: some generated requests for each operation; the seed is fixed, so that a failure comes again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from harness.zones import Zone
from koinon.wire import openapi
from koinon.wire.resources import RESOURCES
from tests.api.json_client import JsonClient
from tests.api.test_access import REFUSED_TO_ALL

_CHECKS: Final = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
#: What must have succeeded at least once: all that needs no text, for a generator hits upon few names and templates that make sense,
#: and can succeed.
_POSSIBLE: Final = {
    f"{resource.method} {resource.path}"
    for resource in RESOURCES
    if resource.call not in REFUSED_TO_ALL
    and all(param.optional or param.type == "boolean" for param in resource.sent)
    and (resource.method, resource.path) != ("DELETE", "/zones/{id}")  # zone 0 stays
}
#: Sets: what is put in can be deleted.
_SETS: Final = {resource.path for resource in RESOURCES if resource.method == "DELETE"} & {
    resource.path for resource in RESOURCES if resource.method == "PUT"
}

schema = schemathesis.openapi.from_dict(openapi.document())
OPERATIONS: Final = {operation.ok().label: operation.ok() for operation in schema.get_all_operations() if isinstance(operation, Ok)}


class Server:
    """A zone with one object of each kind that may be changed, made anew for each operation.

    Attributes:
        ids: of these objects, by the name of a parameter, or by the first part of a path for `id`.
        seen: statuses by operation.
    """

    def __init__(self, zone: Zone) -> None:
        self.url = f"http://127.0.0.1:{zone.port}{openapi.BASE}"
        made = JsonClient(zone.port, zone.secret).ask("POST", "/login", {"username": "oneadmin", "valid": -1})
        # A token, since a generated request may well change the password of user 0.
        self.session = f"oneadmin:{made.body['token']}"
        self.client = JsonClient(zone.port, self.session)
        self.ids: dict[str, int] = {}
        self.seen: dict[str, Counter[int]] = {}
        self._names = (f"schema{number}" for number in count())

    def renew(self) -> None:
        name = next(self._names)
        bodies: dict[str, dict[str, Any]] = {
            "users": {"name": name, "password": "Secret1"},
            "groups": {"name": name},
            "vdcs": {"template": {"NAME": name}},
            "clusters": {"name": name},
            "hosts": {"name": name, "im_mad": "x", "vm_mad": "x"},
            "acl": {"user": f"#{name.removeprefix('schema')}", "resource": "VM/*", "rights": "USE", "zone": "*"},
            "documents": {"type": 0, "template": {"NAME": name}},
        }
        # A generated request may have disabled the zone.
        assert self.client.ask("POST", "/zones/0/enable", {"enable": True}).status == 200
        for plural, body in bodies.items():
            made = self.client.ask("POST", f"/{plural}", body)
            assert made.status == 201, made
            self.ids[plural] = self.ids[f"{plural.removesuffix('s')}_id"] = made.body["id"]
        server = {"SERVER": {"NAME": name, "ENDPOINT": "http://127.0.0.1:1/RPC2"}}
        assert self.client.ask("POST", "/zones/0/servers", {"template": server}).status == 200
        self.ids["server_id"] = self.client.ask("GET", "/zones/0").body["SERVER_POOL"][-1]["ID"]
        self.ids |= {"zones": 0, "zone_id": 0, "monitoring": self.ids["hosts"], "datastore_id": 1, "vnet_id": 1}

    def prepare(self, case: Case[Any]) -> None:
        """Put ids of objects that are there in the place of the generated ones, of which hardly one would be; fill sets to be emptied."""
        first = case.path.split("/")[1]
        case.path_parameters = {name: self.ids.get(first if name == "id" else name, value) for name, value in case.path_parameters.items()}
        if case.path == "/groups/{id}/admins/{user_id}":
            self.client.ask("PUT", f"/users/{self.ids['users']}/groups/{self.ids['groups']}")
        if case.method == "DELETE" and case.path in _SETS:
            self.client.ask("PUT", case.path.format(**case.path_parameters))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    sections: dict[str, dict[str, Any]] = {"login": {"password_hash": "sha256"}, "federation": {"read_your_writes_s": 0.02}}
    zone = Zone(tmp_path_factory.mktemp("schema"), "alone", settings=sections)
    try:
        server = Server(zone.start())
        yield server
        assert "Traceback" not in zone.log.read_text()
    finally:
        zone.stop()


@pytest.fixture(autouse=True)
def _fresh(server: Server) -> None:
    server.renew()


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_the_document_says(label: str, server: Server) -> None:
    operation = OPERATIONS[label]
    cases = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if operation.body or any(operation.iter_parameters()):
        cases |= operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(max_examples=6, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: Case[Any]) -> None:
        server.prepare(case)
        response = case.call(base_url=server.url, headers={"Authorization": f"Bearer {server.session}"}, timeout=120)
        server.seen.setdefault(label, Counter())[response.status_code] += 1
        assert response.status_code != 500, response.text
        case.validate_response(response, checks=_CHECKS)

    ask()


def test_generated_requests_have_met_success(server: Server) -> None:
    """Else the test above would only have looked at refusals."""
    assert len(server.seen) == len(RESOURCES)
    met = {label for label, statuses in server.seen.items() if statuses.keys() & {200, 201}}
    assert _POSSIBLE - met == set()

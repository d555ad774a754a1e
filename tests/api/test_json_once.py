"""Idempotency-Key at a real zone: a change takes effect once, whatever it changes and whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from harness import engines
from harness.zones import Zone
from koinon.api.json_headers import terms_of
from koinon.errors import BadArgumentError
from koinon.wire import openapi
from koinon.wire.resources import RESOURCES, Resource
from tests.api.json_client import JsonClient


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zone]:
    zone = Zone(tmp_path_factory.mktemp("once"), "alone", settings={"login": {"password_hash": "sha256"}})
    try:
        yield zone.start()
    finally:
        zone.stop()


@pytest.fixture
def key(name: str) -> str:
    return f"{name}-0123456789abcdef"


@pytest.fixture
def user(admin: JsonClient, name: str) -> int:
    return int(admin.ask("POST", "/users", {"name": name, "password": "Secret1"}).body["id"])


@pytest.fixture
def made(admin: JsonClient, name: str, user: int) -> dict[str, Any]:
    """Something to change: ids by the plural of what they are, and the name that all have."""
    bodies: dict[str, Any] = {
        "groups": {"name": name},
        "vdcs": {"template": {"NAME": name}},
        "clusters": {"name": name},
        "hosts": {"name": name, "im_mad": "x", "vm_mad": "x"},
        "documents": {"type": 0, "template": {"NAME": name}},
    }
    return {plural: admin.ask("POST", f"/{plural}", body).body["id"] for plural, body in bodies.items()} | {"users": user, "name": name}


def test_a_repetition_takes_effect_once(admin: JsonClient, name: str, key: str) -> None:
    body = {"name": name, "password": "Secret1"}
    first = admin.ask("POST", "/users", body, Idempotency_Key=key)
    again = admin.ask("POST", "/users", body, Idempotency_Key=key)
    assert first.status == again.status == 201
    assert (again.body, again.headers["koinon-position"]) == (first.body, first.headers["koinon-position"])
    assert "used for another request" in admin.refused(422, "POST", "/users", body | {"name": "else"}, Idempotency_Key=key)
    assert "taken" in admin.refused(409, "POST", "/users", body)


def test_a_repeated_log_in_gets_the_first_token_which_opens(zone: Zone, admin: JsonClient, user: int, name: str, key: str) -> None:
    first, again = (admin.ask("POST", "/login", {"username": name, "valid": 60}, Idempotency_Key=key) for _ in range(2))
    assert first.body == again.body
    token = first.body["token"]
    assert token.encode() not in engines.values(zone.database, zone.engine)
    shown = admin.ask("GET", "/users/-1", Authorization=f"Bearer {name}:{token}")
    assert shown.body["ID"] == user


def test_two_users_may_choose_the_same_key(zone: Zone, admin: JsonClient, user: int, name: str, key: str) -> None:
    own = JsonClient(zone.port, f"{name}:Secret1")
    assert admin.ask("PATCH", f"/users/{user}/template", {"template": "A=1"}, Idempotency_Key=key).status == 200
    assert own.ask("PATCH", f"/users/{user}/template", {"template": "B=1"}, Idempotency_Key=key).status == 200
    assert set(admin.ask("GET", f"/users/{user}").body["TEMPLATE"]) >= {"A", "B"}


#: Changes that can't be made twice, or whose second time would be another thing: method, path, body.
_CHANGES: Final = (
    ("POST", "/hosts", {"name": "{name}-x", "im_mad": "x", "vm_mad": "x"}),
    ("POST", "/clusters", {"name": "{name}-x"}),
    ("POST", "/documents", {"type": 0, "template": "NAME=x"}),
    ("POST", "/documents/{documents}/clone", {"name": "x"}),
    ("POST", "/documents/{documents}/lock", {"level": 1, "test": True}),
    ("DELETE", "/hosts/{hosts}", None),
    ("DELETE", "/clusters/{clusters}", None),
    ("DELETE", "/documents/{documents}", None),
    ("PUT", "/vdcs/{vdcs}/zones/0/hosts/{hosts}", None),
    ("PUT", "/vdcs/{vdcs}/groups/{groups}", None),
    ("PUT", "/users/{users}/groups/{groups}", None),
    ("DELETE", "/users/{users}", None),
)


@pytest.mark.parametrize(("method", "path", "body"), _CHANGES, ids=[f"{method} {path}" for method, path, _ in _CHANGES])
def test_every_kind_of_change_is_made_once(
    admin: JsonClient, made: dict[str, Any], key: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    path = path.format(**made)
    if body is not None:
        body = {field: value.format(**made) if isinstance(value, str) else value for field, value in body.items()}
    first, again = (admin.ask(method, path, body, Idempotency_Key=key) for _ in range(2))
    assert first.status in {200, 201}
    assert (again.status, again.body, again.headers["location"]) == (first.status, first.body, first.headers["location"])
    assert "used for another request" in admin.refused(422, "POST", "/groups", {"name": "else"}, Idempotency_Key=key)
    assert "used for another request" in admin.refused(422, "DELETE", "/hosts/99999", Idempotency_Key=key)
    if path != "/documents" and not path.endswith(
        "clone"
    ):  # else it could only be told from a repetition by its name, which need not be another
        assert admin.ask(method, path, body).status >= 400


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: f"{resource.method} {resource.path}")
def test_every_change_takes_a_key_and_nothing_else_does(resource: Resource) -> None:
    described = openapi.document()["paths"][resource.path][resource.method.lower()]["parameters"]
    assert ({"$ref": "#/components/parameters/Idempotency-Key"} in described) == resource.row.writes
    headers = {"idempotency-key": "0123456789abcdef"}
    if resource.row.writes:
        assert terms_of(resource, headers, "oneadmin:secret").once_id
    else:
        with pytest.raises(BadArgumentError):
            terms_of(resource, headers, "oneadmin:secret")


@pytest.mark.parametrize("path", ["/users/{users}/quota", "/groups/{groups}/quota", "/quotas/users", "/quotas/groups"])
def test_a_repeated_quota_does_not_undo_what_came_between(admin: JsonClient, made: dict[str, Any], key: str, path: str) -> None:
    path = path.format(**made)
    first = admin.ask("PATCH", path, {"quota": {"VM": {"VMS": "7"}}}, Idempotency_Key=key)
    between = admin.ask("PATCH", path, {"quota": {"VM": {"VMS": "8"}}})
    again = admin.ask("PATCH", path, {"quota": {"VM": {"VMS": "7"}}}, Idempotency_Key=key)
    assert (first.status, between.status, again.status) == (200, 200, 200)
    assert again.body == first.body
    shown = admin.ask("GET", path.removesuffix("/quota")).body["VM_QUOTA"]
    assert [entry["VMS"] for entry in shown] == ["8"]


def test_a_change_that_changed_nothing_does_not_come_true_later(admin: JsonClient, user: int, key: str) -> None:
    assert admin.ask("POST", f"/users/{user}/enable", {"enable": True}, Idempotency_Key=key).status == 200
    assert admin.ask("POST", f"/users/{user}/enable", {"enable": False}).status == 200
    assert admin.ask("POST", f"/users/{user}/enable", {"enable": True}, Idempotency_Key=key).body == {"id": user}
    assert admin.ask("GET", f"/users/{user}").body["ENABLED"] == 0


def test_a_refusal_is_not_remembered(admin: JsonClient, name: str, key: str) -> None:
    body = {"name": name, "im_mad": "x", "vm_mad": "x", "cluster_id": 99999}
    assert admin.refused(404, "POST", "/hosts", body, Idempotency_Key=key)
    assert admin.ask("POST", "/hosts", body | {"cluster_id": 0}, Idempotency_Key=key).status == 201


def test_a_change_that_rested_on_a_version_is_repeated_although_it_changed_the_version(
    admin: JsonClient, made: dict[str, Any], key: str
) -> None:
    for path in (f"/hosts/{made['hosts']}", f"/groups/{made['groups']}"):
        version = admin.ask("GET", path).headers["etag"]
        for _ in range(2):
            sent = admin.ask("PATCH", f"{path}/template", {"template": {"A": "1"}}, Idempotency_Key=key + path, If_Match=version)
            assert sent.status == 200


def test_repetitions_that_meet_are_answered_alike(admin: JsonClient, name: str, key: str) -> None:
    body = {"type": 0, "template": {"NAME": name}}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: admin.ask("POST", "/documents", body, Idempotency_Key=key), range(8)))
    assert len({answer.body["id"] for answer in answers}) == 1


def test_a_key_in_quotes_is_the_same_key(admin: JsonClient, name: str, key: str) -> None:
    """As the draft of the IETF writes it."""
    first, again = (admin.ask("POST", "/clusters", {"name": name}, Idempotency_Key=sent) for sent in (key, f'"{key}"'))
    assert first.body == again.body


def test_an_outcome_survives_a_restart(zone: Zone, admin: JsonClient, made: dict[str, Any], key: str) -> None:
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/documents", {"type": 0, "template": {"NAME": "x"}}),
        ("POST", "/groups", {"name": f"{made['name']}-x"}),
        ("POST", f"/users/{made['users']}/enable", {"enable": True}),
    ]
    first = [admin.ask(*one, Idempotency_Key=f"{key}-{number}") for number, one in enumerate(asked)]
    zone.kill()
    zone.start()
    again = [admin.ask(*one, Idempotency_Key=f"{key}-{number}") for number, one in enumerate(asked)]
    assert [(one.status, one.body) for one in again] == [(one.status, one.body) for one in first]

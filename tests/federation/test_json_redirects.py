"""The JSON face of a slave: writes go to the master once, versions are the master's, positions can be waited for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import engines
from harness.zones import Federation, federation
from tests.api.json_client import JsonClient

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("json"), 2, settings={"login": {"password_hash": "sha256"}}) as zones:
        yield zones


@pytest.fixture
def master(zones: Federation) -> JsonClient:
    return JsonClient(zones.master.port, zones.secret)


@pytest.fixture
def slave(zones: Federation) -> JsonClient:
    return JsonClient(zones.slaves[0].port, zones.secret)


def test_a_write_through_a_slave_is_readable_there_and_names_its_position(master: JsonClient, slave: JsonClient) -> None:
    made = slave.ask("POST", "/groups", {"name": "through"})
    assert made.status == 201
    position = made.headers["koinon-position"]
    assert slave.ask("GET", f"/groups/{made.body['id']}", Koinon_After=position).body["NAME"] == "through"
    written = master.ask("POST", "/groups", {"name": "at-the-master"})
    shown = slave.ask("GET", f"/groups/{written.body['id']}", Koinon_After=written.headers["koinon-position"])
    assert shown.body["NAME"] == "at-the-master"


def test_a_repetition_in_another_zone_gets_the_first_outcome(master: JsonClient, slave: JsonClient) -> None:
    key = "0123456789-through-any-zone"
    body = {"name": "once", "password": "Secret1"}
    first = slave.ask("POST", "/users", body, Idempotency_Key=key)
    for client in (slave, master, slave):
        again = client.ask("POST", "/users", body, Idempotency_Key=key)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["koinon-position"] == first.headers["koinon-position"]
    assert "used for another request" in slave.refused(422, "POST", "/users", body | {"name": "twice"}, Idempotency_Key=key)
    assert "taken" in slave.refused(409, "POST", "/users", body)


def test_a_secret_outcome_comes_again_through_either_zone_and_lies_open_in_none(
    zones: Federation, master: JsonClient, slave: JsonClient
) -> None:
    key = "0123456789-token-once"
    body = {"username": "oneadmin", "valid": 600}
    tokens = {client.ask("POST", "/login", body, Idempotency_Key=key).body["token"] for client in (slave, master, slave)}
    assert len(tokens) == 1
    token = tokens.pop().encode()
    zones.settled()
    for zone in zones.zones:
        assert token not in engines.values(zone.database, zone.engine)


def test_what_a_zone_has_for_itself_is_changed_once_in_each_zone(master: JsonClient, slave: JsonClient) -> None:
    key = "0123456789-in-each-zone"
    ids = [zone.ask("POST", "/documents", {"type": 0, "template": {"NAME": "x"}}).body["id"] for zone in (master, slave)]
    assert ids[0] == ids[1]
    for zone in (slave, master, slave, master):
        assert zone.ask("DELETE", f"/documents/{ids[0]}", Idempotency_Key=key).status == 200
    for zone in (slave, master):
        assert zone.refused(404, "GET", f"/documents/{ids[0]}")


def test_a_key_is_used_once_for_all_that_a_zone_changes(zones: Federation, master: JsonClient, slave: JsonClient) -> None:
    assert slave.ask("POST", "/clusters", {"name": "keyed"}, Idempotency_Key="0123456789-local-first").status == 201
    assert slave.refused(422, "POST", "/groups", {"name": "keyed"}, Idempotency_Key="0123456789-local-first")
    assert master.ask("POST", "/groups", {"name": "keyed"}, Idempotency_Key="0123456789-shared-first").status == 201
    zones.settled()
    assert slave.refused(422, "POST", "/clusters", {"name": "keyed2"}, Idempotency_Key="0123456789-shared-first")


def test_a_redirected_change_that_changed_nothing_does_not_come_true_later(master: JsonClient, slave: JsonClient) -> None:
    key = "0123456789-nothing-to-do"
    made = master.ask("POST", "/users", {"name": "idle", "password": "Secret1"})
    slave.ask("GET", "/users", Koinon_After=made.headers["koinon-position"])
    path = f"/users/{made.body['id']}/enable"
    assert slave.ask("POST", path, {"enable": True}, Idempotency_Key=key).status == 200
    assert master.ask("POST", path, {"enable": False}).status == 200
    assert slave.ask("POST", path, {"enable": True}, Idempotency_Key=key).status == 200
    assert master.ask("GET", f"/users/{made.body['id']}").body["ENABLED"] == 0


def test_a_version_is_the_same_in_all_zones_and_checked_at_the_master(zones: Federation, master: JsonClient, slave: JsonClient) -> None:
    made = master.ask("POST", "/vdcs", {"template": {"NAME": "versions"}}).body["id"]
    zones.settled()
    first = slave.ask("GET", f"/vdcs/{made}").headers["etag"]
    assert first == master.ask("GET", f"/vdcs/{made}").headers["etag"]
    assert slave.ask("PATCH", f"/vdcs/{made}/template", {"template": {"A": "1"}}, If_Match=first).status == 200
    told = slave.refused(412, "PATCH", f"/vdcs/{made}/template", {"template": {"A": "2"}}, If_Match=first)
    assert "not the version" in told
    assert master.ask("GET", f"/vdcs/{made}").body["TEMPLATE"]["A"] == "1"


def test_a_version_shows_what_its_zone_alone_has_and_still_serves_at_the_master(
    zones: Federation, master: JsonClient, slave: JsonClient
) -> None:
    made = master.ask("POST", "/users", {"name": "limited", "password": "Secret1"}).body["id"]
    zones.settled()
    path = f"/users/{made}"
    assert slave.ask("PATCH", f"{path}/quota", {"quota": {"VM": {"VMS": "1"}}}).status == 200
    here, there = (zone.ask("GET", path).headers["etag"] for zone in (slave, master))
    assert here != there
    assert here.partition("-")[0] == there.partition("-")[0]
    assert slave.ask("GET", path, If_None_Match=here).status == 304
    assert slave.ask("GET", path, If_None_Match=there).status == 200
    changed = slave.ask("PATCH", f"{path}/template", {"template": {"A": "1"}}, If_Match=here)
    assert changed.status == 200
    now = slave.ask("GET", path, If_None_Match=here, Koinon_After=changed.headers["koinon-position"])
    assert now.body["TEMPLATE"]["A"] == "1"
    assert slave.refused(412, "PATCH", f"{path}/quota", {"quota": {"VM": {"VMS": "2"}}}, If_Match=here)


def test_a_refusal_of_the_master_keeps_its_status(slave: JsonClient) -> None:
    assert slave.refused(404, "DELETE", "/users/99999") == "Error getting user [99999]."
    assert slave.refused(409, "POST", "/groups", {"name": "users"})
    assert slave.refused(422, "POST", "/groups", {"name": ""})

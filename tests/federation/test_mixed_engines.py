"""Zones on three engines in one federation: a master on each of them in turn; rows, digests and replies are the same to the byte."""

from __future__ import annotations

import itertools
import json
import time
import xmlrpc.client
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from harness.engines import ENGINES, server
from harness.zones import Federation, Zone, federation, wait_until
from koinon.objects import acl
from koinon.objects.kinds import Kind
from koinon.statements.schema import MAX_BODY_BYTES, SHARED_TABLES
from tests.api.json_client import JsonClient
from tests.database.hard_values import FORBIDDEN, NAMES, TEXTS

pytestmark = pytest.mark.engines("sqlite")  # each test names its engines itself

_numbers = itertools.count(1)
#: What may stand in a template's value and in XML-RPC, which turns CR into LF.
_TEXTS = [text for text in TEXTS if text and "\r" not in text and "]]>" not in text]
#: All that the rules for names allow.
_NAMES = [name for name in NAMES if " " not in name and "\u00a0" not in name and not set(name) & set("&|:\\\";/'#{}$<>%")]


@pytest.fixture(scope="module", params=[ENGINES[at:] + ENGINES[:at] for at in range(3)], ids=lambda engines: f"master-{engines[0]}")
def zones(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    for engine in ENGINES[1:]:
        server(engine)
    settings = {"login": {"password_hash": "sha256"}}
    with federation(tmp_path_factory.mktemp("mixed"), 3, on=request.param, settings=settings) as made:
        yield made


def rows(zone: Zone) -> dict[str, list[tuple[Any, ...]]]:
    """Everything shared, as the zone's own database has it."""
    with zone.by_hand() as database:
        found = {table: database.execute(f"SELECT * FROM {table} ORDER BY oid").fetchall() for table in SHARED_TABLES}
        found["pool_control"] = [
            row
            for row in database.execute("SELECT tablename, last_oid, row_hash FROM pool_control ORDER BY tablename").fetchall()
            if row[0] in SHARED_TABLES
        ]
        log = database.execute("SELECT idx, commit_id, statement FROM federation_log ORDER BY idx").fetchall()
    return found | {"log": log}


def assert_equal(zones: Federation) -> None:
    """Digests, rows, the common part of the logs, and what each zone answers."""
    zones.caller(zones.master).value("one.group.update", 1, f"SEEN={next(_numbers)}", 1)  # after a snapshot a log begins with this
    zones.settled()
    master, *slaves = [rows(zone) for zone in zones.zones]
    for slave in slaves:
        for table in (*SHARED_TABLES, "pool_control"):
            assert slave[table] == master[table], table
        assert slave["log"]
        assert slave["log"] == master["log"][-len(slave["log"]) :]
    for call in ("one.userpool.info", "one.grouppool.info", "one.acl.info", "one.vdcpool.info", "one.zonepool.info"):
        answers = {zones.caller(zone).value(call) for zone in zones.zones}
        assert len(answers) == 1, call


def everywhere(zones: Federation) -> Iterator[Zone]:
    """The zones in turn, without end."""
    return itertools.cycle(zones.zones)


def test_names_that_collations_confuse_are_users_of_their_own(zones: Federation) -> None:
    made: dict[str, int] = {}
    for name, zone in zip(_NAMES, everywhere(zones), strict=False):
        made[name] = zones.caller(zone).value("one.user.allocate", name, "Secret1", "core", [])
    assert len(set(made.values())) == len(_NAMES) > 15
    zones.settled()
    for zone in zones.zones:
        for name in _NAMES:
            assert zone.caller(f"{name}:Secret1").call("one.user.info", -1, False)[0] is True
        refused = zones.caller(zone).call("one.user.allocate", "Bob", "x", "core", [])
        assert refused[0] is False
        assert "taken" in refused[1]
    assert_equal(zones)


def test_hard_texts_are_the_same_in_rows_digests_and_replies(zones: Federation) -> None:
    group = zones.caller(zones.master).value("one.group.allocate", f"hard{next(_numbers)}")
    zones.settled()
    for text, zone in zip(_TEXTS, everywhere(zones), strict=False):
        client = JsonClient(zone.port, zones.secret)
        answer = client.ask("PATCH", f"/groups/{group}/template", {"template": {"HARD": text}})
        assert answer.status == 200, (text, answer)
        # Templates lose the blanks around a value, in all zones alike.
        assert client.ask("GET", f"/groups/{group}").body["TEMPLATE"]["HARD"] == text.strip(" \t\n")
    assert_equal(zones)


def test_rules_with_numbers_at_the_ends_of_64_bits_are_copied(zones: Federation) -> None:
    resource = sum(kind.bit for kind in Kind if kind is not Kind.HOOK) | acl.ALL
    rule = (acl.GROUP | acl.MAX_ID, resource, acl.ALL_RIGHTS, acl.ALL)
    assert resource > 2**55
    oid = zones.caller(zones.slaves[0]).value("one.acl.addrule", *(f"{number:x}" for number in rule))
    zones.settled()
    for zone in zones.zones:
        assert (oid, *rule) in [row[:5] for row in rows(zone)["acl"]]
    assert_equal(zones)


@pytest.mark.parametrize("unit", ["x", "'", "\\", "😀"], ids=["letter", "quote", "backslash", "four-bytes"])
def test_bodies_near_the_limit_go_through_any_zone(zones: Federation, unit: str) -> None:
    name = f"large{next(_numbers)}"
    uid = zones.caller(zones.slaves[1]).value("one.user.allocate", name, "x", "core", [])
    text = unit * ((MAX_BODY_BYTES - 2000) // len(unit.encode()))
    zones.settled()
    body = {"template": {"LARGE": text}}
    assert JsonClient(zones.slaves[0].port, zones.secret).ask("PATCH", f"/users/{uid}/template", body).status == 200
    zones.settled()
    too_long = {"template": {"LARGE": text + unit * (4000 // len(unit.encode()))}}
    said = {JsonClient(zone.port, zones.secret).ask("PATCH", f"/users/{uid}/template", too_long).body["detail"] for zone in zones.zones}
    assert len(said) == 1
    assert_equal(zones)
    zones.caller(zones.slaves[1]).value("one.user.delete", uid)
    zones.settled()


@pytest.mark.parametrize("text", FORBIDDEN, ids=ascii)
def test_what_xml_forbids_is_refused_by_all_zones_in_the_same_words(zones: Federation, text: str) -> None:
    before = zones.settled()["position"]
    said = set()
    for zone in zones.zones:
        client = JsonClient(zone.port, zones.secret)
        answers = [
            client.ask("POST", "/groups", {"name": f"a{text}"}),
            client.ask("PATCH", "/groups/1/template", {"template": {"A": text}}),
            client.ask("POST", "/users", json.dumps({"username": f"u{text}", "password": "x"}).encode()),
        ]
        assert all(400 <= answer.status < 500 for answer in answers), answers
        said.add(tuple((answer.status, answer.body["detail"]) for answer in answers))
        with pytest.raises((xmlrpc.client.Fault, UnicodeEncodeError)):  # the client itself has no way to write a surrogate
            zones.caller(zone).call("one.group.allocate", f"a{text}")
    assert len(said) == 1
    assert zones.settled()["position"] == before


def test_a_slave_of_each_engine_comes_back_by_a_snapshot(zones: Federation) -> None:
    for slave in zones.slaves:
        slave.federation("resync")
    assert_equal(zones)


def test_all_zones_may_be_killed(zones: Federation) -> None:
    for zone in zones.zones:
        zone.kill()
    for zone in zones.zones:
        zone.start()
    zones.settled()
    zones.caller(zones.slaves[0]).value("one.user.allocate", f"after{next(_numbers)}", "x", "core", [])
    assert_equal(zones)


def test_database_servers_may_be_restarted_under_running_zones(zones: Federation) -> None:
    """What is refused meanwhile is refused plainly; afterwards every zone reads, writes and copies again by itself."""
    acknowledged: list[str] = []

    def write(zone: Zone) -> bool:
        name = f"meanwhile{next(_numbers)}"
        reply = zones.caller(zone).call("one.user.allocate", name, "x", "core", [])
        if reply[0]:
            acknowledged.append(name)
            return True
        assert "Traceback" not in reply[1]
        assert "Unexpected" not in reply[1], reply
        return False

    for engine in ENGINES[1:]:
        server(engine).stop()
        try:
            for zone in zones.zones:
                write(zone)
                for call in ("one.userpool.info", "one.acl.info"):
                    reply = zones.caller(zone).call(call)
                    assert (reply[0] is True) == (zone.engine != engine), (zone, reply)
                    assert reply[0] or "can't be reached" in reply[1] or "ended the session" in reply[1], reply
                if zone.engine == engine:
                    told = JsonClient(zone.port, zones.secret).refused(503, "GET", "/groups")
                    assert "Nothing was changed" in told or "ended the session" in told
            time.sleep(1.5)  # background work of every zone fails at least once
        finally:
            server(engine).start()  # other tests go on with it
        for zone in zones.zones:
            wait_until(f"{zone.name} writes again", partial(write, zone))
    assert_equal(zones)
    names = {user.NAME for user in zones.client(zones.slaves[0]).userpool.info().USER}
    assert set(acknowledged) <= names


def test_the_engines_are_those_that_were_asked_for(zones: Federation) -> None:
    kinds = set()
    for zone in zones.zones:
        config = zone.config.read_text()
        kinds.add("postgresql" if "postgresql://" in config else "mariadb" if "mysql://" in config else "sqlite")
    assert kinds == set(ENGINES)

"""Who may do what, zone by zone: rules with a zone, and changes that count in a slave as soon as they are applied there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pyone
import pytest
from pyone.acl import OneAcl

from harness.zones import Federation, Zone, federation

pytestmark = pytest.mark.engines

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("policy"), 3) as made:
        yield made


@pytest.fixture
def admin(zones: Federation) -> Any:
    return zones.client(zones.master)


def _plain_user(admin: Any) -> tuple[int, str]:
    name = f"plain{next(_numbers)}"
    return admin.user.allocate(name, "Secret1", "", []), name


def _seen(zone: Zone, name: str, secret: str = "Secret1") -> set[int]:
    return {user.ID for user in zone.client(name, secret).userpool.info().USER}


def _rule(admin: Any, text: str) -> int:
    return int(admin.acl.addrule(*OneAcl().parse_rule(text)))


def test_a_rule_with_a_zone_counts_there_and_nowhere_else(zones: Federation, admin: Any) -> None:
    """``#USER USER/* USE #ZONE``: everybody in one zone, only oneself in the others."""
    uid, name = _plain_user(admin)
    everybody = {user.ID for user in admin.userpool.info().USER}
    there = zones.slaves[0]
    rule = _rule(admin, f"#{uid} USER/* USE #{there.status()['zone_id']}")
    zones.settled()
    assert [_seen(zone, name) for zone in zones.zones] == [{uid}, everybody, {uid}]
    assert there.client(name, "Secret1").user.info(0).ID == 0
    with pytest.raises(pyone.OneAuthorizationException):
        zones.slaves[1].client(name, "Secret1").user.info(0)
    admin.acl.delrule(rule)
    zones.settled()
    assert [_seen(zone, name) for zone in zones.zones] == [{uid}] * 3


def test_a_right_to_write_that_is_scoped_to_a_zone_counts_for_writes_made_there(zones: Federation, admin: Any) -> None:
    """The master decides with the zone in which the caller stands, or such a rule could never help."""
    uid, name = _plain_user(admin)
    other, _ = _plain_user(admin)
    there, elsewhere = zones.slaves
    _rule(admin, f"#{uid} USER/* MANAGE #{there.status()['zone_id']}")
    zones.settled()
    assert there.client(name, "Secret1").user.update(other, 'FROM="there"', 0) == other
    for zone in (zones.master, elsewhere):
        with pytest.raises(pyone.OneAuthorizationException, match=rf"Not authorized to perform MANAGE USER \[{other}\]"):
            zone.client(name, "Secret1").user.update(other, 'FROM="elsewhere"', 0)
    assert admin.user.info(other).TEMPLATE["FROM"] == "there"


def test_a_changed_password_counts_everywhere_as_soon_as_it_is_applied(zones: Federation, admin: Any) -> None:
    """No session outlives it: every zone has just checked and remembered the old one."""
    uid, name = _plain_user(admin)
    zones.settled()
    for zone in zones.zones:
        assert _seen(zone, name) == {uid}
    zones.slaves[0].client(name, "Secret1").user.passwd(uid, "Secret2")
    zones.settled()
    for zone in zones.zones:
        with pytest.raises(pyone.OneAuthenticationException):
            _seen(zone, name)
        assert _seen(zone, name, "Secret2") == {uid}


def test_a_revoked_token_counts_nowhere_as_soon_as_that_is_applied(zones: Federation, admin: Any) -> None:
    """Made in one zone, used in all, revoked in another."""
    uid, name = _plain_user(admin)
    zones.settled()
    token = zones.slaves[0].client(name, "Secret1").user.login(name, "", 3600, -1)
    zones.settled()
    for zone in zones.zones:
        assert _seen(zone, name, token) == {uid}
    zones.slaves[1].client(name, "Secret1").user.login(name, token, 0, -1)
    zones.settled()
    for zone in zones.zones:
        with pytest.raises(pyone.OneAuthenticationException):
            _seen(zone, name, token)
        assert _seen(zone, name) == {uid}


def test_a_disabled_or_deleted_user_is_out_everywhere(zones: Federation, admin: Any) -> None:
    """Also where the session was remembered."""
    uid, name = _plain_user(admin)
    zones.settled()
    for step in ("disable", "delete"):
        if step == "disable":
            admin.user.enable(uid, False)
        else:
            admin.user.enable(uid, True)
            admin.user.delete(uid)
        zones.settled()
        for zone in zones.zones:
            with pytest.raises(pyone.OneAuthenticationException):
                _seen(zone, name)


def test_a_change_of_group_moves_rights_everywhere(zones: Federation, admin: Any) -> None:
    """A rule for a group follows membership, which every zone derives by itself."""
    group = admin.group.allocate(f"readers{next(_numbers)}")
    uid, name = _plain_user(admin)
    _rule(admin, f"@{group} USER/* USE *")
    zones.settled()
    assert [_seen(zone, name) for zone in zones.zones] == [{uid}] * 3
    admin.user.addgroup(uid, group)
    zones.settled()
    assert all(len(_seen(zone, name)) > 2 for zone in zones.zones)
    admin.user.delgroup(uid, group)
    zones.settled()
    assert [_seen(zone, name) for zone in zones.zones] == [{uid}] * 3


def test_no_secret_stands_in_any_file_of_a_slave(zones: Federation, admin: Any) -> None:
    """A stolen slave gives verifiers, not secrets: neither passwords nor tokens are in its database, log or output."""
    _, name = _plain_user(admin)
    password, changed = f"pw-{name}-in-the-clear", f"pw-{name}-second"
    made = admin.user.allocate(f"{name}-watched", password, "", [])
    zones.settled()
    watched = zones.slaves[0].client(f"{name}-watched", password)
    token = watched.user.login(f"{name}-watched", "", 3600, -1)
    watched.user.passwd(made, changed)
    zones.settled()
    for zone in zones.zones:
        for path in [*zone.state_dir.rglob("*"), zone.log]:
            if path.is_file():
                content = path.read_bytes()
                found = [secret for secret in (password, changed, token) if secret.encode() in content]
                assert not found, f"{path} of {zone.name} holds {found}"

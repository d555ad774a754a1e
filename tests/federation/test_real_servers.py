"""Servers of real zones that act for users, and what belongs to one zone when the user it is about is deleted in another."""

# ruff: noqa: SIM300  pyone names attributes in capitals, which the rule takes for constants

from __future__ import annotations

import base64
import hashlib
import itertools
import stat
import time
from collections.abc import Iterator
from typing import Any

import pyone
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from harness.zones import Federation, Zone, federation

pytestmark = pytest.mark.engines

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("servers"), 2) as made:
        yield made


@pytest.fixture
def admin(zones: Federation) -> Any:
    return zones.client(zones.master)


def _plain_user(zones: Federation, admin: Any) -> tuple[int, str]:
    name = f"plain{next(_numbers)}"
    uid = admin.user.allocate(name, "Secret1", "", [])
    zones.settled()
    return uid, name


def _session(zone: Zone, target: str, *, lives_s: float = 60) -> tuple[str, str]:
    """User and secret as a server of this zone sends them."""
    server, _, password = (zone.state_dir / "serveradmin_auth").read_text().strip().partition(":")
    digest = hashlib.sha256(password.encode()).hexdigest()
    text = f"{server}:{target}:{int(time.time() + lives_s)}".encode()
    missing = 16 - len(text) % 16
    encryptor = Cipher(algorithms.AES256(digest[:32].encode()), modes.CBC(digest[:16].encode())).encryptor()
    token = base64.b64encode(encryptor.update(text + bytes([missing]) * missing) + encryptor.finalize()).decode()
    return server, f"{target}:{token}"


def _act_for(zones: Federation, admin: Any, zone: Zone, value: str) -> None:
    admin.zone.update(zone.status()["zone_id"], f'ACT_FOR="{value}"', 1)
    zones.settled()


def test_a_servers_session_opens_its_own_zone_and_no_other(zones: Federation, admin: Any) -> None:
    uid, name = _plain_user(zones, admin)
    for zone, other in ((zones.zones[0], zones.zones[1]), (zones.zones[1], zones.zones[0])):
        assert stat.S_IMODE((zone.state_dir / "serveradmin_auth").stat().st_mode) == 0o600
        assert zone.client(*_session(zone, name)).user.info(-1).ID == uid
        assert zone.client(*_session(zone, "oneadmin")).user.info(-1).ID == 0
        with pytest.raises(pyone.OneAuthenticationException):
            other.client(*_session(zone, name)).user.info(-1)
        with pytest.raises(pyone.OneAuthenticationException):
            zone.client(*_session(zone, name, lives_s=-5)).user.info(-1)


def test_a_slaves_server_changes_what_its_user_may_once_administrators_let_that_zone(zones: Federation, admin: Any) -> None:
    uid, name = _plain_user(zones, admin)
    branch = zones.slaves[0]
    at_branch = branch.client(*_session(branch, name))
    with pytest.raises(pyone.OneAuthorizationException, match="may not act for its users at the master"):
        at_branch.user.update(uid, 'NOTE="x"', 1)
    _act_for(zones, admin, branch, "YES")
    assert at_branch.user.update(uid, 'NOTE="x"', 1) == uid
    assert at_branch.user.info(-1).TEMPLATE["NOTE"] == "x"
    assert admin.user.info(uid).TEMPLATE["NOTE"] == "x"
    with pytest.raises(pyone.OneAuthorizationException, match="No zone may act for administrators"):
        branch.client(*_session(branch, "oneadmin")).user.update(uid, 'NOTE="y"', 1)
    _act_for(zones, admin, branch, "NO")
    with pytest.raises(pyone.OneAuthorizationException, match="may not act for its users at the master"):
        at_branch.user.update(uid, 'NOTE="y"', 1)


def test_a_user_who_is_disabled_at_the_master_is_acted_for_nowhere(zones: Federation, admin: Any) -> None:
    uid, name = _plain_user(zones, admin)
    sessions = [zone.client(*_session(zone, name)) for zone in zones.zones]
    assert [one.user.info(-1).ID for one in sessions] == [uid, uid]
    admin.user.enable(uid, False)
    zones.settled()
    for one in sessions:
        with pytest.raises(pyone.OneAuthenticationException):
            one.user.info(-1)


def test_quotas_of_a_deleted_user_and_group_vanish_in_every_zone(zones: Federation, admin: Any) -> None:
    uid, _ = _plain_user(zones, admin)
    group = admin.group.allocate(f"group{next(_numbers)}")
    zones.settled()
    for number, zone in enumerate(zones.zones, 1):
        client = zones.client(zone)
        client.user.quota(uid, f"VM=[CPU={number}]")
        client.group.quota(group, f"VM=[CPU={number}]")
        client.group.vlan(group, f"RULE=[ID={number}]")
    for number, zone in enumerate(zones.zones, 1):
        assert zones.client(zone).user.info(uid).VM_QUOTA.VM[0].CPU == str(number)
        assert len(_rows(zone)) == 3
    admin.user.delete(uid)
    admin.group.delete(group)
    zones.settled()
    assert [_rows(zone) for zone in zones.zones] == [[], []]


def test_a_new_copy_of_what_is_shared_leaves_what_is_a_zones_own(zones: Federation, admin: Any) -> None:
    uid, _ = _plain_user(zones, admin)
    slave = zones.slaves[0]
    client = zones.client(slave)
    client.user.quota(uid, "VM=[CPU=7]")
    kept = _rows(slave)
    slave.federation("resync")
    zones.settled()
    assert _rows(slave) == kept != []
    assert client.user.info(uid).VM_QUOTA.VM[0].CPU == "7"


def _rows(zone: Zone) -> list[Any]:
    with zone.by_hand() as connection:
        return [row for table in ("user_quotas", "group_quotas", "group_vlans") for row in connection.execute(f"SELECT * FROM {table}")]

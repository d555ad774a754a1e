"""Sessions of servers for the users behind them: which open what, here and at the master."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from koinon.errors import AuthenticationError, AuthorizationError, InternalError
from koinon.identity import acl, passwords, users, zones
from koinon.identity.login import Login
from koinon.identity.server_sessions import ServerKey
from koinon.objects.acl import Rule
from koinon.objects.template import Template
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN, Site

PASSWORD = "correct-horse"
BRANCH = 100

#: Made with the command line of OpenSSL: ``enc -aes-256-cbc -base64 -A`` with the key and the start that the format prescribes.
MADE_BY_OPENSSL = {
    "serveradmin:ada:4102444800": "zbrYCP0CLA9VNddTKU0EJrvkfQJ8NyoDKiHD7vh63eM=",
    "serveradmin:oneadmin:2000": "twj3EGp9erIl95pqNUvO9X5t10uOCYNMtUxmvsbIJVQ=",
    "other:ada:4102444800": "8zYBEN4EVgLIlwelPntf1bGv9cS+W5akxV/xYc7zp7M=",
}


def sealed(text: str | bytes, password: str = PASSWORD, *, padded: bool = True) -> str:
    """A token as OpenNebula's servers make it."""
    raw = text if isinstance(text, bytes) else text.encode()
    if padded:
        missing = 16 - len(raw) % 16
        raw += bytes([missing]) * missing
    digest = hashlib.sha256(password.encode()).hexdigest()
    encryptor = Cipher(algorithms.AES256(digest[:32].encode()), modes.CBC(digest[:16].encode())).encryptor()
    return base64.b64encode(encryptor.update(raw) + encryptor.finalize()).decode()


def session(target: str, expires: int = 2000, egid: int | None = None, *, server: str = "serveradmin", inside: str = "") -> str:
    scope = "" if egid is None else f"{egid}:"
    return f"{server}:{target}:{scope}{sealed(f'{server}:{inside or target}:{expires}')}"


class Door:
    """A Login of a zone with a server key, and a clock."""

    def __init__(self, site: Site, key: ServerKey | None) -> None:
        self.site = site
        self.now = 1000
        self.hasher = passwords.Hasher()
        self.hasher.typical_s = 0.0
        self.login = Login(site.database, self.hasher, remember_s=300, server_key=key, now_s=lambda: self.now)

    def enter(self, text: str, zone_id: int = 0) -> Caller:
        return self.site.run(self.login.authenticate(text, zone_id))

    def opens(self, text: str) -> Caller | None:
        """The caller; what is remembered must say the same."""
        try:
            caller = self.enter(text)
        except AuthenticationError:
            caller = None
        assert self.site.read(lambda tx: self.login.remembered(text, tx, 0, self.now)) == caller
        return caller


@pytest.fixture
def door(site: Site) -> Door:
    site.add_user("ada")
    return Door(site, ServerKey("serveradmin", PASSWORD))


def test_tokens_of_another_implementation_are_read() -> None:
    key = ServerKey("serveradmin", PASSWORD)
    assert {text: sealed(text) for text in MADE_BY_OPENSSL} == MADE_BY_OPENSSL
    assert key.expiry("ada", MADE_BY_OPENSSL["serveradmin:ada:4102444800"]) == 4102444800
    assert key.expiry("oneadmin", MADE_BY_OPENSSL["serveradmin:oneadmin:2000"]) == 2000
    assert key.expiry("ada", MADE_BY_OPENSSL["other:ada:4102444800"]) is None
    assert key.expiry("ada", MADE_BY_OPENSSL["serveradmin:oneadmin:2000"]) is None
    assert ServerKey("serveradmin", "other").expiry("ada", MADE_BY_OPENSSL["serveradmin:ada:4102444800"]) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A",
        "é",
        "AAAA",
        base64.b64encode(bytes(16)).decode(),
        sealed("serveradmin:ada:2000")[:-4],
        sealed("serveradmin:ada:2000") + "\n",
        sealed("serveradmin:ada:2000") * 40,
        sealed("serveradmin:ada"),
        sealed("serveradmin:ada:"),
        sealed("serveradmin:ada:-1"),
        sealed("serveradmin:ada:1e9"),
        sealed("serveradmin:ada:2000:1"),
        sealed("serveradmin:ada:٣"),
        sealed("SERVERADMIN:ada:2000"),
        sealed(b"serveradmin:ada:\xff"),
        sealed(b"serveradmin:ada:", padded=False),
    ],
)
def test_other_tokens_are_none(token: str) -> None:
    assert ServerKey("serveradmin", PASSWORD).expiry("ada", token) is None


@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_no_text_does_more_than_be_refused(token: str) -> None:
    assert ServerKey("serveradmin", PASSWORD).expiry("ada", token) is None


def test_a_server_enters_as_the_user_behind_it(door: Door) -> None:
    assert door.opens(session("ada")) == Caller(uid=2, gid=1, groups=(1,), name="ada", zone_id=0)
    assert door.opens(session("oneadmin")) == Caller(uid=0, gid=0, groups=(0,), name="oneadmin", zone_id=0)
    assert door.opens(session("serveradmin")) == Caller(uid=1, gid=0, groups=(0,), name="serveradmin", zone_id=0)


def test_users_that_enter_no_other_way_can_be_entered_for(door: Door) -> None:
    door.site.write(lambda tx: users.change_driver(tx, ADMIN, 2, "public", ""))
    assert door.opens(session("ada")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "serveradmin:",
        "serveradmin:ada",
        f"serveradmin:{PASSWORD}",
        "serveradmin:ada:",
        "serveradmin:ada:1:",
        "serveradmin:" + "bb" * 32,
        session("nobody"),
        session(""),
        session("ada", inside="oneadmin"),
        session("ada", server="oneadmin"),
        session("ada", expires=1000),
        session("ada", egid=7),
        session("ada", egid=-1),
        session("ada", egid=0),
        session("oneadmin", egid=1),
        session("ada") + ":x",
        "serveradmin:\ud800:" + sealed("serveradmin:ada:2000"),
    ],
)
def test_nothing_else_opens(door: Door, text: str) -> None:
    assert door.opens(text) is None


def test_a_session_can_be_narrowed_to_a_group_of_the_target(door: Door) -> None:
    lab = door.site.add_group("lab")
    narrowed = session("ada", egid=lab)
    assert door.opens(narrowed) is None
    door.site.write(lambda tx: users.add_group(tx, ADMIN, 2, lab))
    assert door.opens(narrowed) == Caller(uid=2, gid=lab, groups=(lab,), name="ada", zone_id=0)
    door.site.write(lambda tx: users.del_group(tx, ADMIN, 2, lab))
    assert door.opens(narrowed) is None


def test_the_end_of_a_token_is_looked_at_each_time(door: Door) -> None:
    text = session("ada", expires=1500)
    assert door.opens(text) is not None
    door.now = 1499
    assert door.opens(text) is not None
    door.now = 1500
    assert door.opens(text) is None


@pytest.mark.parametrize("uid", [1, 2], ids=["server", "target"])
def test_a_disabled_user_ends_sessions_at_once(door: Door, uid: int) -> None:
    text = session("ada")
    assert door.opens(text) is not None
    door.site.write(lambda tx: users.set_enabled(tx, ADMIN, uid, False))
    assert door.opens(text) is None
    door.site.write(lambda tx: users.set_enabled(tx, ADMIN, uid, True))
    assert door.opens(text) is not None


def test_what_changes_of_the_target_counts_at_once(door: Door) -> None:
    text = session("ada")
    assert door.opens(text) is not None
    lab = door.site.add_group("lab")
    door.site.write(lambda tx: users.change_primary_group(tx, ADMIN, 2, lab))
    assert door.opens(text) == Caller(uid=2, gid=lab, groups=(lab,), name="ada", zone_id=0)
    door.site.write(lambda tx: users.delete(tx, ADMIN, 2))
    assert door.opens(text) is None


def test_the_driver_makes_the_server_not_the_name(door: Door) -> None:
    text = session("ada")
    assert door.opens(text) is not None
    door.site.write(lambda tx: users.change_driver(tx, ADMIN, 1, "core", ""))
    assert door.opens(text) is None


def test_another_user_with_the_drivers_name_is_no_server_of_this_zone(door: Door) -> None:
    door.site.add_user("mallory", driver="server_cipher", verifier=PASSWORD)
    assert door.opens(session("oneadmin", server="mallory")) is None
    assert door.opens(f"mallory:oneadmin:{sealed('serveradmin:oneadmin:2000')}") is None


def test_a_zone_without_a_key_has_no_servers(site: Site) -> None:
    site.add_user("ada")
    assert Door(site, None).opens(session("ada")) is None


# At the master, for a call that another zone has redirected. ----------------------------------------------------------


def add_branch(site: Site, template: str = "") -> None:
    made = Template.parse(f'ENDPOINT="http://b:2633/RPC2" {template}')
    site.become_master()
    assert site.write(lambda tx: zones.add(tx, "branch", made)) == BRANCH


def test_the_master_believes_a_zone_that_may_act_for_its_users(door: Door) -> None:
    """The token is the branch's affair: only its key opens it."""
    add_branch(door.site, 'ACT_FOR="YES"')
    lab = door.site.add_group("lab")
    door.site.write(lambda tx: users.add_group(tx, ADMIN, 2, lab))
    assert door.enter("serveradmin:ada:sealed-elsewhere", BRANCH) == Caller(uid=2, gid=1, groups=(1, lab), name="ada", zone_id=BRANCH)
    narrowed = door.enter(f"serveradmin:ada:{lab}:sealed-elsewhere", BRANCH)
    assert narrowed == Caller(uid=2, gid=lab, groups=(lab,), name="ada", zone_id=BRANCH)


def test_what_a_zone_said_opens_nothing_for_those_who_come_themselves(door: Door) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    door.enter("serveradmin:ada:sealed-elsewhere", BRANCH)
    assert door.opens("serveradmin:ada:sealed-elsewhere") is None


@pytest.mark.parametrize("template", ["", 'ACT_FOR="NO"', 'ACT_FOR="yes"', 'ACT_FOR=[X="YES"]'])
def test_no_other_zone_is_believed_even_with_a_token_of_the_masters(door: Door, template: str) -> None:
    add_branch(door.site, template)
    assert door.opens(session("ada")) is not None
    for zone_id in (BRANCH, 101):
        with pytest.raises(AuthorizationError, match=rf"User \[1\] : Zone {zone_id} may not act for its users at the master"):
            door.enter(session("ada"), zone_id)


def test_leave_to_act_can_be_taken_back(door: Door) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    assert door.enter(session("ada"), BRANCH).uid == 2
    door.site.write(lambda tx: zones.update(tx, ADMIN, BRANCH, 'ENDPOINT="http://b:2633/RPC2"', 0))
    with pytest.raises(AuthorizationError):
        door.enter(session("ada"), BRANCH)


@pytest.mark.parametrize("secret", ["oneadmin:x", "serveradmin:x", "boss:x", "boss:1:x"])
def test_no_zone_acts_for_administrators(door: Door, secret: str) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    door.site.add_user("boss", 1, 0)
    with pytest.raises(AuthorizationError, match="No zone may act for administrators"):
        door.enter(f"serveradmin:{secret}", BRANCH)


@pytest.mark.parametrize("secret", ["nobody:x", ":x", "ada", "ada:7:x", "ada:x:x", "ada:1:2:x", "\ud800:x", "n" * 9999 + ":x"])
def test_a_claim_about_nobody_is_refused(door: Door, secret: str) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    with pytest.raises(AuthenticationError):
        door.enter(f"serveradmin:{secret}", BRANCH)


@pytest.mark.parametrize("uid", [1, 2], ids=["server", "target"])
def test_nobody_is_acted_for_by_or_as_a_disabled_user(door: Door, uid: int) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    door.site.write(lambda tx: users.set_enabled(tx, ADMIN, uid, False))
    with pytest.raises(AuthenticationError):
        door.enter(session("ada"), BRANCH)


def test_only_administrators_let_a_zone_act_for_users(site: Site) -> None:
    add_branch(site, 'ACT_FOR="NO"')
    keeper = site.caller(site.add_user("keeper"))
    manage = Rule.parse(f"#{keeper.uid} ZONE/#{BRANCH} MANAGE *", 0)
    site.write(lambda tx: acl.add_rule(tx, ADMIN, manage))
    create = Rule.parse(f"#{keeper.uid} ZONE/* CREATE *", 0)
    site.write(lambda tx: acl.add_rule(tx, ADMIN, create))
    for update_type in (0, 1):
        with pytest.raises(InternalError, match="ACT_FOR"):
            site.write(lambda tx, how=update_type: zones.update(tx, keeper, BRANCH, 'ACT_FOR="YES"', how))  # type: ignore[misc]  # default
    site.write(lambda tx: zones.update(tx, keeper, BRANCH, 'ENDPOINT="y"', 0))
    assert site.read(lambda tx: zones.find(tx, BRANCH)).template.get("ACT_FOR") == "NO"  # type: ignore[union-attr]  # it is there
    made = site.write(lambda tx: zones.create(tx, keeper, 'NAME="mine" ENDPOINT="z" ACT_FOR="YES"'))
    assert not site.read(lambda tx: zones.acts_for_users(tx, made))


@pytest.mark.parametrize("zone_id", [0, BRANCH], ids=["own zone", "another zone"])
@pytest.mark.parametrize("uid", [1, 2], ids=["server", "target"])
def test_whoever_is_disabled_after_the_log_in_writes_nothing(door: Door, zone_id: int, uid: int) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    assert door.opens(session("ada")) is not None  # at the master the zone's own servers have sessions that read alike
    caller = door.enter(session("ada"), zone_id)
    who = door.login.renewal(session("ada"), caller, None)
    assert door.site.read(who) == caller
    door.site.write(lambda tx: users.set_enabled(tx, ADMIN, uid, False))
    with pytest.raises(AuthenticationError):
        door.site.read(who)


def test_leave_to_act_that_is_taken_back_after_the_log_in_is_gone(door: Door) -> None:
    add_branch(door.site, 'ACT_FOR="YES"')
    who = door.login.renewal(session("ada"), door.enter(session("ada"), BRANCH), None)
    door.site.write(lambda tx: zones.update(tx, ADMIN, BRANCH, 'ENDPOINT="http://b:2633/RPC2"', 0))
    with pytest.raises(AuthorizationError):
        door.site.read(who)


def test_a_token_that_ends_after_the_log_in_writes_nothing_once_anything_changed(door: Door) -> None:
    caller = door.enter(session("ada"))
    seen = door.site.database.state()
    who = door.login.renewal(session("ada"), caller, seen)
    door.now = 3000
    assert door.site.read(who) is caller  # let in in time, and no user is another since
    door.site.add_user("bob")
    with pytest.raises(AuthenticationError):
        door.site.read(who)

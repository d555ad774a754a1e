"""Who gets in, and who does not any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from koinon.errors import AuthenticationError, CloudError
from koinon.identity import login_tokens, passwords, users
from koinon.identity.login import Login
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN, Site


class Hasher(passwords.Hasher):
    """Counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.typical_s = 0.0
        self.checks = 0

    async def verify(self, secret: str, verifier: str, *, always: bool = False) -> bool:
        self.checks += 1
        await asyncio.sleep(0)
        return await super().verify(secret, verifier, always=always)


class Door:
    """A Login with clocks that the test turns."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.now = 1000
        self.monotonic = 0.0
        self.hasher = Hasher()
        self.login = Login(site.database, self.hasher, remember_s=300, now_s=lambda: self.now, monotonic_s=lambda: self.monotonic)

    def opens(self, session: str, zone_id: int = 0) -> Caller | None:
        try:
            return self.site.run(self.login.authenticate(session, zone_id))
        except AuthenticationError:
            return None


@pytest.fixture
def door(site: Site) -> Iterator[Door]:
    site.add_user("ada", verifier=passwords.make("pw", "sha256"))
    door = Door(site)
    yield door
    door.hasher.close()


def test_the_right_password_opens(door: Door) -> None:
    assert door.opens("ada:pw", 7) == Caller(uid=2, gid=1, groups=(1,), name="ada", zone_id=7)


@pytest.mark.parametrize(
    "session", ["", "ada", "ada:", ":pw", "ada:pW", "Ada:pw", "bob:pw", "ada:pw:pw", "ada:\ud800", "\ud800:pw", "x" * 9999 + ":pw"]
)
def test_nothing_else_does(door: Door, session: str) -> None:
    assert door.opens(session) is None


def test_a_password_may_hold_colons(door: Door) -> None:
    door.site.add_user("eve", verifier=passwords.make("a:b:c", "scrypt"))
    assert door.opens("eve:a:b:c") is not None


@pytest.mark.parametrize("driver", ["public", "ldap", "server_cipher", "unheard-of"])
def test_drivers_that_are_not_checked_here_open_nothing(door: Door, driver: str) -> None:
    door.opens("ada:pw")
    door.site.write(lambda tx: users.change_driver(tx, ADMIN, 2, driver, ""))
    assert door.opens("ada:pw") is None


def test_a_right_session_is_hashed_once_while_remembered(door: Door) -> None:
    for zone_id in (0, 0, 7):
        assert door.opens("ada:pw", zone_id) is not None
    assert door.hasher.checks == 1
    door.now += 300
    assert door.opens("ada:pw") is not None
    assert door.hasher.checks == 2


def test_the_first_calls_of_a_client_share_one_check(door: Door) -> None:
    async def together() -> list[Caller]:
        return await asyncio.gather(*(door.login.authenticate("ada:pw", 0) for _ in range(20)))

    assert len(door.site.run(together())) == 20
    assert door.hasher.checks == 1


def test_a_remembered_session_ends_with_its_password(door: Door) -> None:
    assert door.opens("ada:pw") is not None
    door.site.write(lambda tx: users.set_verifier(tx, ADMIN, 2, passwords.make("new", "sha256"), driver="core"))
    assert door.opens("ada:pw") is None
    assert door.opens("ada:new") is not None


def test_a_remembered_session_ends_with_its_user(door: Door) -> None:
    assert door.opens("ada:pw") is not None
    door.site.write(lambda tx: users.set_enabled(tx, ADMIN, 2, False))
    assert door.opens("ada:pw") is None
    door.site.write(lambda tx: users.set_enabled(tx, ADMIN, 2, True))
    assert door.opens("ada:pw") is not None
    door.site.write(lambda tx: users.delete(tx, ADMIN, 2))
    assert door.opens("ada:pw") is None


def test_a_remembered_session_has_the_present_groups(door: Door) -> None:
    lab = door.site.add_group("lab")
    assert door.opens("ada:pw") is not None
    door.site.write(lambda tx: users.add_group(tx, ADMIN, 2, lab))
    caller = door.opens("ada:pw")
    assert caller is not None
    assert caller.groups == (1, lab)
    assert door.hasher.checks == 1


def test_the_remembered_path_needs_no_waiting(door: Door) -> None:
    def remembered(now: int) -> Caller | None:
        return door.site.read(lambda tx: door.login.remembered("ada:pw", tx, 0, now))

    assert remembered(1000) is None
    door.opens("ada:pw")
    first = remembered(1000)
    assert first is not None
    assert remembered(1299) is first
    assert remembered(1300) is None


class TestTokens:
    @staticmethod
    def make(door: Door, valid_s: int, egid: int = -1) -> None:
        door.site.write(lambda tx: login_tokens.request(tx, ADMIN, "ada", "tok", valid_s, egid, generated="", now=door.now, max_token_s=-1))

    def test_the_end_is_looked_at_each_time(self, door: Door) -> None:
        self.make(door, 60)
        assert door.opens("ada:tok") is not None
        door.now += 59
        assert door.opens("ada:tok") is not None
        door.now += 1
        assert door.opens("ada:tok") is None

    def test_a_removed_token_opens_nothing(self, door: Door) -> None:
        self.make(door, -1)
        assert door.opens("ada:tok") is not None
        self.make(door, 0)
        assert door.opens("ada:tok") is None

    def test_a_token_for_one_group_narrows_the_session_and_ends_with_the_membership(self, door: Door) -> None:
        lab = door.site.add_group("lab")
        door.site.write(lambda tx: users.add_group(tx, ADMIN, 2, lab))
        self.make(door, -1, lab)
        for _ in range(2):
            assert door.opens("ada:tok") == Caller(uid=2, gid=lab, groups=(lab,), name="ada", zone_id=0)
        door.site.write(lambda tx: users.del_group(tx, ADMIN, 2, lab))
        assert door.opens("ada:tok") is None

    def test_the_stored_hash_is_no_token(self, door: Door) -> None:
        self.make(door, -1)
        assert door.opens(f"ada:{login_tokens.hash_of('tok')}") is None


class TestGuessing:
    def test_a_guesser_waits_longer_and_longer(self, door: Door) -> None:
        for number in range(5):
            assert door.opens(f"ada:{number}") is None
        assert door.hasher.checks == 5
        assert door.opens("ada:pw") is None  # not even the right one, for a moment
        assert door.hasher.checks == 5
        door.monotonic += 0.5
        assert door.opens("ada:x") is None
        door.monotonic += 0.5
        assert door.opens("ada:pw") is None
        assert door.hasher.checks == 6
        door.monotonic += 0.5
        assert door.opens("ada:pw") is not None
        assert door.opens("ada:wrong") is None
        assert door.hasher.checks == 8  # the right one has wiped the slate

    def test_sessions_that_were_right_are_not_held_up(self, door: Door) -> None:
        assert door.opens("ada:pw") is not None
        for number in range(8):
            assert door.opens(f"ada:{number}") is None
        assert door.opens("ada:pw") is not None
        door.now += 300
        assert door.opens("ada:pw") is not None

    @pytest.mark.parametrize("session", ["nobody:x", "bob:x", "eve:x", "ada:x"])
    @pytest.mark.parametrize("guesses", [1, 8])
    def test_the_time_does_not_tell_which_names_exist(
        self, door: Door, monkeypatch: pytest.MonkeyPatch, session: str, guesses: int
    ) -> None:
        """Also where a check takes no time, as that of a verifier from OpenNebula."""
        door.site.add_user("bob", driver="ldap", verifier="x")
        eve = door.site.add_user("eve", verifier=passwords.make("x", "sha256"))
        door.site.write(lambda tx: users.set_enabled(tx, ADMIN, eve, False))
        waits: list[float] = []
        real = asyncio.sleep

        async def sleep(seconds: float, *_: object) -> None:
            waits.append(seconds)
            await real(0)

        door.hasher.typical_s = 7.0
        monkeypatch.setattr(asyncio, "sleep", sleep)
        for _ in range(guesses):
            assert door.opens(session) is None
        assert [seconds for seconds in waits if seconds] == [7.0] * guesses

    def test_other_names_are_not_held_up(self, door: Door) -> None:
        door.site.add_user("bob", verifier=passwords.make("pw", "sha256"))
        for number in range(8):
            door.opens(f"ada:{number}")
        assert door.opens("bob:pw") is not None

    def test_hanging_up_counts_as_a_guess(self, door: Door) -> None:
        async def hang_up(number: int) -> None:
            attempt = asyncio.create_task(door.login.authenticate(f"ada:{number}", 0))
            await asyncio.sleep(0)
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
            await asyncio.gather(*door.login._checks.values())

        for number in range(5):
            door.site.run(hang_up(number))
        assert door.opens("ada:pw") is None


def test_a_password_changed_while_it_was_checked_opens_nothing(door: Door) -> None:
    verifier = passwords.make("new", "sha256")

    async def race() -> Caller | CloudError:
        attempt = asyncio.create_task(door.login.authenticate("ada:pw", 0))
        await door.site.database.write_shared("test", lambda tx: users.set_verifier(tx, ADMIN, 2, verifier, driver="core"))
        try:
            return await attempt
        except CloudError as error:
            return error

    door.site.write(lambda tx: users.set_verifier(tx, ADMIN, 2, passwords.make("pw", "scrypt"), driver="core"))
    assert isinstance(door.site.run(race()), AuthenticationError)

"""Who gets in over the API, and from which moment on no more: every change is tried with the very next call."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from koinon import clock
from koinon.identity import passwords, users
from tests.api.desk import ACTION, AUTHENTICATION, AUTHORIZATION, ONEADMIN, RPC_API, SECRET, Desk, Failure, session
from tests.identity.site import ADMIN

_numbers = itertools.count(1)


class Person:
    """A user with the password SECRET."""

    def __init__(self, desk: Desk, *gids: int) -> None:
        self.desk = desk
        self.name = f"person{next(_numbers)}"
        self.uid = desk.user(self.name, *gids)
        self.session = session(self.name)

    def token(self, valid_s: int = 600, egid: int = -1, *, token: str = "") -> str:
        """A token of one's own, asked for with the password."""
        return str(self.desk.value(self.session, "one.user.login", self.name, token, valid_s, egid))

    def opens(self, secret: str = SECRET) -> bool:
        return self.desk.opens(f"{self.name}:{secret}")


@pytest.fixture
def ada(desk: Desk) -> Person:
    person = Person(desk)
    assert person.opens()
    return person


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seconds to add to the time of day."""
    ahead = [0]
    real = clock.now_s
    monkeypatch.setattr(clock, "now_s", lambda: real() + ahead[0])
    return ahead


# --- passwords


@pytest.mark.parametrize("by_admin", [True, False])
def test_a_new_password_counts_at_once_and_the_old_one_no_more(ada: Person, by_admin: bool) -> None:
    assert ada.desk.value(ONEADMIN if by_admin else ada.session, "one.user.passwd", ada.uid, "New:pass") == ada.uid
    assert not ada.opens()
    assert ada.opens("New:pass")


def test_a_new_password_ends_all_tokens(ada: Person) -> None:
    tokens = [ada.token(), ada.token(-1), ada.token(600, 1)]
    assert all(ada.opens(token) for token in tokens)
    ada.desk.value(ada.session, "one.user.passwd", ada.uid, "New")
    assert not any(ada.opens(token) for token in tokens)


@pytest.mark.parametrize("password", ["", "a b", "a\tb", "a\nb", "x" * 257, "é" * 129, "a]]>b"])
def test_a_password_that_can_not_be_one_is_refused_and_the_old_one_stays(ada: Person, password: str) -> None:
    for method, arguments in (("one.user.passwd", (ada.uid, password)), ("one.user.chauth", (ada.uid, "core", password))):
        if method == "one.user.chauth" and not password:
            continue  # there it means: as it is
        failure = ada.desk.failure(ONEADMIN, method, *arguments)
        assert (failure.code, failure.text.startswith("Invalid password, ")) == (ACTION, True)
    assert ada.opens()


@pytest.mark.parametrize("password", ["x" * 256, "a:b:c", "<&>\"'", "пароль", "😀" * 64, "***", "-1"])
def test_any_other_password_opens(ada: Person, password: str) -> None:
    ada.desk.as_admin("one.user.passwd", ada.uid, password)
    assert ada.opens(password)
    assert not ada.opens(password + "x")


def test_what_is_stored_for_a_password_opens_nothing(ada: Person) -> None:
    assert not ada.opens(ada.desk.site.user(ada.uid).password)
    assert not ada.opens("***")


# --- users


def test_a_disabled_user_is_out_with_the_next_call_and_back_as_soon(ada: Person) -> None:
    token = ada.token()
    ada.desk.as_admin("one.user.enable", ada.uid, False)
    assert not ada.opens()
    assert not ada.opens(token)
    ada.desk.as_admin("one.user.enable", ada.uid, True)
    assert ada.opens()
    assert ada.opens(token)


def test_a_deleted_user_is_out_and_a_namesake_is_someone_else(ada: Person) -> None:
    token = ada.token()
    ada.desk.as_admin("one.user.delete", ada.uid)
    assert not ada.opens()
    ada.desk.as_admin("one.user.allocate", ada.name, "Other1", "")
    assert not ada.opens()
    assert not ada.opens(token)
    assert ada.opens("Other1")


@pytest.mark.parametrize("driver", ["public", "ldap", "ssh", "x509", "saml", "server_cipher", "server_x509", "unheard-of"])
def test_a_user_of_a_driver_that_is_not_checked_here_gets_in_with_tokens_only(ada: Person, driver: str) -> None:
    token = ada.token()
    ada.desk.as_admin("one.user.chauth", ada.uid, driver, "")
    assert not ada.opens()
    assert ada.opens(token)
    ada.desk.as_admin("one.user.chauth", ada.uid, driver, "Another")
    assert not ada.opens("Another")
    assert not ada.opens(token)
    ada.desk.as_admin("one.user.chauth", ada.uid, "core", "Back1")
    assert ada.opens("Back1")


@pytest.mark.parametrize("driver", ["two words", "a/b", "../x", "a;b", "x" * 65, "é"])
def test_what_can_not_name_a_driver_is_refused(ada: Person, driver: str) -> None:
    assert ada.desk.failure(ONEADMIN, "one.user.chauth", ada.uid, driver, "").code == ACTION
    assert ada.opens()


def test_a_new_group_counts_with_the_next_call(ada: Person) -> None:
    gid = ada.desk.site.add_group(f"{ada.name}s")
    assert ada.desk.failure(ada.session, "one.group.info", gid).code == AUTHORIZATION
    ada.desk.as_admin("one.user.addgroup", ada.uid, gid)
    ada.desk.value(ada.session, "one.group.info", gid)
    ada.desk.as_admin("one.user.delgroup", ada.uid, gid)
    assert ada.desk.failure(ada.session, "one.group.info", gid).code == AUTHORIZATION


def test_a_rule_counts_with_the_next_call(ada: Person) -> None:
    assert ada.desk.failure(ada.session, "one.user.info", 0).code == AUTHORIZATION
    rule = ada.desk.rule(f"#{ada.uid} USER/#0 USE #0")
    ada.desk.value(ada.session, "one.user.info", 0)
    ada.desk.as_admin("one.acl.delrule", rule)
    assert ada.desk.failure(ada.session, "one.user.info", 0).code == AUTHORIZATION


# --- tokens


def test_a_token_opens_until_its_end(ada: Person, clocks: list[int]) -> None:
    token = ada.token(60)
    assert ada.opens(token)
    clocks[0] = 58
    assert ada.opens(token)
    clocks[0] = 61
    assert not ada.opens(token)
    assert ada.opens()


def test_a_token_may_be_chosen(ada: Person) -> None:
    assert ada.token(token="my own:token") == "my own:token"
    assert ada.opens("my own:token")


def test_a_token_that_is_asked_for_again_gets_the_new_end(ada: Person, clocks: list[int]) -> None:
    ada.token(60, token="same")
    ada.token(600, token="same")
    clocks[0] = 100
    assert ada.opens("same")


def test_a_revoked_token_opens_nothing_and_the_others_do(ada: Person) -> None:
    first, second = ada.token(), ada.token()
    assert first != second
    assert ada.token(0, token=first) == first
    assert not ada.opens(first)
    assert ada.opens(second)
    ada.token(0)
    assert not ada.opens(second)
    assert ada.opens()


def test_a_token_can_be_revoked_by_the_form_in_which_it_is_shown(ada: Person) -> None:
    token = ada.token()
    shown = etree.fromstring(ada.desk.value(ada.session, "one.user.info", -1)).findtext("LOGIN_TOKEN/TOKEN")
    assert shown
    assert not ada.opens(shown)
    ada.token(0, token=shown)
    assert not ada.opens(token)


def test_a_token_that_is_none_of_the_users_can_not_be_revoked(ada: Person, desk: Desk) -> None:
    others = Person(desk).token()
    assert desk.failure(ada.session, "one.user.login", ada.name, others, 0, -1) == Failure(RPC_API, f"Could not find token: {others}", -1)


def test_ten_tokens_are_the_most_and_ended_ones_do_not_count(ada: Person, clocks: list[int]) -> None:
    tokens = [ada.token(60) for _ in range(9)] + [ada.token(6000)]
    full = Failure(RPC_API, "Max number of tokens limit reached.", -1)
    assert ada.desk.failure(ada.session, "one.user.login", ada.name, "", 60, -1) == full
    assert all(ada.opens(token) for token in tokens)
    ada.token(60, token=tokens[0])  # an old one again is no eleventh
    clocks[0] = 100
    assert ada.opens(ada.token(60))
    assert len(ada.desk.site.user(ada.uid).tokens) == 2


@pytest.mark.parametrize("valid_s", [-2, -(2**31)])
def test_a_time_that_makes_no_sense_is_refused(ada: Person, valid_s: int) -> None:
    assert ada.desk.failure(ada.session, "one.user.login", ada.name, "", valid_s, -1).code == RPC_API


def test_a_token_that_is_too_long_is_refused(ada: Person) -> None:
    assert ada.desk.failure(ada.session, "one.user.login", ada.name, "x" * 20_000, 60, -1).code == RPC_API


def test_tokens_end_at_the_zones_cap(tmp_path: Path, clocks: list[int]) -> None:
    desk = Desk(tmp_path, max_token_s=100)
    ada = Person(desk)
    tokens = [ada.token(-1), ada.token(10_000)]
    clocks[0] = 98
    assert all(ada.opens(token) for token in tokens)
    clocks[0] = 102
    assert not any(ada.opens(token) for token in tokens)
    desk.close()


def test_a_zone_without_tokens_makes_none_and_lets_them_be_removed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_token_s=0)
    ada = Person(desk)
    assert desk.failure(ada.session, "one.user.login", ada.name, "", 60, -1).code == ACTION
    ada.token(0)
    desk.close()


# --- tokens for one group


@pytest.fixture
def eve(desk: Desk) -> tuple[Person, int]:
    """A user of group 1 and another one."""
    gid = desk.site.add_group(f"lab{next(_numbers)}")
    return Person(desk, 1, gid), gid


def test_a_token_for_one_group_is_that_group_and_no_other(eve: tuple[Person, int]) -> None:
    person, gid = eve
    desk, narrowed = person.desk, f"{person.name}:{person.token(600, gid)}"
    assert f"<ID>{gid}</ID>" in desk.value(narrowed, "one.group.info", -1)
    assert desk.failure(narrowed, "one.group.info", 1).code == AUTHORIZATION
    listed = [node.findtext("ID") for node in etree.fromstring(desk.value(narrowed, "one.grouppool.info")).findall("GROUP")]
    assert listed == [str(gid)]
    rule = desk.rule("@1 USER/#0 USE #0")
    desk.value(person.session, "one.user.info", 0)
    assert desk.failure(narrowed, "one.user.info", 0).code == AUTHORIZATION
    desk.as_admin("one.acl.delrule", rule)


def test_a_token_for_a_group_ends_with_the_membership(eve: tuple[Person, int]) -> None:
    person, gid = eve
    token = person.token(-1, gid)
    person.desk.as_admin("one.user.delgroup", person.uid, gid)
    assert not person.opens(token)
    assert person.opens()


def test_a_narrow_session_makes_no_wider_one(eve: tuple[Person, int]) -> None:
    person, gid = eve
    desk, narrowed = person.desk, f"{person.name}:{person.token(600, gid)}"
    for egid in (-1, 1):
        assert desk.failure(narrowed, "one.user.login", person.name, "", 600, egid).code == RPC_API
    again = desk.value(narrowed, "one.user.login", person.name, "", 600, gid)
    assert desk.failure(f"{person.name}:{again}", "one.group.info", 1).code == AUTHORIZATION


@pytest.mark.parametrize("egid", [0, 9999, -2, -(2**31)])
def test_a_group_that_is_not_the_users_makes_no_token(eve: tuple[Person, int], egid: int) -> None:
    person, _ = eve
    failure = person.desk.failure(person.session, "one.user.login", person.name, "", 600, egid)
    assert (failure.code, failure.text) == (RPC_API, "EGID is not in user group list")


def test_an_administrators_token_for_a_plain_group_is_no_administrators(desk: Desk) -> None:
    person = Person(desk, 0, 1)
    desk.value(person.session, "one.acl.info")
    assert desk.failure(f"{person.name}:{person.token(600, 1)}", "one.acl.info").code == AUTHORIZATION


def test_nobody_makes_a_token_for_somebody_else(ada: Person, desk: Desk) -> None:
    assert desk.failure(ada.session, "one.user.login", "oneadmin", "", 600, -1).code == AUTHORIZATION
    assert ada.opens(desk.as_admin("one.user.login", ada.name, "", 600, -1))


# --- sessions


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "oneadmin", "oneadmin:", f":{SECRET}", f" oneadmin:{SECRET}", f"oneadmin:{SECRET} ", f"oneadmin :{SECRET}",
        f"ONEADMIN:{SECRET}", f"oneadmin:{SECRET}\n", f"oneadmin::{SECRET}", f"0:{SECRET}", "oneadmin:' OR '1'='1", f"oneadmin;--:{SECRET}",
        "x" * 1_000_000, "x" * 1_000_000 + ":y", "oneadmin:" + "y" * 1_000_000, ":" * 100_000, "é" * 65 + ":x", "😀:😀", "oneadmin:\ufffd",
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_session_that_is_not_exactly_right_opens_nothing_and_says_nothing(desk: Desk, text: str) -> None:
    reply = desk.call(text, "one.user.info", 0)
    assert reply == [False, "[one.user.info] User couldn't be authenticated, aborting call.", AUTHENTICATION, -1, -1]


def test_who_asks_comes_before_everything_else(desk: Desk) -> None:
    """Neither unknown ids nor wrong values are told to strangers."""
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("one.user.info", (9999,)),
        ("one.user.update", (0, "A=[", 9)),
        ("one.acl.delrule", (9999,)),
        ("one.zone.enable", (7, True)),
    ]
    for method, arguments in calls:
        assert desk.failure("oneadmin:wrong", method, *arguments).code == AUTHENTICATION


# --- guessing


def test_a_guesser_is_slowed_down_and_a_remembered_session_is_not(desk: Desk) -> None:
    ada = Person(desk)
    assert ada.opens()
    for number in range(20):
        assert not ada.opens(f"guess{number}")
    assert ada.opens(), "who was let in before must not suffer from another's guesses"
    token = ada.token()
    assert ada.opens(token), "nor who comes with a token"


def test_a_guesser_does_not_get_in_with_the_right_password_while_slowed_down(desk: Desk) -> None:
    eve = Person(desk)
    for number in range(6):
        assert not eve.opens(f"guess{number}")
    assert not eve.opens()
    desk.monotonic += 60
    assert eve.opens()


def test_a_slow_hash_is_remembered(tmp_path: Path) -> None:
    """With scrypt each check costs tens of milliseconds: the second call must not pay again."""
    desk = Desk(tmp_path)
    ada = Person(desk)
    verifier = passwords.make("slow", "scrypt")
    desk.site.write(lambda tx: users.set_verifier(tx, ADMIN, ada.uid, verifier, driver="core"))
    assert ada.opens("slow")
    desk.hasher.close()  # from here on nothing can be hashed
    assert ada.opens("slow")
    desk.close()

"""A user who is disabled, leaves a group or loses a token after the log-in, and before the write is made, makes no write."""

from __future__ import annotations

import asyncio
import itertools
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import pytest

from koinon.api.bindings import Bound
from koinon.errors import ActionError
from koinon.wire.xmlrpc import encode_call
from tests.api.desk import AUTHENTICATION, AUTHORIZATION, ONEADMIN, Desk, session

HELD = "one.group.allocate"

_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """Of a user, and of the group that they would make."""
    return f"late{next(_numbers)}"


class Door:
    """Lets ``HELD`` in and keeps it, as by a password that is hashed, until it is opened."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.event = asyncio.Event()

    async def wait(self, _caller: Any, *arguments: Any) -> tuple[Any, ...]:
        self.came.set()
        await self.event.wait()
        return arguments


@pytest.fixture
def door(desk: Desk) -> Iterator[Door]:
    bound, door = desk.bindings[HELD], Door()
    desk.bindings._bound[HELD] = Bound(bound.run, door.wait, bound.in_thread, bound.cleans_up)
    yield door
    desk.bindings._bound[HELD] = bound


def answers(desk: Desk, *calls: bytes) -> list[Any]:
    """The reply arrays of calls that are made at once."""

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(desk.dispatcher.answer, calls))

    return [read(answer.body) for answer in desk.site.run(all_of_them())]


def read(body: bytes) -> Any:
    return xmlrpc.client.loads(body)[0][0]


def meanwhile(desk: Desk, door: Door, caller: str, method: str, *arguments: Any) -> Any:
    """What the held call of ``caller``, named as they are, answers if oneadmin makes another call between its log-in and its write."""

    async def both() -> bytes:
        held = asyncio.ensure_future(desk.dispatcher.answer(encode_call(HELD, [caller, caller.partition(":")[0]])))
        came = asyncio.ensure_future(door.came.wait())
        await asyncio.wait((held, came), return_when=asyncio.FIRST_COMPLETED)
        assert not held.done()
        assert read((await desk.dispatcher.answer(encode_call(method, [ONEADMIN, *arguments]))).body)[0] is True
        door.event.set()
        return (await held).body

    return read(desk.site.run(both()))


def token(desk: Desk, uid: int, name: str, egid: int = -1) -> str:
    return f"{name}:{desk.value(session(name), 'one.user.login', name, '', 3600, egid)}"


@pytest.mark.parametrize("login", ["password", "first log-in", "token"])
@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("one.user.enable", (False,), AUTHENTICATION),
        ("one.user.delete", (), AUTHENTICATION),
        ("one.user.passwd", ("another",), AUTHENTICATION),
        ("one.user.delgroup", (0,), AUTHORIZATION),
    ],
)
def test_a_change_of_the_caller_counts_before_the_write(
    desk: Desk, door: Door, name: str, login: str, method: str, arguments: tuple[Any, ...], code: int
) -> None:
    uid = desk.user(name, 1, 0)
    who = token(desk, uid, name) if login == "token" else session(name)
    if login == "password":
        assert desk.opens(who)
    reply = meanwhile(desk, door, who, method, uid, *arguments)
    assert (reply[0], reply[2]) == (False, code)
    assert f"<NAME>{name}</NAME>" not in desk.as_admin("one.grouppool.info")


def test_a_token_that_was_removed_writes_nothing(desk: Desk, door: Door, name: str) -> None:
    uid = desk.user(name, 1, 0)
    reply = meanwhile(desk, door, token(desk, uid, name), "one.user.login", name, "", 0)
    assert (reply[0], reply[2]) == (False, AUTHENTICATION)


def test_a_token_narrowed_to_a_group_that_its_user_left_writes_nothing(desk: Desk, door: Door, name: str) -> None:
    uid = desk.user(name, 1, 0)
    reply = meanwhile(desk, door, token(desk, uid, name, 0), "one.user.delgroup", uid, 0)
    assert (reply[0], reply[2]) == (False, AUTHENTICATION)


def test_a_group_that_came_meanwhile_counts_too(desk: Desk, door: Door, name: str) -> None:
    uid = desk.user(name)
    assert meanwhile(desk, door, session(name), "one.user.addgroup", uid, 0)[0] is True


def test_what_concerns_others_stops_nobody(desk: Desk, door: Door, name: str) -> None:
    desk.user(name, 0)
    other = desk.user(f"other-{name}")
    assert meanwhile(desk, door, session(name), "one.user.enable", other, False)[0] is True


def test_changes_in_the_same_write_group_count(desk: Desk, name: str) -> None:
    """Both calls are let in at once and written in one transaction, in the order in which they came."""
    uid = desk.user(name, 1, 0)
    assert desk.opens(session(name))
    first, second = answers(
        desk, encode_call("one.user.enable", [ONEADMIN, uid, False]), encode_call("one.group.allocate", [session(name), name])
    )
    assert first[0] is True
    assert (second[0], second[2]) == (False, AUTHENTICATION)


def test_a_failed_change_in_the_same_write_group_does_not_count(desk: Desk, name: str) -> None:
    """Nor is anything of it remembered: the session opens as before."""
    uid = desk.user(name, 0)
    assert desk.opens(session(name))
    bound = desk.bindings["one.user.enable"]

    def fail(*arguments: Any) -> None:
        bound.run(*arguments)
        raise ActionError("no")

    desk.bindings._bound["one.user.enable"] = Bound(fail, bound.prepare, bound.in_thread, bound.cleans_up)
    try:
        first, second = answers(
            desk, encode_call("one.user.enable", [ONEADMIN, uid, False]), encode_call("one.group.allocate", [session(name), name])
        )
    finally:
        desk.bindings._bound["one.user.enable"] = bound
    assert (first[0], second[0]) == (False, True)
    assert desk.opens(session(name))


def test_of_two_changes_with_one_old_password_one_is_made(desk: Desk, name: str) -> None:
    """The other came with a password that was none any more when its turn came."""
    uid = desk.user(name)
    assert desk.opens(session(name))
    replies = answers(desk, *(encode_call("one.user.passwd", [session(name), uid, f"Another{number}"]) for number in range(2)))
    assert sorted(reply[0] for reply in replies) == [False, True]
    assert [desk.opens(f"{name}:Another{number}") for number in range(2)] == [reply[0] for reply in replies]

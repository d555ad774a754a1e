"""What the dispatcher holds whatever the call: every row is bound, a disabled zone answers little, a defect tells nobody anything."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from koinon.api.bindings import Bindings, Bound
from koinon.database.jobs import Request
from koinon.errors import CloudError, InternalError, InvalidError, NotFoundError
from koinon.objects.kinds import Kind
from koinon.wire import xmlrpc
from koinon.wire.calls import CALLS, Call, Runs
from koinon.wire.xmlrpc import Fault, encode_call
from tests.api.desk import ACTION, INTERNAL, ONEADMIN, SECRET, Desk, Failure, session

_numbers = itertools.count(1)

#: arguments of the right types, by type; what they mean does not matter here
ANY: Final[dict[str, Any]] = {"string": "x", "int": 0, "boolean": True, "array<int>": [0]}


def some_arguments(call: Call) -> list[Any]:
    return [ANY[param.type] for param in call.params]


# --- bindings


def test_every_row_has_a_function(desk: Desk) -> None:
    assert desk.bindings.missing() == set()


def test_a_function_for_no_row_or_for_a_row_that_has_one_is_refused(desk: Desk) -> None:
    for name in ("one.user.fly", "one.user.info"):
        with pytest.raises(ValueError, match=name):
            desk.bindings.bind(name, print)
    assert Bindings().missing() == set(CALLS)


# --- a disabled zone


@pytest.fixture
def disabled(desk: Desk) -> Iterator[Desk]:
    desk.as_admin("one.zone.enable", 0, False)
    yield desk
    desk.as_admin("one.zone.enable", 0, True)


@pytest.mark.parametrize("call", [call for call in CALLS.values() if not call.when_disabled], ids=lambda call: call.name)
def test_a_disabled_zone_refuses(disabled: Desk, call: Call) -> None:
    before = disabled.site.database.state().position
    failure = disabled.failure(ONEADMIN, call.name, *some_arguments(call))
    assert failure == Failure(INTERNAL, "Cannot process request, zone disabled", -1)
    assert disabled.site.database.state().position == before


@pytest.mark.parametrize("call", [call for call in CALLS.values() if call.when_disabled and not call.writes], ids=lambda call: call.name)
def test_a_disabled_zone_answers_reads(disabled: Desk, call: Call) -> None:
    """Some refuse these arguments; none for the state of the zone."""
    sent = [ONEADMIN, *some_arguments(call)] if call.authenticates else some_arguments(call)
    assert b"zone disabled" not in disabled.reply(encode_call(call.name, sent))


@pytest.mark.parametrize(
    ("method", "arguments"), [("one.user.info", (0,)), ("one.userpool.info", ()), ("one.zone.info", (0,)), ("one.system.config", ())]
)
def test_what_is_read_in_a_disabled_zone_is_whole(disabled: Desk, method: str, arguments: tuple[int, ...]) -> None:
    assert disabled.as_admin(method, *arguments).startswith("<")


def test_a_disabled_zone_can_be_enabled_again_and_is_what_it_was(desk: Desk) -> None:
    desk.as_admin("one.zone.enable", 0, False)
    assert "<STATE>1</STATE>" in desk.as_admin("one.zone.info", 0)
    desk.as_admin("one.zone.enable", 0, True)
    assert "<STATE>0</STATE>" in desk.as_admin("one.zone.info", 0)
    desk.as_admin("one.group.allocate", "after")


def test_whether_a_session_is_right_is_said_before_that_the_zone_is_disabled(disabled: Desk) -> None:
    assert disabled.failure("oneadmin:wrong", "one.group.allocate", "x").code == 0x100


def test_a_zones_template_can_not_make_it_look_disabled(desk: Desk) -> None:
    """MANAGE on a zone is no right to disable it."""
    desk.as_admin("one.zone.update", 0, 'NOTE="<STATE>1</STATE>" STATE="1"', 1)
    desk.as_admin("one.group.allocate", "still-enabled")


# --- where a call runs


@pytest.fixture
def slave(tmp_path: Path) -> Iterator[Desk]:
    """A slave that has never heard of its master."""
    desk = Desk(tmp_path)
    desk.user("ada")
    desk.site.run(
        desk.site.database.write_zone("test", lambda tx: tx.set_membership(zone_id=100, role="slave", federation_id="f" * 32, epoch=1))
    )
    yield desk
    desk.close()


@pytest.mark.parametrize("call", [call for call in CALLS.values() if call.runs is Runs.MASTER], ids=lambda call: call.name)
def test_without_a_master_shared_writes_fail_at_once_and_say_why(slave: Desk, call: Call) -> None:
    failure = slave.failure(ONEADMIN, call.name, *some_arguments(call))
    assert failure.code == INTERNAL
    assert failure.text.startswith("Could not connect to the federation master oned: no sign of life")
    assert "nothing was changed" in failure.text


def test_without_a_master_reads_and_log_ins_go_on(slave: Desk) -> None:
    assert "<NAME>ada</NAME>" in slave.value(session("ada"), "one.user.info", -1)
    slave.value(ONEADMIN, "one.userpool.info")
    assert not slave.opens("ada:wrong")


def test_a_zone_is_enabled_in_the_zone_itself_only(slave: Desk) -> None:
    assert slave.failure(ONEADMIN, "one.zone.enable", 0, True).code == ACTION


def test_a_halted_zone_says_why_it_refuses_writes(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.halted = "This zone's database is older than what it told others."
    assert desk.failure(ONEADMIN, "one.group.allocate", "x") == Failure(INTERNAL, desk.halted, -1)
    desk.value(ONEADMIN, "one.group.info", 0)
    desk.close()


# --- redirects as the master takes them


def forwarded(desk: Desk, body: bytes, *, origin_zone: int = 100, request_id: str = "") -> Any:
    request = Request(origin_zone, request_id or f"{next(_numbers):032x}", b"h" * 32)
    return desk.site.run(desk.dispatcher.answer_forwarded(body, request))


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.site.become_master()
    desk.user("ada")
    yield desk
    desk.close()


@pytest.mark.parametrize("call", [call for call in CALLS.values() if call.authenticates and not call.writes], ids=lambda call: call.name)
def test_a_read_is_not_taken_from_another_zone(master: Desk, call: Call) -> None:
    with pytest.raises(InternalError, match="is not redirected"):
        forwarded(master, encode_call(call.name, [ONEADMIN, *some_arguments(call)]))


@pytest.mark.parametrize("body", [b"", b"garbage", encode_call("one.group.allocate", [ONEADMIN]), encode_call("one.no.such", [ONEADMIN])])
def test_what_can_not_be_read_is_not_taken_from_another_zone(master: Desk, body: bytes) -> None:
    with pytest.raises(InternalError):
        forwarded(master, body)


def test_the_session_is_checked_again(master: Desk) -> None:
    """A zone vouches for nobody."""
    with pytest.raises(CloudError) as refused:
        forwarded(master, encode_call("one.group.allocate", ["oneadmin:wrong", "x"]))
    assert refused.value.code == 0x100


def test_the_rules_of_the_zone_where_the_caller_came_in_count(master: Desk) -> None:
    master.as_admin("one.zone.allocate", 'NAME="east" ENDPOINT="x"')
    master.rule("#2 GROUP/* CREATE #100")
    body = encode_call("one.group.allocate", [session("ada"), "made"])
    assert master.failure(session("ada"), "one.group.allocate", "made").code == 0x200
    with pytest.raises(CloudError, match="Not authorized"):
        forwarded(master, body, origin_zone=101)
    assert forwarded(master, body, origin_zone=100).value >= 100


def test_versions_go_with_objects_that_have_one(master: Desk) -> None:
    body = encode_call("one.acl.addrule", [ONEADMIN, "100000002", "2d400000000", "1", "100000000"])
    with pytest.raises(InvalidError, match="nothing that has a version"):
        master.site.run(master.dispatcher.answer_forwarded(body, Request(100, "c" * 32, b"h" * 32), '"0"'))


def test_the_same_request_happens_once(master: Desk) -> None:
    body = encode_call("one.group.allocate", [ONEADMIN, "once"])
    first, second = (forwarded(master, body, request_id="a" * 32) for _ in range(2))
    assert (first.value, first.repeated, second.value, second.repeated) == (second.value, False, first.value, True)


def test_a_repeated_change_of_password_is_answered_although_the_session_is_over(master: Desk) -> None:
    body = encode_call("one.user.passwd", [session("ada"), 2, "Another2"])
    assert [forwarded(master, body, request_id="b" * 32).value for _ in range(2)] == [2, 2]
    assert master.opens("ada:Another2")


@pytest.mark.parametrize(
    ("call", "argument", "why"),
    [
        ("enable", True, "Enable/disable mode have to be set"),
        ("addserver", 'SERVER=[NAME="n", ENDPOINT="e"]', "Servers have to be added"),
        ("delserver", 0, "Servers have to be deleted"),
    ],
)
def test_a_zone_is_changed_through_itself_only(master: Desk, call: str, argument: Any, why: str) -> None:
    with pytest.raises(CloudError, match=f"{why} through the target zone endpoints"):
        forwarded(master, encode_call(f"one.zone.{call}", [ONEADMIN, 0, argument]), origin_zone=100)


# --- defects


class Broken:
    """Lets one call's function fail; what it says must reach nobody but the log."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self._desk, self._monkeypatch = desk, monkeypatch

    def fails(self, name: str, error: BaseException, *, preparing: bool = False) -> None:
        def run(*_arguments: Any) -> Any:
            raise error

        async def prepare(*_arguments: Any) -> Any:
            raise error

        self._monkeypatch.setitem(self._desk.bindings._bound, name, Bound(run, prepare if preparing else None))


@pytest.fixture
def broken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Broken:
    return Broken(desk, monkeypatch)


@pytest.mark.parametrize("name", ["one.user.info", "one.userpool.info", "one.group.allocate", "one.user.passwd"])
@pytest.mark.parametrize(
    "error", [RuntimeError("marker at /secret/path line 7"), KeyError("marker"), RecursionError("marker"), MemoryError()]
)
@pytest.mark.parametrize("preparing", [False, True])
def test_a_defect_becomes_an_internal_error_with_an_id(desk: Desk, broken: Broken, name: str, error: Exception, preparing: bool) -> None:
    broken.fails(name, error, preparing=preparing)
    arguments = some_arguments(CALLS[name])
    with structlog.testing.capture_logs() as logged:
        failure = desk.failure(ONEADMIN, name, *arguments)
        again = desk.failure(ONEADMIN, name, *arguments)
    assert failure.code == INTERNAL
    kind = type(error).__name__
    assert failure.text.startswith(f"Unexpected {kind}. The server's log tells more under request ")
    assert "marker" not in failure.text
    ids = [text.rstrip(".").rsplit(" ", 1)[1] for text in (failure.text, again.text)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert [entry["request"] for entry in logged if entry["event"] == "call failed"] == ids
    desk.value(ONEADMIN, "one.system.version")


def test_a_defect_of_a_call_without_a_session_is_answered_too(desk: Desk, broken: Broken) -> None:
    broken.fails("system.listMethods", RuntimeError("marker"))
    raw = desk.reply(encode_call("system.listMethods", []))
    assert b"Unexpected RuntimeError" in raw
    assert b"marker" not in raw


def test_a_failed_write_leaves_nothing_and_holds_up_nobody(desk: Desk, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.site.database.state().position
    original = desk.bindings["one.group.allocate"].run

    def half(tx: Any, caller: Any, name: str) -> int:
        original(tx, caller, name)
        raise RuntimeError("after the insert")

    monkeypatch.setitem(desk.bindings._bound, "one.group.allocate", Bound(half))
    assert desk.failure(ONEADMIN, "one.group.allocate", "half").code == INTERNAL
    assert desk.site.database.state().position == before
    monkeypatch.setitem(desk.bindings._bound, "one.group.allocate", Bound(original))
    desk.as_admin("one.group.allocate", "half")


@pytest.mark.parametrize("error", [NotFoundError(Kind.USER.label, 7), InternalError("plain words", object_id=3), Fault(-501, "not this")])
def test_errors_that_are_meant_pass_as_they_are(desk: Desk, broken: Broken, error: CloudError | Fault) -> None:
    broken.fails("one.user.info", error)
    raw = desk.reply(encode_call("one.user.info", [ONEADMIN, 0]))
    assert error.text.encode() in raw
    assert (b"<fault>" in raw) == isinstance(error, Fault)


def test_calls_made_together_each_get_their_own_answer(desk: Desk) -> None:
    name = f"many{next(_numbers)}"
    uid = desk.user(name)

    async def together() -> list[bytes]:
        bodies = [
            encode_call("one.user.info", [session(name), uid]),
            encode_call("one.user.info", [f"{name}:wrong", uid]),
            encode_call("one.user.update", [session(name), uid, 'N="1"', 1]),
            encode_call("one.user.info", [session(name), 0]),
        ]
        answers = await asyncio.gather(*(desk.dispatcher.answer(body) for body in bodies * 10))
        return [answer.body for answer in answers]

    marks = [b"&lt;NAME&gt;%b" % name.encode(), b"<i4>256</i4>", b"<i4>%d</i4>" % uid, b"<i4>512</i4>"]
    for answer, mark in zip(desk.site.run(together()), marks * 10, strict=True):
        assert mark in answer


def test_a_long_call_is_read_beside_the_loop_and_a_short_one_on_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def decode(body: bytes) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return original(body)

    original = xmlrpc.decode
    monkeypatch.setattr(xmlrpc, "decode", decode)
    for surplus in ("", "x" * 10**6):
        assert desk.value(ONEADMIN, "one.system.version", surplus) == "7.4.0"
    assert threads == [True, False]


# --- secrets


def test_no_log_line_of_any_call_holds_a_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every secret parameter of every row, in calls that succeed, are refused, or break on a defect. At level debug, as the tests run."""
    known = {"username": "logged", "id": desk.user("logged")}
    with structlog.testing.capture_logs() as logged:
        for call in CALLS.values():
            if not any(param.secret for param in call.params):
                continue
            arguments = [f"marker-{param.name}" if param.secret else known.get(param.name, ANY[param.type]) for param in call.params]
            for who in (ONEADMIN, session("logged"), "logged:marker-session", "marker-session"):
                desk.call(who, call.name, *arguments)
            with monkeypatch.context() as patch:
                Broken(desk, patch).fails(call.name, RuntimeError("out of order"))
                desk.call(ONEADMIN, call.name, *arguments)
    assert logged
    assert "marker" not in repr(logged)
    assert SECRET not in repr(logged)
    assert {entry["event"] for entry in logged} >= {"call failed", "call refused", "written"}

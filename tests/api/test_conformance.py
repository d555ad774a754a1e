"""Every row of the table of calls, held to what it says about the call itself: arguments, types, results, unknown objects, slaves.

Made from the rows: a new call gets all of these tests, and one that fits none of them fails until it is said here what it does.
Not here: who may call (test_access.py), disabled zones and slaves without a master (test_dispatch.py), what a call does to the data.
"""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Iterator
from typing import Any, Final

import pytest

from koinon.database.state import Role
from koinon.database.transactions import ZoneTx
from koinon.federation.forwarding import Forwarding, Redirected
from koinon.objects.kinds import Kind
from koinon.statements.commits import Position
from koinon.wire import xmlrpc as wire
from koinon.wire.calls import CALLS, THIS_ZONE, Call, Param, Runs
from koinon.wire.values import I8, WRONG_PARAMETERS
from tests.api.desk import ACTION, AUTHORIZATION, INTERNAL, NO_EXISTS, ONEADMIN, Desk, Failure, session
from tests.api.test_access import BEFORE_RIGHTS, ELSEWHERE, REFUSED_TO_ALL, Scene, oneadmin

ROWS: Final = list(CALLS.values())
NOBODY: Final = 99_999  #: id of no object
#: One value of each type that XML-RPC has; the text must never come back in a fault.
VALUES: Final[dict[str, Any]] = {
    "string": "s3cret",
    "int": 7,
    "i8": I8(7),
    "boolean": True,
    "double": 1.5,
    "array<int>": [1],
    "an array with other values": ["s3cret"],
    "struct": {"s3cret": 1},
    "base64": b"s3cret",
}
PYTHON_TYPE: Final = {"string": str, "int": int, "boolean": bool, "array<string>": list, "array<array<string>>": list}


def by_name(row: Call) -> str:
    return row.name


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Desk]:
    """A master zone that knows another zone, without the rules that let everybody see zones and create documents."""
    desk = Desk(tmp_path_factory.mktemp("conformance"))
    desk.site.become_master()
    assert desk.as_admin("one.zone.allocate", 'NAME="elsewhere" ENDPOINT="http://x:2633/RPC2"') == ELSEWHERE
    for rule in (0, 1):
        desk.as_admin("one.acl.delrule", rule)
    yield desk
    desk.close()


def good(desk: Desk, row: Call) -> list[Any]:
    """What is sent, session included, with which the call succeeds, if it can."""
    scene = Scene(desk, row)
    arguments = scene.arguments(oneadmin(scene))
    return [ONEADMIN, *arguments] if row.authenticates else list(arguments)


def send(desk: Desk, row: Call, sent: list[Any]) -> Any:
    """The reply as it came; raises xmlrpc.client.Fault."""
    values, _ = xmlrpc.client.loads(desk.reply(wire.encode_call(row.name, sent)))
    return values[0]


def result(row: Call, reply: Any) -> Any:
    """What a call that must have succeeded returns; the form of its reply is checked on the way."""
    if not row.authenticates:
        return reply
    assert (reply[0], len(reply), reply[2]) == (True, 3, 0), reply
    return reply[1]


def require_done(row: Call, reply: Any) -> None:
    """Check that a call did what it says, or was refused for the one reason that there is while what it is about can't exist."""
    if row.name not in REFUSED_TO_ALL:
        assert type(result(row, reply)) is PYTHON_TYPE[row.returns]
        return
    code, text = REFUSED_TO_ALL[row.name]
    assert (reply[0], len(reply), reply[2]) == (False, 5, code)
    assert reply[1].startswith(f"[{row.name}] {text.partition('{')[0]}")


def fault(desk: Desk, row: Call, sent: list[Any]) -> str:
    """The text with which a call is refused as malformed, before anything else is looked at."""
    before = desk.site.database.state().position
    with pytest.raises(xmlrpc.client.Fault) as refused:
        send(desk, row, sent)
    assert refused.value.faultCode == WRONG_PARAMETERS
    assert desk.site.database.state().position == before
    return refused.value.faultString


# --- arguments


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_each_required_argument_must_be_sent(desk: Desk, row: Call) -> None:
    required = [param for param in row.signature if not param.optional]
    sent = [VALUES[param.type] for param in required]
    for count, missing in enumerate(required):
        assert fault(desk, row, sent[:count]) == f"Parameter {count} ({missing.name}) is missing: {missing.type} expected."


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_optional_arguments_may_be_left_out_one_by_one(desk: Desk, row: Call) -> None:
    required = sum(not param.optional for param in row.signature)
    for count in range(required, len(row.signature) + 1):
        sent = good(desk, row)
        sent += [_default(param) for param in row.signature[len(sent) :]]
        require_done(row, send(desk, row, sent[:count]))


def _default(param: Param) -> Any:
    return list(param.default) if isinstance(param.default, tuple) else param.default


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_more_arguments_than_a_call_takes_are_ignored(desk: Desk, row: Call) -> None:
    sent = good(desk, row)
    sent += [_default(param) for param in row.signature[len(sent) :]]
    require_done(row, send(desk, row, [*sent, "more", 1, [True]]))


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_an_argument_of_any_other_type_is_refused_and_not_repeated(desk: Desk, row: Call) -> None:
    fitting = [VALUES[param.type] for param in row.signature]
    for position, param in enumerate(row.signature):
        for name, value in VALUES.items():
            if name == param.type:
                continue
            text = fault(desk, row, [*fitting[:position], value, *fitting[position + 1 :]])
            got = name if param.type == "array<int>" else name.replace("array<int>", "array").replace("an array with other values", "array")
            assert text == f"Parameter {position} ({param.name}) has the wrong type: {param.type} expected, got {got}."


# --- unknown objects

#: Parameters that name an object and answer otherwise than with 1024 and the id: code, text, id.
OTHERWISE: Final[dict[tuple[str, str], Failure]] = {
    ("one.acl.delrule", "id"): Failure(INTERNAL, f"Rule {NOBODY} does not exist", NOBODY),
    ("one.user.login", "username"): Failure(NO_EXISTS, "Error getting user Pool.", -1),
    ("one.zone.delserver", "server_id"): Failure(ACTION, "SERVER not found in zone", -1),
    **{(row.name, row.params[0].name): Failure(ACTION, row.elsewhere, -1) for row in ROWS if row.elsewhere},
}
#: What is taken out of a VDC may be gone already, and so may its zone: that it is not in the VDC is all there is to say.
NOT_ASSIGNED: Final = re.compile(r"one\.vdc\.del(cluster|host|datastore|vnet)")
#: VDCs may name what other zones have; nobody keeps datastores and networks yet, so that one is unknown can't be known.
NOT_KEPT: Final = re.compile(r"one\.vdc\.add(datastore|vnet) (datastore|vnet)_id")
#: Bounds of lists, and a server that OpenNebula does not look for either: there is nothing to be done to it.
NO_OBJECTS: Final = {
    "one.documentpool.info start_id", "one.documentpool.info end_id", "one.zone.resetserver server_id",
}  # fmt: skip
NAMES_AN_OBJECT: Final = re.compile(r"id|uid|gid|user|group_ids|\w+_id")


def naming() -> list[tuple[Call, Param]]:
    """Rows with each parameter that names an object: what the needs say, and ids by their name."""
    return [
        (row, param)
        for row in ROWS
        for param in row.params
        if param.name in {need.param for need in row.needs}
        or (param.type in ("int", "array<int>") and NAMES_AN_OBJECT.fullmatch(param.name) and f"{row.name} {param.name}" not in NO_OBJECTS)
    ]


@pytest.mark.engines
@pytest.mark.parametrize(("row", "param"), naming(), ids=[f"{row.name}-{param.name}" for row, param in naming()])
def test_an_unknown_object_is_named_by_code_text_and_id(desk: Desk, row: Call, param: Param) -> None:
    position = row.signature.index(param)
    sent = good(desk, row)
    sent += [_default(param) for param in row.signature[len(sent) :]]
    sent[position] = {"array<int>": [NOBODY], "string": "nobody-here"}.get(param.type, NOBODY)
    before = desk.site.database.state().position
    if NOT_KEPT.fullmatch(f"{row.name} {param.name}"):
        assert desk.call(*sent[:1], row.name, *sent[1:])[0] is True
        return
    failure = desk.failure(ONEADMIN, row.name, *sent[1:])
    assert failure == expected(row, param, sent)
    assert desk.site.database.state().position == before


def expected(row: Call, param: Param, sent: list[Any]) -> Failure:
    if (row.name, param.name) in OTHERWISE:
        return OTHERWISE[row.name, param.name]
    if (row.name, param.name) == ("one.vdc.delgroup", "group_id"):
        return Failure(INTERNAL, f"Group {NOBODY} is not assigned to the VDC {sent[1]}", -1)
    if NOT_ASSIGNED.fullmatch(row.name) and param.name != "id":
        kind = row.params[2].name.removesuffix("_id").upper().removeprefix("V")
        return Failure(INTERNAL, f"{kind} {sent[3]} from Zone {sent[2]} is not assigned to the VDC ", -1)
    return Failure(NO_EXISTS, f"Error getting {_label(row, param)} [{NOBODY}].", NOBODY)


def _label(row: Call, param: Param) -> str:
    """What texts call the kind of object that a parameter names."""
    for need in row.needs:
        if need.param == param.name:
            return need.kind.label
    words = {"uid": "USER", "gid": "GROUP", "group_ids": "GROUP", "user": "USER"}
    return Kind[words.get(param.name) or param.name.removesuffix("_id").upper()].label


def test_every_call_with_a_need_on_an_object_names_that_object() -> None:
    """So that no call escapes the test above."""
    named = {(row.name, param.name) for row, param in naming()}
    assert {(row.name, need.param) for row in ROWS for need in row.needs if need.param not in (None, THIS_ZONE)} <= named
    assert OTHERWISE.keys() <= named


# --- refusals for lack of rights


ASKING: Final = [row for row in ROWS if row.needs and not any(need.filters for need in row.needs) and row.name not in BEFORE_RIGHTS]


@pytest.mark.engines
@pytest.mark.parametrize("row", ASKING, ids=by_name)
def test_a_refusal_for_lack_of_rights_names_right_kind_and_caller_and_changes_nothing(desk: Desk, row: Call) -> None:
    """The texts of each need are proven in test_access.py; here, that they come in the form that clients parse."""
    scene = Scene(desk, row)
    arguments = scene.arguments(oneadmin(scene))
    uid = desk.user(scene.name("plain"))
    before = desk.site.database.state().position
    failure = desk.failure(session(scene.name("plain")), row.name, *arguments)
    assert failure.code == AUTHORIZATION
    missing = r"Not authorized to perform (USE|MANAGE|ADMIN|CREATE) [A-Z]+( \[\d+\])?"
    assert re.fullmatch(rf"User \[{uid}\] : {missing}(; {missing})*\.", failure.text)
    assert failure.object_id == -1
    assert desk.site.database.state().position == before


# --- on a slave


class Master:
    """Stands at the end of the way to the master: it keeps what was sent and answers all of it alike."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: int | str) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.answer = answer

        async def redirect(_self: Forwarding, method: str, body: bytes, *_more: Any, **_named: Any) -> Redirected:
            self.sent.append((method, body))
            return Redirected(self.answer, Position(1, 1), readable=True)

        monkeypatch.setattr(Forwarding, "redirect", redirect)


@pytest.fixture
def slave(desk: Desk) -> Iterator[Desk]:
    """The same zone; it is a master again after the test."""
    yield desk
    become(desk, "master")


def become(desk: Desk, role: Role) -> None:
    def job(tx: ZoneTx) -> None:
        tx.set_membership(zone_id=0, role=role, federation_id="f" * 32, epoch=1)

    desk.site.run(desk.site.database.write_zone("test", job))


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_a_slave_hands_shared_writes_to_the_master_as_they_came_and_does_all_else_itself(
    slave: Desk, row: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the master's answer for a reply; what is done here needs no master, and writes nothing shared."""
    body = wire.encode_call(row.name, good(slave, row))
    become(slave, "slave")
    master = Master(monkeypatch, "token" if row.returns == "string" else 123)
    before = slave.site.database.state().position
    values, _ = xmlrpc.client.loads(slave.reply(body))
    if row.runs is Runs.LOCAL:
        assert master.sent == []
        require_done(row, values[0])
    else:
        assert master.sent == [(row.name, body)]
        assert result(row, values[0]) == master.answer
    assert slave.site.database.state().position == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.runs is not Runs.LOCAL], ids=by_name)
def test_a_slave_refuses_malformed_calls_and_strangers_itself(slave: Desk, row: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master need not hear of them."""
    sent = good(slave, row)
    become(slave, "slave")
    master = Master(monkeypatch, 0)
    malformed = wire.encode_call(row.name, [sent[0], {"x": 1}, *sent[2:]])
    with pytest.raises(xmlrpc.client.Fault, match="wrong type"):
        xmlrpc.client.loads(slave.reply(malformed))
    assert send(slave, row, ["nobody:here", *sent[1:]])[:3] == [
        False,
        f"[{row.name}] User couldn't be authenticated, aborting call.",
        0x100,
    ]
    assert master.sent == []


@pytest.mark.parametrize("row", [row for row in ROWS if row.runs is not Runs.LOCAL], ids=by_name)
def test_a_slave_without_a_master_refuses_shared_writes_that_are_in_order(slave: Desk, row: Call) -> None:
    """The very call that succeeds on the master: whoever asked knows at once that nothing happened, and may ask again."""
    sent = good(slave, row)
    become(slave, "slave")
    before = slave.site.database.state().position
    failure = slave.failure(sent[0], row.name, *sent[1:])
    assert (failure.code, failure.object_id) == (INTERNAL, -1)
    assert failure.text.startswith("Could not connect to the federation master oned: no sign of life")
    assert slave.site.database.state().position == before

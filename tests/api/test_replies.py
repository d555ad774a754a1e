"""What calls answer: the form of reply arrays, OpenNebula's texts to the letter, its documents and its order of lists."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from lxml import etree

from koinon.objects.acl import Rule
from koinon.settings import ServerSettings
from koinon.wire.xmlrpc import encode_call
from tests.api.desk import ACTION, ALLOCATE, INTERNAL, NO_EXISTS, ONEADMIN, RPC_API, SECRET, Desk, Failure, session
from tests.xsd.schemas import validate

_numbers = itertools.count(1)


def fresh(prefix: str = "name") -> str:
    return f"{prefix}{next(_numbers)}"


@pytest.fixture
def ada(desk: Desk) -> tuple[int, str]:
    """A plain user: id and session."""
    name = fresh("ada")
    return desk.user(name), session(name)


def document(desk: Desk, who: str, method: str, *arguments: Any) -> etree._Element:
    """What a call returns, after it passed its schema."""
    text = desk.value(who, method, *arguments)
    validate(text)
    return etree.fromstring(text)


def ids(pool: etree._Element, tag: str) -> list[int]:
    return [int(node.findtext("ID", "")) for node in pool.findall(tag)]


# --- form


@pytest.mark.parametrize(
    ("method", "arguments", "kind"),
    [
        ("one.user.info", (0,), str),
        ("one.userpool.info", (), str),
        ("one.system.version", (), str),
        ("one.user.update", (0, 'NOTE="x"', 1), int),
    ],
)
def test_a_success_has_three_elements(desk: Desk, method: str, arguments: tuple[Any, ...], kind: type) -> None:
    reply = desk.call(ONEADMIN, method, *arguments)
    assert [type(item) for item in reply] == [bool, kind, int]
    assert (reply[0], reply[2]) == (True, 0)


def test_a_failure_has_five_elements_the_last_an_i8(desk: Desk) -> None:
    raw = desk.reply(encode_call("one.user.info", [ONEADMIN, 99]))
    assert raw.count(b"<value>") == 6  # the array and its elements
    assert b"<value><i4>1024</i4></value>\r\n<value><i4>99</i4></value>\r\n<value><i8>-1</i8></value>" in raw
    assert desk.call(ONEADMIN, "one.user.info", 99) == [False, "[one.user.info] Error getting user [99].", 1024, 99, -1]


# --- texts


REFUSALS: Final[dict[str, tuple[tuple[Any, ...], Failure]]] = {
    "unknown user": (("one.user.info", 99), Failure(NO_EXISTS, "Error getting user [99].", 99)),
    "unknown user to delete": (("one.user.delete", 99), Failure(NO_EXISTS, "Error getting user [99].", 99)),
    "negative id": (("one.user.info", -2), Failure(NO_EXISTS, "Error getting user Pool.", -2)),
    "nobody's name": (("one.user.login", "nobody", "", 60, -1), Failure(NO_EXISTS, "Error getting user Pool.", -1)),
    "unknown group": (("one.group.info", 99), Failure(NO_EXISTS, "Error getting group [99].", 99)),
    "unknown group to join": (("one.user.addgroup", 1, 99), Failure(NO_EXISTS, "Error getting group [99].", 99)),
    "unknown group to move to": (("one.user.chgrp", 1, 99), Failure(NO_EXISTS, "Error getting group [99].", 99)),
    "unknown group to create in": (("one.user.allocate", "x", SECRET, "", [99]), Failure(NO_EXISTS, "Error getting group [99].", 99)),
    "unknown zone": (("one.zone.info", 99), Failure(NO_EXISTS, "Error getting zone [99].", 99)),
    "unknown zone to update": (("one.zone.update", 99, "A=1", 0), Failure(NO_EXISTS, "Error getting zone [99].", 99)),
    "unknown zone to rename": (("one.zone.rename", 99, "x"), Failure(NO_EXISTS, "Error getting zone [99].", 99)),
    "system group": (
        ("one.group.delete", 1),
        Failure(ACTION, "Cannot delete group. System Groups (ID < 100) cannot be deleted.", 1),
    ),
    "system zone": (("one.zone.delete", 0), Failure(ACTION, "Cannot delete zone. System Zones (ID < 100) cannot be deleted.", 0)),
    "user 0": (("one.user.delete", 0), Failure(ACTION, "Cannot delete user. oneadmin cannot be deleted.", 0)),
    "user 0 disabled": (("one.user.enable", 0, False), Failure(ACTION, "Cannot enable/disable oneadmin user", 0)),
    "taken user": (("one.user.allocate", "serveradmin", SECRET, ""), Failure(INTERNAL, "NAME is already taken by USER 1.", -1)),
    "taken group": (("one.group.allocate", "users"), Failure(INTERNAL, "NAME is already taken by GROUP 1.", -1)),
    "empty name": (("one.user.allocate", "", SECRET, ""), Failure(INTERNAL, "Invalid NAME, it cannot be empty", -1)),
    "blank in a name": (("one.user.allocate", "a b", SECRET, ""), Failure(INTERNAL, "Invalid NAME, character ' ' is not allowed", -1)),
    "update type": (("one.user.update", 1, "A=1", 2), Failure(RPC_API, "Wrong update type", -1)),
    "group's update type": (("one.group.update", 1, "A=1", -1), Failure(RPC_API, "Wrong update type", -1)),
    "no rule": (("one.acl.delrule", 9999), Failure(INTERNAL, "Rule 9999 does not exist", 9999)),
    "rule twice": (
        ("one.acl.addrule", "400000000", "800400000000", "1", "400000000"),
        Failure(INTERNAL, "Rule * ZONE/* USE * already exists", -1),
    ),
    "zones of a standalone zone": (
        ("one.zone.allocate", 'NAME="x" ENDPOINT="y"'),
        Failure(ALLOCATE, "Error allocating a new zone. New zones can only be created at federation master", -1),
    ),
    "not a member": (("one.user.delgroup", 1, 1), Failure(ACTION, "User is not part of this group", 1)),
    "primary group": (("one.user.delgroup", 1, 0), Failure(ACTION, "Cannot remove user from the primary group", 1)),
    "member already": (("one.user.addgroup", 1, 0), Failure(ACTION, "User is already in this group", 1)),
    "user 0 moved": (
        ("one.user.chgrp", 0, 1),
        Failure(INTERNAL, "user [0] oneadmin cannot be moved outside of the group [0] oneadmin", 0),
    ),
    "server of another zone added": (
        ("one.zone.addserver", 5, 'SERVER=[NAME="n", ENDPOINT="e"]'),
        Failure(ACTION, "Servers have to be added through the target zone endpoints", -1),
    ),
    "server of another zone removed": (
        ("one.zone.delserver", 5, 0),
        Failure(ACTION, "Servers have to be deleted through the target zone endpoints", -1),
    ),
    "server of another zone reset": (
        ("one.zone.resetserver", 5, 0),
        Failure(ACTION, "Servers have to be deleted through the target zone endpoints", -1),
    ),
    "no server": (("one.zone.delserver", 0, 5), Failure(ACTION, "SERVER not found in zone", -1)),
    "nameless server": (("one.zone.addserver", 0, 'SERVER=[ENDPOINT="e"]'), Failure(ACTION, "Missing NAME in SERVER", -1)),
    "another zone enabled": (
        ("one.zone.enable", 5, True),
        Failure(ACTION, "Enable/disable mode have to be set through the target zone endpoints", -1),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_opennebula_says(desk: Desk, case: str) -> None:
    (method, *arguments), wanted = REFUSALS[case]
    assert desk.failure(ONEADMIN, method, *arguments) == wanted


def test_refusals_of_access_say_what_opennebula_says(desk: Desk, ada: tuple[int, str]) -> None:
    uid, who = ada
    calls: list[tuple[str, tuple[Any, ...], str]] = [
        ("one.user.info", (0,), "USE USER [0]"),
        ("one.acl.info", (), "MANAGE ACL"),
        ("one.user.allocate", ("x", SECRET, ""), "CREATE USER"),
        ("one.group.allocate", ("x",), "CREATE GROUP"),
        ("one.group.delete", (1,), "ADMIN GROUP [1]"),
        ("one.zone.raftstatus", (), "ADMIN ZONE [0]"),
        ("one.user.addgroup", (0, 1), "MANAGE USER [0]; Not authorized to perform MANAGE GROUP [1]"),
    ]
    for method, arguments, detail in calls:
        failure = desk.failure(who, method, *arguments)
        assert (failure.code, failure.text) == (0x200, f"User [{uid}] : Not authorized to perform {detail}.")


def test_what_exists_is_said_before_what_is_allowed(desk: Desk, ada: tuple[int, str]) -> None:
    """As OpenNebula: ids are no secret."""
    assert desk.failure(ada[1], "one.user.info", 9999).code == NO_EXISTS
    assert desk.failure(ada[1], "one.group.delete", 9999).code == NO_EXISTS


def test_whether_one_may_is_said_before_whether_the_password_will_do(desk: Desk, ada: tuple[int, str]) -> None:
    """And no hash is made for those who may not."""
    assert desk.failure(ada[1], "one.user.allocate", "x", "", "").code == 0x200
    assert desk.failure(ada[1], "one.user.allocate", "x", "a b", "", [0]).text.count("Not authorized") == 2
    assert desk.failure(ada[1], "one.user.chauth", 0, "core", "a b").code == 0x200
    assert desk.failure(ada[1], "one.user.passwd", 0, "a b").code == 0x200
    assert desk.failure(ONEADMIN, "one.user.allocate", fresh(), "", "").text == "Invalid password, it cannot be empty."


def test_a_failed_call_changes_nothing(desk: Desk) -> None:
    before = desk.site.database.state().position
    for (method, *arguments), _ in REFUSALS.values():
        desk.failure(ONEADMIN, method, *arguments)
    assert desk.site.database.state().position == before


def test_a_failed_allocation_costs_no_id(desk: Desk) -> None:
    first = desk.as_admin("one.user.allocate", fresh(), SECRET, "")
    for _ in range(3):
        desk.failure(ONEADMIN, "one.user.allocate", "serveradmin", SECRET, "")
    assert desk.as_admin("one.user.allocate", fresh(), SECRET, "") == first + 1


def test_text_of_the_caller_in_an_error_stays_readable(desk: Desk) -> None:
    """Names may hold anything, and come back in a reply that must stay well-formed."""
    for character in "<>&":
        wanted = f"Invalid NAME, char '{character}' is not allowed"
        assert desk.failure(ONEADMIN, "one.group.allocate", character).text == wanted
        assert desk.failure(ONEADMIN, "one.zone.rename", 0, character).text == wanted
    token = "<&]]>\r\n\t日本"
    assert desk.failure(ONEADMIN, "one.user.login", "oneadmin", token, 0, -1).text == f"Could not find token: {token}"


# --- ids that mean the caller


def test_minus_one_is_the_caller(desk: Desk, ada: tuple[int, str]) -> None:
    uid, who = ada
    assert document(desk, who, "one.user.info", -1).findtext("ID") == str(uid)
    assert document(desk, ONEADMIN, "one.user.info", -1).findtext("ID") == "0"


def test_minus_one_is_the_primary_group_of_the_session(desk: Desk) -> None:
    name, gid = fresh("bob"), desk.site.add_group(fresh("lab"))
    desk.user(name, 1, gid)
    assert document(desk, session(name), "one.group.info", -1).findtext("ID") == "1"
    token = desk.value(session(name), "one.user.login", name, "", 60, gid)
    assert document(desk, f"{name}:{token}", "one.group.info", -1).findtext("ID") == str(gid)


@pytest.mark.parametrize("method", ["one.user.delete", "one.group.delete", "one.zone.info"])
def test_minus_one_means_nothing_elsewhere(desk: Desk, method: str) -> None:
    failure = desk.failure(ONEADMIN, method, -1)
    assert (failure.code, failure.object_id) == (NO_EXISTS, -1)
    assert failure.text.endswith(" Pool.")


@pytest.mark.parametrize("oid", [2**31 - 1, -(2**31)])
def test_the_largest_ids_are_merely_unknown(desk: Desk, oid: int) -> None:
    for method in ("one.user.info", "one.group.info", "one.zone.info", "one.user.delete"):
        assert desk.failure(ONEADMIN, method, oid).code == NO_EXISTS


@pytest.mark.parametrize("decrypt", [True, False])
def test_decrypt_changes_nothing_where_nothing_is_encrypted(desk: Desk, decrypt: bool) -> None:
    for method in ("one.user.info", "one.group.info", "one.zone.info"):
        assert desk.value(ONEADMIN, method, 0, decrypt) == desk.value(ONEADMIN, method, 0)


# --- documents


def test_a_user_as_shown(desk: Desk) -> None:
    name, gid = fresh("eve"), desk.site.add_group(fresh("lab"))
    uid = desk.as_admin("one.user.allocate", name, "Pass-W0rd", "", [gid, 1])
    desk.as_admin("one.user.update", uid, 'NOTE="<&]] >" VEC=[A="1", B="2"]', 1)
    token = desk.as_admin("one.user.login", name, "", 60, -1)
    root = document(desk, ONEADMIN, "one.user.info", uid)
    assert [node.tag for node in root] == [
        "ID", "GID", "GROUPS", "GNAME", "NAME", "PASSWORD", "AUTH_DRIVER", "ENABLED", "LOGIN_TOKEN", "TEMPLATE",
        "DATASTORE_QUOTA", "NETWORK_QUOTA", "VM_QUOTA", "IMAGE_QUOTA", "DEFAULT_USER_QUOTAS",
    ]  # fmt: skip
    assert (root.findtext("GID"), [node.text for node in root.findall("GROUPS/ID")]) == (str(gid), ["1", str(gid)])
    assert (root.findtext("PASSWORD"), root.findtext("AUTH_DRIVER"), root.findtext("ENABLED")) == ("***", "core", "1")
    assert (root.findtext("TEMPLATE/NOTE"), root.findtext("TEMPLATE/VEC/B")) == ("<&]] >", "2")
    text = etree.tostring(root).decode()
    assert token not in text
    assert "Pass-W0rd" not in text


def test_a_group_as_shown(desk: Desk) -> None:
    gid = desk.as_admin("one.group.allocate", fresh("lab"))
    uid = desk.user(fresh("eve"), gid)
    desk.as_admin("one.group.addadmin", gid, uid)
    root = document(desk, ONEADMIN, "one.group.info", gid)
    assert [node.tag for node in root][:5] == ["ID", "NAME", "TEMPLATE", "USERS", "ADMINS"]
    assert [[node.text for node in root.findall(f"{tag}/ID")] for tag in ("USERS", "ADMINS")] == [[str(uid)], [str(uid)]]


@pytest.mark.parametrize(
    "method", ["one.userpool.info", "one.grouppool.info", "one.zonepool.info", "one.acl.info", "one.zone.raftstatus", "one.system.config"]
)
def test_documents_pass_opennebulas_schemas(desk: Desk, method: str) -> None:
    desk.user(fresh("Ünï-"))
    document(desk, ONEADMIN, method)


def test_lists_have_quotas_beside_and_defaults_at_the_end(desk: Desk) -> None:
    users = [node.tag for node in document(desk, ONEADMIN, "one.userpool.info")]
    assert users[:2] == ["USER", "QUOTAS"]
    assert users[-1] == "DEFAULT_USER_QUOTAS"
    groups = [node.tag for node in document(desk, ONEADMIN, "one.grouppool.info")]
    assert groups[:3] == ["GROUP", "QUOTAS", "VLAN_RULES"]
    assert groups[-1] == "DEFAULT_GROUP_QUOTAS"


def test_a_rule_as_shown(desk: Desk) -> None:
    oid = desk.rule("@1 VM+NET/@5 USE+MANAGE #0")
    shown = next(node for node in document(desk, ONEADMIN, "one.acl.info").findall("ACL") if node.findtext("ID") == str(oid))
    assert [(node.tag, node.text) for node in shown] == [
        ("ID", str(oid)),
        ("USER", "200000001"),
        ("RESOURCE", "5200000005"),
        ("RIGHTS", "3"),
        ("ZONE", "100000000"),
        ("STRING", "@1 VM+NET/@5 USE+MANAGE #0"),
    ]


@pytest.mark.parametrize("number", ["-1", "", "zz", "1" * 40, "1_0", " 1", "١"])
def test_a_number_of_a_rule_that_is_none_is_refused(desk: Desk, number: str) -> None:
    """None of them may end as a rule for everybody."""
    before = desk.site.rules()
    assert desk.failure(ONEADMIN, "one.acl.addrule", number, "10400000000", "1", "400000000").code == INTERNAL
    assert desk.site.rules() == before


def test_a_rule_without_zone_counts_in_the_zone_that_stores_it(desk: Desk) -> None:
    number = 70_000 + next(_numbers)
    oid = desk.as_admin("one.acl.addrule", f"{0x100000000 + number:x}", "10400000000", "1")
    assert f"#{number} USER/* USE #0" in desk.site.rules()
    desk.as_admin("one.acl.delrule", oid)


@pytest.mark.parametrize("text", ["#2 HOST/@12 USE #0", "#2 VM/%1 USE #0", "#2 VM/#1 USE *", "@0 GROUP/@1 USE #0"])
def test_a_rule_that_makes_no_sense_is_malformed(desk: Desk, text: str) -> None:
    rule = Rule.parse(text, 0)
    failure = desk.failure(ONEADMIN, "one.acl.addrule", *(f"{number:x}" for number in (rule.user, rule.resource, rule.rights, rule.zone)))
    assert failure.code == INTERNAL
    assert failure.text.startswith(f"Rule {text} is malformed: ")


# --- order of lists


ASCENDING: Final = 'OPENNEBULA=[API_LIST_ORDER="ASC"]'


def test_lists_are_descending_unless_told_otherwise(desk: Desk) -> None:
    desk.user(fresh())
    for method, tag in (("one.userpool.info", "USER"), ("one.grouppool.info", "GROUP"), ("one.zonepool.info", "ZONE")):
        listed = ids(document(desk, ONEADMIN, method), tag)
        assert listed == sorted(listed, reverse=True)


def test_a_users_template_turns_its_lists_around_and_nobody_elses(desk: Desk) -> None:
    names = [fresh(), fresh()]
    uids = [desk.user(name) for name in names]
    for uid in uids:
        desk.rule(f"#{uid} USER/* USE #0")
    desk.value(session(names[0]), "one.user.update", uids[0], ASCENDING, 1)
    first, second = (ids(document(desk, session(name), "one.userpool.info"), "USER") for name in names)
    assert first == sorted(first)
    assert second == first[::-1]
    desk.value(session(names[0]), "one.user.update", uids[0], 'OPENNEBULA=[API_LIST_ORDER="DESC"]', 1)
    assert ids(document(desk, session(names[0]), "one.userpool.info"), "USER") == second


def test_a_groups_template_counts_for_its_members_unless_theirs_says_otherwise(desk: Desk) -> None:
    gid = desk.site.add_group(fresh("lab"))
    names = [fresh(), fresh()]
    uids = [desk.user(name, gid) for name in names]
    desk.rule(f"@{gid} USER/* USE #0")
    desk.as_admin("one.group.update", gid, ASCENDING, 1)
    desk.value(session(names[1]), "one.user.update", uids[1], 'OPENNEBULA=[API_LIST_ORDER="DESC"]', 1)
    first, second = (ids(document(desk, session(name), "one.userpool.info"), "USER") for name in names)
    assert first == sorted(first)
    assert second == first[::-1]


#: Every list that can be turned around: call, arguments, name of its elements.
LISTS: Final[list[tuple[str, tuple[Any, ...], str]]] = [
    ("one.userpool.info", (), "USER"),
    ("one.grouppool.info", (), "GROUP"),
    ("one.vdcpool.info", (), "VDC"),
    ("one.zonepool.info", (), "ZONE"),
    ("one.clusterpool.info", (), "CLUSTER"),
    ("one.hostpool.info", (), "HOST"),
    ("one.documentpool.info", (-2, -1, -1, 3), "DOCUMENT"),
]


@pytest.mark.parametrize("order", ["DESC", "ASC"])
def test_the_zones_settings_say_how_lists_are_ordered_for_those_who_do_not_say_it(order: Literal["DESC", "ASC"], tmp_path: Path) -> None:
    desk = Desk(tmp_path, server=ServerSettings(list_order=order))
    desk.site.become_master()
    for number in (1, 2):
        desk.as_admin("one.vdc.allocate", f"NAME=v{number}")
        desk.as_admin("one.zone.allocate", f"NAME=z{number} ENDPOINT=x")
        desk.as_admin("one.cluster.allocate", f"c{number}")
        desk.as_admin("one.host.allocate", f"h{number}", "kvm", "kvm", -1)
        desk.as_admin("one.document.allocate", f"NAME=d{number}", 3)
    turned = desk.user("turned", 0)
    other = "ASC" if order == "DESC" else "DESC"
    desk.as_admin("one.user.update", turned, f'OPENNEBULA=[API_LIST_ORDER="{other}"]', 1)
    for method, arguments, tag in LISTS:
        listed = ids(document(desk, ONEADMIN, method, *arguments), tag)
        assert len(listed) > 1
        assert listed == sorted(listed, reverse=order == "DESC"), method
        assert ids(document(desk, session("turned"), method, *arguments), tag) == listed[::-1], method
    page = ids(document(desk, ONEADMIN, "one.documentpool.info", -2, 0, -1, 3), "DOCUMENT")
    assert ids(document(desk, ONEADMIN, "one.documentpool.info", -2, 0, -2, 3), "DOCUMENT") == page[:2]
    assert document(desk, ONEADMIN, "one.system.config").findtext("API_LIST_ORDER") == order
    desk.close()


def test_a_new_object_is_in_the_next_list(desk: Desk) -> None:
    """Lists are kept joined until the table changes."""
    for _ in range(3):
        uid = desk.as_admin("one.user.allocate", fresh(), SECRET, "")
        assert ids(document(desk, ONEADMIN, "one.userpool.info"), "USER")[0] == uid
    desk.as_admin("one.user.delete", uid)
    assert uid not in ids(document(desk, ONEADMIN, "one.userpool.info"), "USER")


# --- introspection


def test_introspection(desk: Desk) -> None:
    assert desk.call("", "system.methodExist", "one.user.info") is True
    assert desk.call("", "system.methodExist", "one.user.fly") is False
    assert desk.call("", "system.methodHelp", "one.user.info") == "Show a user."
    assert desk.call("", "system.methodSignature", "one.user.allocate") == [["array", "string", "string", "string", "string", "array"]]
    assert desk.call("", "system.methodSignature", "system.methodExist") == [["boolean", "string"]]

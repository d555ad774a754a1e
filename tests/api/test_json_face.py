"""The JSON face at a real zone: documents, problems, versions, repetitions, positions."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from harness.zones import Zone
from koinon.wire.resources import RESOURCES
from koinon.wire.shapes import DOCUMENTS, Fields, Items, Many, Shape
from tests.api.json_client import JsonClient


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zone]:
    sections: dict[str, dict[str, Any]] = {
        "server": {"max_request_mib": 1},
        "login": {"password_hash": "sha256"},
        "federation": {"read_your_writes_s": 0.2},
    }
    zone = Zone(tmp_path_factory.mktemp("json"), "alone", settings=sections)
    try:
        yield zone.start()
    finally:
        zone.stop()


@pytest.fixture
def host(admin: JsonClient, name: str) -> int:
    return int(admin.ask("POST", "/hosts", {"name": name, "im_mad": "kvm", "vm_mad": "kvm"}).body["id"])


@pytest.fixture
def user(admin: JsonClient, name: str) -> int:
    made = admin.ask("POST", "/users", {"name": name, "password": "Secret1"})
    assert made.status == 201
    assert made.headers["location"] == f"/api/v1/users/{made.body['id']}"
    return int(made.body["id"])


def test_a_document_has_lists_numbers_and_texts_where_the_schema_says(admin: JsonClient, user: int, name: str) -> None:
    template = {"ONE": "1", "more": ["a", "<b> &\r"], "VECTOR": {"key": "v"}}
    assert admin.ask("PUT", f"/users/{user}/template", {"template": template}).status == 200
    shown = admin.ask("GET", f"/users/{user}").body
    assert (shown["ID"], shown["NAME"], shown["GROUPS"], shown["ENABLED"]) == (user, name, [1], 1)
    assert (shown["PASSWORD"], shown["LOGIN_TOKEN"]) == ("***", [])
    assert shown["TEMPLATE"] == {"ONE": "1", "MORE": ["a", "<b> &"], "VECTOR": {"KEY": "v"}}
    assert user in [listed["ID"] for listed in admin.ask("GET", "/users").body["USER"]]


def test_a_template_is_replaced_or_merged(admin: JsonClient, user: int) -> None:
    admin.ask("PUT", f"/users/{user}/template", {"template": "A = 1\nB = 2"})
    admin.ask("PATCH", f"/users/{user}/template", {"template": {"B": "3"}})
    assert admin.ask("GET", f"/users/{user}").body["TEMPLATE"] == {"A": "1", "B": "3"}
    admin.ask("PUT", f"/users/{user}/template", {"template": {}})
    assert admin.ask("GET", f"/users/{user}").body["TEMPLATE"] == {}


def test_a_set_is_entered_with_put_and_left_with_delete(admin: JsonClient, user: int, name: str) -> None:
    group = admin.ask("POST", "/groups", {"name": name}).body["id"]
    assert admin.ask("PUT", f"/users/{user}/groups/{group}").body == {"id": user}
    assert admin.ask("GET", f"/groups/{group}").body["USERS"] == [user]
    assert admin.ask("DELETE", f"/users/{user}/groups/{group}").status == 200
    assert admin.ask("GET", f"/groups/{group}").body["USERS"] == []


def test_local_objects_have_versions_too(admin: JsonClient, name: str) -> None:
    made = admin.ask("POST", "/documents", {"type": 7, "template": {"NAME": name}}).body["id"]
    first = admin.ask("GET", f"/documents/{made}").headers["etag"]
    assert admin.ask("POST", f"/documents/{made}/chmod", {"other_u": 1}, If_Match=first).status == 200
    assert admin.refused(412, "DELETE", f"/documents/{made}", If_Match=first)
    shown = admin.ask("GET", f"/documents/{made}")
    assert shown.body["PERMISSIONS"]["OTHER_U"] == 1
    assert admin.ask("DELETE", f"/documents/{made}", If_Match=shown.headers["etag"]).status == 200
    assert admin.refused(404, "DELETE", f"/documents/{made}", If_Match="*")


def test_a_change_rests_on_the_version_it_names(admin: JsonClient, user: int) -> None:
    first = admin.ask("GET", f"/users/{user}").headers["etag"]
    assert first == admin.ask("GET", f"/users/{user}").headers["etag"]
    assert admin.ask("PATCH", f"/users/{user}/template", {"template": {"A": "1"}}, If_Match=first).status == 200
    assert "not the version" in admin.refused(412, "PATCH", f"/users/{user}/template", {"template": {"A": "2"}}, If_Match=first)
    admin.refused(412, "PATCH", f"/users/{user}/template", {"template": {"A": "2"}}, If_Match="W/" + first)
    now = admin.ask("GET", f"/users/{user}")
    assert now.body["TEMPLATE"]["A"] == "1"
    assert admin.ask("DELETE", f"/users/{user}", If_Match=f"{first}, {now.headers['etag']}").status == 200


def test_what_is_known_is_not_sent_again(admin: JsonClient, user: int) -> None:
    explanation = f"/acl/explain?user={user}&right=USE&object=HOST/*"
    for path in (f"/users/{user}", "/users", "/acl", "/quotas/users", "/system/version", explanation):
        shown = admin.ask("GET", path)
        version = shown.headers["etag"]
        assert shown.headers["cache-control"] == "private, no-cache"
        for known in (version, f'"0", {version}', f"W/{version}", "*"):
            again = admin.ask("GET", path, If_None_Match=known)
            assert (again.status, again.headers["etag"]) == (304, version)
            assert again.headers["koinon-position"] == shown.headers["koinon-position"]
        assert admin.ask("GET", path, If_None_Match='"0", W/"1"').body == shown.body
        assert admin.refused(400, "GET", path, If_None_Match="0").startswith("If-None-Match holds * or versions in quotes")
    assert admin.refused(404, "GET", "/users/99999", If_None_Match="*")
    assert "Idempotency-Key" in admin.refused(400, "POST", "/groups", {"name": "x"}, If_None_Match="*")
    assert admin.refused(400, "DELETE", f"/users/{user}", If_Match="0")


def test_a_version_follows_what_is_shown_and_not_only_what_is_stored(admin: JsonClient, user: int, host: int, name: str) -> None:
    group = admin.ask("POST", "/groups", {"name": name}).body["id"]
    cluster = admin.ask("POST", "/clusters", {"name": name}).body["id"]
    paths = {"user": f"/users/{user}", "group": f"/groups/{group}", "cluster": f"/clusters/{cluster}"}
    paths |= {"users": "/users", "groups": "/groups"}

    def versions() -> dict[str, str]:
        return {what: admin.ask("GET", path).headers["etag"] for what, path in paths.items()}

    def changed(method: str, path: str, body: Any = None) -> set[str]:
        before = versions()
        assert before == versions()
        assert admin.ask(method, path, body).status == 200
        return {what for what, version in versions().items() if version != before[what]}

    quota = {"quota": {"VM": {"VMS": name.removeprefix("name")}}}
    assert changed("PATCH", f"/users/{user}/quota", quota) == {"user", "users"}
    assert changed("PUT", f"/groups/{group}/vlan", {"vlan": {"RULE": {"ID": "1"}}}) == {"group", "groups"}
    assert changed("PUT", f"/users/{user}/groups/{group}") == {"user", "users", "group", "groups"}
    assert changed("PUT", f"/clusters/{cluster}/hosts/{host}") == {"cluster"}
    default = admin.ask("GET", "/quotas/users").headers["etag"]
    assert changed("PATCH", "/quotas/users", quota) == {"user", "users"}
    assert admin.ask("GET", "/quotas/users").headers["etag"] != default


def test_who_changes_quotas_has_seen_the_present_ones(admin: JsonClient, user: int) -> None:
    """They are a zone's own: what is compared is all that it showed."""
    path = f"/users/{user}"
    first = admin.ask("GET", path).headers["etag"]
    assert admin.ask("PATCH", f"{path}/quota", {"quota": {"VM": {"VMS": "1"}}}, If_Match=first).status == 200
    assert admin.refused(412, "PATCH", f"{path}/quota", {"quota": {"VM": {"VMS": "2"}}}, If_Match=first)
    assert admin.ask("PATCH", f"{path}/template", {"template": {"A": "1"}}, If_Match=first).status == 200  # the user had not changed
    assert admin.refused(412, "PATCH", f"{path}/template", {"template": {"A": "2"}}, If_Match=first)
    now = admin.ask("GET", path).headers["etag"]
    assert admin.ask("PATCH", f"{path}/quota", {"quota": {"VM": {"VMS": "2"}}}, If_Match=now).status == 200


def test_who_may_change_it_and_not_see_it_knows_no_version(zone: Zone, admin: JsonClient, user: int, host: int, name: str) -> None:
    own = JsonClient(zone.port, f"{name}:Secret1")
    rule = {"user": f"{0x100000000 + user:x}", "resource": f"{0x2100000000 + host:x}", "rights": "4", "zone": "100000000"}
    assert admin.ask("POST", "/acl", rule).status == 201
    version = admin.ask("GET", f"/hosts/{host}").headers["etag"]
    assert own.refused(403, "GET", f"/hosts/{host}")
    assert own.refused(412, "POST", f"/hosts/{host}/status", {"status": 1}, If_Match=version)
    assert own.ask("POST", f"/hosts/{host}/status", {"status": 1}, If_Match="*").status == 200


def test_a_version_tells_nothing_about_a_password(admin: JsonClient, user: int) -> None:
    """Else people who may see the user could try passwords on it."""
    before = admin.ask("GET", f"/users/{user}").headers["etag"]
    assert admin.ask("POST", f"/users/{user}/passwd", {"password": "Other1"}).status == 200
    assert admin.ask("GET", f"/users/{user}").headers["etag"] == before


def test_who_may_not_change_it_does_not_learn_whether_it_changed(zone: Zone, admin: JsonClient, user: int, name: str) -> None:
    stranger = JsonClient(zone.port, f"{name}:Secret1")
    for version in ('"' + "0" * 32 + '"', admin.ask("GET", "/groups/0").headers["etag"]):
        assert "Not authorized" in stranger.refused(403, "DELETE", "/groups/0", If_Match=version)


def test_what_is_not_offered_is_refused_and_not_passed_over(admin: JsonClient, user: int) -> None:
    key = "0123456789abcdef"
    assert admin.refused(400, "POST", "/acl/diff", {"changes": {"remove": [0]}}, Idempotency_Key=key)
    assert admin.refused(400, "GET", "/users", Idempotency_Key=key)
    assert admin.refused(400, "DELETE", f"/users/{user}", Idempotency_Key="short")
    assert admin.refused(400, "POST", "/groups", {"name": "x"}, If_Match="*")
    assert admin.refused(400, "DELETE", f"/users/{user}", Koinon_After="0.1")
    assert admin.refused(400, "GET", "/users?x=1")
    assert admin.refused(400, "DELETE", f"/users/{user}?force=true")
    assert admin.ask("GET", f"/users/{user}").status == 200


def test_a_read_waits_for_the_position_it_names(admin: JsonClient, user: int) -> None:
    written = admin.ask("PATCH", f"/users/{user}/template", {"template": "A=1"})
    position = written.headers["koinon-position"]
    assert admin.ask("GET", f"/users/{user}", Koinon_After=position).status == 200
    epoch, _, index = position.partition(".")
    assert "did not reach" in admin.refused(503, "GET", "/users", Koinon_After=f"{epoch}.{int(index) + 100}")
    assert "did not reach" in admin.refused(503, "GET", "/users", Koinon_After=f"{int(epoch) + 1}.{index}")
    assert admin.refused(400, "GET", "/users", Koinon_After="soon")


@pytest.mark.parametrize("header", ["", "Basic", "Basic !", "Basic b25lYWRtaW4=", "Bearer oneadmin", "Digest x", "Basic //79"])
def test_who_does_not_say_who_they_are_is_not_let_in(admin: JsonClient, header: str) -> None:
    answer = admin.ask("GET", "/users", Authorization=header)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("body", "told"),
    {
        "no JSON": (b"{", "no JSON object"),
        "no object": ([], "no JSON object"),
        "not UTF-8": (b'{"name": "\xff"}', "no JSON object"),
        "lone surrogate": (b'{"name": "\\ud800"}', ""),
        "wrong type": ({"name": 1}, "name has the wrong type"),
        "unknown field": ({"name": "x", "y": 1}, "There is no 'y' here; there is name"),
        "nothing": ({}, "name is missing"),
        "what XML can't hold": ({"name": "a\x07"}, "U+0007"),
        "a name twice": (b'{"name": "x", "name": "y"}', "'name' is given twice"),
        "a name twice, inside": (b'{"name": {"a": 1, "b": [{"c": 1, "c": 2}]}}', "'c' is given twice"),
        "deep": (b'{"name": %s%s}' % (b"[" * 100_000, b"]" * 100_000), "no JSON object"),
        "two objects": (b'{"name": "x"} {}', "no JSON object"),
        "a number that is none": (b'{"name": NaN}', "no JSON object"),
        "UTF-16": ('{"name": "x"}'.encode("utf-16"), "no JSON object"),
        "a byte order mark": ('{"name": "x"}'.encode("utf-8-sig"), "no JSON object"),
    }.values(),
)
def test_a_body_that_does_not_fit_is_told_why(admin: JsonClient, body: Any, told: str) -> None:
    assert told in admin.refused(400, "POST", "/groups", body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/users/0/template", {"template": {"a": "1", "A": "2"}}),
        ("PATCH", "/users/0/template", {"template": {"V": {"k": "1", "K": "2"}}}),
        ("POST", "/users", {"name": "x", "password": "x", "group_ids": [1] * 1001}),
        ("POST", "/users", {"name": "x", "password": "x", "group_ids": [2**31]}),
        ("POST", "/users", {"name": "x", "password": "x", "group_ids": [True]}),
        ("POST", "/users", {"name": "x", "password": "x", "group_ids": [1.5]}),
        ("POST", "/users", {"name": "x", "password": None}),
        ("POST", "/users/0/chgrp", {"group_id": -(2**31) - 1}),
        ("POST", "/users/0/chgrp", {"group_id": 10**400}),
        ("POST", "/users/0/chgrp", {"group_id": 1e300}),
        ("POST", "/users/0/chgrp", {"group_id": "1"}),
        ("POST", "/acl/diff", {"changes": {"remove": [10**30]}}),
        ("POST", "/acl/diff", {"changes": {"remove": [2**31]}}),
        ("POST", "/acl/diff", {"changes": {"vdc": {"id": 0, "add": [["HOST", 0]]}}}),
        ("POST", "/acl/diff", {"changes": {"vdc": {"id": 2**63, "add_groups": [0]}}}),
        ("POST", "/acl/diff", {"changes": {"vdc": {"id": 0, "add_groups": [2**63]}}}),
        ("POST", "/acl/diff", {"changes": {"vdc": {"id": 0, "add": [["HOST", 2**63, 0]]}}}),
        ("POST", "/acl/diff", {"changes": {"add": [["x"]]}}),
        ("POST", "/acl/diff", {"changes": json.loads('{"add": ' + "[" * 200 + "]" * 200 + "}")}),
        ("DELETE", "/users/99999", {"force": True}),
    ],
)
def test_a_value_that_can_not_be_is_refused(admin: JsonClient, method: str, path: str, body: Any) -> None:
    assert admin.refused(400, method, path, body)


def test_whole_numbers_may_have_a_point(admin: JsonClient) -> None:
    """JSON has one kind of number."""
    assert admin.ask("POST", "/login", b'{"username": "oneadmin", "valid": 6e1}').status == 200


def test_a_path_says_what_may_be_done_there(admin: JsonClient) -> None:
    for method, path, allowed in (
        ("PUT", "/users", {"GET", "HEAD", "POST"}),
        ("POST", "/users/0", {"GET", "HEAD", "DELETE"}),
        ("OPTIONS", "/users/0/template", {"PUT", "PATCH"}),
        ("HEAD", "/users/0/template", {"PUT", "PATCH"}),
        ("DELETE", "/openapi.json", {"GET", "HEAD"}),
    ):
        answer = admin.ask(method, path)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == allowed
    for path in ("/nothing", "/users/", "", "/", "/users/0/template/x", "//users"):
        assert admin.refused(404, "GET", path)


def test_a_head_is_a_get_without_its_body(admin: JsonClient) -> None:
    for path in ("/users/0", "/users?limit=1", "/openapi.json"):
        head, get = (admin.ask(method, path) for method in ("HEAD", "GET"))
        kept = ("content-length", "content-type", "etag", "link", "koinon-position", "cache-control")
        assert [head.headers[name] for name in kept] == [get.headers[name] for name in kept]
        assert (head.status, head.body) == (200, None)
    assert admin.ask("HEAD", "/users/99999").status == 404


@pytest.mark.parametrize(
    ("accept", "status"),
    {
        "application/json": 200,
        "APPLICATION/JSON;q=0.1": 200,
        "application/*": 200,
        "text/html, */*;q=0.1": 200,
        "text/html": 406,
        "application/xml, application/problem+json": 406,
        "application/json;q=0": 406,
        "*/*, application/json; q=0.000": 406,
        "application/json, */*;q=0": 200,
    }.items(),
)
def test_what_can_not_be_accepted_is_not_sent(admin: JsonClient, accept: str, status: int) -> None:
    for path in ("/users/0", "/openapi.json"):
        assert admin.ask("GET", path, Accept=accept).status == status
    before = admin.ask("GET", "/groups").body
    assert status == 200 or admin.refused(406, "POST", "/groups", {"name": "unacceptable"}, Accept=accept)
    assert status == 200 or admin.ask("GET", "/groups").body == before


def test_the_form_of_a_request_is_checked(admin: JsonClient) -> None:
    for kind in ("text/plain", "application/xml", "application/json; charset=latin-1", "application/merge-patch+json"):
        answer = admin.ask("POST", "/groups", {"name": "x"}, Content_Type=kind)
        assert (answer.status, answer.headers["accept"]) == (415, "application/json")
    answer = admin.ask("POST", "/groups", gzip.compress(b'{"name": "x"}'), Content_Encoding="gzip")
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")
    assert (
        admin.ask("POST", "/login", {"username": "oneadmin", "valid": 60}, Content_Type='Application/JSON; charset="UTF-8"').status == 200
    )
    assert admin.refused(400, "GET", "/users/0", {"x": 1})
    assert admin.refused(413, "POST", "/groups", {"name": "x" * (1 << 20)})
    assert admin.refused(400, "GET", "/users/ada")
    assert admin.refused(400, "GET", "/users/99999999999")
    assert admin.refused(422, "POST", "/groups", {"name": ""}) == "Invalid NAME, it cannot be empty"
    deep: Any = "x"
    for _ in range(50):
        deep = {"A": deep}
    assert admin.refused(400, "PUT", "/groups/1/template", {"template": deep})


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    {
        "malformed rule": (422, "POST", "/acl", {"user": "zz", "resource": "1", "rights": "1"}),
        "rule without a meaning": (422, "POST", "/acl", {"user": "100000000", "resource": "1", "rights": "0"}),
        "no such rule": (404, "DELETE", "/acl/99999", None),
        "malformed template": (422, "POST", "/vdcs", {"template": "NAME = ["}),
        "malformed update": (422, "PUT", "/groups/1/template", {"template": "A = ["}),
        "malformed quota": (422, "PATCH", "/groups/1/quota", {"quota": "NONSENSE = [ A = 1 ]"}),
        "malformed VLAN rule": (422, "PUT", "/groups/1/vlan", {"vlan": "NONSENSE = 1"}),
        "name that can't be": (422, "POST", "/clusters/0/rename", {"name": ""}),
        "password that can't be": (422, "POST", "/users/0/passwd", {"password": ""}),
        "status that can't be": (422, "POST", "/hosts/{host}/status", {"status": 7}),
        "in the VDC already": (409, "PUT", "/vdcs/0/zones/0/clusters/-10", None),
        "not in the VDC": (409, "DELETE", "/vdcs/0/groups/0", None),
        "stays where it is": (409, "POST", "/users/0/chgrp", {"group_id": 1}),
        "taken": (409, "POST", "/groups", {"name": "users"}),
    }.values(),
)
def test_a_fault_of_the_caller_has_a_status_of_its_own(
    admin: JsonClient, host: int, status: int, method: str, path: str, body: Any
) -> None:
    assert admin.refused(status, method, path.format(host=host), body)


def test_a_restricted_attribute_is_forbidden(zone: Zone, user: int, name: str) -> None:
    own = JsonClient(zone.port, f"{name}:Secret1")
    told = own.refused(403, "PATCH", f"/users/{user}/template", {"template": {"VM_USE_OPERATIONS": "x"}})
    assert "restricted attribute" in told


def test_a_fault_of_ours_is_not_laid_at_the_caller_s_door(zone: Zone, admin: JsonClient, host: int) -> None:
    with zone.by_hand() as database:
        body = database.execute("SELECT body FROM host_pool WHERE oid = ?", (host,)).fetchone()
        database.execute("UPDATE host_pool SET body = '<NOTHING' WHERE oid = ?", (host,))
    assert "can't be read" in admin.refused(500, "GET", f"/hosts/{host}")
    with zone.by_hand() as database:
        database.execute("UPDATE host_pool SET body = ? WHERE oid = ?", (*body, host))
    assert admin.ask("GET", f"/hosts/{host}").status == 200


def test_an_object_does_not_grow_without_bound(admin: JsonClient, host: int, user: int) -> None:
    for path in (f"/hosts/{host}/template", f"/users/{user}/template"):
        pieces = [{"template": {f"PIECE{number}": "x" * 1_000_000}} for number in range(5)]
        assert [admin.ask("PATCH", path, piece).status for piece in pieces] == [200, 200, 200, 200, 422]


def test_a_disabled_zone_is_unavailable(admin: JsonClient, name: str) -> None:
    assert admin.ask("POST", "/zones/0/enable", {"enable": False}).status == 200
    try:
        assert "zone disabled" in admin.refused(503, "POST", "/groups", {"name": name})
    finally:
        assert admin.ask("POST", "/zones/0/enable", {"enable": True}).status == 200


def test_a_request_is_refused_as_soon_as_it_is_known_to_be_far_too_long(admin: JsonClient) -> None:
    status, answer = admin.raw(b"POST /api/v1/groups HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n")
    assert status == 413
    assert b"connection: close" in answer
    chunks = b"".join(b"10000\r\n%s\r\n" % (b" " * 65536) for _ in range(33))
    head = b"POST /api/v1/groups HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(20):
        with contextlib.suppress(ConnectionError):  # what is still on its way when the server closes may reset the answer away: TCP
            assert admin.raw(head + chunks)[0] == 413
            return
    pytest.fail("no answer came through")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Authorization: Basic eDp5",), 401),
        (("Koinon-After: 0.1", "Koinon-After: 0.1"), 400),
        (('If-None-Match: "a"', "If-None-Match: b"), 400),
        (('If-None-Match: "a"', "If-None-Match: *"), 400),
        (("Accept: text/html", "Accept: */*"), 200),
    ],
)
def test_lines_of_one_name_are_one_value(admin: JsonClient, lines: tuple[str, ...], status: int) -> None:
    """None is passed over: here Authorization comes a second time."""
    head = "\r\n".join(("GET /api/v1/users/0 HTTP/1.1", "Connection: close", *lines))
    assert admin.raw(f"{head}\r\n\r\n".encode())[0] == status


def test_a_long_body_is_read_beside_the_loop(admin: JsonClient, user: int) -> None:
    template = {f"A{number}": "x" * 100 for number in range(1000)}
    assert admin.ask("PUT", f"/users/{user}/template", {"template": template}).status == 200
    assert admin.ask("GET", f"/users/{user}").body["TEMPLATE"] == template


def test_policy_is_explained_in_json(admin: JsonClient, user: int, name: str) -> None:
    assert admin.ask("GET", f"/acl/explain?user={user}&right=USE&object=HOST/*").body["user"]["name"] == name
    assert admin.ask("POST", "/acl/diff", {"changes": {"add": [f"#{user} HOST/* USE *"]}}).body["lines"]


def undescribed(value: Any, shape: Shape, place: str) -> list[str]:
    """Names in an answer that the shape does not know."""
    if isinstance(shape, Many | Items):
        return [name for one in value for name in undescribed(one, shape.shape, place)]
    if not isinstance(shape, Fields):
        return []
    found = [f"{place}/{name}" for name in value if name not in shape.fields]
    for name, inner in shape.fields.items():
        known = value.get(name)
        for one in known if isinstance(inner, Many) else [known] if name in value else []:
            found += undescribed(one, inner.shape if isinstance(inner, Many) else inner, f"{place}/{name}")
    return found


def test_nothing_is_shown_that_is_not_described(admin: JsonClient, user: int, host: int, name: str) -> None:
    made = admin.ask("POST", "/documents", {"type": 3, "template": {"NAME": name}}).body["id"]
    admin.ask("POST", f"/documents/{made}/lock", {"level": 1})
    admin.ask("POST", "/login", {"username": name, "valid": 60})
    admin.ask("PATCH", f"/users/{user}/quota", {"quota": {"VM": {"VMS": "1"}}})
    admin.ask("PUT", "/groups/1/vlan", {"vlan": {"RULE": [{"ID": "1", "SCOPE": "x"}, {"ID": "2"}]}})
    admin.ask("PUT", f"/clusters/0/hosts/{host}")
    ids = {"/users/{id}": user, "/hosts/{id}": host, "/documents/{id}": made, "/groups/{id}": 1, "/monitoring/hosts/{id}": host}
    for resource in RESOURCES:
        if resource.method == "GET" and resource.answer in DOCUMENTS:
            path = resource.path.format(id=ids.get(resource.path, 0))
            body = admin.ask("GET", f"{path}?type=3" if resource.path == "/documents" else path).body
            assert undescribed(body, DOCUMENTS[resource.answer], resource.answer) == []


def test_a_rule_is_written_and_shown_in_texts_and_in_fields(admin: JsonClient, user: int) -> None:
    numbers = {"user": f"{0x100000000 + user:x}", "resource": "920000000c", "rights": "3", "zone": "100000000"}
    texts = {"user": f"#{user}", "resource": "VM+IMAGE/@12", "rights": "USE+MANAGE", "zone": "#0"}
    fields = {
        "user": {"id": user},
        "resource": {"kinds": ["VM", "IMAGE"], "group": 12},
        "rights": ["USE", "MANAGE"],
        "zone": {"id": 0},
    }
    for written in (numbers, texts, fields, texts | {"user": fields["user"], "rights": "use+manage"}):
        made = admin.ask("POST", "/acl", written)
        assert made.status == 201
        assert made.headers["location"] == f"/api/v1/acl/{made.body['id']}"
        shown = admin.ask("GET", f"/acl/{made.body['id']}")
        assert (shown.body["PARTS"], shown.body["FIELDS"]) == (texts, fields)
        assert shown.body["STRING"] == " ".join(texts.values())
        assert shown.body in admin.ask("GET", "/acl").body["ACL"]
        assert admin.ask("GET", f"/acl/{made.body['id']}", If_None_Match=shown.headers["etag"]).status == 304
        assert "already exists" in admin.refused(409, "POST", "/acl", texts)
        assert admin.ask("DELETE", f"/acl/{made.body['id']}").status == 200
        assert admin.refused(404, "GET", f"/acl/{made.body['id']}")
    for part, value in (("user", 5), ("user", {"id": -1}), ("resource", "VM"), ("rights", []), ("zone", {"group": 1})):
        assert admin.refused(422, "POST", "/acl", texts | {part: value}).startswith("Rule is malformed: ")
    assert admin.refused(400, "GET", "/acl/first")
    assert admin.refused(400, "POST", "/acl", texts | {"more": "x"})


def test_rules_are_shown_to_who_may_read_them(zone: Zone, user: int, name: str) -> None:
    assert JsonClient(zone.port, f"{name}:Secret1").refused(403, "GET", "/acl/0")


@pytest.fixture(scope="module")
def many(zone: Zone, admin: JsonClient) -> dict[str, JsonClient]:
    """Enough objects of each kind for some pages; who lists them: an administrator and a user who sees some of them, in both orders."""
    for number in range(7):
        name = f"many{number}"
        user = admin.ask("POST", "/users", {"name": name, "password": "Secret1", "group_ids": [1]}).body["id"]
        bodies: dict[str, Any] = {
            "groups": {"name": name},
            "vdcs": {"template": {"NAME": name}},
            "clusters": {"name": name},
            "hosts": {"name": name, "im_mad": "x", "vm_mad": "x"},
            "documents": {"type": 7, "template": {"NAME": "same" if number else name}},
        }
        ids = {plural: admin.ask("POST", f"/{plural}", body).body["id"] for plural, body in bodies.items()}
        ids["users"] = user
        if number % 2:
            kinds = {"users": "USER", "groups": "GROUP", "vdcs": "VDC", "clusters": "CLUSTER", "hosts": "HOST", "documents": "DOCUMENT"}
            for plural, kind in kinds.items():
                rule = {"user": "@1", "resource": f"{kind}/#{ids[plural]}", "rights": "USE", "zone": "#0"}
                assert admin.ask("POST", "/acl", rule).status == 201
    assert admin.ask("PATCH", "/users/0/template", {"template": {"OPENNEBULA": {"API_LIST_ORDER": "ASC"}}}).status == 200
    assert admin.ask("PATCH", f"/users/{user}/template", {"template": {"OPENNEBULA": {"API_LIST_ORDER": "DESC"}}}).status == 200
    return {"ascending administrator": admin, "descending user": JsonClient(zone.port, "many6:Secret1")}


_LISTS: Final = {resource.path: resource for resource in RESOURCES if resource.listed}


@pytest.mark.parametrize("who", ["ascending administrator", "descending user"])
@pytest.mark.parametrize("path", _LISTS)
def test_pages_make_up_the_list(many: dict[str, JsonClient], who: str, path: str) -> None:
    client, tag = many[who], _LISTS[path].listed
    query = "type=7&filter_flag=all&" if path == "/documents" else ""
    whole = client.ask("GET", f"{path}?{query}")
    assert whole.headers["link"] is None
    ids = [one["ID"] for one in whole.body[tag]]
    assert ids == sorted(ids, reverse=who.startswith("descending"))
    assert len(ids) >= (1 if path == "/zones" else 3)
    found, following = [], f"{path}?{query}limit=2"
    while following:
        page = client.ask("GET", following)
        assert 0 <= len(page.body[tag]) <= 2
        assert page.body.keys() == whole.body.keys()
        found += page.body[tag]
        for beside in page.body.keys() & {"QUOTAS", "VLAN_RULES"}:
            assert [one["ID"] for one in page.body[beside]] == [one["ID"] for one in page.body[tag]]
        link = page.headers["link"] or ""
        assert bool(link) == (len(page.body[tag]) == 2)
        following = link.removeprefix("</api/v1").removesuffix('>; rel="next"')
    assert found == whole.body[tag]
    for one in whole.body[tag]:
        named = client.ask("GET", f"{path}?{query}name={one['NAME']}").body[tag]
        assert named == [other for other in whole.body[tag] if other["NAME"] == one["NAME"]]
        behind = client.ask("GET", f"{path}?{query}after={one['ID']}").body[tag]
        assert behind == whole.body[tag][ids.index(one["ID"]) + 1 :]
    assert client.ask("GET", f"{path}?{query}limit=01").headers["link"]
    assert client.ask("GET", f"{path}?{query}name=nobody").body[tag] == []
    assert client.ask("GET", f"{path}?{query}name=MANY1").body[tag] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=-2", "limit=x", "after=-2", "after=", "limit=1&limit=2", "offset=1", "start_id=1"])
def test_a_part_that_can_not_be_is_refused(admin: JsonClient, query: str) -> None:
    assert admin.refused(400, "GET", f"/users?{query}")
    assert admin.refused(400, "GET", f"/documents?type=7&{query}")


def test_words_stand_for_numbers(zone: Zone, many: dict[str, JsonClient], admin: JsonClient, host: int, name: str) -> None:
    own = many["descending user"]
    assert own.ask("GET", "/users/me").body["NAME"] == "many6"
    assert own.ask("GET", "/groups/mine").body["ID"] == 1
    assert admin.ask("POST", f"/hosts/{host}/status", {"status": "offline"}).status == 200
    assert admin.ask("GET", f"/hosts/{host}").body["STATE"] == 8
    vdc = admin.ask("POST", "/vdcs", {"template": {"NAME": name}}).body["id"]
    assert admin.ask("PUT", f"/vdcs/{vdc}/zones/0/hosts/all").status == 200
    assert admin.ask("GET", f"/vdcs/{vdc}").body["HOSTS"] == [{"ZONE_ID": 0, "HOST_ID": -10}]
    assert admin.ask("GET", "/documents?type=7&filter_flag=mine").body == admin.ask("GET", "/documents?type=7&filter_flag=-3").body
    assert "int or group or mine" in admin.refused(400, "GET", "/documents?type=7&filter_flag=theirs")
    assert admin.refused(400, "GET", "/groups/me")
    assert admin.refused(400, "POST", f"/hosts/{host}/status", {"status": "off"})


def test_the_document_of_the_face_needs_no_log_in(admin: JsonClient) -> None:
    shown = admin.ask("GET", "/openapi.json", Authorization="")
    assert shown.body["openapi"] == "3.1.1"
    assert admin.ask("GET", "/openapi.json", Authorization="", If_None_Match=shown.headers["etag"]).status == 304

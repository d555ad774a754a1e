"""The clients' port as strangers, old clients and attackers meet it: one real server, raw bytes on its socket."""

from __future__ import annotations

import contextlib
import http.client
import socket
import xmlrpc.client
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.zones import Zone
from koinon.wire.xmlrpc import I8, MALFORMED, UNKNOWN_METHOD, WRONG_PARAMETERS, encode_call

_MIB: Final = 2**20
LIST: Final = encode_call("system.listMethods", [])


class _Exactly(http.client.HTTPResponse):
    """A response with its body read."""

    body: bytes


class Server:
    """A running zone, spoken to byte by byte."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.secret = zone.secret

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.zone.port), timeout=120)

    def exchange(self, raw: bytes) -> _Exactly:
        """Send bytes as they are and read one response."""
        with self.connect() as link:
            link.sendall(raw)
            return read(link)

    def post(self, body: bytes, **headers: str) -> _Exactly:
        return self.exchange(request(body, **headers))

    def fault(self, body: bytes) -> tuple[int, str]:
        """Code and text of the fault that answers ``body``, which comes with HTTP 200 like any answer."""
        response = self.post(body)
        assert response.status == 200
        assert response.getheader("content-type") == "text/xml; charset=utf-8"
        with pytest.raises(xmlrpc.client.Fault) as found:
            xmlrpc.client.loads(response.body)
        return found.value.faultCode, found.value.faultString

    def serves(self) -> bool:
        return self.zone.running and answers(self.post(LIST))


def read(link: socket.socket, method: str = "POST") -> _Exactly:
    """One response, body included."""
    response = _Exactly(link, method=method)
    response.begin()
    response.body = response.read()
    return response


def request(body: bytes, *, version: str = "1.1", path: str = "/RPC2", verb: str = "POST", **headers: str) -> bytes:
    """A request as text; ``headers`` replace or (when empty) drop the usual ones."""
    lines = {"host": "x", "content-type": "text/xml", "content-length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{verb} {path} HTTP/{version}\r\n{head}\r\n".encode() + body


def answers(response: _Exactly) -> bool:
    """Whether this is the list of methods."""
    assert response.status == 200
    values, _ = xmlrpc.client.loads(response.body)
    assert isinstance(values[0], list)
    return "one.user.info" in values[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    zone = Zone(tmp_path_factory.mktemp("http"), "alone", settings={"server": {"max_request_mib": 1}, "login": {"password_hash": "sha256"}})
    try:
        yield Server(zone.start())
    finally:
        zone.stop()


@pytest.fixture(autouse=True)
def _serves_afterwards(server: Server) -> Iterator[None]:
    """Whatever a test sends: the server runs on, answers, and reports no defect of its own."""
    yield
    assert server.serves()
    assert "Traceback" not in server.zone.log.read_text()


# --- paths, verbs, lengths


@pytest.mark.parametrize("path", ["/", "/RPC", "/RPC2/", "/rpc2", "//RPC2", "/RPC2/x", "/xmlrpc", "/%00", "/../RPC2"])
def test_another_path_is_not_found(server: Server, path: str) -> None:
    response = server.exchange(request(LIST, path=path))
    assert response.status == 404
    assert response.getheader("content-type") == "text/html"


def test_a_query_does_not_matter(server: Server) -> None:
    assert answers(server.exchange(request(LIST, path="/RPC2?x=1")))


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_verb_is_not_allowed(server: Server, verb: str) -> None:
    assert server.exchange(request(LIST, verb=verb)).status == 405


def test_head_is_refused_without_a_body(server: Server) -> None:
    with server.connect() as link:
        link.sendall(request(b"", verb="HEAD"))
        response = read(link, "HEAD")
        assert (response.status, response.body) == (405, b"")


def test_a_length_is_required(server: Server) -> None:
    assert server.post(b"", content_length="").status == 411


def test_chunks_are_refused_for_lack_of_a_length(server: Server) -> None:
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LIST), LIST)
    assert server.post(chunked, content_length="", transfer_encoding="chunked").status == 411


def test_a_length_beside_chunks_smuggles_nothing(server: Server) -> None:
    """Either reading would be an answer; none may be given, or two servers in a row could read two requests."""
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LIST), LIST)
    assert server.post(chunked, transfer_encoding="chunked").status in (400, 411)


@pytest.mark.parametrize("length", ["x", "-1", "+5", "1e3", "0x10", "5, 6", "9" * 30, "9" * 5000])
def test_a_length_that_is_no_number_is_refused(server: Server, length: str) -> None:
    assert server.post(LIST, content_length=length).status in (400, 411, 413)


def test_two_lengths_are_refused(server: Server) -> None:
    raw = request(LIST).replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1)
    assert server.exchange(raw).status == 400


def test_a_request_over_the_limit_is_refused_unread(server: Server) -> None:
    """The answer comes although not one byte of the body was sent."""
    response = server.exchange(request(b"", content_length=str(_MIB + 1)))
    assert response.status == 413
    assert response.getheader("connection") == "close"


def test_a_request_just_at_the_limit_is_taken(server: Server) -> None:
    assert answers(server.post(LIST + b" " * (_MIB - len(LIST))))


def test_an_empty_request_is_a_fault(server: Server) -> None:
    assert server.fault(b"")[0] == MALFORMED


def test_a_caller_who_leaves_halfway_is_forgotten(server: Server) -> None:
    with server.connect() as link:
        link.sendall(request(LIST)[:-20])


# --- versions, keep-alive, Expect


def test_a_connection_is_kept_for_further_calls(server: Server) -> None:
    with server.connect() as link:
        for _ in range(50):
            link.sendall(request(LIST))
            assert answers(read(link))


def test_calls_sent_ahead_are_answered_in_order(server: Server) -> None:
    with server.connect() as link:
        link.sendall(request(LIST) + request(encode_call("no.such", [])))
        stream = link.makefile("rb")
        raw = b""
        while b"not defined" not in raw:
            raw += stream.read1(65_536)
        assert raw.index(b"one.user.info") < raw.index(b"not defined")


def test_close_is_honoured(server: Server) -> None:
    with server.connect() as link:
        link.sendall(request(LIST, connection="close"))
        response = read(link)
        assert answers(response)
        assert response.getheader("connection") == "close"
        assert link.recv(1) == b""


@pytest.mark.parametrize("connection", ["", "keep-alive", "close"])
def test_a_client_of_http_1_0_gets_its_answer_and_the_end_of_the_connection(server: Server, connection: str) -> None:
    """Keep-alive is not offered to HTTP/1.0, and so it must not be promised either."""
    with server.connect() as link:
        link.sendall(request(LIST, version="1.0", host="", connection=connection))
        response = read(link)
        assert answers(response)
        assert response.headers.get_all("connection") == ["close"]
        assert link.recv(1) == b""


def test_a_client_that_waits_for_100_continue_gets_it(server: Server) -> None:
    with server.connect() as link:
        link.sendall(request(b"", content_length=str(len(LIST)), expect="100-continue"))
        assert link.recv(64).startswith(b"HTTP/1.1 100 ")
        link.sendall(LIST)
        assert answers(read(link))


def test_a_client_that_waits_for_100_continue_with_too_much_is_told_so_instead(server: Server) -> None:
    assert server.exchange(request(b"", content_length=str(2 * _MIB), expect="100-continue")).status == 413


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "image/png; q=é"])
def test_the_type_of_a_request_does_not_matter(server: Server, kind: str) -> None:
    assert answers(server.exchange(request(LIST, content_type=kind)))


def test_the_headers_of_an_answer(server: Server) -> None:
    response = server.post(LIST)
    assert response.getheader("content-type") == "text/xml; charset=utf-8"
    assert response.getheader("content-length") == str(len(response.body))
    assert response.getheader("transfer-encoding") is None


# --- faults


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"garbage", MALFORMED),
        (b"<methodCall>", MALFORMED),
        (b"<methodCall/>", MALFORMED),
        (b"<methodResponse/>", MALFORMED),
        (LIST + LIST, MALFORMED),
        (b"\x00" * 100, MALFORMED),
        (b"\xff\xfe" + LIST, MALFORMED),
        (encode_call("one.no.such", ["a:b"]), UNKNOWN_METHOD),
        (encode_call("", []), UNKNOWN_METHOD),
        (encode_call("one.USER.info", ["a:b", 0]), UNKNOWN_METHOD),
        (encode_call("one.user.info", []), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b"]), WRONG_PARAMETERS),
        (encode_call("one.user.info", [1, 0]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", "0"]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", I8(0)]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", True]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", 0, 1]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", 0.0]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", None]), WRONG_PARAMETERS),
        (encode_call("one.user.enable", ["a:b", 0, 1]), WRONG_PARAMETERS),
        (encode_call("one.user.allocate", ["a:b", "n", "p", "", [I8(1)]]), WRONG_PARAMETERS),
        (encode_call("one.user.allocate", ["a:b", "n", "p", "", ["1"]]), WRONG_PARAMETERS),
        (encode_call("one.user.info", ["a:b", 0]).replace(b"<i4>0</i4>", b"<i4>2147483648</i4>"), MALFORMED),
        (encode_call("system.methodHelp", ["one.no.such"]), WRONG_PARAMETERS),
    ],
)
def test_what_can_not_be_read_is_a_fault_with_status_200(server: Server, body: bytes, code: int) -> None:
    assert server.fault(body)[0] == code


def test_the_name_of_an_unknown_method_is_told_and_cut(server: Server) -> None:
    assert server.fault(encode_call("one.no.such", [])) == (UNKNOWN_METHOD, "Method 'one.no.such' not defined")
    for body in (encode_call("x" * 100_000, []), encode_call("system.methodHelp", ["x" * 100_000])):
        assert len(server.fault(body)[1]) < 200


def test_a_fault_does_not_show_what_was_sent(server: Server) -> None:
    assert "marker" not in server.fault(encode_call("one.user.passwd", ["oneadmin:marker1", "marker2", 3]))[1]


LAUGHS: Final = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + depth, b"&%c;" % (97 + depth) * 50) for depth in range(12))
    + b"]><methodCall><methodName>&m;</methodName></methodCall>"
)


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS,
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><methodCall><methodName>a</methodName></methodCall>',
        b'<!DOCTYPE x [<!ENTITY p SYSTEM "file:///etc/passwd">]><methodCall><methodName>&p;</methodName></methodCall>',
    ],
)
def test_no_entity_is_ever_expanded(server: Server, body: bytes) -> None:
    code, text = server.fault(body)
    assert (code, text) == (MALFORMED, "A DOCTYPE is not allowed.")


def test_deep_nesting_is_refused(server: Server) -> None:
    deep = b"<array><data><value>" * 10_000
    assert server.fault(encode_call("m", [""]).replace(b"<string>", deep))[0] == MALFORMED


def test_a_flood_of_values_is_refused(server: Server) -> None:
    """Under a limit of 1 MiB the number of values is no danger; what they are must still be looked at."""
    assert server.fault(encode_call("one.user.info", ["a:b", [0] * 10_000]))[0] == WRONG_PARAMETERS


# --- types


def call(server: Server, body: bytes) -> Any:
    response = server.post(body)
    assert response.status == 200
    values, _ = xmlrpc.client.loads(response.body)
    return values[0]


def test_surplus_arguments_are_ignored(server: Server) -> None:
    assert call(server, encode_call("one.system.version", [server.secret, 1, "x", [True], None]))[0] is True
    assert call(server, encode_call("one.user.info", [server.secret, 0, False, {"a": 1}]))[0] is True
    assert "one.user.info" in call(server, encode_call("system.listMethods", ["surplus"]))


@pytest.mark.parametrize("tag", [b"i4", b"int"])
def test_both_names_of_an_int_are_taken(server: Server, tag: bytes) -> None:
    body = encode_call("one.user.info", [server.secret, 0]).replace(b"<i4>0</i4>", b"<%b>0</%b>" % (tag, tag))
    assert call(server, body)[0] is True


def test_text_without_a_tag_is_a_string(server: Server) -> None:
    body = encode_call("one.system.version", [server.secret]).replace(b"<string>", b"").replace(b"</string>", b"")
    assert call(server, body) == [True, "7.4.0", 0]


def test_utf_16_is_understood(server: Server) -> None:
    text = encode_call("one.system.version", [server.secret]).decode().replace('<?xml version="1.0"?>', "")
    assert call(server, text.encode("utf-16")) == [True, "7.4.0", 0]


# --- anything at all


_NAMES = st.sampled_from(["one.user.info", "one.user.allocate", "one.user.login", "one.acl.addrule", "one.zone.update", "one.group.info"])
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(code) for code in range(32)] + ["\ufffe", "\uffff"]))
_VALUES = st.recursive(
    st.one_of(
        _TEXT,
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1).map(I8),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(),
        st.none(),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_TOKENS = st.lists(
    st.sampled_from([
        b"<methodCall>", b"</methodCall>", b"<methodName>", b"one.user.info", b"</methodName>", b"<params>", b"<param>", b"<value>",
        b"</value>", b"</param>", b"</params>", b"<i4>", b"-1", b"</i4>", b"<array><data>", b"</data></array>", b"<struct>", b"</struct>",
        b"<![CDATA[", b"]]>", b"&amp;", b"&x;", b"<?xml version='1.0'?>", b"<!--", b"-->", b"\x00", b"\xff", b"<!DOCTYPE a>",
    ]),
    max_size=40,
).map(b"".join)  # fmt: skip
_ANY: Final = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@_ANY
@given(body=st.one_of(st.binary(max_size=400), _TOKENS))
@example(body=b"<?xml version='1.0' encoding='rot13'?><methodCall/>")
@example(body=b"<?xml version='1.0' encoding='utf-16'?><methodCall/>")
def test_any_body_gets_status_200_and_a_readable_answer(server: Server, body: bytes) -> None:
    response = server.post(body)
    assert response.status == 200
    with pytest.raises(xmlrpc.client.Fault):
        xmlrpc.client.loads(response.body)


@_ANY
@given(method=_NAMES, arguments=st.lists(_VALUES, max_size=6))
def test_any_arguments_get_a_fault_or_an_array_of_five(server: Server, method: str, arguments: list[Any]) -> None:
    """With a session that is right, so that they reach the call; none of these can be meant."""
    response = server.post(encode_call(method, [server.secret, *arguments]))
    assert response.status == 200
    if b"<fault>" in response.body:
        assert b"<i4>%d</i4>" % WRONG_PARAMETERS in response.body
        return
    reply = xmlrpc.client.loads(response.body)[0][0]
    assert isinstance(reply, list)
    assert len(reply) == (3 if reply[0] else 5)
    assert "Unexpected" not in str(reply[1])


@_ANY
@given(raw=st.binary(max_size=300), ending=st.sampled_from([b"", b"\r\n\r\n"]), method=st.sampled_from([b"", b"POST /RPC2 HTTP/1.1\r\n"]))
def test_any_bytes_on_the_socket_never_get_a_500(server: Server, raw: bytes, ending: bytes, method: bytes) -> None:
    with server.connect() as link, contextlib.suppress(ConnectionError):
        link.sendall(method + raw + ending)
        link.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := link.recv(65_536):
            answer += piece
        assert not answer or 200 <= int(answer.split(b" ", 2)[1]) < 500

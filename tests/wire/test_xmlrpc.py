"""The codec against Python's own, and against bytes that mean no good."""

from __future__ import annotations

import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.wire import xmlrpc as codec
from koinon.wire.calls import CALLS
from koinon.wire.xmlrpc import I8, DateTime, Fault, Malformed, Request

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n\r<>&]'\"")
TEXT = st.text(LETTERS)
#: The standard library sends a carriage return as it is, and every parser makes a line feed of that.
TEXT_WITHOUT_RETURN = st.text(LETTERS.filter(lambda letter: letter != "\r"))
INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1).map(I8)
SCALARS = INTS | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.binary(max_size=50)


def nested(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Values with arrays and structs in them."""
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12)


def of_stdlib(value: Any) -> Any:
    """What Python's codec returns, in our types."""
    match value:
        case xmlrpc.client.Binary():
            return value.data
        case list():
            return [of_stdlib(item) for item in value]
        case dict():
            return {name: of_stdlib(item) for name, item in value.items()}
        case _:
            return value


def typed(value: Any) -> Any:
    """The value with its exact types, since ``1 == True == I8(1)``."""
    match value:
        case list():
            return [typed(item) for item in value]
        case dict():
            return {name: typed(item) for name, item in value.items()}
        case _:
            return type(value), value


def call_of(*params: str, method: str = "m") -> bytes:
    """A call whose parameters are given as XML."""
    inner = "".join(f"<param>{param}</param>" for param in params)
    return f"<methodCall><methodName>{method}</methodName><params>{inner}</params></methodCall>".encode()


def value_of(xml: str) -> Any:
    """What our decoder makes of one value."""
    return codec.decode(call_of(xml)).params[0]


def fault_of(do: Callable[..., Any], *arguments: Any) -> int | None:
    """Code of the fault that a step ends in, None if it ends well. Any other exception comes out and fails the test."""
    try:
        do(*arguments)
    except Fault as fault:
        return fault.code
    return None


@given(st.from_regex(r"[A-Za-z._]+", fullmatch=True), st.lists(nested(SCALARS | TEXT_WITHOUT_RETURN, TEXT_WITHOUT_RETURN), max_size=5))
def test_we_read_what_the_standard_library_writes(method: str, params: list[Any]) -> None:
    body = xmlrpc.client.dumps(tuple(params), method).encode()
    request = codec.decode(body)
    assert request.method == method
    assert typed(request.params) == typed(params)


@given(TEXT, st.lists(nested(SCALARS | TEXT, TEXT), max_size=5))
def test_the_standard_library_reads_the_calls_we_write(method: str, params: list[Any]) -> None:
    values, name = xmlrpc.client.loads(codec.encode_call(method, params))
    assert name == method
    assert typed([of_stdlib(value) for value in values]) == typed(params)


@given(nested(SCALARS | LONGS | TEXT | st.none() | TEXT.map(DateTime), TEXT))
def test_a_value_comes_back_with_its_exact_type(value: Any) -> None:
    assert typed(codec.decode(codec.encode_call("m", [value])).params[0]) == typed(value)
    assert typed(codec.decode_reply(codec.encode_result(value))) == typed(value)


@given(st.binary())
def test_whatever_bytes_come_in_only_a_fault_goes_out(body: bytes) -> None:
    for read in (codec.decode, codec.decode_reply):
        with pytest.raises(Malformed) as caught:
            read(body)
        assert caught.value.code == -503


@given(st.lists(st.sampled_from([*"<>&/ a1-\x00\x07", *(f"<{end}{tag}>" for end in ("", "/") for tag in (
    "methodCall", "methodName", "params", "param", "value", "i4", "i8", "boolean", "double", "string", "base64", "array", "data", "struct",
    "member", "name", "nil", "dateTime.iso8601", "methodResponse", "fault"))]), max_size=30).map("".join))  # fmt: skip
def test_tags_in_any_order_give_a_value_or_a_fault(soup: str) -> None:
    for body in (soup.encode(), call_of(soup), call_of(f"<value>{soup}</value>")):
        for read in (codec.decode, codec.decode_reply):
            assert fault_of(read, body) in (None, -503)


@given(st.binary(min_size=1, max_size=4), st.integers(0, 300), st.integers(0, 6))
def test_a_damaged_call_gives_a_value_or_a_fault(junk: bytes, where: int, lost: int) -> None:
    sound = codec.encode_call("one.user.info", ["a:b", 5, [I8(1)], {"x": True}])
    assert fault_of(codec.decode, sound[:where] + junk + sound[where + lost :]) in (None, -503)


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        ("<value>bare text</value>", "bare text"),
        ("<value/>", ""),
        ("<value>  </value>", "  "),
        ("<value>\n<int>7</int>\n</value>", 7),
        ("<value>a<!-- no -->b</value>", "ab"),
        ("<value><![CDATA[<a>]]>&amp;&#x41;</value>", "<a>&A"),
        ("<value><int> -5 </int></value>", -5),
        ("<value><int>+5</int></value>", 5),
        ("<value><i8>7</i8></value>", I8(7)),
        ('<value><ex:i8 xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions">7</ex:i8></value>', I8(7)),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><double>-1.5</double></value>", -1.5),
        ("<value><base64>aGVs\nbG8=</base64></value>", b"hello"),
        ("<value><dateTime.iso8601>20240101T00:00:00</dateTime.iso8601></value>", DateTime("20240101T00:00:00")),
        ("<value><array><data></data></array></value>", []),
        ("<value><struct></struct></value>", {}),
        ("<value><nil/></value>", None),
    ],
)
def test_forms_of_a_value(xml: str, value: Any) -> None:
    assert typed(value_of(xml)) == typed(value)


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        ("<value><int>2147483648</int></value>", "32 bits"),
        ("<value><i8>9223372036854775808</i8></value>", "64 bits"),
        ("<value><int></int></value>", "whole number"),
        ("<value><int>1_0</int></value>", "whole number"),
        ("<value><int>٣</int></value>", "whole number"),
        ("<value><int>1.0</int></value>", "whole number"),
        (f"<value><int>{'9' * 10_000}</int></value>", "whole number"),
        ("<value><boolean>true</boolean></value>", "0 or 1"),
        ("<value><double>nan</double></value>", "finite"),
        ("<value><double>1e999</double></value>", "finite"),
        ("<value><base64>a</base64></value>", "base64"),
        ("<value><int>1</int><int>2</int></value>", "<int> can't stand here"),
        ("<value><string><b>x</b></string></value>", "<b> can't stand here"),
        ("<value><array></array></value>", "lacks <data>"),
        ("<value><array><data/><data/></array></value>", "<data> can't stand here"),
        ("<value><struct><member></member></struct></value>", "lacks <name>"),
        ("<value><struct><member><name>a</name></member></struct></value>", "lacks <value>"),
        ("<value><struct><member><name>a</name><name>b</name></member></struct></value>", "<name> can't stand here"),
        ("<value/><value/>", "<value> can't stand here"),
        ("", "lacks <value>"),
        ("<value>&nbsp;</value>", "undefined entity"),
        ("<value>\x07</value>", "not well-formed"),
        ("<value>&#xFFFF;</value>", "invalid character"),
    ],
)
def test_a_wrong_value_is_refused_and_the_text_says_why(xml: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        value_of(xml)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no element found"),
        (b"<methodCall></methodCall>", "lacks <methodName>"),
        (b"<methodCall><params/></methodCall>", "<params> can't stand here"),
        (b"<methodCall><methodName>m</methodName><params/><params/></methodCall>", "<params> can't stand here"),
        (b"<!DOCTYPE a><methodCall><methodName>m</methodName></methodCall>", "DOCTYPE"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><methodCall><methodName>&x;</methodName></methodCall>', "DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><methodCall/>', "DOCTYPE"),
        (b'<?xml version="1.0" encoding="idna"?><methodCall/>', "encoding"),
        (b'<?xml version="1.0" encoding="\xff"?><methodCall/>', "well-formed"),
        ("<methodCall><methodName>ü</methodName></methodCall>".encode("latin-1"), "well-formed"),
        (b"<methodResponse><params><param><value/></param></params></methodResponse>", "<methodResponse> can't stand here"),
    ],
)
def test_a_body_that_is_no_call_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        codec.decode(body)


def test_a_call_without_params_has_none() -> None:
    assert codec.decode(b"<methodCall><methodName>m</methodName></methodCall>") == Request("m", [])


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-16", "iso-8859-1"])
def test_the_declared_encoding_counts(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><methodCall><methodName>ü</methodName></methodCall>'
    assert codec.decode(text.encode(encoding)).method == "ü"


def test_depth_is_bounded() -> None:
    def nest(levels: int) -> str:
        return "<value><array><data>" * levels + "</data></array></value>" * levels

    assert value_of(nest(20)) != []
    with pytest.raises(Malformed, match="deep"):
        value_of(nest(22))
    with pytest.raises(Malformed, match="deep"):
        value_of("<value><struct><member><name/>" * 100_000)


def test_the_number_of_values_is_bounded() -> None:
    room = codec.MAX_VALUES - 1
    assert len(value_of(f"<value><array><data>{'<value/>' * room}</data></array></value>")) == room
    with pytest.raises(Malformed, match="more than"):
        value_of(f"<value><array><data>{'<value/>' * (room + 1)}</data></array></value>")


def test_a_text_larger_than_the_parsers_buffer_comes_whole() -> None:
    text = "a<&\n" * 100_000
    assert codec.decode(codec.encode_call("m", [text])).params == [text]


@given(st.text(st.characters()))
def test_any_text_makes_a_readable_reply(text: str) -> None:
    """Also control characters, half surrogates and what a caller smuggled into a name."""
    expected = "".join("\ufffd" if (letter < " " and letter not in "\t\n\r") or "\ud800" <= letter <= "\udfff" or letter in "\ufffe\uffff"
                       else letter for letter in text)  # fmt: skip
    assert codec.decode_reply(codec.encode_success(text)) == [True, expected, 0]
    assert codec.decode_reply(codec.encode_failure(text, 0x400, 9)) == [False, expected, 0x400, 9, I8(-1)]
    (values, _) = xmlrpc.client.loads(codec.encode_success(text))
    assert values == ([True, expected, 0],)
    with pytest.raises(Fault) as caught:
        codec.decode_reply(codec.encode_fault(-506, text))
    assert (caught.value.code, caught.value.text) == (-506, expected)
    assert not isinstance(caught.value, Malformed)


@given(st.text(st.characters() | st.sampled_from("\x00\x0b\ud800\uffff")))
def test_a_call_is_never_sent_with_a_changed_text(text: str) -> None:
    try:
        body = codec.encode_call("m", [text])
    except ValueError:
        assert codec.decode_reply(codec.encode_result(text)) != text
    else:
        assert codec.decode(body).params == [text]


@pytest.mark.parametrize(
    ("value", "xml"),
    [
        (5, b"<i4>5</i4>"),
        (I8(5), b"<i8>5</i8>"),
        (I8(2**64 - 1), b"<i8>-1</i8>"),
        (True, b"<boolean>1</boolean>"),
        ("a<b", b"<string>a&lt;b</string>"),
        (b"a&lt;b", b"<string>a&lt;b</string>"),
    ],
)
def test_a_success_has_three_elements_and_the_right_tag(value: Any, xml: bytes) -> None:
    body = codec.encode_success(value)
    assert b"<value>" + xml + b"</value>" in body
    answer = codec.decode_reply(body)
    assert len(answer) == 3
    assert typed([answer[0], answer[2]]) == typed([True, 0])


@given(st.lists(TEXT))
def test_a_reply_in_pieces_equals_the_whole(texts: list[str]) -> None:
    pieces = [codec.escape(text) for text in texts]
    chunks, length = codec.success_chunks(iter(pieces))
    assert b"".join(chunks) == codec.encode_success("".join(texts))
    assert length == len(b"".join(chunks))


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, float("inf"), object(), [2**40], "\x00"])
def test_a_call_that_xml_rpc_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        codec.encode_call("m", [value])


@pytest.mark.parametrize(
    "body",
    [
        b"<methodResponse/>",
        b"<methodResponse><params/></methodResponse>",
        b"<methodResponse><fault><value>oh</value></fault></methodResponse>",
        b"<methodResponse><params><param><value/></param><param><value/></param></params></methodResponse>",
        b"<html><body>502 Bad Gateway</body></html>",
        codec.encode_call("m", []),
    ],
)
def test_what_is_no_reply_is_told_from_a_fault_of_the_server(body: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode_reply(body)


def test_an_unknown_method_has_opennebulas_fault_and_a_bounded_text() -> None:
    fault = codec.unknown_method("one.nothing")
    assert (fault.code, fault.text) == (-506, "Method 'one.nothing' not defined")
    assert len(codec.unknown_method("x" * 10**6).text) < 200


INFO = CALLS["one.user.info"].signature
ADD_RULE = CALLS["one.acl.addrule"].signature
ALLOCATE = CALLS["one.user.allocate"].signature


def test_optional_parameters_are_told_by_their_number() -> None:
    assert codec.bind(["a:b", 5], INFO) == ["a:b", 5, False]
    assert codec.bind(["a:b", 5, True], INFO) == ["a:b", 5, True]


def test_surplus_parameters_are_ignored() -> None:
    assert codec.bind(["a:b", 5, True, "more", [1]], INFO) == ["a:b", 5, True]


def test_a_default_array_is_no_ones_but_the_callers() -> None:
    first = codec.bind(["a:b", "n", "p", "core"], ALLOCATE)
    first[-1].append(7)
    assert codec.bind(["a:b", "n", "p", "core"], ALLOCATE)[-1] == []


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ([], r"0 \(session\) is missing"),
        (["a:b"], r"1 \(id\) is missing: int expected"),
        (["a:b", "5"], r"1 \(id\) has the wrong type: int expected, got string"),
        (["a:b", I8(5)], "int expected, got i8"),
        (["a:b", True], "int expected, got boolean"),
        (["a:b", 5.0], "int expected, got double"),
        (["a:b", None], "int expected, got nil"),
        (["a:b", {}], "int expected, got struct"),
        (["a:b", 5, 1], "boolean expected, got int"),
        ([DateTime("a"), 5], "string expected, got dateTime"),
        ([b"a", 5], "string expected, got base64"),
    ],
)
def test_a_wrong_parameter_is_a_fault_that_names_it(params: list[Any], why: str) -> None:
    with pytest.raises(Fault, match=why) as caught:
        codec.bind(params, INFO)
    assert caught.value.code == -501


@pytest.mark.parametrize("groups", [["1"], [I8(1)], [True], [[1]], "1", 1])
def test_an_array_of_ints_holds_ints(groups: Any) -> None:
    with pytest.raises(Fault, match="group_ids") as caught:
        codec.bind(["a:b", "n", "secret", "core", groups], ALLOCATE)
    assert caught.value.code == -501


@given(st.lists(nested(SCALARS | LONGS | TEXT | st.none(), TEXT), max_size=7), st.sampled_from([INFO, ADD_RULE, ALLOCATE]))
def test_whatever_was_decoded_binds_or_is_a_fault(params: list[Any], spec: Any) -> None:
    assert fault_of(codec.bind, params, spec) in (None, -501)


def test_the_command_line_can_import_it_without_the_server() -> None:
    program = "import sys, koinon.wire.xmlrpc, koinon.wire.calls; print(*(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"lxml", "sqlalchemy", "uvicorn", "aiohttp", "cryptography", "asyncio"} & set(loaded)

"""Long messages are read in pieces: what comes out is the same, and a tag that is a message by itself is refused while it is short."""

from __future__ import annotations

from typing import Final
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon.wire import xmlrpc, xmlrpc_reading
from koinon.wire.xmlrpc_reading import MAX_ATTRIBUTES, MAX_TAG

_MIB: Final = 2**20
HEAD: Final = b"<methodCall><methodName>m</methodName><params>"
TAIL: Final = b"</params></methodCall>"


def outcome(body: bytes) -> object:
    try:
        return xmlrpc.decode(body)
    except xmlrpc.Fault as fault:
        return fault.code


@given(
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=80),
    cut=st.integers(0, 300),
    piece=st.integers(1, 40),
)
def test_a_message_means_the_same_however_it_is_divided(text: str, cut: int, piece: int) -> None:
    """Also one that ends too early, at any byte."""
    whole = xmlrpc.encode_call("one.user.update", ["a:b", 7, text, True, [1, 2]])
    for body in (whole, whole[:cut]):
        expected = outcome(body)
        with mock.patch.object(xmlrpc_reading, "_CHUNK", piece):
            assert outcome(body) == expected


@pytest.mark.parametrize("length", [2**16 + by for by in (-1, 0, 1)] + [2**17 + by for by in (-1, 0, 1)] + [3 * _MIB])
def test_a_long_text_is_whole(length: int) -> None:
    start, end = HEAD + b"<param><value>", b"</value></param>" + TAIL
    text = "y" * (length - len(start) - len(end))
    body = start + text.encode() + end
    assert len(body) == length
    assert xmlrpc.decode(body).params == [text]


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"<param " + b" ".join(b"a%d='>'" % number for number in range(200_000)) + b"><value/></param>" + TAIL,
        HEAD + b"<!--" + b"x" * _MIB + b"-->" + TAIL,
        HEAD + b"<?" + b"x" * _MIB + b"?>" + TAIL,
        b"<" + b"x" * _MIB,
        b"<methodCall a='" + b"x" * _MIB,
    ],
    ids=["attributes", "comment", "instruction", "name", "value"],
)
def test_a_tag_without_end_is_refused(body: bytes) -> None:
    """Reading all of 64 MiB of attributes would take half a minute."""
    with pytest.raises(xmlrpc.Malformed, match=f"longer than {MAX_TAG}"):
        xmlrpc.decode(body)


def test_namespaces_are_let_through_and_heaps_of_attributes_are_not() -> None:
    call = xmlrpc.encode_call("m", [1])
    spaced = call.replace(b"<methodCall>", b'<methodCall xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions">')
    assert xmlrpc.decode(spaced).params == [1]
    heap = b" ".join(b"a%d=''" % number for number in range(MAX_ATTRIBUTES + 1))
    with pytest.raises(xmlrpc.Malformed, match="attributes"):
        xmlrpc.decode(call.replace(b"<param>", b"<param %b>" % heap))

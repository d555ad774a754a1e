"""Names: what OpenNebula refuses, and in which words."""

from __future__ import annotations

import pytest

from koinon.errors import InternalError
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("", Kind.ZONE, "Invalid NAME, it cannot be empty"),
        ("a b", Kind.USER, "Invalid NAME, character ' ' is not allowed"),
        ("a:b", Kind.USER, "Invalid NAME, character ':' is not allowed"),
        ("a b", Kind.GROUP, "Invalid NAME, char ' ' is not allowed"),
        ("a<b", Kind.VDC, "Invalid NAME, char '<' is not allowed"),
        ("a\x01b", Kind.VDC, "Invalid NAME, char U+0001 is not allowed"),
        ("a\udc80", Kind.VDC, "Invalid NAME, char U+DC80 is not allowed"),
        ("é" * 65, Kind.VDC, "Invalid NAME, max length is 128 chars"),
    ],
)
def test_refuses(name: str, kind: Kind, text: str) -> None:
    with pytest.raises(InternalError) as refused:
        require_name(name, kind)
    assert refused.value.text == text


@pytest.mark.parametrize("character", "&|:\\\";/'#{}$<>\t\n\v\f\r")
def test_no_kind_may_have(character: str) -> None:
    with pytest.raises(InternalError):
        require_name(f"x{character}", Kind.MARKETPLACE)


@pytest.mark.parametrize(("name", "kind"), [("a b", Kind.VDC), ("é" * 64, Kind.USER), ("名-1.x_@%", Kind.GROUP)])
def test_lets_through(name: str, kind: Kind) -> None:
    assert require_name(name, kind) == name

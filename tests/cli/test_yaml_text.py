"""YAML that we write, read by another's reader."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from koinon.cli.yaml_text import to_yaml

yaml: Any = import_module("yaml")  # ships no types

TEXTS = st.text(max_size=30)  # no halves of surrogate pairs: XML holds none
ODD = st.sampled_from(["yes", "0x1F", "1:20", "2026-01-01", "~", "- a", "a: b", "e3", "nan", "=", "<<"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_reader_finds_the_same_values(value: object) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


@given(TEXTS)
def test_no_control_character_is_written(text: str) -> None:
    assert to_yaml([text]).isascii() or all(character.isprintable() for character in to_yaml([text])[:-1])


def test_what_it_looks_like() -> None:
    value = {"USER": [{"ID": "0", "GROUPS": {"ID": ["0", "1"]}, "TEMPLATE": ""}, {"NAME": "a b", "NONE": []}], "COUNT": 2}
    assert to_yaml(value) == (
        'USER:\n  - ID: "0"\n    GROUPS:\n      ID:\n        - "0"\n        - "1"\n    TEMPLATE: ""\n'
        "  - NAME: a b\n    NONE: []\nCOUNT: 2\n"
    )

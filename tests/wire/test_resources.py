"""The rows of the JSON face reach every call, and its OpenAPI document is what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from koinon.wire import openapi
from koinon.wire.calls import CALLS
from koinon.wire.parameters import Required
from koinon.wire.resources import DIFFERENCE, EXPLANATION, ID, RESOURCES, TOKEN, VERSION, Resource
from koinon.wire.shapes import DOCUMENTS

COPY = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


def test_every_call_with_a_session_is_reachable() -> None:
    assert {resource.call for resource in RESOURCES} == {name for name, call in CALLS.items() if call.authenticates}


def test_no_two_rows_answer_the_same_request() -> None:
    asked = [(resource.method, resource.path) for resource in RESOURCES]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: f"{resource.method} {resource.path}")
def test_a_row_gives_every_parameter_of_its_call_once(resource: Resource) -> None:
    names = [param.name for param in resource.row.params]
    assert bool(resource.picked_from) == ("id" in resource.in_path and "id" not in names)
    named = [name for name in resource.in_path if not resource.picked_from or name != "id"]
    here = [resource.name_of(param) if param.name not in (*named, *resource.fixed) else param.name for param in resource.row.params]
    assert sorted([*named, *resource.fixed, *(param.name for param in resource.sent)]) == sorted(here)
    assert len(set(here)) == len(here)
    assert resource.answer in {ID, VERSION, TOKEN, EXPLANATION, DIFFERENCE, *DOCUMENTS}
    assert resource.picked_from in {"", *DOCUMENTS}
    types = {param.name: param.type for param in resource.row.params}
    assert all(types[name] == "int" for name in named)


def test_words_stand_for_numbers_of_the_call() -> None:
    for resource in RESOURCES:
        types = {param.name: param.type for param in resource.row.params}
        for name, words in resource.words.items():
            assert types[name] == "int"
            assert len(set(words.values())) == len(words)


def test_what_reads_is_asked_with_get_unless_it_needs_a_body() -> None:
    assert {resource.path for resource in RESOURCES if (resource.method == "GET") == resource.row.writes} == {
        "/acl/diff",
        "/system/sql",
        "/system/sqlquery",
    }


def test_a_default_fits_its_parameter() -> None:
    fitting = {"string": str, "int": int, "boolean": bool, "array<int>": tuple}
    for resource in RESOURCES:
        for param in resource.sent:
            assert isinstance(param.default, (fitting[param.type], Required)), (resource.path, param.name)


def test_the_copy_of_the_document_is_what_the_rows_say() -> None:
    """Made anew with: python -c 'from koinon.wire import openapi; print(openapi.text(), end="")' > docs/reference/openapi.json"""
    assert COPY.read_text() == openapi.text()

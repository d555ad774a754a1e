"""Errors say whose fault they are: HTTP's statuses follow from the classes, the codes and texts of XML-RPC do not change with them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from koinon import errors
from koinon.errors import ActionError, CloudError, InternalError, RemoteError

_SOURCE = Path(errors.__file__).parent


def _all(kind: type[CloudError]) -> set[type[CloudError]]:
    return {kind}.union(*map(_all, kind.__subclasses__()))


def test_classes_of_one_code_differ_in_status_only() -> None:
    for base, code in ((InternalError, 0x2000), (ActionError, 0x0800)):
        assert {kind.code for kind in _all(base)} == {code}
    assert {kind.status for kind in _all(InternalError)} == {403, 404, 409, 422, 500, 503, 504}
    assert {kind.status for kind in _all(ActionError)} == {409, 412, 422}


def test_the_catch_all_is_never_raised_itself() -> None:
    """It would blame us or the caller without thought."""
    for path in _SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("CloudError", "InternalError"), f"{path}:{node.lineno}"


@pytest.mark.parametrize(("code", "status"), [(0x0100, 401), (0x0200, 403), (0x0400, 404), (0x0800, 409), (0x1000, 400), (0x2000, 500)])
def test_a_refusal_of_another_zone_has_the_status_it_gave_or_that_of_its_code(code: int, status: int) -> None:
    assert RemoteError("no", code, -1).status == status
    assert RemoteError("no", code, -1, 422).status == 422

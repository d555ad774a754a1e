"""The API of one zone for all tests of a module: each test makes users and groups of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.desk import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()

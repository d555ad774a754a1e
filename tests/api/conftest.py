"""The API of one zone for all tests of a module: each test makes objects of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest

from harness.zones import Zone
from tests.api.desk import Desk
from tests.api.json_client import JsonClient

_NUMBERS: Final = count(1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def admin(zone: Zone) -> JsonClient:
    """The administrator of the zone that the module has made."""
    return JsonClient(zone.port, zone.secret)


@pytest.fixture
def name() -> str:
    """A name that nothing has yet."""
    return f"name{next(_NUMBERS)}"

"""What all exercises share: a place to make calls from, and the list of exercises by the calls that they prove."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import pyone

from harness.zones import Federation, Zone
from tests.xsd.schemas import validate


class Place:
    """One zone of the federation as the exercises use it.

    Attributes:
        one: pyone as the federation's administrator.
        raw: reply arrays as they came.
    """

    def __init__(self, zones: Federation, zone: Zone) -> None:
        self.zones = zones
        self.zone = zone
        self.one = zones.client(zone)
        self.raw = zones.caller(zone)

    def name(self, prefix: str) -> str:
        return f"{prefix}{next(_numbers)}"

    def user(self, *groups: int, password: str = "Secret1") -> tuple[int, str]:
        """A new user: id and name."""
        name = self.name("user")
        return self.one.user.allocate(name, password, "", list(groups)), name

    def group(self) -> int:
        return int(self.one.group.allocate(self.name("group")))

    def document(self, method: str, *arguments: Any) -> str:
        """The document that ``method`` returns, after it passed its schema."""
        text = self.raw.value(method, *arguments)
        validate(text)
        return str(text)

    def log_in(self, name: str, secret: str) -> Any:
        """The caller's own record, fetched with this session."""
        return self.zone.client(name, secret).user.info(-1)

    def refuses(self, name: str, secret: str) -> bool:
        try:
            self.log_in(name, secret)
        except pyone.OneAuthenticationException:
            return True
        return False


_numbers = itertools.count(1)
Exercise = Callable[[Place], None]
EXERCISES: Final[dict[str, Exercise]] = {}


def exercise(*calls: str) -> Callable[[Exercise], Exercise]:
    """Enter a function as the exercise of ``calls``."""

    def enter(function: Exercise) -> Exercise:
        for call in calls:
            assert call not in EXERCISES
            EXERCISES[call] = function
        return function

    return enter

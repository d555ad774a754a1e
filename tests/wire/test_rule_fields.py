"""ACL rules as texts and as fields: what is shown can be sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from koinon.objects.acl import PARTS, Part, Rule, all_zones, everyone, problems
from koinon.objects.kinds import Kind
from koinon.wire.rule_fields import fields_of, number_of, parts_of
from tests.objects.test_acl import RULES


def shown(rule: Rule) -> dict[str, str]:
    """A rule as replies show it."""
    return {"USER": f"{rule.user:x}", "RESOURCE": f"{rule.resource:x}", "RIGHTS": f"{rule.rights:x}", "ZONE": f"{rule.zone:x}"}


@given(RULES)
def test_what_is_shown_can_be_sent_in_each_form(rule: Rule) -> None:
    texts, fields = parts_of(shown(rule)), fields_of(shown(rule))
    assert (texts is None) == (fields is None) == bool(problems(rule))
    numbers = dict(zip(PARTS, shown(rule).values(), strict=True))
    for form in (texts or {}, fields or {}, numbers):
        assert all(number_of(part, form[part]) == numbers[part] for part in PARTS if form)


def test_a_rule_about_rules_names_its_kind() -> None:
    """OpenNebula's own text leaves it out."""
    rule = shown(Rule(everyone(), Kind.ACL.bit | 0x400000000, 2, all_zones()))
    assert parts_of(rule) == {"user": "*", "resource": "ACL/*", "rights": "MANAGE", "zone": "*"}
    assert fields_of(rule) == {
        "user": {"all": True},
        "resource": {"kinds": ["ACL"], "all": True},
        "rights": ["MANAGE"],
        "zone": {"all": True},
    }


def test_what_no_rule_means_is_shown_as_numbers_only() -> None:
    for rule in (shown(Rule(0, 0, 0, 0)), shown(Rule(everyone(), 2**70, 1, all_zones()))):
        assert parts_of(rule) is None
        assert fields_of(rule) is None


_NO_KINDS: tuple[Any, ...] = ([], "VM", ["HOOK"], [5], None, ["VM", "NOTHING"])
_UNREADABLE: dict[Part, list[Any]] = {
    "user": [
        *(5, None, [], {}, {"id": 5, "group": 1}, {"all": 1}, {"all": False}, {"cluster": 1}, {"kinds": ["VM"], "id": 5}, "@"),
        *({"id": oid} for oid in (-1, 2**31, True, "5", 1.5)),
    ],
    "resource": [{"id": 5}, {"kinds": ["VM"]}, "VM", "VM/", *({"kinds": kinds, "id": 5} for kinds in _NO_KINDS)],
    "rights": [[], "READ", [1], ["USE", "READ"], {"USE": True}, None, 1],
    "zone": [{"group": 1}, "@1", ["#1"], 0],
}


@pytest.mark.parametrize(("part", "value"), [(part, value) for part, values in _UNREADABLE.items() for value in values])
def test_what_can_not_be_read_is_refused(part: Part, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^(the|there is no) "):
        number_of(part, value)

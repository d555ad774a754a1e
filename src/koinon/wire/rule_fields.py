"""ACL rules in JSON, for people and programs: each part as text (``VM+NET/@12``) and as fields, beside OpenNebula's hexadecimal number.

Path:     a rule that is shown -> shapes.py -> parts_of(), fields_of(); a rule that is sent -> api/json_requests.py -> number_of()
Holds:    what is shown of a part can be sent as that part, in each of the three forms.
Not here: the numbers and the text (objects/acl.py); whether a rule makes sense (identity/acl.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from koinon.objects.acl import ALL, CLUSTER, GROUP, ID_MASK, INDIVIDUAL, MAX_ID, PARTS, Part, Right, Rule, parse_part, problems
from koinon.objects.kinds import Kind

_SELECTORS: Final = {"id": INDIVIDUAL, "group": GROUP, "cluster": CLUSTER, "all": ALL}
_SIGNS: Final = {"id": "#", "group": "@", "cluster": "%"}
_NUMBER: Final = re.compile(r"\s*(0[xX])?[0-9a-fA-F]*\s*", re.ASCII)
_FIELDS: Final[dict[Part, str]] = {
    "user": '{"id": 5}, {"group": 1} or {"all": true}',
    "resource": '{"kinds": ["VM", "NET"], "group": 12}, where "id", "cluster" or "all" may stand for "group"',
    "rights": '["USE", "MANAGE"]',
    "zone": '{"id": 0} or {"all": true}',
}


def parts_of(shown: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parts of a rule that is shown with its four numbers, as texts; None if it is no rule that could be added."""
    rule = _rule(shown)
    return None if rule is None else dict(zip(PARTS, rule.parts(), strict=True))


def fields_of(shown: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same as fields."""
    rule = _rule(shown)
    if rule is None:
        return None
    return {
        "user": _selected(rule.user),
        "resource": {"kinds": [kind.acl_name for kind in Kind if rule.resource & kind.bit], **_selected(rule.resource)},
        "rights": [right.name for right in Right if rule.rights & right],
        "zone": _selected(rule.zone),
    }


def number_of(part: Part, value: Any) -> str:
    """A part that was sent, as the hexadecimal number that the call takes. Numbers themselves are left to the call to check.

    Raises:
        ValueError: it can't be read; the text says how it is written.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return value
    text = value if isinstance(value, str) else _text_of(part, value)
    return f"{parse_part(part, text):x}"


def _text_of(part: Part, value: Any) -> str:
    """Fields as text."""
    if part == "rights":
        if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
            return "+".join(value)
    elif isinstance(value, dict):
        fields = dict(value)
        kinds = fields.pop("kinds", None) if part == "resource" else None
        selected = _sign_of(fields)
        if part != "resource" and selected:
            return selected
        if isinstance(kinds, list) and kinds and all(isinstance(name, str) for name in kinds) and selected:
            return f"{'+'.join(kinds)}/{selected}"
    raise ValueError(f"the {part} is a text or {_FIELDS[part]}")


def _sign_of(fields: dict[str, Any]) -> str:
    """``#5`` for ``{"id": 5}``; empty if it is not just one selector."""
    if len(fields) != 1:
        return ""
    ((name, oid),) = fields.items()
    if name == "all" and oid is True:
        return "*"
    return f"{_SIGNS[name]}{oid}" if name in _SIGNS and isinstance(oid, int) and not isinstance(oid, bool) else ""


def _rule(shown: Mapping[str, Any]) -> Rule | None:
    try:
        rule = Rule.from_hex(shown["USER"], shown["RESOURCE"], shown["RIGHTS"], shown["ZONE"])
    except ValueError:
        return None
    return None if problems(rule) else rule


def _selected(number: int) -> dict[str, Any]:
    for name, bit in _SELECTORS.items():
        if number & bit:
            return {name: True if bit == ALL else number & ID_MASK}
    return {}


def _selector(*names: str, **others: Any) -> dict[str, Any]:
    """The schema of an object with exactly one of these selectors, beside other fields."""
    schemas = {"all": {"const": True}}
    oid = {"type": "integer", "minimum": 0, "maximum": MAX_ID}
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {**others, name: schemas.get(name, oid)},
                "required": [*others, name],
                "additionalProperties": False,
            }
            for name in names
        ]
    }


#: Each part as text.
EXAMPLE: Final[dict[str, str]] = {"user": "@1", "resource": "VM+NET/@12", "rights": "USE+MANAGE", "zone": "#0"}
_NAMES_OF_KINDS: Final = {"type": "array", "items": {"enum": [kind.acl_name for kind in Kind if kind is not Kind.HOOK]}, "minItems": 1}
#: The schema of each part as fields.
FIELDS: Final[dict[Part, dict[str, Any]]] = {
    "user": _selector("id", "group", "all"),
    "resource": _selector("id", "group", "cluster", "all", kinds=_NAMES_OF_KINDS),
    "rights": {"type": "array", "items": {"enum": [right.name for right in Right]}, "minItems": 1},
    "zone": _selector("id", "all"),
}

"""The JSON Schemas of what is asked and answered about policy: why something is allowed, what a change of rules would do.

Not here: who makes these answers (identity/explanation.py, identity/rule_changes.py).
"""

from __future__ import annotations

from typing import Any, Final

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind

_TEXT: Final = {"type": "string"}
_INT: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_INT32: Final = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_SOURCE: Final = {"enum": ["rule", "owner bits", "group bits", "other bits"]}
_KIND: Final = {"enum": [kind.acl_name for kind in Kind if kind is not Kind.HOOK]}


def _object(doc: str = "", /, **fields: Any) -> dict[str, Any]:
    described = {"description": doc} if doc else {}
    return {"type": "object", "properties": fields, "required": list(fields)} | described


def _list(items: Any, doc: str = "") -> dict[str, Any]:
    return {"type": "array", "items": items} | ({"description": doc} if doc else {})


def _or_null(schema: Any) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_NAMED: Final = _object(id=_INT, name=_TEXT)
_RULE_ID: Final = _or_null(_INT) | {"description": "Id of the stored rule; null for permissions of the object."}

_MISS: Final = _object(part={"enum": ["user", "right", "object", "zone"]}, text=_TEXT)

EXPLANATION: Final = _object(
    "Why a user may or may not do something.",
    allowed=_FLAG,
    user=_object(id=_INT, name=_TEXT, groups=_list(_NAMED)),
    right=_TEXT,
    object=_TEXT,
    zone=_NAMED,
    answered_by=_INT | {"description": "Id of the zone that answers."},
    reason=_TEXT | {"description": "One line for people."},
    by=_or_null(_object("What allowed it.", source=_SOURCE, rule_id=_RULE_ID, rule=_TEXT, through=_TEXT)),
    nearest=_list(
        _object(source=_SOURCE, rule_id=_RULE_ID, rule=_TEXT, lacks=_list(_MISS)),
        "Of a refusal: rules that came nearest to allowing it.",
    ),
    notes=_list(_TEXT),
)

_FOR: Final[dict[str, Any]] = {"for": _object(kind={"enum": ["user", "group"]}, id=_INT, name=_TEXT)}
DIFFERENCE: Final = _object(
    "What a change of rules would grant and remove.",
    add=_list(_TEXT, "Rules that would be added."),
    remove=_list(_object(id=_INT, rule=_TEXT)),
    answered_by=_INT | {"description": "Id of the zone that answers: of others it knows no objects of their own."},
    lines=_list(
        _object(
            **_FOR,
            change={"enum": ["grant", "remove"]},
            right={"enum": [right.name for right in Right]},
            kind=_KIND,
            users=_object(count=_INT, of=_INT, some=_list(_NAMED)),
            zones=_list(_NAMED),
            every_zone=_FLAG,
            places=_list(_TEXT, "Objects in general, as rules write them."),
            objects=_or_null(_object("Objects that are there, if they are known.", count=_INT, some=_list(_INT), pairs=_INT)),
        )
    ),
    left_off=_INT | {"description": "How many lines are not shown."},
    notes=_list(_TEXT, "Why a rule may do less than its writer thinks."),
)

_RESOURCE: Final = {
    "type": "array",
    "prefixItems": [{"enum": ["CLUSTER", "HOST", "DATASTORE", "VNET"]}, _INT32, _INT32],
    "items": False,
    "minItems": 3,
    "description": "Kind, zone id, id; -10 is all of the zone.",
}
_OF_VDC: Final = {
    "id": _INT32,
    "add_groups": _list(_INT32),
    "del_groups": _list(_INT32),
    "add": _list(_RESOURCE),
    "remove": _list(_RESOURCE),
}
_CHANGES: Final = {
    "add": _list(_TEXT | {"examples": ["@1 HOST/* USE #0"]}, "Rules to add, as texts."),
    "remove": _list(_INT32, "Ids of rules to remove."),
    "vdc": {
        "type": "object",
        "description": "What to change of a VDC.",
        "properties": _OF_VDC,
        "required": ["id"],
        "additionalProperties": False,
    },
}
CHANGES: Final = {"type": "object", "properties": _CHANGES, "additionalProperties": False, "minProperties": 1}

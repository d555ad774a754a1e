"""What the documents of replies look like in JSON: one shape for each, from which they are rendered and described.

Holds:    numbers only where OpenNebula's schemas say integer; what may occur more than once is always a list, also when it is empty.
Not here: rendering (api/json_documents.py); which call answers which document (resources.py).
Source:   OpenNebula share/doc/xsd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from koinon.wire import rule_fields


class Text(msgspec.Struct, frozen=True):
    """Text, as it stands."""


class Integer(msgspec.Struct, frozen=True):
    """A whole number; ``doc`` says what is special about it."""

    doc: str = ""


class Attributes(msgspec.Struct, frozen=True):
    """Free attributes: text or an object of texts by name; a list of these where a name occurs more than once."""


class Fields(msgspec.Struct, frozen=True):
    """An object. ``optional`` fields may be absent; those that are Many never are."""

    fields: dict[str, Shape]
    optional: frozenset[str] = frozenset()


class Items(msgspec.Struct, frozen=True):
    """An element that holds nothing but elements called ``tag``: a list of them."""

    tag: str
    shape: Shape


class Many(msgspec.Struct, frozen=True):
    """A field whose element may occur any number of times among others: a list."""

    shape: Shape


class Derived(msgspec.Struct, frozen=True):
    """A field that no element holds: ``make`` computes it from the others, or None for nothing. ``schema`` is the name of its schema."""

    schema: str
    make: Callable[[Mapping[str, Any]], Any]


Shape: TypeAlias = Text | Integer | Attributes | Fields | Items | Many | Derived

TEXT: Final = Text()
INT: Final = Integer()
FREE: Final = Attributes()
IDS: Final = Items("ID", INT)


def _fields(integers: str = "", texts: str = "", optional: str = "", also: Mapping[str, Shape] | None = None, **others: Shape) -> Fields:
    """An object: names of its whole numbers, names of its texts, then its other fields by name; ``optional`` names some of them."""
    named: dict[str, Shape] = {}
    named.update(dict.fromkeys(integers.split(), INT))
    named.update(dict.fromkeys(texts.split(), TEXT))
    return Fields(named | dict(also or {}) | others, frozenset(optional.split()))


_QUOTAS: Final[dict[str, Shape]] = {
    f"{kind}_QUOTA": Items(inner, FREE)
    for kind, inner in (("DATASTORE", "DATASTORE"), ("NETWORK", "NETWORK"), ("VM", "VM"), ("IMAGE", "IMAGE"))
}
_OF_POOL: Final = Many(_fields("ID", also=_QUOTAS))
_ALL_QUOTAS: Final = "DATASTORE_QUOTA NETWORK_QUOTA VM_QUOTA IMAGE_QUOTA"
_VLAN_RULES: Final = _fields("ID", RULE=Many(_fields("", "ID SCOPE VNTEMPLATE")))
_LOGIN_TOKEN: Final = _fields("EXPIRATION_TIME EGID", "TOKEN")


def _placed(kind: str) -> Shape:
    return Items(kind, _fields("ZONE_ID", also={f"{kind}_ID": Integer("-10 is all of the zone.")}))


_USER: Final = _fields(
    "ID GID ENABLED",
    "GNAME NAME PASSWORD AUTH_DRIVER",
    f"{_ALL_QUOTAS} DEFAULT_USER_QUOTAS",
    GROUPS=IDS,
    LOGIN_TOKEN=Many(_LOGIN_TOKEN),
    TEMPLATE=FREE,
    also=_QUOTAS,
    DEFAULT_USER_QUOTAS=_fields(also=_QUOTAS),
)
_GROUP: Final = _fields(
    "ID",
    "NAME",
    f"{_ALL_QUOTAS} DEFAULT_GROUP_QUOTAS VLAN_RULES",
    TEMPLATE=FREE,
    USERS=IDS,
    ADMINS=IDS,
    also=_QUOTAS,
    VLAN_RULES=_VLAN_RULES,
    DEFAULT_GROUP_QUOTAS=_fields(also=_QUOTAS),
)
_VDC: Final = _fields(
    "ID",
    "NAME",
    GROUPS=IDS,
    CLUSTERS=_placed("CLUSTER"),
    HOSTS=_placed("HOST"),
    DATASTORES=_placed("DATASTORE"),
    VNETS=_placed("VNET"),
    TEMPLATE=FREE,
)
_ACL: Final = _fields(
    "ID",
    "USER RESOURCE RIGHTS ZONE STRING",
    "PARTS FIELDS",
    PARTS=Derived("RuleParts", rule_fields.parts_of),
    FIELDS=Derived("RuleFields", rule_fields.fields_of),
)
_SERVER: Final = _fields(
    "ID STATE TERM VOTEDFOR COMMIT LOG_INDEX FEDLOG_INDEX", "ENDPOINT NAME", "STATE TERM VOTEDFOR COMMIT LOG_INDEX FEDLOG_INDEX"
)
_ZONE: Final = _fields("ID STATE", "NAME", TEMPLATE=FREE, SERVER_POOL=Items("SERVER", _SERVER))
_CLUSTER: Final = _fields("ID", "NAME", HOSTS=IDS, DATASTORES=IDS, VNETS=IDS, TEMPLATE=FREE)
_HOST: Final = _fields(
    "ID STATE PREV_STATE CLUSTER_ID",
    "NAME IM_MAD VM_MAD CLUSTER",
    HOST_SHARE=_fields(
        "MEM_USAGE CPU_USAGE TOTAL_MEM TOTAL_CPU MAX_MEM MAX_CPU RUNNING_VMS VMS_THREAD",
        DATASTORES=_fields("DISK_USAGE FREE_DISK MAX_DISK USED_DISK"),
        PCI_DEVICES=Items("PCI", FREE),
        NUMA_NODES=Items("NODE", FREE),
    ),
    VMS=IDS,
    TEMPLATE=FREE,
    MONITORING=FREE,
)
_DOCUMENT: Final = _fields(
    "ID UID GID",
    "UNAME GNAME NAME TYPE",
    "LOCK",
    PERMISSIONS=_fields("OWNER_U OWNER_M OWNER_A GROUP_U GROUP_M GROUP_A OTHER_U OTHER_M OTHER_A"),
    LOCK=_fields("LOCKED OWNER TIME REQ_ID", "", "OWNER TIME REQ_ID"),
    TEMPLATE=FREE,
)

#: The documents by the name of their root element.
DOCUMENTS: Final[dict[str, Fields | Items | Attributes]] = {
    "USER": _USER,
    "USER_POOL": _fields(USER=Many(_USER), QUOTAS=_OF_POOL, DEFAULT_USER_QUOTAS=_fields(also=_QUOTAS)),
    "GROUP": _GROUP,
    "GROUP_POOL": _fields(GROUP=Many(_GROUP), QUOTAS=_OF_POOL, VLAN_RULES=Many(_VLAN_RULES), DEFAULT_GROUP_QUOTAS=_fields(also=_QUOTAS)),
    "DEFAULT_USER_QUOTAS": _fields(also=_QUOTAS),
    "DEFAULT_GROUP_QUOTAS": _fields(also=_QUOTAS),
    "VDC": _VDC,
    "VDC_POOL": _fields(VDC=Many(_VDC)),
    "ACL": _ACL,
    "ACL_POOL": _fields(ACL=Many(_ACL)),
    "ZONE": _ZONE,
    "ZONE_POOL": _fields(ZONE=Many(_ZONE)),
    "RAFT": _fields("SERVER_ID STATE TERM VOTEDFOR COMMIT LOG_INDEX LOG_TERM FEDLOG_INDEX"),
    "CLUSTER": _CLUSTER,
    "CLUSTER_POOL": _fields(CLUSTER=Many(_CLUSTER)),
    "HOST": _HOST,
    "HOST_POOL": _fields(HOST=Many(_HOST)),
    "MONITORING_DATA": FREE,
    "DOCUMENT": _DOCUMENT,
    "DOCUMENT_POOL": _fields(DOCUMENT=Many(_DOCUMENT)),
    "OPENNEBULA_CONFIGURATION": FREE,
    "SQL_COMMAND": _fields("", "QUERY", RESULT=Items("ROW", FREE)),
}


def schema(shape: Shape) -> dict[str, Any]:
    """The JSON Schema of what ``shape`` renders to."""
    if isinstance(shape, Text):
        return {"type": "string"}
    if isinstance(shape, Integer):
        return {"type": "integer"} | ({"description": shape.doc} if shape.doc else {})
    if isinstance(shape, Attributes):
        return {"$ref": "#/components/schemas/Attributes"}
    if isinstance(shape, Derived):
        return {"$ref": f"#/components/schemas/{shape.schema}"}
    if isinstance(shape, Items | Many):
        return {"type": "array", "items": schema(shape.shape)}
    return {
        "type": "object",
        "properties": {name: schema(inner) for name, inner in shape.fields.items()},
        "required": [name for name in shape.fields if name not in shape.optional],
    }

"""The OpenAPI document of the JSON face, made from the rows: calls, resources and shapes.

Holds:    the copy in docs/reference/openapi.json is ``text()``; a test compares them.
Source:   OpenAPI 3.1.1; RFC 9457 for problems.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from koinon.objects.acl import PARTS
from koinon.wire import policy_schemas, rule_fields, shapes
from koinon.wire.calls import Param
from koinon.wire.parameters import Required
from koinon.wire.resources import DIFFERENCE, EXPLANATION, ID, JSON, PICKED, RESOURCES, TEMPLATES, TOKEN, VERSION, Resource

BASE: Final = "/api/v1"
MAX_ITEMS: Final = 1000
INT32: Final = (-(2**31), 2**31 - 1)
#: An Idempotency-Key: long enough that nobody meets another's by chance.
_KEY: Final = "[A-Za-z0-9._~+/=:-]{16,255}"
KEY_PATTERN: Final = f'^({_KEY}|"{_KEY}")$'
_TAG: Final = '"([0-9a-f]{32}-)?[0-9a-f]{32}"'
POSITION_PATTERN: Final = r"^[0-9]{1,9}\.[0-9]{1,15}$"
#: What XML can't hold is refused in every text.
TEXT_PATTERN: Final = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\ufffe\\uffff]*$"
ATTRIBUTE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.-]*$"

_PROBLEMS: Final = {
    "400": "The request can't be read, or an argument has a wrong value.",
    "401": "No user was named, or the secret is wrong.",
    "403": "The user may not do this.",
    "404": "There is no such object.",
    "406": "JSON is all that is answered, and Accept does not allow it.",
    "409": "The state of the object, of the zone, or a taken name does not allow it.",
    "412": "The object is not the version that If-Match names.",
    "413": "The request is longer than this zone allows.",
    "415": "The body is not JSON in UTF-8, or is compressed.",
    "422": "The request can be read and makes no sense; the detail says why.",
    "500": "A fault of the server; its log says more.",
    "503": "This zone can't do it now and changed nothing.",
    "504": "It may or may not have happened; the detail says what to look for.",
}
_ALWAYS: Final = ("400", "401", "403", "404", "406", "409", "422", "500", "503")


def text() -> str:
    """The document as it is served and kept: JSON with two blanks of indentation."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def document() -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for resource in RESOURCES:
        paths.setdefault(resource.path, {})[resource.method.lower()] = _operation(resource)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Koinon",
            "version": "1",
            "description": "The calls of the API as resources. Sessions are those of the XML-RPC face: HTTP Basic with user and secret, "
            "or `Authorization: Bearer user:token`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": BASE}],
        "security": [{"basic": []}, {"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(map(_tag, RESOURCES))],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}, "token": {"type": "http", "scheme": "bearer"}},
            "parameters": _PARAMETERS,
            "headers": {
                "ETag": {
                    "description": "The version of what is shown, for If-None-Match. That of an object is for If-Match too: its part "
                    "before `-` is the object's own and the same in all zones.",
                    "required": True,
                    "schema": {"type": "string", "pattern": f"^{_TAG}$"},
                },
                "Koinon-Position": {
                    "description": "A zone that holds this position, `EPOCH.INDEX`, shows what was written or read. See Koinon-After.",
                    "required": True,
                    "schema": {"type": "string", "pattern": POSITION_PATTERN},
                },
            },
            "responses": {"304": _UNCHANGED} | {status: _problem(what) for status, what in _PROBLEMS.items()},
            "schemas": _schemas(),
        },
    }


def _operation(resource: Resource) -> dict[str, Any]:
    row = resource.row
    docs = {param.name: param for param in (PICKED, *row.params)}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "description": docs[name].doc, "schema": _type(docs[name], resource.words)}
        for name in resource.in_path
    ]
    names = []
    if not row.writes:
        names.append("Koinon-After")
    elif resource.versioned:
        names.append("If-Match")
    if row.writes:
        names.append("Idempotency-Key")
    if resource.method == "GET":
        names.append("If-None-Match")
        parameters += [
            {
                "name": param.name,
                "in": "query",
                "required": not param.optional,
                "description": param.doc,
                "schema": _with_default(param, resource.words),
            }
            for param in resource.queried
        ]
    statuses = list(_ALWAYS)
    if resource.method != "GET":
        statuses += ["413", "415"]
    if "If-Match" in names:
        statuses.append("412")
    if row.writes:
        statuses.append("504")
    operation: dict[str, Any] = {
        "operationId": f"{resource.method.lower()}{resource.path}".replace("/", "_").replace("{", "").replace("}", ""),
        "summary": f"Show one {resource.answer} by its id." if resource.picked_from else row.summary,
        "description": f"The call `{resource.call}`.",
        "tags": [_tag(resource)],
        "parameters": parameters + [{"$ref": f"#/components/parameters/{name}"} for name in names],
        "responses": {str(resource.status): _success(resource)}
        | ({"304": {"$ref": "#/components/responses/304"}} if resource.method == "GET" else {})
        | {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)},
    }
    if resource.method != "GET" and resource.sent:
        operation["requestBody"] = {
            "required": any(not param.optional for param in resource.sent),
            "content": {"application/json": {"schema": body_schema(resource)}},
        }
    return operation


def body_schema(resource: Resource) -> dict[str, Any]:
    """The schema of what a row takes in its body."""
    return {
        "type": "object",
        "properties": {param.name: _body_field(resource, param) | {"description": param.doc} for param in resource.sent},
        "required": [param.name for param in resource.sent if not param.optional],
        "additionalProperties": False,
    }


def _body_field(resource: Resource, param: Param) -> dict[str, Any]:
    if not resource.takes_rule:
        return _with_default(param, resource.words)
    default = {} if isinstance(param.default, Required) else {"default": param.default}
    fields = {"$ref": f"#/components/schemas/Rule{param.name.title()}"}
    text = {"type": "string", "description": "As text, or as the number in hexadecimal.", "examples": [rule_fields.EXAMPLE[param.name]]}
    return {"anyOf": [text, fields], **default}


def _tag(resource: Resource) -> str:
    return resource.path.split("/")[1]


def _type(param: Param, words: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    if param.name in words:
        return {"anyOf": [_type(param, {}), {"type": "string", "enum": list(words[param.name])}]}
    if param.name in TEMPLATES:
        return {"$ref": "#/components/schemas/Template"}
    if param.name in JSON:
        return {"$ref": "#/components/schemas/Changes"}
    if param.type == "boolean":
        return {"type": "boolean"}
    integer = {"type": "integer", "format": "int32", "minimum": INT32[0], "maximum": INT32[1]}
    if param.type == "int":
        return integer
    if param.type == "array<int>":
        return {"type": "array", "items": integer, "maxItems": MAX_ITEMS}
    return {"type": "string", "pattern": TEXT_PATTERN}


def _with_default(param: Param, words: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    default = param.default
    return _type(param, words) if isinstance(default, Required) else _type(param, words) | {"default": default}


def _success(resource: Resource) -> dict[str, Any]:
    headers: dict[str, Any] = _headers("Koinon-Position", *(["ETag"] if resource.method == "GET" else []))
    if resource.status == 201 and resource.answer == ID:
        headers["Location"] = {"description": "Where it is now.", "required": True, "schema": {"type": "string"}}
    if resource.listed:
        headers["Link"] = {"description": "Where the next ones are, as `rel=next`, if there may be more.", "schema": {"type": "string"}}
    return {
        "description": "Done." if resource.row.writes else "What was asked for.",
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_schema_name(resource.answer)}"}}},
        "headers": headers,
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schema_name(answer: str) -> str:
    return {ID: "Id", VERSION: "Version", TOKEN: "Token"}.get(answer, answer)


def _single(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}


def _schemas() -> dict[str, Any]:
    value = {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Attributes"}]}
    sent_text = {"type": "string", "pattern": TEXT_PATTERN}
    names = {"pattern": ATTRIBUTE_PATTERN}
    vector = {"type": "object", "propertyNames": names, "additionalProperties": sent_text, "minProperties": 1}
    one = {"anyOf": [sent_text, vector]}
    used = {resource.answer for resource in RESOURCES}
    return {
        "Problem": {
            "type": "object",
            "description": "What went wrong, as RFC 9457 has it.",
            "properties": {
                "type": {"type": "string", "description": "Always `about:blank`: the status says the kind."},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string", "description": "What, why, and what to do."},
                "code": {"type": "integer", "description": "The error code of the XML-RPC face."},
                "object_id": {"type": "integer", "description": "Id of the object that caused it, -1 if there is none."},
            },
            "required": ["type", "title", "status", "detail", "code", "object_id"],
        },
        "Template": {
            "description": "Attributes: a template text as the XML-RPC face takes it, or an object of texts and of objects of texts; a list"
            " "
            "where a name occurs more than once.",
            "anyOf": [
                sent_text,
                {
                    "type": "object",
                    "propertyNames": names,
                    "additionalProperties": {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]},
                },
            ],
        },
        "Attributes": {
            "type": "object",
            "description": shapes.Attributes.__doc__,
            "additionalProperties": {"anyOf": [*value["anyOf"], {"type": "array", "items": value}]},
        },
        "Id": _single("id", {"type": "integer"}),
        "Version": _single("version", {"type": "string"}),
        "Token": _single("token", {"type": "string"}),
        EXPLANATION: policy_schemas.EXPLANATION,
        DIFFERENCE: policy_schemas.DIFFERENCE,
        "Changes": policy_schemas.CHANGES,
        "RuleParts": {
            "type": "object",
            "description": "An ACL rule in texts. Each can be sent as that part of a new rule.",
            "properties": {part: {"type": "string", "examples": [rule_fields.EXAMPLE[part]]} for part in PARTS},
            "required": list(PARTS),
        },
        "RuleFields": {
            "type": "object",
            "description": "An ACL rule in fields. Each can be sent as that part of a new rule.",
            "properties": {part: {"$ref": f"#/components/schemas/Rule{part.title()}"} for part in PARTS},
            "required": list(PARTS),
        },
        **{f"Rule{part.title()}": fields for part, fields in rule_fields.FIELDS.items()},
    } | {name: shapes.schema(shape) for name, shape in shapes.DOCUMENTS.items() if name in used}


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _header(name: str, what: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": what, "schema": {"type": "string", "pattern": pattern}}


_UNCHANGED: Final = {
    "description": "It is still a version that If-None-Match names.",
    "headers": _headers("ETag", "Koinon-Position"),
}
_PARAMETERS: Final = {
    "If-Match": _header(
        "If-Match",
        "Do it only if the object has one of these versions (ETag). A change of what all zones share is compared by the object's own "
        "part, one of what a zone has for itself by all that was shown.",
        f"^(\\*|{_TAG}(, ?{_TAG})*)$",
    ),
    "If-None-Match": _header(
        "If-None-Match", "Answer 304 without a body if it still has one of these versions (ETag).", f"^(\\*|(W/)?{_TAG}(, ?(W/)?{_TAG})*)$"
    ),
    "Idempotency-Key": _header(
        "Idempotency-Key",
        "16 to 255 characters of your own choice, in quotes or not. The same request with the same key takes effect once and is answered "
        "alike: in any zone if it changes what all zones share, else in the zone that was asked.",
        KEY_PATTERN,
    ),
    "Koinon-After": _header(
        "Koinon-After",
        "Answer from a state that holds this position (Koinon-Position of a write), after a bounded wait.",
        POSITION_PATTERN,
    ),
}

KEY: Final = re.compile(KEY_PATTERN)
AFTER: Final = re.compile(POSITION_PATTERN)

"""What a parameter of a call is, and whether the values that were sent suit.

Holds:    types are checked as strictly as OpenNebula does: an ``<i4>`` is no ``<i8>``, a number is no text; parameters may be left
          out from the end only; more than a call takes are ignored.
Not here: whether a value makes sense (the call says that, with an error and not with a fault).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from koinon.wire.values import I8, WRONG_PARAMETERS, DateTime, Fault, Value

Type: TypeAlias = Literal["string", "int", "i8", "boolean", "array<int>"]


class Required(msgspec.Struct, frozen=True):
    """Stands where a default would: the parameter must be sent."""


REQUIRED: Final = Required()
#: What a parameter may default to; a tuple stands for an array, so that no two calls share a list.
Default: TypeAlias = str | int | bool | tuple[int, ...] | Required


class Param(msgspec.Struct, frozen=True):
    """One parameter of a call.

    Attributes:
        name: as the reference page and the command line call it.
        type: what must be sent.
        default: what holds if it is left out.
        doc: what it means, for the reference page.
        secret: never to be logged.
    """

    name: str
    type: Type
    default: Default = REQUIRED
    doc: str = ""
    secret: bool = False

    @property
    def optional(self) -> bool:
        """Whether it may be left out."""
        return self.default is not REQUIRED


_CLASS_OF: dict[str, type] = {"string": str, "int": int, "i8": I8, "boolean": bool, "array<int>": list}
_TYPE_OF: dict[type, str] = {
    str: "string",
    int: "int",
    I8: "i8",
    bool: "boolean",
    float: "double",
    list: "array",
    dict: "struct",
    bytes: "base64",
    DateTime: "dateTime.iso8601",
    type(None): "nil",
}


def bind(params: Sequence[Value], spec: Sequence[Param]) -> list[Value]:
    """Match what was sent to what the call takes.

    Args:
        params: decoded values, in order.
        spec: the call's parameters, in order; optional ones last.

    Returns:
        One value for each parameter of ``spec``; defaults where none was sent.

    Raises:
        Fault: -501, a required parameter is missing or one has the wrong type. The text names it and never shows the value.
    """
    bound: list[Value] = []
    sent = len(params)
    for position, param in enumerate(spec):
        if position >= sent:
            default = param.default
            if isinstance(default, Required):
                raise Fault(WRONG_PARAMETERS, f"Parameter {position} ({param.name}) is missing: {param.type} expected.")
            bound.append(list(default) if isinstance(default, tuple) else default)
            continue
        value: Any = params[position]
        # The exact class, since bool and I8 are ints to Python and are not to OpenNebula.
        if type(value) is not _CLASS_OF[param.type]:
            raise _wrong(position, param, _TYPE_OF[type(value)])
        if isinstance(value, list) and any(type(item) is not int for item in value):
            raise _wrong(position, param, "an array with other values")
        bound.append(value)
    return bound


def _wrong(position: int, param: Param, got: str) -> Fault:
    return Fault(WRONG_PARAMETERS, f"Parameter {position} ({param.name}) has the wrong type: {param.type} expected, got {got}.")

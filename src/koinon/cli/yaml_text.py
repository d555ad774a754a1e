"""Values of JSON as YAML: blocks for people to read, and for any YAML reader the same values again.

Holds:    text stays text: what a reader could take for a number, a truth or a time is quoted, and nothing in it can steer a terminal.
Source:   YAML 1.2.2, chapters 5.7 (escapes) and 8 (blocks); kept to what readers of YAML 1.1 understand alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

#: Safe without quotes: neither an indicator nor anything that starts like a number.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*(?: [A-Za-z0-9_./@-]+)*")
_TAKEN = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def to_yaml(value: object) -> str:
    """One YAML document with ``value``: dictionaries with text keys, lists, texts, numbers, truths and None."""
    return "".join(f"{line}\n" for line in _block(value, ""))


def _block(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if _nests(inner):
                yield f"{indent}{_text(str(key))}:"
                yield from _block(inner, indent + "  ")
            else:
                yield f"{indent}{_text(str(key))}: {_scalar(inner)}"
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            first, *rest = _block(inner, indent + "  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from rest
    else:
        yield f"{indent}{_scalar(value)}"


def _nests(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case float():
            return _float(value)
        case Mapping():
            return "{}"
        case Sequence():
            return "[]"
    return str(value)


def _float(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    digits, mark, power = repr(value).partition("e")
    # YAML 1.1 knows a number with an exponent only by its point.
    return f"{digits if '.' in digits else digits + '.0'}{mark}{power}"


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _TAKEN:
        return value
    return '"' + "".join(map(_character, value)) + '"'


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable() and character != "\ufeff":
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"

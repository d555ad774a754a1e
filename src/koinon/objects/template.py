"""Templates: the free attributes of an object, single values or vectors of keys, any of them more than once.

Path:     text or XML -> Template -> XML for bodies and replies, text for people
Holds:    everything is a string; names are upper case and fit XML; a template can always be written as well-formed XML.
Not here: how the two forms are read (template_text.py, template_xml.py); who may change what (restricted.py).
Source:   OpenNebula src/template/Template.cc, src/common/Attribute.cc, include/Attribute.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from koinon.objects.characters import ascii_upper, forbidden_in, is_element_name
from koinon.objects.template_text import Value, read_text
from koinon.objects.template_xml import Node, read_element, read_xml

_WHITE = " \t\n\v\f\r"


class Template:
    """A multimap of attributes. Equal ones keep their order; names have none (they are written in alphabetical order)."""

    __slots__ = ("_attributes",)

    def __init__(self) -> None:
        self._attributes: dict[str, list[Value]] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template from either form: what begins with ``<`` is XML.

        Args:
            text: as a user or another program sent it; empty text is an empty template.

        Returns:
            The template, its values trimmed.

        Raises:
            ValueError: ``Parse error...``, in OpenNebula's words where it would refuse too; or a value that XML can't hold.
        """
        clean = forbidden_in(text) is None
        template = cls()
        template._fill(read_xml(text) if clean and text.startswith("<") else _read_checked(text, clean))
        return template

    @classmethod
    def from_element(cls, element: Node) -> Self:
        """The template that is stored below ``element`` of a document that was read.

        Raises:
            ValueError: a name that XML could not hold without a namespace.
        """
        template = cls()
        attributes = template._attributes
        for stored, value in read_element(element):
            name = ascii_upper(stored)  # without the prefix of _attribute_name: what is stored has been through it
            if not is_element_name(name):
                raise ValueError(f"{name[:64]!r} can't name an attribute: a template has no namespaces")
            attributes.setdefault(name, []).append(value)
        return template

    def _fill(self, attributes: Iterable[tuple[str, Value]]) -> None:
        stored = self._attributes
        for typed, value in attributes:
            name = _attribute_name(typed)
            value = value.strip(_WHITE) if isinstance(value, str) else {key: text.strip(_WHITE) for key, text in value.items()}
            if name in stored:
                stored[name].append(value)
            else:
                stored[name] = [value]

    def get(self, name: str) -> str | None:
        """The first single value with this name."""
        for value in self._attributes.get(name, ()):
            if isinstance(value, str):
                return value
        return None

    def vector(self, name: str) -> dict[str, str] | None:
        """A copy of the first vector with this name."""
        for value in self._attributes.get(name, ()):
            if not isinstance(value, str):
                return dict(value)
        return None

    def vectors(self, name: str) -> list[dict[str, str]]:
        """Copies of all vectors with this name."""
        return [dict(value) for value in self._attributes.get(name, ()) if not isinstance(value, str)]

    def values(self, name: str) -> list[Value]:
        """Copies of all values with this name, single ones and vectors, in their order."""
        return [_copied(value) for value in self._attributes.get(name, ())]

    def set(self, name: str, value: str | Mapping[str, str]) -> None:
        """Put one value in the place of all that have this name.

        Raises:
            ValueError: XML can't hold the name, a key or a value.
        """
        self._attributes[_checked_name(name)] = [_checked(value)]

    def add(self, name: str, value: str | Mapping[str, str]) -> None:
        """Put a value behind those that have this name.

        Raises:
            ValueError: XML can't hold the name, a key or a value.
        """
        self._attributes.setdefault(_checked_name(name), []).append(_checked(value))

    def remove(self, name: str) -> bool:
        """Take away all values with this name; whether there were any."""
        return self._attributes.pop(name, None) is not None

    def names(self) -> list[str]:
        """The names in use, in alphabetical order, each once."""
        return sorted(self._attributes)

    def items(self) -> Iterator[tuple[str, Value]]:
        """Every attribute in the order of writing; a name comes once for each of its values."""
        for name in sorted(self._attributes):
            for value in self._attributes[name]:
                yield name, _copied(value)

    def merge(self, other: Template) -> None:
        """Update of type 1: each name in ``other`` loses all old values and gets the new ones; an empty vector only removes."""
        for name, values in other._attributes.items():
            kept = [_copied(value) for value in values if value != {}]
            if kept:
                self._attributes[name] = kept
            else:
                self._attributes.pop(name, None)

    def copy(self) -> Self:
        """A template of its own with the same content."""
        twin = type(self)()
        twin._attributes = {name: [_copied(value) for value in values] for name, values in self._attributes.items()}
        return twin

    def to_xml(self, root: str = "TEMPLATE") -> str:
        """The XML form: alphabetical, every value in CDATA. Re-reading loses only empty vectors."""
        parts = [f"<{root}>"]
        attributes = self._attributes
        for name in sorted(attributes):
            for value in attributes[name]:
                if isinstance(value, str):
                    parts.append(f"<{name}>{_cdata(value)}</{name}>")
                else:
                    keys = "".join([f"<{key}>{_cdata(value[key])}</{key}>" for key in sorted(value)])
                    parts.append(f"<{name}>{keys}</{name}>")
        parts.append(f"</{root}>")
        return "".join(parts)

    def to_text(self) -> str:
        """For reading: one line ``NAME=value`` per attribute, the keys of a vector joined with ``,``. Not made to be read back."""
        lines = []
        for name, value in self.items():
            shown = value if isinstance(value, str) else ",".join(f"{key}={value[key]}" for key in sorted(value))
            lines.append(f"{name}={shown}\n")
        return "".join(lines)

    def to_source(self) -> str:
        """For editing: quoted text that ``parse`` reads back.

        What the text form can't say comes back changed: keys in lower case, names with characters other than A-Z, 0-9 and _.
        """
        lines = []
        for name, value in self.items():
            if isinstance(value, str):
                lines.append(f"{name} = {_quoted(value)}\n")
            else:
                keys = ",\n".join(f"  {key} = {_quoted(value[key])}" for key in sorted(value))
                lines.append(f"{name} = [\n{keys} ]\n" if keys else f"{name} = [ ]\n")
        return "".join(lines)

    def __eq__(self, other: object) -> bool:
        return self._attributes == other._attributes if isinstance(other, Template) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable: must not be a key

    def __contains__(self, name: str) -> bool:
        return name in self._attributes

    def __len__(self) -> int:
        return sum(map(len, self._attributes.values()))

    def __repr__(self) -> str:
        return f"Template({self._attributes!r})"


def _read_checked(text: str, clean: bool) -> Iterator[tuple[str, Value]]:
    """The attributes of ``text``; unless it is known to be ``clean``, each value is looked at, for only values must be."""
    if text.startswith("<"):
        raise ValueError(f"Parse error: the template holds the character {forbidden_in(text)}, which XML does not allow. Remove it.")
    for name, value in read_text(text):
        if not clean:
            for one in (value,) if isinstance(value, str) else value.values():
                _require_text(one.strip(_WHITE), f"Parse error: the value of {name}")
        yield name, value


def _require_text(value: str, what: str) -> None:
    found = forbidden_in(value)
    if found is not None:
        raise ValueError(f"{what} holds the character {found}, which XML does not allow. Remove it.")


def _attribute_name(name: str) -> str:
    upper = ascii_upper(name)
    if not ("A" <= upper[:1] <= "Z" or upper.startswith("_")) or name.startswith("XML"):
        upper = "ONE_" + upper
    return upper


def _checked_name(name: str) -> str:
    upper = _attribute_name(name)
    if not name or not is_element_name(upper):
        raise ValueError(f"{name[:64]!r} can't name an attribute: use letters, digits and _")
    return upper


def _checked(value: str | Mapping[str, str]) -> Value:
    if isinstance(value, str):
        _require_text(value, "a value")
        return value
    for key, text in value.items():
        if not is_element_name(key):
            raise ValueError(f"{key[:64]!r} can't name a key: use letters, digits and _, not a digit first")
        _require_text(text, f"the value of {key}")
    return dict(value)


def _copied(value: Value) -> Value:
    return value if isinstance(value, str) else dict(value)


def _cdata(value: str) -> str:
    # parse() refuses "]]>"; values that the daemon makes itself may hold it, and are then written as two sections.
    return f"<![CDATA[{value}]]>" if "]]>" not in value else f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"


def _quoted(value: str) -> str:
    # The blank keeps a last backslash from the closing quote; reading trims it off.
    escaped = value.replace('"', '\\"')
    return f'"{escaped} "' if escaped.endswith("\\") else f'"{escaped}"'

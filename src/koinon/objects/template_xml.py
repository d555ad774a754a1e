"""The XML form of templates: children of the root are attributes, their children the keys of a vector.

Path:     text, or an element of a document that was read -> attributes        (what they become: template.py)
Holds:    no DOCTYPE, so no entities of one's own; depth is bounded; names need no namespace.
Not here: the text form (template_text.py). lxml, which merges neighbouring text and so can't tell what OpenNebula drops.
Source:   OpenNebula src/template/Template.cc (``from_xml`` and what it calls).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol, Self
from xml.parsers import expat

from koinon.objects.template_text import Value

_MALFORMED: Final = "Parse error: XML Template malformed."
_MAX_DEPTH: Final = 64

_Child = list[str] | None  # the pieces of a text node, None for a comment and the like


class Node(Protocol):
    """An element of a parsed document, whichever library read it."""

    @property
    def tag(self) -> str: ...
    @property
    def text(self) -> str | None: ...
    def __iter__(self) -> Iterator[Self]: ...


def read_element(root: Node) -> Iterator[tuple[str, Value]]:
    """Yield the attributes below an element of a stored document.

    An element without text and without children is not there, as in OpenNebula; lxml gives ``""`` for an empty CDATA section
    and None for nothing, so that an empty value survives.
    """
    for child in root:
        vector = None
        for key in child:
            if vector is None:
                vector = {}
            if key.text is not None:
                vector[key.tag] = key.text
        if vector is not None:
            yield child.tag, vector
        elif child.text is not None:
            yield child.tag, child.text


def read_xml(text: str) -> list[tuple[str, Value]]:
    """The attributes of a template in the order of the text.

    Raises:
        ValueError: not well-formed (OpenNebula's text), a DOCTYPE, a name with a colon, ``]]>`` in a value, or deeper than 64 levels.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartCdataSectionHandler = reader.border
    parser.EndCdataSectionHandler = reader.border_after_cdata
    parser.CommentHandler = reader.other
    parser.ProcessingInstructionHandler = reader.other
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise ValueError(_MALFORMED) from error
    if any("]]>" in value for _, found in reader.attributes for value in _values(found)):
        raise ValueError("Parse error.")  # as in the text form: it would end the CDATA section that it is put in
    return reader.attributes


def _values(value: Value) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value.values()


class _Reader:
    """Builds attributes from what the parser finds. Per element: its text nodes, a neighbour of other text being a node apart."""

    def __init__(self) -> None:
        self.attributes: list[tuple[str, Value]] = []
        self._depth = 0
        self._nodes: list[_Child] = []  # children of the open attribute that are no elements
        self._vector: dict[str, str] | None = None
        self._key: list[_Child] = []  # children of the open key
        self._joined = False  # whether the next characters belong to the text node before them

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        if ":" in name:
            raise ValueError(f"Parse error: the name {name[:64]!r} has a colon; a template has no namespaces.")
        self._depth += 1
        self._joined = False
        if self._depth == 2:
            self._nodes, self._vector = [], None
        elif self._depth == 3:
            self._key = []
            if self._vector is None:
                self._vector = {}
        elif self._depth == 4:
            self._key.append(None)
        elif self._depth > _MAX_DEPTH:
            raise ValueError(f"Parse error: a template may not be deeper than {_MAX_DEPTH} levels.")

    def end(self, name: str) -> None:
        self._joined = False
        if self._depth == 2:
            if self._vector is not None:
                self.attributes.append((name, self._vector))
            elif len(self._nodes) == 1 and self._nodes[0] is not None:
                self.attributes.append((name, "".join(self._nodes[0])))
        elif self._depth == 3 and self._vector is not None and self._key and self._key[0] is not None:
            self._vector[name] = "".join(self._key[0])
        self._depth -= 1

    def characters(self, text: str) -> None:
        nodes = self._open()
        if nodes is None:
            return
        if self._joined and nodes and nodes[-1] is not None:
            nodes[-1].append(text)
        else:
            nodes.append([text])
        self._joined = True

    def border(self) -> None:
        # An empty CDATA section is a node too: it is how an empty value is written.
        nodes = self._open()
        if nodes is not None:
            nodes.append([])
        self._joined = True

    def border_after_cdata(self) -> None:
        self._joined = False

    def other(self, *_: str) -> None:
        nodes = self._open()
        if nodes is not None:
            nodes.append(None)
        self._joined = False

    def doctype(self, *_: object) -> None:
        raise ValueError("Parse error: a template may not have a DOCTYPE.")

    def _open(self) -> list[_Child] | None:
        return self._nodes if self._depth == 2 else self._key if self._depth == 3 else None

"""XML as OpenNebula writes it: no declaration, no namespace, free text in CDATA, names as they are.

Source: OpenNebula include/NebulaUtil.h; XML 1.0 section 2.2 (Char).
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

Element = etree._Element  # the name lxml gives the type of its nodes


def cdata(value: str) -> str:
    """Wrap free text; two sections share a ``]]>`` in it."""
    return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"


def escape(value: str) -> str:
    """Escape text for element content."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def parse(text: str) -> Element:
    """Parse one document from a caller or from the database.

    Raises:
        ValueError: not well-formed, holds a DOCTYPE, or deeper than the 256 levels that libxml2 allows.
    """
    # A parser of one's own each time: lxml's parsers are not safe to share over threads.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, strip_cdata=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError, ValueError) as error:
        raise ValueError(str(error)) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("a DOCTYPE is not allowed")
    return root


def children(raw: bytes, root: str, step: int) -> Iterator[Element]:
    """The elements in the root of a document of our own, one after another; each is emptied before the next comes.

    Args:
        raw: the document.
        root: name of its root element.
        step: how many bytes to read at a time.

    Raises:
        ValueError: not well-formed, or another root.
    """
    parser = etree.XMLPullParser(("start", "end"), resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    depth = 0
    try:
        for at in range(0, len(raw), step):
            parser.feed(raw[at : at + step])
            for event, element in parser.read_events():
                assert isinstance(element, Element)  # only namespaces, which were not asked for, are something else
                if event == "start":
                    depth += 1
                    if depth == 1 and element.tag != root:
                        raise ValueError(f"it is a {element.tag}")
                else:
                    depth -= 1
                    if depth == 1:
                        yield element
                        element.clear()
        parser.close()
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from error


def text_of(parent: Element, tag: str, default: str = "") -> str:
    """Text of the first child with this tag."""
    return parent.findtext(tag) or default


def int_of(parent: Element, tag: str, default: int = -1) -> int:
    """Number in the first child with this tag."""
    found = parent.findtext(tag)
    return int(found) if found else default


def ids_of(parent: Element, tag: str) -> list[int]:
    """The ``<ID>`` numbers inside the first child with this tag."""
    holder = parent.find(tag)
    return [] if holder is None else [int(node.text or "-1") for node in holder.findall("ID")]


def ids_xml(tag: str, ids: list[int] | tuple[int, ...]) -> str:
    """``<TAG><ID>1</ID>...</TAG>``."""
    return f"<{tag}>" + "".join(f"<ID>{oid}</ID>" for oid in ids) + f"</{tag}>"

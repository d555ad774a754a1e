"""The XML documents that zones answer with, read as a tree and told again as JSON or as template text.

Holds:    a document with a DOCTYPE is refused, so no entity can swell or reach out.
Not here: tables (tables.py); how a server reads template text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from koinon.client.errors import NotAZoneError

#: Elements that are lists however many there are: JSON shows an array for one and for none alike.
_MANY = {
    ("USER_POOL", "USER"),
    ("GROUP_POOL", "GROUP"),
    ("ZONE_POOL", "ZONE"),
    ("ACL_POOL", "ACL"),
    ("USER_POOL", "QUOTAS"),
    ("GROUP_POOL", "QUOTAS"),
    ("GROUP_POOL", "VLAN_RULES"),
    ("VDC_POOL", "VDC"),
    ("CLUSTER_POOL", "CLUSTER"),
    ("HOST_POOL", "HOST"),
    ("DOCUMENT_POOL", "DOCUMENT"),
    ("MONITORING_DATA", "MONITORING"),
    ("HOSTS", "ID"),
    ("DATASTORES", "ID"),
    ("VNETS", "ID"),
    ("VMS", "ID"),
    ("CLUSTERS", "CLUSTER"),
    ("HOSTS", "HOST"),
    ("DATASTORES", "DATASTORE"),
    ("VNETS", "VNET"),
    ("GROUPS", "ID"),
    ("USERS", "ID"),
    ("ADMINS", "ID"),
    ("USER", "LOGIN_TOKEN"),
    ("SERVER_POOL", "SERVER"),
    ("DATASTORE_QUOTA", "DATASTORE"),
    ("NETWORK_QUOTA", "NETWORK"),
    ("VM_QUOTA", "VM"),
    ("IMAGE_QUOTA", "IMAGE"),
    ("VLAN_RULES", "RULE"),
}
_ALWAYS = {
    "VDC_POOL": "VDC",
    "CLUSTER_POOL": "CLUSTER",
    "HOST_POOL": "HOST",
    "DOCUMENT_POOL": "DOCUMENT",
    "MONITORING_DATA": "MONITORING",
    "VMS": "ID",
    "USER_POOL": "USER",
    "GROUP_POOL": "GROUP",
    "ZONE_POOL": "ZONE",
    "ACL_POOL": "ACL",
    "GROUPS": "ID",
    "USERS": "ID",
    "ADMINS": "ID",
    "DATASTORE_QUOTA": "DATASTORE",
    "NETWORK_QUOTA": "NETWORK",
    "VM_QUOTA": "VM",
    "IMAGE_QUOTA": "IMAGE",
}
#: As _ALWAYS, for elements that hold other things elsewhere.
_IN_A_VDC = {"CLUSTERS": "CLUSTER", "HOSTS": "HOST", "DATASTORES": "DATASTORE", "VNETS": "VNET"}

_BARE = re.compile(r"[^=#\s,\[\]]+")

Plain = str | dict[str, "Plain"] | list["Plain"]


class _NoDoctype(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it holds a DOCTYPE")


def read(text: str | int) -> Element:
    """Read a document that a zone answered with.

    Raises:
        NotAZoneError: it is not an XML document, or holds a DOCTYPE.
    """
    try:
        parser: XMLParser[Element] = XMLParser(target=_NoDoctype())  # noqa: S314  # what makes it unsafe needs a DOCTYPE, which is refused
        parser.feed(str(text))
        return parser.close()
    except (ParseError, ValueError) as error:
        raise NotAZoneError(
            f"The zone answered with a document that can't be read: {error}. Check that the address is a zone's."
        ) from error


def to_plain(element: Element, holder: str = "") -> Plain:
    """The element as dictionaries, lists and texts, as OpenNebula's commands print it; repeated elements become lists.

    ``holder`` is the tag of the element around it.
    """
    if len(element) == 0:
        always = _IN_A_VDC.get(element.tag) if holder == "VDC" else None
        always = always or _ALWAYS.get(element.tag)
        return {always: []} if always and not element.text else (element.text or "")  # a limit is called VMS too
    found: dict[str, list[Plain]] = {}
    for child in element:
        found.setdefault(child.tag, []).append(to_plain(child, element.tag))
    return {tag: values if len(values) > 1 or (element.tag, tag) in _MANY else values[0] for tag, values in found.items()}


def template_text(template: Element | None) -> str:
    """Template text (``NAME = "value"``) of a ``TEMPLATE`` element, in its order; a server reads it back to the same template."""
    if template is None:
        return ""
    lines = []
    for child in template:
        if len(child):
            pairs = ",\n  ".join(f"{pair.tag} = {quoted(pair.text or '')}" for pair in child)
            lines.append(f"{child.tag} = [\n  {pairs} ]\n")
        else:
            lines.append(f"{child.tag} = {quoted(child.text or '')}\n")
    return "".join(lines)


def number(element: Element, tag: str, default: int = -1) -> int:
    """Number in the first child with this tag; ``default`` if there is none or it is not a number."""
    try:
        return int(element.findtext(tag) or default)
    except ValueError:
        return default


def text(element: Element, tag: str) -> str:
    """Text of the first child with this path, empty if there is none."""
    return element.findtext(tag) or ""


def ascending(root: Element, tag: str) -> list[Element]:
    """The elements of a pool in the order of their ids."""
    return sorted(root.findall(tag), key=lambda element: number(element, "ID"))


def text_of(tag: str) -> Callable[[Element], str]:
    """A function that picks ``tag``'s text: columns of tables are written with it."""
    return lambda element: text(element, tag)


def quoted(value: str) -> str:
    """A value as template text, in quotes where it can be."""
    if value.endswith("\\"):
        # In quotes a final backslash would take the closing quote along. Bare, or with a blank that is trimmed after reading, it is safe.
        return value if _BARE.fullmatch(value) else '"' + value.replace('"', '\\"') + ' "'
    return '"' + value.replace('"', '\\"') + '"'

"""Validate a reply against OpenNebula's published schema. Origin and licence of the schemas: README.md beside this file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from lxml import etree

_FOLDER: Final = Path(__file__).parent
_NAMESPACE: Final = "http://opennebula.org/XMLSchema"
_XS: Final = "{http://www.w3.org/2001/XMLSchema}"

#: root element -> file
_SCHEMA_OF: Final = {
    "USER": "user",
    "USER_POOL": "user_pool",
    "GROUP": "group",
    "GROUP_POOL": "group_pool",
    "ACL_POOL": "acl_pool",
    "ZONE": "zone",
    "ZONE_POOL": "zone_pool",
    "VDC": "vdc",
    "VDC_POOL": "vdc_pool",
    "RAFT": "raftstatus",
    "CLUSTER": "cluster",
    "CLUSTER_POOL": "cluster_pool",
    "HOST": "host",
    "HOST_POOL": "host_pool",
    "DOCUMENT": "document",
    "DOCUMENT_POOL": "document_pool",
    "MONITORING_DATA": "monitoring_data",
    "OPENNEBULA_CONFIGURATION": "opennebula_configuration",
}


@cache
def _schema(name: str) -> etree.XMLSchema:
    tree = etree.parse(str(_FOLDER / f"{name}.xsd"))
    if name.startswith("zone"):
        # The schema admits only ENDPOINT; OpenNebula stores ENDPOINT_GRPC and whatever one.zone.update brings as well.
        for element in tree.iter(f"{_XS}element"):
            if element.get("name") == "TEMPLATE":
                for child in list(element):
                    element.remove(child)
                element.set("type", "xs:anyType")
    return etree.XMLSchema(tree)


def validate(document: str) -> None:
    """Check ``document`` against the schema of its root element.

    Raises:
        AssertionError: it does not fit; carries each mistake and the document.
    """
    root = etree.fromstring(document.encode())
    schema = _schema(_SCHEMA_OF[str(root.tag)])
    for element in root.iter(etree.Element):
        element.tag = f"{{{_NAMESPACE}}}{element.tag}"
    # A copy made from text: the schema looks at names as the parser saw them, not as we renamed them.
    renamed = etree.fromstring(etree.tostring(root))
    if not schema.validate(renamed):
        raise AssertionError(f"does not fit {_SCHEMA_OF[etree.QName(root).localname]}.xsd:\n{schema.error_log}\n{document[:4000]}")

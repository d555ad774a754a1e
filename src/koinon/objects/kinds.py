"""The kinds of object: what each is called in texts, in rules and in the database.

Source: OpenNebula include/PoolObjectSQL.h (kinds and their bits), src/rm/RequestLogger.cc (labels).
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """One kind of object, in the order of the bits in an ACL rule. The value is (name in ACL rules, label in texts)."""

    VM = ("VM", "virtual machine")
    HOST = ("HOST", "host")
    NET = ("NET", "virtual network")
    IMAGE = ("IMAGE", "image")
    USER = ("USER", "user")
    TEMPLATE = ("TEMPLATE", "virtual machine template")
    GROUP = ("GROUP", "group")
    ACL = ("ACL", "ACL")
    DATASTORE = ("DATASTORE", "datastore")
    CLUSTER = ("CLUSTER", "cluster")
    DOCUMENT = ("DOCUMENT", "document")
    ZONE = ("ZONE", "zone")
    SECGROUP = ("SECGROUP", "security group")
    VDC = ("VDC", "VDC")
    VROUTER = ("VROUTER", "virtual router")
    MARKETPLACE = ("MARKETPLACE", "marketplace")
    MARKETPLACEAPP = ("MARKETPLACEAPP", "marketplaceapp")
    VMGROUP = ("VMGROUP", "vm group")
    VNTEMPLATE = ("VNTEMPLATE", "virtual network template")
    HOOK = ("HOOK", "hook")
    BACKUPJOB = ("BACKUPJOB", "backup job")

    def __init__(self, acl_name: str, label: str) -> None:
        self.acl_name = acl_name
        self.label = label
        #: the kind's bit in the resource field of a rule (64 bit)
        self.bit = 0x1000000000 << len(type(self).__members__)

    @property
    def table(self) -> str:
        """The shared table that holds the kind's rows; KeyError for kinds that are not shared."""
        return SHARED_TABLE_OF[self]


SHARED_TABLE_OF = {
    Kind.USER: "user_pool",
    Kind.GROUP: "group_pool",
    Kind.VDC: "vdc_pool",
    Kind.ZONE: "zone_pool",
    Kind.MARKETPLACE: "marketplace_pool",
    Kind.MARKETPLACEAPP: "marketplaceapp_pool",
    Kind.ACL: "acl",
}

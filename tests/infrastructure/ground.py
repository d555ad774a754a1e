"""A zone with users to whom nothing belongs yet, and writes of its own tables alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lxml import etree

from koinon.database.transactions import ReadTx, ZoneTx
from koinon.identity import acl
from koinon.infrastructure import clusters, documents, hosts
from koinon.objects.acl import Rule
from koinon.policy.caller import Caller
from tests.identity.site import ADMIN, Site, plain

T = TypeVar("T")


class Ground(Site):
    """One zone."""

    def change(self, job: Callable[[ZoneTx], T]) -> T:
        """Write without the log."""
        return self.run(self.database.write_zone("test", job))

    def allow(self, text: str, zone_id: int = 0) -> int:
        """A new rule."""
        return self.write(lambda tx: acl.add_rule(tx, ADMIN, Rule.parse(text, zone_id)))

    def newcomer(self, name: str, *gids: int) -> Caller:
        """A new user, as they call."""
        uid = self.add_user(name, *(gids or (1,)))
        return self.caller(uid)

    def cluster(self, name: str) -> int:
        return self.change(lambda tx: clusters.create(tx, ADMIN, name))

    def host(self, name: str, cluster_id: int = -1) -> int:
        return self.change(lambda tx: hosts.create(tx, ADMIN, name, "kvm", "kvm", cluster_id))

    def document(self, caller: Caller, name: str = "notes", kind_number: int = 200, rest: str = "") -> int:
        return self.change(lambda tx: documents.create(tx, caller, f'NAME = "{name}"\n{rest}', kind_number))

    def shown(self, job: Callable[[ReadTx], bytes | list[bytes]]) -> etree._Element:
        """A reply, checked against its schema, as a tree."""
        return etree.fromstring(plain(self.read(job)))


def ids(root: etree._Element, path: str) -> list[int]:
    """The numbers at a path."""
    return [int(node.text or "") for node in root.findall(path)]

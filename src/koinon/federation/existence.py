"""Ask a zone whether it has an object, and answer the master that asks.

Path:     api.vdcs -> Existence.ask() on the master -> GET /federation/v1/exists on the zone -> Existence.answer() there
Holds:    an answer is yes, no, or not known; a zone that can't be asked is never taken for one that said no. Only the master is told.
Not here: what is made of it (api/vdcs.py); how a zone finds its objects (infrastructure/targets.py, handed in).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

import structlog

from koinon.database.database import Database
from koinon.database.transactions import ReadTx
from koinon.errors import CloudError
from koinon.federation import reign, trust
from koinon.federation.link import LinkError
from koinon.federation.links import Links
from koinon.federation.replies import Reply, bad_request, say
from koinon.objects.kinds import Kind
from koinon.wire.messages import JSON, MessageError, decode
from koinon.wire.zone_operations import Existence as Answer

log = structlog.get_logger(__name__)

PATH: Final = "/federation/v1/exists"
TIME_LIMIT_S: Final = 2.0
_MAX_ANSWER: Final = 4096

#: Whether this zone has an object; None if it keeps no objects of that kind.
Find = Callable[[ReadTx, Kind, int], bool | None]


class Existence:
    """Both sides.

    Args:
        database: this zone's.
        links: the way to the other zones.
        find: looks among this zone's own objects.
    """

    def __init__(self, database: Database, links: Links, find: Find) -> None:
        self._database = database
        self._links = links
        self._find = find

    async def ask(self, zone_id: int, kind: Kind, oid: int) -> bool | None:
        """Whether a zone has an object; None if that could not be found out within two seconds, which is logged."""
        with self._database.read() as tx:
            if zone_id == tx.state.zone_id:
                return self._find(tx, kind, oid)
            found = trust.trust_of(tx, zone_id)
        if found is None or found.trust != "ENROLLED":
            return self._unknown(zone_id, kind, oid, "it is not enrolled in the federation")
        path = f"{PATH}?{urlencode({'kind': kind.acl_name, 'id': oid})}"
        try:
            answer = await self._links.to(zone_id).request("GET", path, timeout_s=TIME_LIMIT_S, max_answer=_MAX_ANSWER)
            exists = decode(Answer, answer.expect()).exists
        except (LinkError, CloudError, MessageError) as error:
            return self._unknown(zone_id, kind, oid, str(error))
        return exists if exists is not None else self._unknown(zone_id, kind, oid, "it keeps no objects of this kind yet")

    def answer(self, parameters: Mapping[str, str], asker: int) -> Reply:
        """Answer a zone that asks about one of our objects: the master, nobody else.

        Args:
            parameters: kind (as in ACL rules) and id.
            asker: id of the zone that proved to ask.
        """
        kind, oid = parameters.get("kind", ""), parameters.get("id", "")
        if kind not in Kind.__members__ or not (oid.isascii() and oid.isdigit() and len(oid) <= 10):
            return bad_request("kind=KIND, as rules name it, and id=N are needed")
        with self._database.read() as tx:
            newest = reign.load_newest(tx)
            if newest is None or newest.master_zone != asker:
                return Reply(403, b'{"error":"only the master may ask what objects this zone has"}', JSON)
            return say(Answer(self._find(tx, Kind[kind], int(oid))))

    @staticmethod
    def _unknown(zone_id: int, kind: Kind, oid: int, why: str) -> None:
        log.warning("whether a zone has an object could not be found out", zone=zone_id, kind=kind.acl_name, id=oid, why=why)

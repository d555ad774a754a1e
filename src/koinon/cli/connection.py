"""The zone that a command talks to: found once, asked as often as needed, names looked up on the way.

Path:     a command -> Connection.call() -> client/xmlrpc.py
Not here: what commands do (users.py, groups.py, acl.py, zones.py); where addresses and sessions come from (client/contexts.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from koinon.cli import documents, references
from koinon.client import contexts
from koinon.client.contexts import Endpoint
from koinon.client.errors import RefusedError

if TYPE_CHECKING:
    from koinon.client.xmlrpc import Client, Value

ANSWER_S = 30.0  # a redirected write may take 15 s on the master and 5 s to come back to the zone

#: noun -> what lists it: the call, the name of its elements, further parameters
POOLS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "user": ("one.userpool.info", "USER", ()),
    "group": ("one.grouppool.info", "GROUP", ()),
    "zone": ("one.zonepool.info", "ZONE", ()),
    "vdc": ("one.vdcpool.info", "VDC", ()),
    "cluster": ("one.clusterpool.info", "CLUSTER", ()),
    "host": ("one.hostpool.info", "HOST", ()),
    "datastore": ("one.datastorepool.info", "DATASTORE", ()),
    "vnet": ("one.vnpool.info", "VNET", (-2, -1, -1)),
}


class Connection:
    """One command's dealings with one zone, begun when the first call is made."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        endpoint: str | None = None,
        zone: str | None = None,
        answer_s: float = ANSWER_S,
        session: str | None = None,
    ) -> None:
        """``zone`` is an id or name to look up at the endpoint found; ``session`` takes the place of the session file."""
        self.environment = environment
        self.answer_s = answer_s
        self._endpoint = endpoint
        self._zone = zone
        self._session = session
        self._client: Client | None = None
        self._pools: dict[str, Element] = {}
        self._own_zone: int | None = None

    def close(self) -> None:
        """End the connection, if one was made."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def as_user(self, session: str) -> Connection:
        """The same zone for another user."""
        return Connection(self.environment, endpoint=self._endpoint, zone=self._zone, answer_s=self.answer_s, session=session)

    @property
    def chosen_zone(self) -> str | None:
        """The id or name of the zone that the person chose, if any."""
        return self._zone

    def without_zone(self) -> Connection:
        """The zone that would be asked if none were chosen."""
        return Connection(self.environment, endpoint=self._endpoint, answer_s=self.answer_s, session=self._session)

    @property
    def endpoint(self) -> Endpoint:
        """Where calls go."""
        return self._ready().endpoint

    @property
    def session(self) -> str:
        """``user:secret`` of the caller."""
        if self._session is None:
            self._session = contexts.find_session(self.environment)
        return self._session

    @property
    def user_name(self) -> str:
        """Name of the caller."""
        return self.session.partition(":")[0]

    def call(self, method: str, *parameters: Value) -> str | int:
        """Make one call. Raises as :meth:`koinon.client.xmlrpc.Client.call`."""
        return self._ready().call(method, *parameters)

    def document(self, method: str, *parameters: Value) -> Element:
        """Make one call and read the document it answers with."""
        return documents.read(self.call(method, *parameters))

    def pool(self, noun: str) -> list[Element]:
        """All objects of ``noun`` that the caller may see, ascending by id; asked once per command."""
        method, tag, parameters = POOLS[noun]
        if noun not in self._pools:
            self._pools[noun] = self.document(method, *parameters)
        return documents.ascending(self._pools[noun], tag)

    def id_of(self, noun: str, reference: references.Reference) -> int:
        """The id that ``reference`` means: itself, or that of the object with this name.

        Raises:
            RefusedError: no object that the caller may see has this name.
        """
        if isinstance(reference, int):
            return reference
        for element in self.pool(noun):
            if documents.text(element, "NAME") == reference:
                return documents.number(element, "ID")
        raise RefusedError(f"No {noun} that you may see is named {reference!r}. See `one{noun} list`, or give its id.", code=0x0400)

    def zone_with_id(self, zone_id: int) -> str:
        """How to write a zone for people: ``0 (OpenNebula)``; only the id if its record can't be read."""
        names = {documents.number(zone, "ID"): documents.text(zone, "NAME") for zone in self.pool("zone")}
        return f"{zone_id} ({names[zone_id]})" if zone_id in names else str(zone_id)

    def own_zone(self) -> int:
        """Id of the zone that answers our calls, as its configuration states it.

        Raises:
            RefusedError: it doesn't state it.
        """
        if self._own_zone is None:
            zone_id = documents.number(self.document("one.system.config"), "FEDERATION/ZONE_ID")
            if zone_id < 0:
                raise RefusedError(f"The zone at {self.endpoint.url} does not tell its id. Name the zone in the command.", code=0x0800)
            self._own_zone = zone_id
        return self._own_zone

    def at(self, url: str, source: str, *, answer_s: float | None = None) -> Client:
        """A client of another zone for the same user."""
        return _client(Endpoint.parse(url, source), self.session, answer_s or self.answer_s)

    def _ready(self) -> Client:
        if self._client is None:
            client = _client(contexts.find_endpoint(self._endpoint, self.environment), self.session, self.answer_s)
            self._client = client
            if self._zone is not None:
                self._client = self._elsewhere(client, self._zone)
        return self._client

    def _elsewhere(self, first: Client, zone: str) -> Client:
        try:
            record = self.zone_record(references.parse_one(zone))
        finally:
            first.close()
            self._client = None
            self._pools.clear()  # what the first zone showed is not what the chosen one shows
        return self.at(documents.text(record, "TEMPLATE/ENDPOINT"), f"the record of zone {zone}")

    def zone_record(self, reference: references.Reference) -> Element:
        """The record of one zone, from the zone pool.

        Raises:
            RefusedError: there is none with this id or name.
        """
        for record in self.pool("zone"):
            if reference == (documents.number(record, "ID") if isinstance(reference, int) else documents.text(record, "NAME")):
                return record
        raise RefusedError(f"No zone {reference!r} is known at {self.endpoint.url}. See `onezone list`.", code=0x0400)


def _client(endpoint: Endpoint, session: str, answer_s: float) -> Client:
    from koinon.client.xmlrpc import Client  # here, because HTTP and TLS take as long to load as all the rest, and --help needs neither

    return Client(endpoint, session, answer_s=answer_s)

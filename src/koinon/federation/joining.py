"""The joining zone's side: from one line of text to a zone that copies.

Path:     admin socket -> join() -> the master's ca and join -> the snapshot loader -> this zone is a slave
Holds:    the zone's key is on disk before the first request, so every step can be repeated; nothing in the database changes before the
          last transaction, which makes the rows and the membership true together. A zone that does not come, or only asked what coming
          would change, tells the master, which shows it as invited again. Of attempts at several processes of it only the newest comes in.
Not here: the master's side (membership.py); how a snapshot is loaded (snapshot.py); following the master from then on (the stream).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from koinon.database.database import Database
from koinon.database.transactions import ApplyTx, Overtaken, ReadTx, ZoneTx
from koinon.errors import ActionError, UnavailableError
from koinon.federation import clashes, owners, reign, remembered
from koinon.federation.assertion import Signer
from koinon.federation.clashes import Rows
from koinon.federation.invitation import Token
from koinon.federation.keys import (
    KeyStore,
    certificate_hash,
    certified_key,
    client_context,
    is_signed_by,
    raw_public_key,
    read_certificate,
    unverified_context,
)
from koinon.federation.link import Interrupted, Link, LinkError, error_text
from koinon.federation.links import Links
from koinon.federation.membership import JoinReply, JoinRequest, check_address, forget_federation
from koinon.federation.reign import ReignError, ReignRecord
from koinon.federation.snapshot_file import SnapshotError
from koinon.federation.snapshot_staging import Superseded
from koinon.statements.commits import Head
from koinon.statements.schema import POOL_TABLES

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S: Final = 15.0
WITHDRAW_TIMEOUT_S: Final = 5.0
_MAX_SMALL_ANSWER: Final = 256 * 1024
_ONLY_ASKED: Final = "Only asked what a join would do."
_CHANGED: Final = "Shared objects of this zone were changed by someone while it joined. It did not join; join again."


class ClashError(ActionError):
    """This zone has objects of its own that joining would lose.

    Attributes:
        clashes: one line for each.
    """

    def __init__(self, found: list[str]) -> None:
        super().__init__(
            f"This zone has {len(found)} objects of its own that joining would lose. Nothing was changed, and the invitation works "
            "until it expires. Move them, or join with --replace to give them up."
        )
        self.clashes = found


class Joined(msgspec.Struct, frozen=True):
    """A zone that has joined.

    Attributes:
        old_password_file: empty if there was none to put away.
        other_owners: own objects that belong to someone else now, one line for each owner.
    """

    zone_id: int
    federation_id: str
    epoch: int
    position: int
    old_password_file: str
    other_owners: list[str]


class Plan(msgspec.Struct, frozen=True):
    """What a join would do.

    Attributes:
        clashes: what would be lost, one line for each object.
        other_owners: own objects that would belong to someone else, one line for each owner.
    """

    zone_id: int
    federation_id: str
    clashes: list[str]
    other_owners: list[str]


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """This zone's newest attempt to join, at whichever of its processes: that one alone may come in, and says whether the zone comes."""

    id: str
    federation_id: str
    zone_id: int


class Entry(msgspec.Struct, frozen=True):
    """What a zone has once the master has let it in, and before it comes."""

    token: Token
    attempt: Attempt
    link: Link
    reply: JoinReply
    newest: ReignRecord
    ca: x509.Certificate
    certificate: x509.Certificate
    instance: str


class SnapshotLoader(Protocol):
    """How wiring hands the snapshot loader in."""

    def __call__(self, link: Link, check: Callable[[Rows], list[str]], also: Callable[[ApplyTx], None], at_least: int) -> Awaitable[Head]:
        """Load a snapshot of the master over ``link``, no older than the index ``at_least``.

        Must call ``check`` with all rows by table before it changes a shared row and stop if that returns lines, and ``also`` in the
        transaction that changes them, before the head is set.
        """
        ...


class Joining:
    """This zone's way into a federation."""

    def __init__(
        self,
        database: Database,
        store: KeyStore,
        links: Links,
        load_snapshot: SnapshotLoader,
        *,
        password_file: Path,
        endpoint: str,
        federation_endpoint: str,
    ) -> None:
        """Wire it up.

        Args:
            database: this zone's.
            store: this zone's keys.
            links: dropped once the zone has its new identity.
            load_snapshot: see SnapshotLoader.
            password_file: ``one_auth``, put away when user 0 becomes the federation's.
            endpoint: this zone's address for people, or ``-``.
            federation_endpoint: host:port of its listener for zones, or ``-``.
        """
        self._database = database
        self._store = store
        self._links = links
        self._load_snapshot = load_snapshot
        self._password_file = password_file
        self._endpoint = endpoint
        self._federation_endpoint = federation_endpoint

    async def join(self, token_text: str, *, replace: bool = False) -> Joined:
        """Join the federation that the invitation names. Can be repeated until it succeeds.

        Args:
            token_text: the invitation.
            replace: give up what this zone has of its own.

        Raises:
            BadArgumentError: it is no invitation, or an own address is wrong.
            ActionError: this zone is in a federation, or the master refused.
            ClashError: there are objects that would be lost; nothing was changed.
            UnavailableError: the master can't be reached, or is not the one that invited.
            KeyFileError: a key can't be written.
        """
        token = Token.parse(token_text)
        state = self._database.state()
        if state.role == "slave" and (state.federation_id, state.zone_id) == (token.federation_id, token.zone_id):
            return self._finish([])  # an earlier attempt got as far as the database
        async with self._let_in(token) as entry:
            # on disk before the database says that we are a member: a member without a certificate could not serve
            await asyncio.to_thread(self._store.save_ca, entry.ca.public_bytes(Encoding.PEM))
            await asyncio.to_thread(self._store.save_certificate, entry.certificate)
            other_owners = await self._load(entry, replace=replace)
        self._links.forget()
        return self._finish(other_owners)

    async def plan(self, token_text: str) -> Plan:
        """Find out what a join would do. Changes nothing here; the master shows the zone as let in for as long as it takes.

        Raises:
            CloudError: as :meth:`join`, but for ClashError.
        """
        token = Token.parse(token_text)
        found: list[Plan] = []

        def check(theirs: Rows) -> list[str]:
            with self._database.read() as tx:
                found.append(_compare(tx, theirs, token))
            return [_ONLY_ASKED]

        def also(_tx: ApplyTx) -> None:
            raise ActionError(_ONLY_ASKED)

        async with self._let_in(token) as entry:
            try:
                await self._load_snapshot(entry.link, check, also, entry.reply.index)
            except Exception:
                if not found:
                    raise
        return found[0]

    @asynccontextmanager
    async def _let_in(self, token: Token) -> AsyncIterator[Entry]:
        """Have the master let this zone in; if the zone is no member at the end of the block, the master is told that it does not come.

        Raises:
            CloudError: the errors of :meth:`join`; those that come out of the block, too, become such.
        """
        if self._database.state().role != "standalone":
            raise ActionError("This zone is in a federation already. Leave it first.")
        if self._endpoint != "-":
            check_address(self._endpoint, "own endpoint")
        key = await asyncio.to_thread(self._store.first_zone_key)
        attempt = Attempt(secrets.token_hex(16), token.federation_id, token.zone_id)
        instance = await self._database.write_zone("federation join: begin", lambda tx: _begin(tx, attempt))
        request = JoinRequest(
            token.zone_id, token.secret, raw_public_key(key.public_key()), instance, self._endpoint, self._federation_endpoint
        )
        link: Link | None = None
        epoch = 0  # until the master has shown its reign
        try:
            ca = await _fetch_ca(token)
            link = Link(
                token.endpoint,
                token.master_zone,
                token.federation_id,
                context=client_context(ca.public_bytes(Encoding.PEM)),
                signer=Signer(token.zone_id, token.federation_id, key, instance),
                epoch=lambda: epoch,
            )
            try:
                reply = await _ask_to_join(link, request)
            except Interrupted:
                await self._withdraw(link, attempt)  # the master may have heard us
                raise
            try:
                certificate, newest = _check_reply(reply, token, ca, request.public_key)
                epoch = newest.epoch
                yield Entry(token, attempt, link, reply, newest, ca, certificate, instance)
            finally:
                await self._withdraw(link, attempt)
        except LinkError as error:
            raise UnavailableError(f"The master that sent the invitation can't be used: {str(error).rstrip('.')}.") from error
        except SnapshotError as error:
            raise UnavailableError(f"The master's snapshot can't be used: {error}. Nothing was changed; join again.") from error
        except Superseded as error:
            raise ActionError("Another process of this zone has begun to join since. This one did not join and changed nothing.") from error
        except Overtaken as error:
            raise ActionError(_CHANGED) from error
        finally:
            if link is not None:
                await link.close()

    async def _withdraw(self, link: Link, attempt: Attempt) -> None:
        """Tell the master that this zone does not come, unless it is in, or a newer attempt by the same invitation says what it does.

        If the master can't be told, it shows the zone as let in until it joins or is revoked.
        """
        try:
            with self._database.read() as tx:
                newest = _newest_attempt(tx)
                if tx.state.role != "standalone" or (newest != attempt and _way(newest) == _way(attempt)):
                    return
            (await link.request("POST", "/federation/v1/withdraw", timeout_s=WITHDRAW_TIMEOUT_S)).expect()
        except (LinkError, UnavailableError) as error:  # without the database nobody knows whether the zone is in
            log.warning("the master does not know that this zone did not come", error=str(error))

    async def _load(self, entry: Entry, *, replace: bool) -> list[str]:
        """Make this zone a slave; return which of its objects belong to someone else now."""
        refused: list[str] = []
        other_owners: list[str] = []
        seen_at: Head | None = None

        def check(theirs: Rows) -> list[str]:
            nonlocal seen_at
            with self._database.read() as tx:
                seen_at = tx.state.head
                found = _compare(tx, theirs, entry.token)
            other_owners[:] = found.other_owners
            refused[:] = [] if replace else found.clashes
            return list(refused)

        def also(tx: ApplyTx) -> None:
            if refused:
                raise ClashError(refused)
            if tx.state.role != "standalone":
                raise ActionError("This zone joined a federation meanwhile.")
            if _newest_attempt(tx) != entry.attempt:
                raise Superseded
            if tx.state.head != seen_at and not replace:
                raise ActionError(_CHANGED)
            forget_federation(tx)
            for record in entry.reply.reigns:
                reign.store(tx, record)
            remembered.remember(tx, "instance", entry.instance.encode("ascii"))
            tx.set_membership(zone_id=entry.token.zone_id, role="slave", federation_id=entry.token.federation_id, epoch=entry.newest.epoch)

        try:
            await self._load_snapshot(entry.link, check, also, entry.reply.index)
        except Exception as error:
            if refused:
                raise ClashError(refused) from error
            raise
        return other_owners

    def _finish(self, other_owners: list[str]) -> Joined:
        put_away = _put_away(self._password_file)
        state = self._database.state()
        return Joined(state.zone_id, state.federation_id, state.epoch, state.position, str(put_away or ""), other_owners)


def _compare(tx: ReadTx, theirs: Rows, token: Token) -> Plan:
    own = _own_rows(tx)
    lost = clashes.find(own, theirs, own_zone=tx.state.zone_id)
    return Plan(token.zone_id, token.federation_id, lost, owners.strangers(own, theirs, owners.objects(tx)))


def _begin(tx: ZoneTx, attempt: Attempt) -> str:
    """Make an attempt the newest; the id of this zone's database."""
    remembered.remember(tx, "attempt to join", msgspec.msgpack.encode(attempt))
    kept = remembered.recall(tx, "instance")
    if kept is None:
        kept = secrets.token_hex(16).encode("ascii")
        remembered.remember(tx, "instance", kept)
    return kept.decode("ascii")


def _newest_attempt(tx: ReadTx) -> Attempt | None:
    kept = remembered.recall(tx, "attempt to join")
    return None if kept is None else msgspec.msgpack.decode(kept, type=Attempt)


def _way(attempt: Attempt | None) -> tuple[str, int] | None:
    return None if attempt is None else (attempt.federation_id, attempt.zone_id)


def _own_rows(tx: ReadTx) -> Rows:
    return {"acl": tx.acl(), **{table: tx.rows(table) for table in POOL_TABLES}}


async def _fetch_ca(token: Token) -> x509.Certificate:
    """The CA's certificate over a connection that proves nothing: the hash in the invitation proves it. Raises LinkError."""
    try:
        link = Link(token.endpoint, token.master_zone, token.federation_id, context=unverified_context(), signer=None, epoch=lambda: 0)
    except ValueError as error:
        raise LinkError(str(error)) from error
    try:
        answer = await link.request("GET", "/federation/v1/ca", timeout_s=REQUEST_TIMEOUT_S, max_answer=_MAX_SMALL_ANSWER)
    finally:
        await link.close()
    try:
        ca = read_certificate(answer.expect())
    except ValueError as error:
        raise LinkError(f"it sent no CA certificate: {error}") from error
    if certificate_hash(ca) != token.ca_hash:
        raise LinkError("its CA is not the one that the invitation names: someone else answers at that address, or the master has a new CA")
    return ca


async def _ask_to_join(link: Link, request: JoinRequest) -> JoinReply:
    body = msgspec.msgpack.encode(request)
    answer = await link.request("POST", "/federation/v1/join", body, timeout_s=REQUEST_TIMEOUT_S, max_answer=_MAX_SMALL_ANSWER)
    if answer.status in (400, 409):
        raise ActionError(error_text(answer.status, answer.body))
    try:
        return msgspec.msgpack.decode(answer.expect(), type=JoinReply)
    except (msgspec.MsgspecError, ValueError) as error:
        raise LinkError(f"it sent something that can't be read: {error}") from error


def _check_reply(reply: JoinReply, token: Token, ca: x509.Certificate, public_key: bytes) -> tuple[x509.Certificate, ReignRecord]:
    """The certificate and the newest reign, both found to fit. Raises LinkError."""
    try:
        certificate = read_certificate(reply.certificate)
        previous: ReignRecord | None = None
        for record in reply.reigns:
            reign.verify(record, previous)
            previous = record
    except (ReignError, ValueError) as error:
        raise LinkError(f"what it sent is not sound: {error}") from error
    if previous is None or previous.federation_id != token.federation_id or previous.master_zone != token.master_zone:
        raise LinkError("it shows no reign of its own in this federation")
    if previous.ca_public_key != certified_key(ca):
        raise LinkError("its CA is not that of its reign")
    if certified_key(certificate) != public_key or not is_signed_by(certificate, previous.ca_public_key):
        raise LinkError("it sent a certificate that is not ours")
    return certificate, previous


def _put_away(file: Path) -> Path | None:
    """Rename the password file: what it holds is no longer user 0's password. None if there is none."""
    if not file.exists():
        return None
    target = file.with_name(f"{file.name}.before-join")
    number = 1
    while target.exists():
        number += 1
        target = file.with_name(f"{file.name}.before-join.{number}")
    try:
        file.rename(target)
    except OSError as error:  # the zone has joined all the same
        log.warning("the old password can't be put away: it is of no use any more", file=str(file), error=str(error))
        return None
    return target

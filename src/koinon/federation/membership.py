"""How a federation begins, and how zones are let in, renew their certificates and leave: all but the joining zone's own side.

Path:     admin socket -> init(), invite(), leave(); listener.py -> accept(), accept_withdrawal(), accept_leave(), certify()
Holds:    what a zone may do stands in its zone record, so every zone learns of it in the order of the log; each step can be repeated.
Not here: the joining zone's side (joining.py); what an invitation is (invitation.py); what other zones see of a revocation (listener.py).
"""

from __future__ import annotations

import asyncio
import datetime
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from koinon import clock
from koinon.database.database import Database
from koinon.database.state import ZoneState
from koinon.database.transactions import ApplyTx, ReadTx, SharedTx, ZoneTx
from koinon.errors import ActionError, BadArgumentError, UnavailableError
from koinon.federation import followers, invitation, reign, remembered, trust
from koinon.federation.assertion import ZoneId
from koinon.federation.invitation import InvitationError, Token
from koinon.federation.keys import (
    Authority,
    KeyStore,
    certificate_hash,
    certified_key,
    due_for_renewal,
    is_signed_by,
    make_recovery_key,
    raw_public_key,
    read_certificate,
)
from koinon.federation.link import LinkError, Refused, check_endpoint
from koinon.federation.links import Links
from koinon.federation.reign import ReignRecord
from koinon.identity import zones
from koinon.objects.template import Template

LEAVE_TIMEOUT_S: Final = 10.0
CERTIFICATE_TIMEOUT_S: Final = 10.0
_URL: Final = re.compile(r"https?://[!-~]{1,1000}")
#: What is in the record of a zone that may come and has not.
_INVITED: Final[dict[str, str | None]] = {"TRUST": "INVITED", "PUBLIC_KEY": None, "INSTANCE": None, "FEDERATION_ENDPOINT": None}


class Initiated(msgspec.Struct, frozen=True):
    """A federation that began."""

    federation_id: str
    recovery_key_file: str
    federation_endpoint: str


class Invited(msgspec.Struct, frozen=True):
    """An invitation; ``token`` is shown once and stored nowhere."""

    zone_id: int
    token: str
    expires_at: int


class JoinRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a joining zone sends. ``public_key`` is raw; the request itself is signed with it, which proves that the sender has it."""

    zone_id: ZoneId
    secret: bytes
    public_key: bytes
    instance: str
    endpoint: str
    federation_endpoint: str


class JoinReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What it gets.

    Attributes:
        certificate: of its key (PEM).
        reigns: every reign record, oldest first.
        index: where the master's log stood when it let the zone in; no older snapshot will do.
    """

    certificate: bytes
    reigns: list[ReignRecord]
    index: int


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Membership:
    """This zone's place in a federation."""

    def __init__(
        self,
        database: Database,
        store: KeyStore,
        links: Links,
        *,
        state_dir: Path,
        endpoint: str,
        federation_endpoint: str,
        on_certificate: Callable[[], None],
        halted: Callable[[], str | None],
    ) -> None:
        """Wire it up.

        Args:
            database: this zone's.
            store: this zone's keys.
            links: to other zones.
            state_dir: where the recovery key file is put.
            endpoint: this zone's address for people, put into its record if that names none.
            federation_endpoint: host:port that other zones dial.
            on_certificate: called when another certificate is on disk; must make the listener use it.
            halted: why shared writes are refused, None if they are not.
        """
        self._database = database
        self._store = store
        self._links = links
        self._state_dir = state_dir
        self.endpoint = endpoint
        self.federation_endpoint = federation_endpoint
        self._on_certificate = on_certificate
        self._halted = halted

    # The beginning ----------------------------------------------------------------------------------------------------

    async def init(self) -> Initiated:
        """Make this standalone zone the master of a new federation.

        Returns:
            Its id, and the recovery key file that the operator must now take offline.

        Raises:
            ActionError: this zone is in a federation already.
            KeyFileError: a key can't be written.
        """
        if self._database.state().role != "standalone":
            raise ActionError("This zone is in a federation already. Leave it first.")
        _check_own(self.federation_endpoint)
        federation_id, instance = secrets.token_hex(16), secrets.token_hex(16)
        recovery_file = self._state_dir / f"recovery-{federation_id}.key"
        zone_id = self._database.state().zone_id
        recovery_key = await asyncio.to_thread(make_recovery_key, recovery_file)
        authority = await asyncio.to_thread(self._make_authority, federation_id, zone_id)
        attributes = {
            "FEDERATION_ENDPOINT": self.federation_endpoint,
            "PUBLIC_KEY": trust.key_text(raw_public_key(self._store.first_zone_key().public_key())),
            "TRUST": "ENROLLED",
            "INSTANCE": instance,
        }

        def describe(tx: SharedTx) -> None:
            found = trust.trust_of(tx, zone_id)
            people = {"ENDPOINT": self.endpoint} if found is not None and found.endpoint in ("", "-") else {}
            zones.set_attributes(tx, zone_id, attributes | people)

        await self._database.write_shared("federation init: own record", describe)

        def begin(tx: ApplyTx) -> None:
            # the record is signed here, where nothing can move the head between reading it and starting the reign there
            if tx.state.role != "standalone" or tx.state.zone_id != zone_id:
                raise ActionError("This zone joined a federation meanwhile.")
            head = tx.state.head
            tx.claim(head)
            record = ReignRecord(
                federation_id=federation_id,
                epoch=head.position.epoch + 1,
                master_zone=zone_id,
                start_index=head.position.index,
                start_chain=head.chain,
                ca_public_key=authority.public_key,
                recovery_public_key=raw_public_key(recovery_key.public_key()),
                signer="recovery",
            )
            reign.forget(tx)
            reign.store(tx, reign.sign(record, recovery_key))
            remembered.remember(tx, "instance", instance.encode("ascii"))
            tx.set_membership(zone_id=zone_id, role="master", federation_id=federation_id, epoch=record.epoch)

        await self._database.apply("federation init", begin)
        self._links.forget()
        return Initiated(federation_id, str(recovery_file), self.federation_endpoint)

    def _make_authority(self, federation_id: str, zone_id: int) -> Authority:
        authority = Authority.make(federation_id, _now())
        self._store.save_authority(authority)
        self._store.save_certificate(authority.certify(zone_id, federation_id, self._store.first_zone_key().public_key(), _now()))
        return authority

    # The master lets zones in -----------------------------------------------------------------------------------------

    async def invite(self, name: str, endpoint: str | None) -> Invited:
        """Let a zone join, once and within the hour. A zone that was invited, left or was revoked can be invited again.

        Args:
            name: of the zone; its record is made if there is none.
            endpoint: its address for people; None to take what it says itself.

        Raises:
            ActionError: this zone is not the master, or that zone is enrolled.
            CloudError: the name or the address is not allowed, or shared writes are stopped.
        """
        state = self._require_whole_master()
        if endpoint is not None:
            check_address(endpoint, "endpoint")
        secret, now_s = invitation.new_secret(), clock.now_s()
        ca_hash = certificate_hash(self._store.ca_certificate())

        def job(tx: SharedTx) -> tuple[int, int]:
            row = tx.named("zone_pool", name)
            zone_id = zones.add(tx, name, _record(endpoint or "-")) if row is None else row.oid
            found = trust.trust_of(tx, zone_id)
            if zone_id == tx.state.zone_id or (found is not None and found.trust == "ENROLLED"):
                raise ActionError(f"Zone {zone_id} ({name}) is enrolled already. To let it join anew, have it leave or revoke it.")
            zones.set_attributes(tx, zone_id, _INVITED | ({"ENDPOINT": endpoint} if endpoint else {}))
            return zone_id, invitation.create(tx, zone_id, secret, now_s=now_s)

        zone_id, expires_at = (await self._database.write_shared("federation invite", job)).value
        token = Token(state.federation_id, zone_id, state.zone_id, self.federation_endpoint, ca_hash, secret)
        return Invited(zone_id, token.text(), expires_at)

    async def accept(self, request: JoinRequest) -> JoinReply:
        """The master's side of a join: enrol the zone and sign its certificate. Can be repeated with the same key.

        Raises:
            InvitationError: the invitation can't be used.
            CloudError: an address in the request is not one, this zone is not the master, or shared writes are stopped.
        """
        state = self._require_whole_master()
        _check_join(request)
        authority = self._store.authority()

        def job(tx: SharedTx) -> list[ReignRecord]:
            found = trust.trust_of(tx, request.zone_id)
            if found is None or found.trust not in ("INVITED", "ENROLLED"):
                raise InvitationError(f"Zone {request.zone_id} is not invited. Ask for a new invitation.")
            invitation.redeem(tx, request.zone_id, request.secret, request.public_key, now_s=clock.now_s())
            changes = {
                "FEDERATION_ENDPOINT": request.federation_endpoint,
                "PUBLIC_KEY": trust.key_text(request.public_key),
                "TRUST": "ENROLLED",
                "INSTANCE": request.instance,
            }
            # an address that the operator of the master gave with the invitation stays
            zones.set_attributes(tx, request.zone_id, changes | ({"ENDPOINT": request.endpoint} if found.endpoint in ("", "-") else {}))
            return reign.load_all(tx)

        written = await self._database.write_shared("federation join", job)
        certificate = authority.certify(
            request.zone_id, state.federation_id, Ed25519PublicKey.from_public_bytes(request.public_key), _now()
        )
        return JoinReply(_pem(certificate), written.value, written.head.index)

    def certify(self, tx: ReadTx, zone_id: int) -> bytes:
        """A new certificate (PEM) for an enrolled zone that asked for one with a signed request.

        Raises:
            AssertionRefused: the zone is not enrolled.
            ActionError: this zone is not the master.
        """
        state = self._require_master()
        return _pem(self._store.authority().certify(zone_id, state.federation_id, trust.require_key(tx, zone_id), _now()))

    async def accept_withdrawal(self, zone_id: int) -> None:
        """The zone was let in and does not come, for now: what is shown of it is true again, and its invitation works until it expires."""
        self._require_whole_master()

        def job(tx: SharedTx) -> None:
            zones.set_attributes(tx, zone_id, _INVITED if invitation.reopen(tx, zone_id) else {"TRUST": "LEFT"})

        await self._database.write_shared("federation withdrawal", job)

    async def accept_leave(self, zone_id: int) -> None:
        """The master's side of a leave: from the moment that this commits, the zone's requests are refused."""
        self._require_whole_master()

        def job(tx: SharedTx) -> None:
            invitation.cancel(tx, zone_id)
            zones.set_attributes(tx, zone_id, {"TRUST": "LEFT"})

        await self._database.write_shared("federation leave", job)

    async def revoke(self, zone_id: int) -> None:
        """Put a zone out: here its requests are refused and its streams cut at once, elsewhere as soon as the change is applied.

        Also while shared writes are stopped: a stolen zone must not stay until somebody has found a backup, nor may a federation be given
        up before its zones are out. It only takes away, and can be repeated if a restored database has forgotten it.

        Raises:
            ActionError: this zone is not the master, or it is the zone itself.
            NotFoundError: there is no such zone.
        """
        if self._require_master().zone_id == zone_id:
            raise ActionError("The master can't revoke itself.", object_id=zone_id)

        def job(tx: SharedTx) -> None:
            invitation.cancel(tx, zone_id)
            zones.set_attributes(tx, zone_id, {"TRUST": "REVOKED"})

        await self._database.write_shared("federation revoke", job)

    # Staying in and getting out ---------------------------------------------------------------------------------------

    async def renew_if_due(self, now: datetime.datetime | None = None) -> bool:
        """Have this zone's certificate renewed if it is in its last 30 days; call it daily.

        Returns:
            True if there is a new certificate, already in use.

        Raises:
            KeyFileError: the certificate or a key can't be read or written.
            LinkError: the master did not renew it; try again tomorrow.
        """
        state = self._database.state()
        now = _now() if now is None else now
        if state.role == "standalone" or not due_for_renewal(self._store.certificate(), now):
            return False
        public_key = self._store.zone_key().public_key()
        if state.role == "master":
            certificate = self._store.authority().certify(state.zone_id, state.federation_id, public_key, now)
        else:
            answer = await self._links.master().request("POST", "/federation/v1/certificate", timeout_s=CERTIFICATE_TIMEOUT_S)
            try:
                certificate = read_certificate(answer.expect())
            except ValueError as error:
                raise LinkError(f"the master sent no certificate: {error}") from error
            if certified_key(certificate) != raw_public_key(public_key) or not is_signed_by(certificate, self._ca_public_key()):
                raise LinkError("the master sent a certificate that is not ours")
        await asyncio.to_thread(self._store.save_certificate, certificate)
        self._on_certificate()
        return True

    def _ca_public_key(self) -> bytes:
        return certified_key(self._store.ca_certificate())

    async def leave(self, *, force: bool = False) -> None:
        """Make this zone standalone again. Its copy of the shared data stays as it is; its keys are removed.

        Args:
            force: leave also if the master can't be told; it goes on counting this zone until someone revokes it there.

        Raises:
            ActionError: this zone is in no federation, or is the master of zones that are still enrolled.
            UnavailableError: the master can't be told, and ``force`` is not set.
        """
        state = self._database.state()
        if state.role == "standalone":
            raise ActionError("This zone is in no federation.")
        if state.role == "slave":
            await self._tell_master(force=force)
        federation_id = state.federation_id

        def job(tx: ApplyTx) -> None:
            if tx.state.federation_id != federation_id:
                raise ActionError("This zone left meanwhile.")
            enrolled = [zone for zone in trust.all_zones(tx) if zone.trust == "ENROLLED" and zone.zone_id != tx.state.zone_id]
            if tx.state.role == "master" and enrolled:
                names = ", ".join(f"{zone.zone_id} ({zone.name})" for zone in enrolled)
                raise ActionError(f"This zone is the master of zones that are still enrolled: {names}. Have them leave, or revoke them.")
            forget_federation(tx)
            # the epoch stays: the log goes on, and a log in which it fell would be no history
            tx.set_membership(zone_id=tx.state.zone_id, role="standalone", federation_id="", epoch=tx.state.epoch)

        await self._database.apply("federation leave", job)
        self._links.forget()
        await asyncio.to_thread(self._store.remove)

    async def _tell_master(self, *, force: bool) -> None:
        try:
            (await self._links.master().request("POST", "/federation/v1/leave", timeout_s=LEAVE_TIMEOUT_S)).expect()
        except Refused as refused:
            # gone already: an earlier attempt was heard and its answer lost, or the master put us out
            if refused.reason not in ("left", "revoked", "unknown zone") and not force:
                raise UnavailableError(_NOT_TOLD.format(why=refused.text.rstrip("."))) from refused
        except (LinkError, UnavailableError) as error:
            if not force:
                raise UnavailableError(_NOT_TOLD.format(why=error)) from error

    def _require_master(self) -> ZoneState:
        state = self._database.state()
        if state.role != "master":
            raise ActionError(
                "This zone is not the master of a federation; ask there." if state.role == "slave" else "This zone is in no federation."
            )
        return state

    def _require_whole_master(self) -> ZoneState:
        """The state of a master that has lost nothing. Raises ActionError, UnavailableError."""
        state = self._require_master()
        why = self._halted()
        if why is not None:
            raise UnavailableError(why)
        return state


_NOT_TOLD: Final = "The master can't be told: {why}. Nothing was changed; with --force this zone leaves all the same."


def forget_federation(tx: ZoneTx) -> None:
    """Drop what the local tables know of a federation."""
    reign.forget(tx)
    remembered.forget_all(tx)
    tx.execute("DELETE FROM invitation")
    tx.execute("DELETE FROM zone_position")
    followers.forget(tx)


def check_address(endpoint: str, what: str) -> None:
    """Refuse what is no http(s) address for people. Raises BadArgumentError."""
    if _URL.fullmatch(endpoint) is None:
        raise BadArgumentError(f"The {what} {endpoint!r} is not an address of the form http://host:port/RPC2.")


def _check_own(federation_endpoint: str) -> None:
    try:
        check_endpoint(federation_endpoint)
    except ValueError as error:
        raise BadArgumentError(f"[federation] endpoint: {error}. Set it, and start the zone again.") from error


def _check_join(request: JoinRequest) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(request.public_key)
        if request.federation_endpoint != "-":
            check_endpoint(request.federation_endpoint)
    except ValueError as error:
        raise BadArgumentError(f"The joining zone sent something that can't be used: {error}.") from error
    if request.endpoint != "-":
        check_address(request.endpoint, "joining zone's endpoint")
    if re.fullmatch(r"[0-9a-f]{32}", request.instance) is None:
        raise BadArgumentError("The joining zone sent something that can't be used: its instance id.")


def _record(endpoint: str) -> Template:
    template = Template()
    template.set("ENDPOINT", endpoint)
    return template


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)

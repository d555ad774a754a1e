"""Sessions of a zone's own servers for the users behind them: ``serveradmin:TARGET:TOKEN`` or ``serveradmin:TARGET:GROUP:TOKEN``.

Path:     Login -> prove() -> ServerProof.caller() at each call; on the master, for a call that another zone redirected: acted_for()
Holds:    the key belongs to one zone and is in no shared row, so a zone's servers open that zone and no other. The master believes a zone
          that says for whom a call is only if that zone's record allows it (ACT_FOR=YES, which administrators set), and never for one of
          group 0. Expiry, and whether both users are still there and enabled, is looked at each time.
Not here: where the key is kept (daemon/secret_files.py); who sets ACT_FOR (zones.py).
Source:   OpenNebula src/authm_mad/remotes/server_cipher (form of session and token). Stricter than there: the token is for the target that
          the session names, a disabled target is refused, and the group must be one of the target's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from koinon.database.transactions import ReadTx
from koinon.errors import AuthenticationError, AuthorizationError
from koinon.identity import accounts, auth_drivers, zones
from koinon.identity.login_tokens import ANY_GROUP
from koinon.identity.user_record import Account
from koinon.policy.caller import Caller

_ADMINS: Final = 0
_MAX_TOKEN_CHARS: Final = 1024
_BLOCK_BITS: Final = 128
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


class ServerKey:
    """What a zone shares with its servers.

    Args:
        name: of the user that they log in as.
        password: as in the file that they read too.
    """

    def __init__(self, name: str, password: str) -> None:
        self.name = name
        key = hashlib.sha256(password.encode()).hexdigest()[:32].encode()
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16]))

    def expiry(self, target: str, token: str) -> int | None:
        """When a token for ``target`` ends, in seconds since 1970; None if it is not one that a server made for it."""
        if len(token) > _MAX_TOKEN_CHARS:
            return None
        try:
            decryptor = self._cipher.decryptor()
            padded = decryptor.update(base64.b64decode(token, validate=True)) + decryptor.finalize()
            unpadder = PKCS7(_BLOCK_BITS).unpadder()
            text = (unpadder.update(padded) + unpadder.finalize()).decode()
        except (ValueError, binascii.Error):
            return None
        parts = text.split(":")
        if len(parts) != 3 or parts[:2] != [self.name, target] or _NUMBER.fullmatch(parts[2]) is None:
            return None
        return int(parts[2])


class _Claim(msgspec.Struct, frozen=True):
    """What a session says behind the server's name."""

    target: str
    egid: int
    token: str

    @classmethod
    def of(cls, secret: str) -> _Claim | None:
        match secret.split(":"):
            case [target, token]:
                return cls(target, ANY_GROUP, token)
            case [target, egid, token] if _NUMBER.fullmatch(egid):
                return cls(target, int(egid), token)
        return None


class ServerProof:
    """A session that was right: for whom, until when. It is good while both users are as they were.

    Args:
        server: the server's user.
        target: the user behind it.
        egid: the one group of the session, ANY_GROUP for all of the target's.
        expires_at: seconds since 1970.
    """

    __slots__ = ("_account", "_caller", "_egid", "_expires_at", "_server", "_target")

    def __init__(self, server: Account, target: Account, egid: int, expires_at: int) -> None:
        self._server = (server.uid, server.name)
        self._target = (target.uid, target.name)
        self._egid = egid
        self._expires_at = expires_at
        self._account: Account | None = None
        self._caller: Caller | None = None

    def caller(self, tx: ReadTx, zone_id: int, now: int) -> Caller | None:
        """Who calls, if the session still opens this zone.

        Args:
            tx: a read of the present state.
            zone_id: where the caller came in.
            now: seconds since 1970.
        """
        account = self._opens(tx, zone_id, now)
        if account is None:
            return None
        if self._caller is None or self._account is not account or self._caller.zone_id != zone_id:
            self._caller = _caller_for(account, self._egid, zone_id)
            self._account = account
        return self._caller

    def present(self, tx: ReadTx, zone_id: int, now: int) -> Caller | None:
        """As :meth:`caller`, and nothing is remembered: for a transaction that may be taken back."""
        account = self._opens(tx, zone_id, now)
        return None if account is None else _caller_for(account, self._egid, zone_id)

    def _opens(self, tx: ReadTx, zone_id: int, now: int) -> Account | None:
        if now >= self._expires_at or zone_id != tx.state.zone_id:
            return None
        server, account = _known(tx, *self._server), _known(tx, *self._target)
        return account if server is not None and is_server(server) else None


def is_server(account: Account) -> bool:
    """Whether sessions of this user are for somebody else."""
    return account.driver == auth_drivers.SERVER_CIPHER


def prove(tx: ReadTx, key: ServerKey | None, server: Account, secret: str) -> ServerProof | None:
    """What a session of this zone's own server proves; None if it proves nothing.

    Args:
        tx: a read of the present state.
        key: this zone's; None if it has none.
        server: the user before the first colon, enabled.
        secret: the rest.
    """
    claim = _Claim.of(secret)
    if key is None or claim is None or server.name != key.name:
        return None
    expires_at = key.expiry(claim.target, claim.token)
    target = None if expires_at is None else accounts.with_name(tx, claim.target)
    if expires_at is None or target is None:
        return None
    return ServerProof(server, target, claim.egid, expires_at)


def acted_for(tx: ReadTx, server: Account, secret: str, zone_id: int) -> Caller:
    """Whom another zone acts for. That zone has checked the token, which only it can read.

    Args:
        tx: a read of the present state.
        server: the user before the first colon, enabled.
        secret: the rest.
        zone_id: the zone that redirected the call, and has proven that it is that zone.

    Raises:
        AuthorizationError: that zone may not act for users, or not for this one.
        AuthenticationError: no such user, a disabled one, or not in that group.
    """
    if not zones.acts_for_users(tx, zone_id):
        raise AuthorizationError.denied(
            server.uid, f"Zone {zone_id} may not act for its users at the master, an administrator has to set ACT_FOR=YES in its record"
        )
    claim = _Claim.of(secret)
    account = None if claim is None else accounts.with_name(tx, claim.target)
    if claim is None or account is None or not account.enabled:
        raise AuthenticationError
    if account.uid == 0 or _ADMINS in account.groups:
        raise AuthorizationError.denied(server.uid, f"No zone may act for administrators at the master, so not for user {account.uid}")
    caller = _caller_for(account, claim.egid, zone_id)
    if caller is None:
        raise AuthenticationError
    return caller


def _known(tx: ReadTx, uid: int, name: str) -> Account | None:
    """An enabled user, if it still is the one of that name."""
    account = accounts.with_id(tx, uid)
    return account if account is not None and account.enabled and account.name == name else None


def _caller_for(account: Account, egid: int, zone_id: int) -> Caller | None:
    return accounts.caller(account, egid, zone_id) if egid == ANY_GROUP or egid in account.groups else None

"""Who is calling: a session text ``name:secret`` becomes a Caller.

Path:     api -> remembered() (no thread, no SQL) -> else authenticate(): token, or password in a hashing thread
Holds:    a remembered session is good only while the user's row says the same verifier and is enabled; the end of a token is looked at each
          time, and all of it again where a write is made (renewal()). Secrets are kept as a keyed hash whose key dies with the process.
          Guessing at one name costs the guesser waiting, not us.
Not here: what the caller may do (access.py); hashes (passwords.py); sessions of servers for users behind them (server_sessions.py).
Source:   OpenNebula src/um/UserPool.cc (order of the checks), src/um/LoginToken.cc (tokens narrowed to a group).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from koinon import clock
from koinon.database.database import Database
from koinon.database.state import ZoneState
from koinon.database.transactions import ReadTx
from koinon.errors import AuthenticationError
from koinon.identity import accounts, auth_drivers, server_sessions
from koinon.identity.login_tokens import ANY_GROUP, hash_of
from koinon.identity.passwords import Hasher, is_slow
from koinon.identity.server_sessions import ServerKey, ServerProof
from koinon.identity.user_record import Account, LoginToken
from koinon.policy.caller import Caller

_MAX_REMEMBERED: Final = 50_000
_MAX_NAMES: Final = 10_000
_FREE_FAILURES: Final = 5
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 8.0


class _Proof:
    """A session that was right, and what it rests on: a password's verifier or a token's hash."""

    __slots__ = ("account", "caller", "name", "token_hash", "uid", "until", "verifier")

    def __init__(self, account: Account, verifier: str, token_hash: str, until: int) -> None:
        self.uid = account.uid
        self.name = account.name
        self.verifier = verifier
        self.token_hash = token_hash
        self.until = until
        self.account: Account | None = None
        self.caller: Caller | None = None

    def opens(self, account: Account | None, now: int) -> int | None:
        """The group that the session is narrowed to, ANY_GROUP for all of them; None if it opens this account no more."""
        if account is None or not account.enabled or account.name != self.name:
            return None
        if not self.token_hash:
            return ANY_GROUP if self.verifier == account.verifier and account.driver == auth_drivers.CORE else None
        token = account.tokens.get(self.token_hash)
        return token.egid if token is not None and _opens(token, account, now) else None


class _Failures:
    """Failed checks of one name, and when it may be tried again (monotonic seconds)."""

    __slots__ = ("count", "pause_ends")

    def __init__(self) -> None:
        self.count = 0
        self.pause_ends = 0.0


class Login:
    """Authenticates sessions against this zone's copy of the users.

    Args:
        database: this zone's.
        hasher: checks passwords.
        remember_s: how long a right password is remembered.
        server_key: what this zone shares with its servers; without it their sessions open nothing.
        now_s: seconds since 1970; another clock in tests.
        monotonic_s: seconds of a clock that never jumps; another in tests.
    """

    def __init__(
        self,
        database: Database,
        hasher: Hasher,
        *,
        remember_s: int,
        server_key: ServerKey | None = None,
        now_s: Callable[[], int] = clock.now_s,
        monotonic_s: Callable[[], float] = clock.monotonic_s,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._remember_s = remember_s
        self._server_key = server_key
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._key = secrets.token_bytes(32)
        self._proofs: OrderedDict[bytes, _Proof | ServerProof] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._checks: dict[tuple[bytes, str], asyncio.Task[bool]] = {}

    def remembered(self, session: str, tx: ReadTx, zone_id: int, now: int) -> Caller | None:
        """The caller of a session that was found right before; None says nothing about it.

        Args:
            session: ``name:secret``.
            tx: a read of the present state.
            zone_id: where the caller came in.
            now: seconds since 1970.
        """
        proof = self._proofs.get(self._digest(session))
        if proof is None:
            return None
        if isinstance(proof, ServerProof):
            return proof.caller(tx, zone_id, now)
        account = accounts.with_id(tx, proof.uid)
        egid = proof.opens(account, now)
        if account is None or egid is None or (not proof.token_hash and now >= proof.until):
            return None
        caller = proof.caller
        if caller is None or proof.account is not account or caller.zone_id != zone_id:
            caller = proof.caller = accounts.caller(account, egid, zone_id)
            proof.account = account
        return caller

    def renewal(self, session: str, caller: Caller, seen: ZoneState | None) -> Callable[[ReadTx], Caller]:
        """What tells who calls once a write is made: since the log-in the user may have been disabled, left a group, or lost a token.

        Args:
            session: ``name:secret``, let in just now.
            caller: whom it was found to be.
            seen: the state in which that was found, None if it is not known: what did not change since need not be looked at.

        Returns:
            A function for the writer's transaction. It raises AuthenticationError, or AuthorizationError, if the session opens nothing
            any more. It remembers nothing: what that transaction has changed may yet be taken back.
        """
        proof = self._proofs.get(self._digest(session))

        def who(tx: ReadTx) -> Caller:
            if seen is not None and not tx.has_changed("user_pool", seen):
                return caller
            now = self._now_s()
            if isinstance(proof, _Proof):
                account = accounts.with_id(tx, proof.uid)
                egid = proof.opens(account, now)
                found = None if account is None or egid is None else accounts.caller(account, egid, caller.zone_id)
            elif proof is not None and caller.zone_id == tx.state.zone_id:
                found = proof.present(tx, caller.zone_id, now)
            else:
                found = self._acted_for(tx, session, caller.zone_id)
            if found is None:
                raise AuthenticationError
            return found

        return who

    @staticmethod
    def _acted_for(tx: ReadTx, session: str, zone_id: int) -> Caller | None:
        name, _, secret = session.partition(":")
        server = accounts.with_name(tx, name)
        if server is None or not server.enabled or not server_sessions.is_server(server):
            return None
        return server_sessions.acted_for(tx, server, secret, zone_id)

    async def authenticate(self, session: str, zone_id: int) -> Caller:
        """The caller of a session.

        Args:
            session: ``name:secret``, parted at the first colon.
            zone_id: where the caller came in: this zone, or the one that redirected the call.

        Raises:
            AuthenticationError: no such user, a wrong or expired secret, a disabled user, or a driver that is not checked here.
            AuthorizationError: another zone redirected a call of its server, and may not act for that user.
            UnavailableError: too many log-ins wait to be checked.
        """
        now = self._now_s()
        with self._database.read() as tx:
            caller = self.remembered(session, tx, zone_id, now)
            if caller is not None:
                return caller
            name, _, secret = session.partition(":")
            account = accounts.with_name(tx, name) if secret else None
        if account is None or not account.enabled:
            return await self._refuse_late()
        digest = self._digest(session)
        token_hash = hash_of(secret)
        token = account.tokens.get(token_hash)
        if token is not None:
            if not _opens(token, account, now):
                raise AuthenticationError
            self._remember(digest, _Proof(account, "", token_hash, until=0))
            return accounts.caller(account, token.egid, zone_id)
        if server_sessions.is_server(account):
            return await self._authenticate_server(digest, account, secret, zone_id, now)
        if account.driver != auth_drivers.CORE:
            return await self._refuse_late()
        if not await self._is_right(digest, account, secret):
            raise AuthenticationError
        with self._database.read() as tx:  # hashing took its time: what was checked must still be what is stored
            present = accounts.with_name(tx, name)
            if present is None or not present.enabled or present.driver != auth_drivers.CORE or present.verifier != account.verifier:
                raise AuthenticationError
            self._remember(digest, _Proof(present, present.verifier, "", until=now + self._remember_s))
            return accounts.caller(present, ANY_GROUP, zone_id)

    async def _authenticate_server(self, digest: bytes, server: Account, secret: str, zone_id: int, now: int) -> Caller:
        with self._database.read() as tx:
            if zone_id != tx.state.zone_id:
                return server_sessions.acted_for(tx, server, secret, zone_id)
            proof = server_sessions.prove(tx, self._server_key, server, secret)
            caller = None if proof is None else proof.caller(tx, zone_id, now)
        if proof is None or caller is None:
            return await self._refuse_late()
        self._remember(digest, proof)
        return caller

    async def _is_right(self, digest: bytes, account: Account, secret: str) -> bool:
        known = self._proofs.get(digest)
        was_right = isinstance(known, _Proof) and known.verifier == account.verifier
        if not was_right and self._is_pausing(account.name):
            await asyncio.sleep(self._hasher.typical_s)
            return False
        key = (digest, account.verifier)
        check = self._checks.get(key)
        if check is None:  # the many first calls of one client pay for one hash
            check = asyncio.create_task(self._check(account, secret, always=was_right))
            self._checks[key] = check
            check.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(check)  # a guesser who hangs up before the answer has guessed all the same

    def _forget(self, key: tuple[bytes, str], done: asyncio.Task[bool]) -> None:
        self._checks.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at, should all who waited have gone: else asyncio reports it as lost

    async def _check(self, account: Account, secret: str, *, always: bool) -> bool:
        right = await self._hasher.verify(secret, account.verifier, always=always)
        self._note(account.name, right)
        if not right and not is_slow(account.verifier):
            await asyncio.sleep(self._hasher.typical_s)  # as _refuse_late()
        return right

    def _is_pausing(self, name: str) -> bool:
        failures = self._failures.get(name)
        return failures is not None and self._monotonic_s() < failures.pause_ends

    def _note(self, name: str, right: bool) -> None:
        if right:
            self._failures.pop(name, None)
            return
        failures = self._failures.setdefault(name, _Failures())
        self._failures.move_to_end(name)
        failures.count += 1
        over = failures.count - _FREE_FAILURES
        if over >= 0:
            failures.pause_ends = self._monotonic_s() + min(_FIRST_PAUSE_S * 2 ** min(over, 10), _LONGEST_PAUSE_S)
        while len(self._failures) > _MAX_NAMES:
            self._failures.popitem(last=False)

    async def _refuse_late(self) -> Caller:
        """Refuse as late as a wrong password is refused, so that the time does not tell which names exist."""
        await asyncio.sleep(self._hasher.typical_s)
        raise AuthenticationError

    def _remember(self, digest: bytes, proof: _Proof | ServerProof) -> None:
        self._proofs[digest] = proof
        self._proofs.move_to_end(digest)
        while len(self._proofs) > _MAX_REMEMBERED:
            self._proofs.popitem(last=False)

    def _digest(self, session: str) -> bytes:
        return hashlib.blake2b(session.encode(errors="surrogatepass"), key=self._key, digest_size=32).digest()


def _opens(token: LoginToken, account: Account, now: int) -> bool:
    return not token.is_expired(now) and (token.egid == ANY_GROUP or token.egid in account.groups)

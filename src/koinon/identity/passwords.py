"""Password verifiers: what is stored instead of a password, and how one is checked against the other.

Holds:    a verifier says by itself how it was made; comparing takes the same time whatever the secret; at most two hashes run at once, so
          that a flood of log-ins leaves the machine to others.
Not here: who may log in, and what is remembered (login.py).
Source:   RFC 7914 (scrypt). The hex forms are OpenNebula's, accepted so that its users can log in after a migration.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal

from koinon import clock
from koinon.errors import UnavailableError
from koinon.identity import auth_drivers
from koinon.objects.characters import forbidden_in

Scheme = Literal["scrypt", "sha256"]

_LOG2_N, _R, _P = 14, 8, 1
_SALT_BYTES, _HASH_BYTES = 16, 32
_SCRYPT: Final = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$([A-Za-z0-9+/]{22,88})\$([A-Za-z0-9+/]{43})", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}", re.ASCII)
_MAX_LOG2_N, _MAX_R, _MAX_P = 17, 16, 4  # a stored row must not be able to order a hash that takes minutes
_SPACES: Final = " \t\n\v\f\r"
_AT_ONCE: Final = 2
_WAITING: Final = 64


def make(secret: str, scheme: Scheme, salt: bytes | None = None) -> str:
    """Hash a password into a verifier. Takes about 50 ms with scrypt; ``Hasher`` does it off the loop.

    Args:
        secret: the password.
        scheme: "sha256" is for federations with OpenNebula peers, which read nothing else.
        salt: only given by tests; random otherwise.
    """
    if scheme == "sha256":
        return hashlib.sha256(secret.encode()).hexdigest()
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    made = _scrypt(secret, salt, _LOG2_N, _R, _P)
    return f"$scrypt$ln={_LOG2_N},r={_R},p={_P}${_b64(salt)}${_b64(made)}"


def verify(secret: str, verifier: str) -> bool:
    """Whether a verifier was made from this password. False for text that is no verifier."""
    try:
        raw = secret.encode()
    except UnicodeEncodeError:
        return False
    found = _SCRYPT.fullmatch(verifier)
    if found is not None:
        log2_n, r, p = (int(found[at]) for at in (1, 2, 3))
        if not (1 <= log2_n <= _MAX_LOG2_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
            return False
        return hmac.compare_digest(_scrypt(secret, _unb64(found[4]), log2_n, r, p), _unb64(found[5]))
    if _HEX.fullmatch(verifier) is None:
        return False
    made = hashlib.sha256(raw) if len(verifier) == 64 else hashlib.sha1(raw)  # noqa: S324 - the form in which an old OpenNebula stored it
    return hmac.compare_digest(made.hexdigest(), verifier)


def is_verifier(text: str) -> bool:
    """Whether this is what ``make`` or OpenNebula stores for a password."""
    return _SCRYPT.fullmatch(text) is not None or _HEX.fullmatch(text) is not None


def is_slow(verifier: str) -> bool:
    """Whether checking takes long enough to need a thread."""
    return verifier.startswith("$scrypt$")


def problem(secret: str, driver: str) -> str:
    """Why this can't be a password of a user with this driver; empty if it can."""
    if not secret:
        return "Invalid password, it cannot be empty"
    for char in secret:
        if char in _SPACES:
            return f"Invalid password, character '{char}' is not allowed"
    bad = forbidden_in(secret)
    if bad is not None:
        return f"Invalid password, character {bad} is not allowed"
    limit = auth_drivers.driver(driver).max_password
    if len(secret.encode()) > limit:
        return f"Invalid password, it may not be longer than {limit} bytes"
    if "]]>" in secret:
        return "Invalid password, it may not hold ]]>"
    return ""


class Hasher:
    """Makes and checks verifiers in its own two threads; the loop never waits for a hash.

    Attributes:
        typical_s: how long the last check took.
    """

    def __init__(self) -> None:
        self.typical_s = 0.05
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")
        self._pending = 0

    async def make(self, secret: str, scheme: Scheme) -> str:
        """As ``make``.

        Raises:
            UnavailableError: too many wait already.
        """
        if scheme == "sha256":
            return make(secret, scheme)
        self._admit(always=False)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, make, secret, scheme)
        finally:
            self._pending -= 1

    async def verify(self, secret: str, verifier: str, *, always: bool = False) -> bool:
        """As ``verify``.

        Args:
            secret: the password.
            verifier: what is stored.
            always: this secret was right before: it is not turned away, however many wait.

        Raises:
            UnavailableError: too many wait already.
        """
        if not is_slow(verifier):
            return verify(secret, verifier)
        self._admit(always=always)
        try:
            right, self.typical_s = await asyncio.get_running_loop().run_in_executor(self._threads, _timed, secret, verifier)
            return right
        finally:
            self._pending -= 1

    def close(self) -> None:
        """Let the threads end; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self, *, always: bool) -> None:
        if self._pending >= _WAITING and not always:
            raise UnavailableError("Too many log-ins wait to be checked. Try again in some seconds.")
        self._pending += 1


def _timed(secret: str, verifier: str) -> tuple[bool, float]:
    began = clock.monotonic_s()
    return verify(secret, verifier), clock.monotonic_s() - began


def _scrypt(secret: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    need = 128 * r * ((1 << log2_n) + p + 2)
    return hashlib.scrypt(secret.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=need + 2**20, dklen=_HASH_BYTES)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))

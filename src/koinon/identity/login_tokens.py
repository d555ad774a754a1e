"""Log-in tokens: secrets with an end, made for one user, shown once and stored as a hash.

Not here: how a session with a token is checked (login.py).
Source:   OpenNebula src/um/LoginToken.cc, src/rm/api/UserAPI.cc (login): limits, order of checks, texts.
"""

from __future__ import annotations

import hashlib
from typing import Final

from koinon.database.transactions import SharedTx
from koinon.errors import ActionError, BadArgumentError, NotFoundError
from koinon.identity import access, auth_drivers
from koinon.identity.user_record import LoginToken, User
from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.policy.caller import Caller

MAX_TOKENS: Final = 10
FOREVER: Final = -1
ANY_GROUP: Final = -1
_MAX_TOKEN_BYTES: Final = 16_384
_MAX_VALID_S: Final = 2**40


def hash_of(token: str) -> str:
    """What is stored for a token: 64 hex digits."""
    return hashlib.blake2b(token.encode(errors="surrogatepass"), digest_size=32).hexdigest()


def request(
    tx: SharedTx, caller: Caller, name: str, token: str, valid_s: int, egid: int, *, generated: str, now: int, max_token_s: int
) -> str:
    """Make a token for a user, or remove one or all: what ``one.user.login`` does.

    Args:
        tx: the transaction.
        caller: needs USER:MANAGE.
        name: whose token.
        token: the token wanted; empty takes ``generated``, or means all of them when ``valid_s`` is 0.
        valid_s: seconds of life, -1 for ever, 0 to remove.
        egid: the one group that a session with it has, -1 for all of the user's.
        generated: a random token, made outside so that the job can run again.
        now: seconds since 1970.
        max_token_s: this zone's cap on the life of tokens, -1 for none, 0 to make no tokens.

    Returns:
        The token, in clear for the last time; what was removed when ``valid_s`` is 0.

    Raises:
        NotFoundError: no such user.
        AuthorizationError: the caller may not manage the user.
        ActionError: the user's driver or this zone has no tokens.
        BadArgumentError: no such token, ten already, a group that is not the user's, a time that makes no sense.
    """
    row = tx.named("user_pool", name)
    if row is None:
        raise NotFoundError(Kind.USER.label, -1)
    access.require(tx, caller, Right.MANAGE, access.target_of(tx, Kind.USER, row.oid))
    user = User.from_row(row)
    cap = auth_drivers.driver(user.driver).max_token_s
    if cap == 0:
        raise ActionError(f"Login tokens are disabled for driver {user.driver}", object_id=user.oid)
    if valid_s == 0:
        user.tokens = _without(user, token)
        tx.update("user_pool", user.as_row())
        return token
    if max_token_s == 0:
        raise ActionError("Login tokens are disabled in this zone ([login] max_token_s)", object_id=user.oid)
    if valid_s < FOREVER or valid_s > _MAX_VALID_S:
        raise BadArgumentError("Wrong valid period for token")
    for limit in (cap, max_token_s):
        if limit > 0 and (valid_s > limit or valid_s == FOREVER):
            valid_s = limit
    _require_scope(caller, user, egid)
    if len(token.encode(errors="surrogatepass")) > _MAX_TOKEN_BYTES:
        raise BadArgumentError(f"The token is longer than {_MAX_TOKEN_BYTES} bytes")
    secret = token or generated
    made = LoginToken(hash_of(secret), FOREVER if valid_s == FOREVER else now + valid_s, egid)
    kept = [known for known in user.tokens if not known.is_expired(now) and known.token_hash != made.token_hash]
    if len(kept) >= MAX_TOKENS:
        raise BadArgumentError("Max number of tokens limit reached.")
    user.tokens = sorted([*kept, made], key=lambda known: known.token_hash)
    tx.update("user_pool", user.as_row())
    return secret


def _without(user: User, token: str) -> list[LoginToken]:
    if not token:
        return []
    # A list of tokens shows them by the beginning of their hash: that form names one too.
    gone = [known for known in user.tokens if known.token_hash == hash_of(token) or known.shown == token]
    if not gone:
        raise BadArgumentError(f"Could not find token: {token}")
    return [known for known in user.tokens if known not in gone]


def _require_scope(caller: Caller, user: User, egid: int) -> None:
    if egid < ANY_GROUP:
        raise BadArgumentError("EGID is not in user group list")
    if egid != ANY_GROUP:
        if not caller.is_admin and (egid not in user.groups or egid not in caller.groups):
            raise BadArgumentError("EGID is not in user group list")
        return
    # Otherwise a session narrowed to one group, or a group's administrator, would get at the user's other groups.
    own = caller.uid == user.oid
    if (own or not caller.is_admin) and caller.groups != tuple(user.groups):
        raise BadArgumentError("Cannot create a full token with a specific group token")

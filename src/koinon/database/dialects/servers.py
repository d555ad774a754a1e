"""What engines behind a network have in common: the marks of their drivers, time limits, and how a lost transaction is remembered.

Holds:    after an error that may have cost the transaction a session runs nothing but ``rollback``. Else a job that swallows the error
          would go on outside of any transaction: MariaDB commits what comes next at once.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from koinon.errors import UnavailableError

#: A row that somebody else holds for longer than this fails the group; it is tried again then.
LOCK_WAIT_S: Final = 2
CONNECT_TIMEOUT_S: Final = 5
#: A session that hears nothing for so long is given up: the loop may be the one that waits.
SILENCE_S: Final = 20
#: A process that stops in the middle of a transaction holds up all others: the server ends its session after so long.
IDLE_IN_TRANSACTION_S: Final = 3
#: Another process that starts may be bringing the schema up to date.
_ALONE_PATIENCE_S: Final = 30.0
DOUBT_PATIENCE_S: Final = 10.0

#: The system's words for a full disk, which servers pass on.
NO_SPACE: Final = "No space left on device"

#: More than this is not kept back for a later statement.
WAITING_BYTES: Final = 2**20

#: Hosts of which it is told why they can't be used, and how much is told of each.
_REASONS: Final = 6
_REASON_CHARS: Final = 200

#: All statements of this package, and then some.
_STATEMENTS: Final = 1024


@lru_cache(maxsize=_STATEMENTS)
def translated(sql: str) -> str:
    """SQL with ``?`` marks as drivers of the ``format`` style want it. None of our texts holds a question mark of its own."""
    return sql.replace("%", "%%").replace("?", "%s")


def be_alone(place: str, attempt: Callable[[], bool]) -> None:
    """Try for a while to get the lock that processes hold while they make a database ready.

    Raises:
        UnavailableError: another process keeps it.
    """
    deadline = time.monotonic() + _ALONE_PATIENCE_S
    while not attempt():
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"{place} is being made ready by another koinon server, or is in use by an older one. Wait for the first, stop the second."
            )
        time.sleep(0.05)


def told_of_each(reasons: Sequence[str]) -> str:
    """Why each of several hosts can't be used, in bounded length."""
    told = "; ".join(reason if len(reason) <= _REASON_CHARS else f"{reason[:_REASON_CHARS]}..." for reason in reasons[:_REASONS])
    return f"{told}; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else told


def unusable(place: str, text: str, remedy: str = "", *, serving: bool) -> str:
    """Say that no session comes about: a running zone tries again by itself, other programs end.

    Args:
        place: of the dialect.
        text: what driver and server say.
        remedy: what to do about it; empty if nobody seems to be there.
        serving: see ``Dialect.explain``.
    """
    remedy = remedy or ("" if serving else "Start it, or mend the address.")
    next_step = "; this zone goes on when it can." if serving else "."
    return f"{place} can't be reached ({text}). {remedy}{' ' if remedy else ''}Nothing was changed{next_step}"


def without_space(place: str, text: str) -> str:
    """Say that a statement failed for want of space; the server's words often name the file."""
    return f"{place} has no space left ({text}). Free it on the server's disk; nothing was changed."


def refuse_poor(place: str, user: str, right: str, what: str, remedy: str) -> UnavailableError:
    """The refusal of a user who lacks a right.

    Args:
        place: of the dialect.
        user: as the server calls it.
        right: the first that is missing.
        what: is not theirs to use.
        remedy: the statement that grants it.
    """
    return UnavailableError(
        f"{place}: {user} lacks the right {right} on {what}. A zone reads and changes the rows of all of its tables. "
        f"As an administrator of the server: {remedy}"
    )


def refuse_unsafe(place: str, name: str, value: str, needed: str, remedy: str) -> UnavailableError:
    """The refusal of a server whose settings lose acknowledged writes."""
    return UnavailableError(
        f"{place} has {name} = {value}: writes that were acknowledged would be lost when the machine fails. {needed} is needed: {remedy}. "
        f'To go on all the same, set accept = "{name}" in [database].'
    )


def readable(descriptor: int) -> bool:
    """Whether something came in on a socket that nobody reads from now: from a server that is the end, or a notice."""
    waiting = select.poll()  # select() knows no descriptors above 1023
    waiting.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(waiting.poll(0))

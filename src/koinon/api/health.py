"""What load balancers ask a process, without a session: GET on the clients' port, 200 or 503 and a line of JSON that says why.

    /healthz     it lives and its loop turns: restart it when this does not answer, or says 503: it may not use its database any more
    /readyz      it can answer calls: its database answers, it can do what its zone's role asks for, and it is not stopping
    /leader      it does the zone's single work. Any process takes any write; this one is for who wants all of them at one place
    /caught-up   reads here are at most so old: a slave's copy holds what the master has said, but for a bounded lag

Holds:    nothing is asked of the database or of anybody for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from koinon.database.database import Database
from koinon.federation.applier import Status

_NO_DATABASE: Final = "the database does not answer"
_FULL: Final = "the database has no space left: no write ends there"
PATHS: Final = ("/healthz", "/readyz", "/leader", "/caught-up")
#: The watch looks many times a second; a server that is silent for so long takes no calls.
_DATABASE_SILENT_S: Final = 2.0


class Health:
    """Answers the four questions.

    Args:
        database: this zone's.
        following: how following the master goes.
        trouble: why this process can't do what its zone's role asks for, empty if it can.
        caught_up_s: lag and silence that count as caught up.

    Attributes:
        stopping: this process takes no new work.
    """

    def __init__(self, database: Database, following: Callable[[], Status], trouble: Callable[[], str], *, caught_up_s: float) -> None:
        self._database = database
        self._following = following
        self._trouble = trouble
        self._caught_up_s = caught_up_s
        self.stopping = False

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body for one of ``PATHS``."""
        state, lease = self._database.state(), self._database.lease
        said: dict[str, Any] = {"process": self._database.process, "zone": state.zone_id, "role": state.role}
        match path:
            case _ if self._database.closed:
                why = self._database.closed
            case "/readyz":
                why = self._why_not_ready()
            case "/leader":
                why = "" if lease.held else self._who_leads(lease.holder)
            case "/caught-up":
                why = self._why_not_ready() or self._why_behind()
                said["position"] = str(state.head.position)
            case _:
                why = ""
        said["status"] = why or "ok"
        return 503 if why else 200, msgspec.json.encode(said) + b"\n"

    def _why_not_ready(self) -> str:
        if self.stopping:
            return "this process is stopping"
        if self._database_is_silent():
            return _FULL if self._database.held_up else _NO_DATABASE
        return self._trouble()

    def _who_leads(self, holder: str) -> str:
        if self._database_is_silent():  # what was seen last may be ourselves
            return _NO_DATABASE
        return f"the leader is {holder}" if holder else "no process is the leader now"

    def _database_is_silent(self) -> bool:
        return self._database.silence_s() > _DATABASE_SILENT_S

    def _why_behind(self) -> str:
        if self._database.state().role != "slave":
            return ""
        following, bound_s = self._following(), self._caught_up_s
        if following.silence_s is None:
            return f"the master has not been heard ({following.state}): the lag is not known"
        if following.silence_s > bound_s:
            return f"the master has been silent for {following.silence_s:.0f} s: the lag is not known"
        if following.state not in ("ok", "silent"):  # how long a silence may last here was asked above
            return f"this zone does not follow its master: {following.state}"
        if following.lag_statements and (following.lag_s is None or following.lag_s > bound_s):
            seconds = "" if following.lag_s is None else f", {following.lag_s:.1f} s"
            return f"behind by {following.lag_statements} statements{seconds}"
        return ""

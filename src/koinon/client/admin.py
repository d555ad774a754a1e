"""Administration of the zone on this machine, over the UNIX socket in its state directory.

Path:     cli/federation.py -> AdminClient -> HTTP/1.1 with JSON over admin.sock -> the daemon
Holds:    who may open the socket (mode 600) may administer; there is no other log-in.
Not here: what the answers mean to people (cli/federation.py).
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from koinon.client.errors import NotAZoneError, RefusedError, SetupError, UnreachableError

ASK_S = 10.0
JOIN_S = 900.0  # a join or a resync loads the whole of the shared tables before it answers
_MAX_ANSWER_BYTES = 64 << 20

Answer = dict[str, Any]


class AdminClient:
    """Requests to one zone's admin socket, a connection each."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "admin.sock"

    def status(self) -> Answer:
        """Role, position, lag and what the zone knows of the others."""
        return self._ask("GET", "/status", None, ASK_S, ("zone_id", "role"))

    def init(self) -> Answer:
        """Make this zone the master of a new federation."""
        return self._ask("POST", "/federation/init", {}, 60.0, ("federation_id", "recovery_key_file", "federation_endpoint"))

    def invite(self, name: str, endpoint: str | None) -> Answer:
        """Add a zone record and get the one-use token for it."""
        return self._ask("POST", "/federation/invite", {"name": name, "endpoint": endpoint}, 60.0, ("zone_id", "token", "expires_at"))

    def plan(self, token: str) -> Answer:
        """What entering the federation that made ``token`` would do."""
        return self._ask("POST", "/federation/join", {"token": token, "plan": True}, JOIN_S, ("zone_id", "clashes", "other_owners"))

    def join(self, token: str, *, replace: bool) -> Answer:
        """Enter the federation that made ``token``; ``replace`` gives up the zone's own shared objects."""
        return self._ask(
            "POST", "/federation/join", {"token": token, "replace": replace}, JOIN_S, ("zone_id", "federation_id", "epoch", "position")
        )

    def revoke(self, name: str) -> Answer:
        """Put the zone of this name out of the federation."""
        return self._ask("POST", "/federation/revoke", {"name": name}, 60.0, ("zone_id",))

    def accept_loss(self) -> Answer:
        """Go on without what this master's database has lost."""
        return self._ask("POST", "/federation/accept-loss", {}, 60.0, ("lost",))

    def leave(self, *, force: bool) -> Answer:
        """Leave the federation; ``force`` without telling the master."""
        return self._ask("POST", "/federation/leave", {"force": force}, 60.0, ("role",))

    def resync(self) -> Answer:
        """Load a snapshot from the master now."""
        return self._ask("POST", "/federation/resync", {}, JOIN_S, ("epoch", "position"))

    def _ask(self, verb: str, path: str, body: Answer | None, limit_s: float, wants: tuple[str, ...]) -> Answer:
        connection = _UnixConnection(self.path, limit_s)
        try:
            connection.request(verb, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            raw = response.read(_MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise UnreachableError(
                f"The zone at {self.path} gave no answer within {limit_s:g} s. "
                "It may still be at work: see `koinon federation status` and its log."
            ) from error
        except (http.client.HTTPException, OSError) as error:
            raise UnreachableError(f"The connection to {self.path} was cut before the answer came: {error}. See the zone's log.") from error
        finally:
            connection.close()
        return self._answer(response.status, raw, wants)

    def _answer(self, status: int, raw: bytes, wants: tuple[str, ...]) -> Answer:
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise NotAZoneError(f"What listens on {self.path} is not a Koinon zone: HTTP status {status}, no JSON object. Check --config.")
        if status >= 400:
            clashes = answer.get("clashes")
            details = tuple(str(clash) for clash in clashes) if isinstance(clashes, list) else ()
            raise RefusedError(str(answer.get("error") or f"HTTP status {status}"), code=status, details=details)
        missing = [name for name in wants if name not in answer]
        if missing:
            raise NotAZoneError(f"What listens on {self.path} is not a Koinon zone of this version: its answer lacks {', '.join(missing)}.")
        return answer


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket: only how to connect differs."""

    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__("localhost", timeout=limit_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except PermissionError as error:
            raise SetupError(f"You may not open {self._path}. Run this as the user that the zone runs as.") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            what = "there is no such socket" if isinstance(error, FileNotFoundError) else "nobody listens on it"
            raise UnreachableError(
                f"No zone answers at {self._path}: {what}. Start it with `koinon server`, and give the same --config FILE here."
            ) from error
        except OSError as error:
            raise SetupError(f"{self._path} can't be used as a socket: {error}. Check state_dir in --config.") from error

"""Tell at the start that ``serveradmin_auth`` is not the one that the zone was last started with: its servers may still hold the other.

Path:     wiring.py, once the zone has its users -> compare() -> a warning in the log
Holds:    nothing is refused: whoever changes the file on purpose starts the zone with it, and a slave starts whatever its users are. The
          database keeps a verifier of the key, as of a password; a backup takes it along, the machines of a zone share it.
Not here: the file (secret_files.py); sessions of servers (identity/server_sessions.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from koinon.daemon import secret_files
from koinon.daemon.secret_files import SERVER_AUTH
from koinon.database.database import Database
from koinon.errors import OutcomeUnknownError, UnavailableError
from koinon.identity import accounts, server_sessions
from koinon.identity.passwords import Hasher

log = structlog.get_logger(__name__)

_REMEDY: Final = (
    "Not meant: stop the zone, put the former file there, from the backup or from the machine that serves this zone too, and start. "
    "Meant: give the zone's servers, and its other machines, this one."
)


async def compare(database: Database, state_dir: Path, hasher: Hasher) -> None:
    """Warn if the zone's servers can't enter with what the file holds, or with what it held before; then remember what it holds.

    Args:
        database: this zone's, started.
        state_dir: where the file is.
        hasher: makes verifiers.
    """
    path = state_dir / SERVER_AUTH
    name, password = secret_files.read(path) or ("", "")
    with database.read() as tx:
        known = tx.fetch("SELECT server_key FROM zone_state WHERE id = 1")[0][0]
        user = accounts.with_name(tx, name)
    if user is None or not user.enabled or not server_sessions.is_server(user):
        log.warning(
            "sessions of this zone's servers open nothing: the user in serveradmin_auth is not there, disabled, or of another driver",
            file=str(path),
            user=name,
            remedy="Mend the name in the file and start the zone again, or have the user enabled, with driver server_cipher.",
        )
    if known and await hasher.verify(password, known):
        return
    if known:
        log.warning("serveradmin_auth is not the one that this zone was last started with", file=str(path), remedy=_REMEDY)
    verifier = await hasher.make(password, "scrypt")
    try:
        await database.write_zone(
            "remember the server key", lambda tx: tx.execute("UPDATE zone_state SET server_key = ? WHERE id = 1", (verifier,))
        )
    except (UnavailableError, OutcomeUnknownError) as error:  # no reason not to start
        log.warning("serveradmin_auth could not be remembered, will be at the next start", cause=error.text)

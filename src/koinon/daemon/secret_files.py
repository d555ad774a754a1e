"""Files with a name and a password that only their owner reads: written whole and durably, or not at all.

Path:     bootstrap.py (``one_auth``); wiring.py -> server_key() (``serveradmin_auth``), which a zone's servers on this machine read too
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from koinon.errors import InvalidError
from koinon.identity.server_sessions import ServerKey
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name

SERVER_AUTH: Final = "serveradmin_auth"
SERVERADMIN: Final = "serveradmin"
_RANDOM_BYTES: Final = 24


def create(path: Path, name: str) -> tuple[str, str]:
    """Write ``name`` and a random password, unless another process has just written the file. Returns what it holds now.

    Raises:
        InternalError, OSError: as ``read``.
    """
    password = secrets.token_urlsafe(_RANDOM_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{name}:{password}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return read(path) or (name, password)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return name, password


def read(path: Path) -> tuple[str, str] | None:
    """Name and password from the first line; None if there is no such file.

    Raises:
        InvalidError: the line is not ``NAME:PASSWORD``, or the name is not allowed; the text says what to do.
        OSError: it can't be read.
    """
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    line = text.splitlines()[0].strip() if text.strip() else ""
    name, colon, password = line.partition(":")
    if not colon:
        raise InvalidError(f"{path} does not begin with a line NAME:PASSWORD. Correct it, or remove it to have one made.")
    try:
        return require_name(name, Kind.USER), password
    except InvalidError as error:
        raise InvalidError(f"{path}: {error.text}") from error


def server_key(state_dir: Path) -> ServerKey:
    """What this zone shares with its servers, made at its first start.

    Raises:
        InvalidError, OSError: as ``read`` and ``create``; or the password is empty or no text.
    """
    path = state_dir / SERVER_AUTH
    name, password = read(path) or create(path, SERVERADMIN)
    if not password or not password.isascii():
        raise InvalidError(f"{path}: the password has to be ASCII text. Correct it, or remove the file to have one made.")
    return ServerKey(name, password)

"""Template text from where people keep it: a file, standard input, or an editor opened on what the zone holds now."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from koinon.client.errors import SetupError

_MAX_BYTES = 4 << 20  # what a zone accepts as a body


def read_source(path: str) -> str:
    """Text of the file ``path``; ``-`` is standard input.

    Raises:
        SetupError: it can't be read, is not UTF-8, or is larger than a zone accepts.
    """
    if path == "-" and sys.stdin is None:
        raise SetupError("Standard input is closed. Name a file with template text.")
    try:
        raw = sys.stdin.buffer.read(_MAX_BYTES + 1) if path == "-" else _read(Path(path))
    except OSError as error:
        raise SetupError(f"Can't read {path}: {error.strerror}. Name a file with template text, or - for standard input.") from error
    if len(raw) > _MAX_BYTES:
        raise SetupError(f"{path} is larger than {_MAX_BYTES >> 20} MiB, the most that a zone accepts.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise SetupError(f"{path} is not UTF-8 text (byte {error.start}). Convert it first.") from error


def piped() -> str | None:
    """What was piped in; None if standard input is a terminal, or holds nothing, as where a timer started us.

    Raises:
        SetupError: as :func:`read_source`.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return None
    found = read_source("-")
    return found if found.strip() else None


def edit(current: str) -> str | None:
    """Open an editor (``VISUAL``, ``EDITOR``, else what the system has) on ``current``; None if nothing was changed.

    Raises:
        click.ClickException: the editor can't be started, or failed.
    """
    edited = click.edit(current, extension=".txt", require_save=False)
    return None if edited is None or edited == current else edited


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)

"""Secrets from the person: an argument if it must be, a file, standard input, or typed unseen."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_MAX_CHARACTERS = 64 * 1024

READ_FILE = click.Option(["-r", "--read-file", "from_file"], is_flag=True, help="PASSWORD names a file; its first line is the password.")
SHA256 = click.Option(["--sha256", "hashed"], is_flag=True, help="Send the password's SHA-256 in its place, as some drivers want.")


def password_from(argument: str | None, prompt: str, *, confirm: bool, from_file: bool = False, hashed: bool = False) -> str:
    """The secret given as an argument, or in the file it names; ``-`` or no terminal: the first line of standard input; else typed.

    Args:
        argument: what the person wrote.
        prompt: what to ask for.
        confirm: whether to have it typed twice.
        from_file: ``argument`` is a file.
        hashed: take the secret's SHA-256, in hexadecimal digits.

    Raises:
        click.UsageError: nothing was given, or what the file holds is no text.
        OSError: the file can't be read.
    """
    if from_file:
        if argument is None:
            raise click.UsageError("--read-file needs the name of a file where PASSWORD stands.")
        secret = _first_line(Path(argument))
    elif argument is not None and argument != "-":
        secret = argument
    elif argument is None and sys.stdin is not None and sys.stdin.isatty():
        secret = str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    else:
        secret = "" if sys.stdin is None else sys.stdin.readline(_MAX_CHARACTERS).rstrip("\r\n")
    if not secret:
        raise click.UsageError(f"{prompt}: none was given. Type it, or write it to standard input.")
    if not hashed:
        return secret
    import hashlib  # here, because it is rarely asked for

    return hashlib.sha256(secret.encode()).hexdigest()


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(_MAX_CHARACTERS).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"The first line of {path} is not UTF-8 text.") from error

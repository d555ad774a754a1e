"""Secrets from the person: an argument if it must be, standard input, or typed unseen."""

from __future__ import annotations

import sys

import click


def password_from(argument: str | None, prompt: str, *, confirm: bool) -> str:
    """The secret given as an argument; ``-`` or no terminal: the first line of standard input; else typed (twice if ``confirm``).

    Raises:
        click.UsageError: nothing was given.
    """
    if argument is not None and argument != "-":
        secret = argument
    elif argument is None and sys.stdin.isatty():
        secret = str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    else:
        secret = sys.stdin.readline(64 * 1024).rstrip("\r\n")
    if not secret:
        raise click.UsageError(f"{prompt}: none was given. Type it, or write it to standard input.")
    return secret

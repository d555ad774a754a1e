"""Which zone to talk to and as whom: an argument, the environment, then the files under ``~/.one``.

Path:     command line -> find_endpoint(), find_session() -> client/xmlrpc.py
Holds:    a secret is written only to files that no one else may read; a file changes whole or not at all.
Not here: looking a zone up in the zone pool (cli/connection.py).
Source: OpenNebula's clients: ONE_XMLRPC or ~/.one/one_endpoint; ONE_AUTH or ~/.one/one_auth, first line only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from koinon.client.errors import SetupError

DEFAULT_ENDPOINT = "http://localhost:2633/RPC2"


@dataclass(frozen=True)
class Endpoint:
    """Address of a zone's XML-RPC service, and where we got it from (for messages)."""

    scheme: str
    host: str
    port: int
    path: str
    source: str

    @classmethod
    def parse(cls, url: str, source: str) -> Endpoint:
        """Read an address such as ``http://zone2.example:2633/RPC2``; without a path ``/RPC2`` is meant.

        Raises:
            SetupError: not an http or https address; the text names ``source``.
        """
        example = "Write it like http://zone2.example:2633/RPC2."
        try:
            url.encode("ascii")
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except (ValueError, UnicodeEncodeError) as error:
            raise SetupError(f"The address {url!r} ({source}) is not valid: {error}. {example}") from error
        if (
            parts.scheme not in ("http", "https")
            or not host
            or any(character.isspace() or not character.isprintable() for character in url.strip())
        ):
            raise SetupError(f"The address {url!r} ({source}) is not an http or https address. {example}")
        if parts.username is not None or parts.query or parts.fragment:
            raise SetupError(f"The address {url!r} ({source}) holds a user, a query or a fragment, which have no meaning here. {example}")
        return cls(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), parts.path or "/RPC2", source)

    @property
    def url(self) -> str:
        """The address in full."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def home_of(environment: Mapping[str, str]) -> Path:
    """The caller's home directory: ``HOME``, else what the system knows.

    Raises:
        SetupError: neither is known.
    """
    if environment.get("HOME"):
        return Path(environment["HOME"])
    try:
        return Path.home()
    except RuntimeError as error:
        raise SetupError("Your home directory is not known. Set HOME, or ONE_XMLRPC and ONE_AUTH.") from error


def endpoint_file(environment: Mapping[str, str]) -> Path:
    """The file that holds the chosen address."""
    return home_of(environment) / ".one" / "one_endpoint"


def session_file(environment: Mapping[str, str]) -> Path:
    """The file that holds ``user:secret``."""
    return Path(environment["ONE_AUTH"]) if environment.get("ONE_AUTH") else home_of(environment) / ".one" / "one_auth"


def find_endpoint(argument: str | None, environment: Mapping[str, str]) -> Endpoint:
    """The zone to talk to: the argument, ``ONE_XMLRPC``, ``~/.one/one_endpoint``, else this machine.

    Raises:
        SetupError: the address found first is not valid, or the file can't be read.
    """
    if argument:
        return Endpoint.parse(argument, "--endpoint")
    if environment.get("ONE_XMLRPC"):
        return Endpoint.parse(environment["ONE_XMLRPC"], "ONE_XMLRPC")
    path = endpoint_file(environment)
    line = _first_line(path)
    return Endpoint.parse(line, str(path)) if line else Endpoint.parse(DEFAULT_ENDPOINT, "the default")


def find_session(environment: Mapping[str, str]) -> str:
    """``user:secret`` of the caller.

    Raises:
        SetupError: there is no such file, or its first line is something else.
    """
    path = session_file(environment)
    line = _first_line(path)
    if line is None:
        raise SetupError(
            f"You are not logged in: {path} does not exist or is empty. Run `oneuser login NAME`, or set ONE_AUTH to a file whose "
            "first line is NAME:PASSWORD (on a zone's own machine: the file one_auth in its state directory)."
        )
    name, colon, secret = line.partition(":")
    if not (name and colon and secret):
        raise SetupError(f"The first line of {path} is not NAME:PASSWORD. Correct it, or run `oneuser login NAME --force`.")
    return line


def save_endpoint(url: str, environment: Mapping[str, str]) -> Path:
    """Make ``url`` the zone that further commands talk to; return the file written."""
    path = endpoint_file(environment)
    _write(path, url)
    return path


def save_session(session: str, environment: Mapping[str, str]) -> Path:
    """Keep ``user:secret`` for further commands, readable by the caller alone; return the file written."""
    path = session_file(environment)
    _write(path, session)
    return path


def _first_line(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            line = file.readline(64 * 1024)
        return line.decode().strip("\r\n") or None
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SetupError(f"The first line of {path} is not UTF-8 text. Write it anew.") from error
    except OSError as error:
        raise SetupError(f"Can't read {path}: {error.strerror}. Give yourself access, or name another file.") from error


def _write(path: Path, line: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(line + "\n")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise SetupError(f"Can't write {path}: {error.strerror}. Nothing was saved.") from error

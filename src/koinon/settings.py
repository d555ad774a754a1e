"""What an operator may set: one TOML file, every key optional, every mistake reported at once.

Path:     file -> load() -> Settings, complete: what depends on other settings or on the machine is filled in
Holds:    a struct is one section, its fields are the keys, their types carry the allowed range, the ``#:`` comments are the
          documentation. The reference page is made from them (``python -m koinon.settings`` prints it).
Not here: what lives in the database and changes while running.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import socket
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Mebibytes = Annotated[int, Meta(ge=1, le=1024)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Address = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z.:%_-]+\Z", description="an IP address or a host's name")]
Version = Annotated[str, Meta(pattern=r"\A[0-9]+\.[0-9]+\.[0-9]+\Z", description="three numbers, such as 7.4.0")]
_DANGERS = "fsync|full_page_writes|synchronous_commit|innodb_flush_log_at_trx_commit|innodb_doublewrite"
Dangers = Annotated[
    str, Meta(pattern=rf"\A(({_DANGERS})(, ?({_DANGERS}))*)?\Z", description=f"some of {_DANGERS.replace('|', ', ')}, with commas between")
]
#: As for all zones (objects/names.py, which is above this module).
ZoneName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern="\\A[^&|:\\\\\";/'#{}$<>\x00-\x1f\ufffe\uffff]+\\Z",
        description="1 to 128 bytes without any of & | : \\ \" ; / ' # { } $ < > and control characters",
    ),
]

_SQLITE = "sqlite:///"
_SERVERS = ("postgresql://", "mysql://", "mariadb://")
DATABASE_FORM = (
    "sqlite:////absolute/path, postgresql://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE; in a user, a "
    "password and a database's name write @ / : ? # % [ ] as %40 %2F %3A %3F %23 %25 %5B %5D"
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
#: A percent sign that is none of an escape, or that of NUL.
_HALF_ESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f]")


class ZoneSettings(Struct, frozen=True, kw_only=True):
    """Who this zone is. Both are read at the first start only; later `onezone` changes them."""

    #: Name of the zone.
    name: ZoneName = "OpenNebula"
    #: Address of this zone's API as the others see it. Empty: `http://localhost:PORT/RPC2` with the port of `[server]`.
    endpoint: str = ""


class ServerSettings(Struct, frozen=True, kw_only=True):
    """The API."""

    #: Address to listen on.
    listen: Address = "0.0.0.0"  # noqa: S104 - OpenNebula's own default; clients of other machines are what the API is for
    #: Port to listen on.
    port: Port = 2633
    #: Largest request in MiB; a larger one is refused before it is read.
    max_request_mib: Mebibytes = 16
    #: Which id lists begin with, the greatest (`DESC`) or the smallest (`ASC`), for users who have no API_LIST_ORDER of their own or of
    #: their group.
    list_order: Literal["DESC", "ASC"] = "DESC"
    #: Whether user 0 may read this zone's tables in SQL (`one.system.sqlquery`): all of them, and so the verifiers of passwords too.
    sql_queries: bool = False
    #: Version that the API reports; clients compare it with their own.
    api_version: Version = "7.4.0"


class DatabaseSettings(Struct, frozen=True, kw_only=True):
    """Where this zone's rows are kept."""

    #: Address of the database: `sqlite:////absolute/path`, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE` (with libpq's options, such as
    #: `?sslmode=`), or `mysql://USER:PASSWORD@HOST:PORT/DATABASE` for MariaDB (with `?unix_socket=`, `ssl_ca=`, `ssl_cert=`, `ssl_key=`).
    #: Instead of one `HOST:PORT` there may be several with commas between: the first one that takes writes is used.
    #: PostgreSQL 15, MariaDB 10.11 or newer; the database must exist, be UTF-8, and
    #: the user must be allowed to make tables in it. Empty: `koinon.db` in the state directory. With a password in it, keep this file from
    #: others (mode 600).
    url: str = ""
    #: Dangers of the database server's settings that are accepted, with commas between: `fsync`, `full_page_writes`, `synchronous_commit`
    #: (off in PostgreSQL), `innodb_flush_log_at_trx_commit` (not 1 in MariaDB), `innodb_doublewrite` (off there). Acknowledged writes can
    #: then be lost; without this the zone does not start.
    accept: Dangers = ""
    #: Free space in MiB below which writes are refused, so that a full disk never cuts one in half; of SQLite only. 0: not checked.
    disk_reserve_mib: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 64

    @property
    def engine(self) -> str:
        """The first word of the address."""
        return self.url.partition("://")[0]

    @property
    def accepted(self) -> frozenset[str]:
        """``accept``, one by one."""
        return frozenset(self.accept.replace(" ", "").split(",")) - {""}


class FederationSettings(Struct, frozen=True, kw_only=True):
    """The zones among themselves."""

    #: Address to listen on for other zones.
    listen: Address = "0.0.0.0"  # noqa: S104 - other zones are on other machines; every one of them must prove itself
    #: Port to listen on for other zones.
    port: Port = 2635
    #: `host:port` under which other zones reach this one. Empty: this machine's name and the port above.
    endpoint: str = ""
    #: Seconds between two signs of life of the master.
    heartbeat_s: Seconds = 1.0
    #: Seconds of silence after which the master counts as gone and shared writes fail at once.
    master_silent_s: Seconds = 2.0
    #: Seconds to wait for the master's answer to a redirected write; then its outcome is unknown.
    redirect_timeout_s: Seconds = 15.0
    #: Seconds that a redirected write waits for this zone's own copy before it answers.
    read_your_writes_s: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    #: Seconds that a slave may lag behind its master, or not have heard of it, and still be caught up for `GET /caught-up`.
    caught_up_s: Seconds = 10.0
    #: Statements of the log that are kept even when every zone has them.
    log_keep: Count = 100_000
    #: Statements of the log above which a zone that lags behind gets a snapshot instead.
    log_cap: Count = 1_000_000
    #: Statements that a zone applies in one transaction, about; a commit is never divided.
    apply_batch_statements: Annotated[int, Meta(ge=1, le=100_000)] = 1000


class LoginSettings(Struct, frozen=True, kw_only=True):
    """Passwords and tokens."""

    #: Seconds that a verified secret is remembered; a changed password or a revoked token counts at once. 0: never remembered.
    remember_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    #: Longest life of a token in seconds. 0: no tokens; -1: no limit.
    max_token_s: Annotated[int, Meta(ge=-1, le=2**31 - 1)] = 36_000_000
    #: How new passwords are stored. `sha256` is for zones that share users with OpenNebula, which can't read `scrypt`.
    password_hash: Literal["scrypt", "sha256"] = "scrypt"  # noqa: S105 - the name of a way, no password


class LogSettings(Struct, frozen=True, kw_only=True):
    """The server's own log, on standard error."""

    #: Least important lines to write.
    level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` for machines, `text` for people.
    format: Literal["json", "text"] = "json"


class Settings(Struct, frozen=True, kw_only=True):
    """Everything, complete."""

    #: Directory for the database, keys, `one_auth`, `admin.sock` and snapshots; an absolute path.
    #: Default: `/var/lib/koinon` for root, else `$XDG_STATE_HOME/koinon` (`~/.local/state/koinon`).
    state_dir: str = ""
    zone: ZoneSettings = ZoneSettings()
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    federation: FederationSettings = FederationSettings()
    login: LoginSettings = LoginSettings()
    log: LogSettings = LogSettings()

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self.state_dir)


class SettingsError(Exception):
    """The file can't be used.

    Attributes:
        problems: one line for each mistake: file, key, what is wrong, what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_SECTIONS: dict[str, type[Struct]] = {
    "zone": ZoneSettings,
    "server": ServerSettings,
    "database": DatabaseSettings,
    "federation": FederationSettings,
    "login": LoginSettings,
    "log": LogSettings,
}
_AnySection = TypeVar("_AnySection", bound=Struct)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file, or take the defaults if there is none.

    Args:
        path: the TOML file; None for all defaults.
        environ: the environment; XDG_STATE_HOME and HOME choose the default state directory.

    Returns:
        Settings in which no value that others need is left empty.

    Raises:
        SettingsError: with every mistake in the file.
    """
    if path is None:
        return _completed(Settings(), environ)
    document = _read(path)
    problems: list[str] = []
    top = _section(Settings, {name: value for name, value in document.items() if name not in _SECTIONS}, "", problems)
    read: dict[str, Any] = {}
    for name, kind in _SECTIONS.items():
        table = document.get(name, {})
        if isinstance(table, dict):
            read[name] = _section(kind, table, name, problems)
        else:
            problems.append(f"{name}: this must be a section, written [{name}], not one value")
    settings = msgspec.structs.replace(top, **read)
    problems += _contradictions(settings)
    if problems:
        raise SettingsError([f"{path}: {problem}" for problem in problems])
    return _completed(settings, environ)


def without_password(url: str) -> str:
    """A database's address that may be shown."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:...@", re.sub(r"([?&](?:ssl)?password)=[^&]*", r"\1=...", url))


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where state goes unless it is said: the system's place for root, the user's own for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/koinon")
    chosen = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    base = Path(chosen) if chosen.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local/state"
    return base / "koinon"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError([f"{path}: line {line}: not UTF-8; save the file in that encoding"]) from None
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        raise SettingsError([f"{path}: {place}: not TOML: {what}"]) from None
    except ValueError:
        raise SettingsError([f"{path}: not TOML: a number has thousands of digits"]) from None
    except RecursionError:
        raise SettingsError([f"{path}: not TOML: nested too deep"]) from None


def _section(kind: type[_AnySection], table: Mapping[str, Any], section: str, problems: list[str]) -> _AnySection:
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in _SECTIONS}
    read: dict[str, Any] = {}
    for key, value in table.items():
        field = fields.get(key)
        if field is None:
            problems.append(_unknown(section, key))
            continue
        try:
            read[key] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            problems.append(f"{_where(section, key)}: {_shown(value)} is not allowed; {_allowed(field.type)}")
    return kind(**read)


def _where(section: str, key: str) -> str:
    key = key if re.fullmatch(r"[\w-]+", key) else repr(key)
    return f"[{section}] {key}" if section else key


def _places() -> Iterator[tuple[str, str]]:
    yield "", "state_dir"
    for section, kind in _SECTIONS.items():
        yield from ((section, field) for field in kind.__struct_fields__)


def _unknown(section: str, key: str) -> str:
    here = [name for place, name in _places() if place == section] + ([] if section else list(_SECTIONS))
    near = difflib.get_close_matches(key, here, n=1)
    elsewhere = [place for place in _places() if place[1] == key]
    if near:
        hint = f"did you mean {near[0] if near[0] not in _SECTIONS else f'[{near[0]}]'}?"
    elif elsewhere:
        hint = "did you mean " + " or ".join(_where(*place) for place in elsewhere) + "?"
    else:
        hint = "there are " + ", ".join(here)
    return f"{_where(section, key)}: no such setting; {hint}"


def _shown(value: object) -> str:
    """The value as the file has it, if it is short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str | int | float) else ""
    return text if 0 < len(text) <= 60 else "this value"


def _allowed(kind: Any) -> str:
    """What a key takes, in words."""
    if choices := [choice for choice in get_args(kind) if isinstance(choice, str)]:
        return "it must be " + " or ".join(f'"{choice}"' for choice in choices)
    base, meta = kind, Meta()
    if constraints := getattr(kind, "__metadata__", None):
        base, meta = get_args(kind)[0], constraints[0]
    if meta.description is not None:
        return f"it must be {meta.description}"
    if base is bool:
        return "it must be true or false"
    word = {int: "a whole number", float: "a number", str: "a text"}[base]
    least = f" above {meta.gt}" if meta.gt is not None else f" of at least {meta.ge}" if meta.ge is not None else ""
    most = f" and at most {meta.le}" if meta.le is not None else ""
    return f"it must be {word}{least}{most}"


def _contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong though each value alone has the right type."""
    server, federation, endpoint, url = settings.server, settings.federation, settings.zone.endpoint, settings.database.url
    if len(settings.zone.name.encode()) > 128:
        yield f"[zone] name: {_shown(settings.zone.name)} is not allowed; {_allowed(ZoneName)}"
    if settings.state_dir and (not settings.state_dir.startswith("/") or _UNPRINTABLE.search(settings.state_dir)):
        yield f"state_dir: {_shown(settings.state_dir)} is not an absolute path"
    if url and not is_database(url):
        yield (f"[database] url: {_shown(without_password(url))} is not allowed; it must look like {DATABASE_FORM}")
    if endpoint and not _is_url(endpoint):
        yield f"[zone] endpoint: {_shown(endpoint)} is not allowed; it must look like http://host:port/RPC2"
    if federation.endpoint and not _is_host_and_port(federation.endpoint):
        yield f"[federation] endpoint: {_shown(federation.endpoint)} is not allowed; it must look like host:port"
    if server.port == federation.port:
        yield f"[federation] port: {federation.port} is the port of [server] too; choose another"
    if federation.master_silent_s <= federation.heartbeat_s:
        yield (
            f"[federation] master_silent_s: {federation.master_silent_s} is not above heartbeat_s ({federation.heartbeat_s}); "
            "the master would seem gone between two signs of life"
        )
    if federation.log_cap < federation.log_keep:
        yield f"[federation] log_cap: {federation.log_cap} is below log_keep ({federation.log_keep}), which is always kept"


def is_database(url: str) -> bool:
    """Whether a text has the form of a database's address."""
    if _UNPRINTABLE.search(url):
        return False
    if url.startswith(_SERVERS):
        try:
            return _is_on_servers(urlsplit(url)) and not _HALF_ESCAPED.search(url)
        except ValueError:  # half an IPv6 address, a port that is no number
            return False
    return url.startswith(_SQLITE + "/") and url != _SQLITE + "/" and "?" not in url and "#" not in url


def _is_on_servers(parts: SplitResult) -> bool:
    """Whether this names hosts and a database. ``@`` or ``#`` further on are of a password whose ``/`` or ``?`` ended the host."""
    if len(parts.path) < 2 or "@" in parts.path or parts.fragment:
        return False
    return all(urlsplit(f"//{place}").port != 0 for place in parts.netloc.rpartition("@")[2].split(","))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not _BREAKS.search(text)
    except ValueError:  # a port that is no number, half an IPv6 address
        return False


def _is_host_and_port(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname) and bool(parts.port) and parts.netloc == text and "@" not in text and not _BREAKS.search(text)
    except ValueError:
        return False


def _completed(settings: Settings, environ: Mapping[str, str]) -> Settings:
    state_dir = settings.state_dir or str(default_state_dir(environ))
    zone, database, federation = settings.zone, settings.database, settings.federation
    replace = msgspec.structs.replace
    return replace(
        settings,
        state_dir=state_dir,
        zone=replace(zone, endpoint=zone.endpoint or f"http://localhost:{settings.server.port}/RPC2"),
        database=replace(database, url=database.url or f"{_SQLITE}{state_dir}/koinon.db"),
        federation=replace(federation, endpoint=federation.endpoint or f"{socket.gethostname()}:{federation.port}"),
    )


def _documented(kind: type[Struct]) -> Iterator[tuple[str, list[str], Any, Any]]:
    """Each key of a section: name, lines of its ``#:`` comment, type, default."""
    comments: dict[str, list[str]] = {}
    pending: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        stripped = line.strip()
        if stripped.startswith("#:"):
            pending.append(stripped.removeprefix("#:").strip())
        elif pending:
            comments[stripped.partition(":")[0]] = pending
            pending = []
    for field in msgspec.structs.fields(kind):
        if field.name not in _SECTIONS:
            yield field.name, comments[field.name], field.type, field.default


def _example_of(kind: type[Struct]) -> Iterator[str]:
    for name, comment, taken, default in _documented(kind):
        for line in textwrap.wrap(" ".join(comment), 116):
            yield f"# {line}"
        if taken is not str:
            yield f"# Takes {_allowed(taken).removeprefix('it must be ')}."
        # An empty default stands for what is worked out at start.
        yield f'# {name} = ""' if default == "" else f"{name} = {_toml(default)}"
        yield ""


def _toml(value: str | float | bool) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:_}" if isinstance(value, int) and value >= 10_000 else str(value)


def example() -> str:
    """The documented example file: every setting, with what it means, what it takes and its default."""
    lines = [*_example_of(Settings)]
    for section, kind in _SECTIONS.items():
        lines += [f"# {(kind.__doc__ or '').strip()}", f"[{section}]", *_example_of(kind)]
    return "\n".join(lines).rstrip() + "\n"


def reference() -> str:
    """The reference page of the settings, in Markdown."""
    return (
        "# Settings\n\n"
        "`koinon server --config FILE` reads one TOML file at start. Every key may be left out, and so may the file; what follows is\n"
        "a complete file with all defaults. A wrong file is refused as a whole: each mistake is reported with the key and with what\n"
        "is allowed, all at once. Units are in the names: `_s` seconds, `_mib` MiB.\n\n"
        "<!-- Made by `python -m koinon.settings` from the comments in src/koinon/settings.py; a test compares them. -->\n\n"
        f"```toml\n{example()}```\n"
    )


if __name__ == "__main__":
    print(reference(), end="")

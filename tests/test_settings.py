"""The settings file: complete without a file, and strict with one."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koinon import settings
from koinon.settings import Settings, SettingsError, load

PAGE = Path(__file__).parents[1] / "docs/reference/settings.md"
HOME = {"HOME": "/home/anna"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test puts its file."""
    return tmp_path / "koinon.toml"


def problems(file: Path, text: str) -> list[str]:
    """What ``load`` says about this text, without the file's name that each line must begin with."""
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file, HOME)
    lines = caught.value.problems
    assert str(caught.value) == "\n".join(lines)
    assert all(line.startswith(f"{file}: ") and "\n" not in line for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


A_DATABASE = f"it must look like {settings.DATABASE_FORM}"


def test_without_a_file_everything_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = load(None, HOME)
    assert found.state == Path("/home/anna/.local/state/koinon")
    assert found.database.url == f"sqlite:///{found.state}/koinon.db"
    assert found.zone.endpoint == "http://localhost:2633/RPC2"
    assert found.federation.endpoint.endswith(":2635")
    assert found.server.max_request_mib == 16


@pytest.mark.parametrize(
    ("uid", "environ", "expected"),
    [
        (0, {"XDG_STATE_HOME": "/x"}, "/var/lib/koinon"),
        (1000, {"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/koinon"),
        (1000, {"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/koinon"),
        (1000, {"XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/koinon"),
    ],
)
def test_state_goes_where_the_system_keeps_state(uid: int, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert str(settings.default_state_dir(environ)) == expected


def test_what_depends_on_other_settings_follows_them(file: Path) -> None:
    file.write_text('state_dir = "/srv/a zone"\n[server]\nport = 4000\n[federation]\nport = 4001\n')
    found = load(file, {})
    assert found.zone.endpoint == "http://localhost:4000/RPC2"
    assert found.federation.endpoint.endswith(":4001")
    assert found.database.url == "sqlite:////srv/a zone/koinon.db"


def test_what_is_said_is_kept(file: Path) -> None:
    file.write_text(
        '[zone]\nname = "Süd 1"\nendpoint = "https://a.example/RPC2"\n[database]\nurl = "sqlite:////d/x.db"\n'
        '[federation]\nendpoint = "[2001:db8::1]:9"\nheartbeat_s = 1\n[login]\nmax_token_s = -1\nremember_s = 0\n'
    )
    found = load(file, HOME)
    assert (found.zone.name, found.zone.endpoint, found.database.url) == ("Süd 1", "https://a.example/RPC2", "sqlite:////d/x.db")
    assert (found.federation.endpoint, found.federation.heartbeat_s) == ("[2001:db8::1]:9", 1.0)
    assert (found.login.max_token_s, found.login.remember_s) == (-1, 0.0)


def test_a_server_is_named_by_its_address_and_dangers_are_accepted_by_name(file: Path) -> None:
    for engine in ("postgresql", "mysql", "mariadb"):
        file.write_text(f'[database]\nurl = "{engine}://koinon:pw@db.example:99/zone"\naccept = "fsync, synchronous_commit"\n')
        found = load(file, HOME).database
        assert found.engine == engine
        assert found.accepted == {"fsync", "synchronous_commit"}
    assert load(None, HOME).database.accepted == set()
    assert load(None, HOME).database.engine == "sqlite"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:%40%2F%3A%3F%23%25%5B%C3%A9@[::1]:5432,[2001:db8::1]/a%40b?sslmode=verify-full",
        "postgresql://a@/b?host=/run/one,@two&port=1,2",
        "mysql://a:%40%2F%3A%3F%23%25%5B%C3%A9@[::1]:3306,two:1/b",
        "mariadb://localhost/b?unix_socket=/run/mysqld/mysqld.sock",
    ],
)
def test_addresses_with_all_that_may_stand_in_them(file: Path, url: str) -> None:
    file.write_text(f'[database]\nurl = "{url}"\n')
    assert load(file, HOME).database.url == url


@pytest.mark.parametrize("option", ["password", "sslpassword"])
def test_no_password_of_an_address_is_shown(option: str) -> None:
    shown = settings.without_password(f"postgresql://a:s@cret@x/y?{option}=s@cret&sslmode=require")
    assert shown == f"postgresql://a:...@x/y?{option}=...&sslmode=require"


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    found = problems(file, 'state_dirr = "/x"\nlog = 3\n[server]\nport = "2633"\nmax_request_mib = 0\n[federation]\nlog_kepe = 5\n')
    assert found == [
        "state_dirr: no such setting; did you mean state_dir?",
        "[server] port: '2633' is not allowed; it must be a whole number of at least 1 and at most 65535",
        "[server] max_request_mib: 0 is not allowed; it must be a whole number of at least 1 and at most 1024",
        "[federation] log_kepe: no such setting; did you mean log_keep?",
        "log: this must be a section, written [log], not one value",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port = 5", "port: no such setting; did you mean [server] port or [federation] port?"),
        ("[server]\nheartbeat_s = 5", "[server] heartbeat_s: no such setting; did you mean [federation] heartbeat_s?"),
        ("[sever]\nport = 5", "sever: no such setting; did you mean [server]?"),
        ("[log]\nwhatever = 5", "[log] whatever: no such setting; there are level, format"),
        ('"a\\nb" = 5', "'a\\nb': no such setting; there are state_dir, zone, server, database, federation, login, log"),
        ("[log]\nlevel = 'loud'", """[log] level: 'loud' is not allowed; it must be "debug" or "info" or "warning" or "error\""""),
        ("[server]\nport = true", "[server] port: true is not allowed; it must be a whole number of at least 1 and at most 65535"),
        ("[server]\nport = 1.0", "[server] port: 1.0 is not allowed; it must be a whole number of at least 1 and at most 65535"),
        ("[federation]\nheartbeat_s = 0", "[federation] heartbeat_s: 0 is not allowed; it must be a number above 0 and at most 86400"),
        ("[federation]\nheartbeat_s = nan", "[federation] heartbeat_s: nan is not allowed; it must be a number above 0 and at most 86400"),
        (
            "[federation]\nlog_keep = 1979-05-27",
            "[federation] log_keep: this value is not allowed; it must be a whole number of at least 1 and at most 1000000000",
        ),
        ("[server]\nlisten = ''", "[server] listen: '' is not allowed; it must be an IP address or a host's name"),
        ("[server]\napi_version = '7'", "[server] api_version: '7' is not allowed; it must be three numbers, such as 7.4.0"),
        ("state_dir = 'here'", "state_dir: 'here' is not an absolute path"),
        ('state_dir = "/a\\u0000b"', "state_dir: '/a\\x00b' is not an absolute path"),
        ("state_dir = 5", "state_dir: 5 is not allowed; it must be a text"),
        (
            "[database]\nurl = 'sqlite:///x.db'",
            f"[database] url: 'sqlite:///x.db' is not allowed; {A_DATABASE}",
        ),
        ("[database]\nurl = 'mysql://x'", f"[database] url: 'mysql://x' is not allowed; {A_DATABASE}"),
        ("[database]\nurl = 'oracle://a:se/cret@x/y'", f"[database] url: 'oracle://a:...@x/y' is not allowed; {A_DATABASE}"),
        *(
            (f"[database]\nurl = '{scheme}://a:{account}'", f"[database] url: '{scheme}://a:...@x/y' is not allowed; {A_DATABASE}")
            for scheme in ("postgresql", "mysql")
            for account in ("se/cr@t@x/y", "s?cr#t@x/y", "se#cret@x/y", "s[cret@x/y", "s%cret@x/y", "s%00cret@x/y")
        ),
        ("[database]\nurl = 'postgresql://x:99999/y'", f"[database] url: 'postgresql://x:99999/y' is not allowed; {A_DATABASE}"),
        ("[database]\nurl = 'mysql://x,[::1/y'", f"[database] url: 'mysql://x,[::1/y' is not allowed; {A_DATABASE}"),
        (
            "[database]\naccept = 'fsync, hope'",
            "[database] accept: 'fsync, hope' is not allowed; it must be some of fsync, full_page_writes, "
            "synchronous_commit, innodb_flush_log_at_trx_commit, innodb_doublewrite, with commas between",
        ),
        ("[zone]\nendpoint = 'host:5'", "[zone] endpoint: 'host:5' is not allowed; it must look like http://host:port/RPC2"),
        ("[zone]\nendpoint = 'http://h:x/'", "[zone] endpoint: 'http://h:x/' is not allowed; it must look like http://host:port/RPC2"),
        ("[federation]\nendpoint = 'host'", "[federation] endpoint: 'host' is not allowed; it must look like host:port"),
        ("[federation]\nendpoint = 'h:1/x'", "[federation] endpoint: 'h:1/x' is not allowed; it must look like host:port"),
        ("[federation]\nport = 2633", "[federation] port: 2633 is the port of [server] too; choose another"),
        ("[federation]\nlog_cap = 5", "[federation] log_cap: 5 is below log_keep (100000), which is always kept"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(file: Path, text: str, problem: str) -> None:
    assert problems(file, text) == [problem]


@pytest.mark.parametrize("name", ["", "a/b", "a&b", "a\\nb", "\\uffff", "x" * 129, "ü" * 65])
def test_a_zone_has_a_name_that_zones_may_have(file: Path, name: str) -> None:
    (problem,) = problems(file, f'[zone]\nname = "{name}"')
    assert problem.startswith("[zone] name: ")
    assert "1 to 128 bytes without any of" in problem


def test_a_master_may_not_seem_gone_between_two_heartbeats(file: Path) -> None:
    (problem,) = problems(file, "[federation]\nmaster_silent_s = 1")
    assert problem.startswith("[federation] master_silent_s: 1.0 is not above heartbeat_s (1.0)")


def test_toml_that_cannot_be_read_is_told_with_its_line(file: Path) -> None:
    (problem,) = problems(file, "[server]\nport = \n")
    assert problem.startswith("line 2, column 8: not TOML: ")
    assert problems(file, "a = [") == ["end of document: not TOML: Invalid value"]
    assert problems(file, "a = " + "9" * 10_000) == ["not TOML: a number has thousands of digits"]
    assert problems(file, "a = " + "[" * 100_000) == ["not TOML: nested too deep"]


def test_a_file_in_another_encoding_is_told_with_its_line(file: Path) -> None:
    file.write_bytes('[zone]\nname = "Süd"\n'.encode("latin-1"))
    with pytest.raises(SettingsError, match="line 2: not UTF-8"):
        load(file, HOME)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        load(tmp_path / "none.toml", HOME)
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load(tmp_path, HOME)


JUNK = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.text(max_size=5) | st.none(), lambda inner: st.lists(inner, max_size=2), max_leaves=4
)
KEYS = [(section, key) for section, key in settings._places() if section]


@given(st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=5))
def test_any_value_is_taken_or_told(tmp_path_factory: pytest.TempPathFactory, chosen: dict[tuple[str, str], object]) -> None:
    document: dict[str, object] = {}
    for (section, key), value in chosen.items():
        table = document.setdefault(section, {})
        assert isinstance(table, dict)
        table[key] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_read", lambda path: document)
        try:
            found = load(Path("koinon.toml"), HOME)
        except SettingsError as error:
            assert error.problems  # noqa: PT017 - either way is right, depending on the values
        else:
            assert isinstance(found, Settings)


def test_the_example_is_a_file_with_all_defaults(file: Path) -> None:
    file.write_text(settings.example())
    assert load(file, HOME) == load(None, HOME)
    written = tomllib.loads(settings.example().replace('\n# state_dir = ""', '\nstate_dir = ""').replace('# endpoint = ""', 'endpoint = ""')
                            .replace('# url = ""', 'url = ""').replace('# accept = ""', 'accept = ""'))  # fmt: skip
    assert {(section, key) for section in written if section != "state_dir" for key in written[section]} == set(KEYS)
    assert written["state_dir"] == ""


def test_the_reference_page_is_made_from_the_settings() -> None:
    assert PAGE.read_text() == settings.reference(), "run: python -m koinon.settings > docs/reference/settings.md"


def test_a_switch_is_true_or_false(file: Path) -> None:
    file.write_text("[server]\nsql_queries = true\n")
    assert load(file, HOME).server.sql_queries is True
    for wrong in ("1", '"yes"'):
        assert problems(file, f"[server]\nsql_queries = {wrong}\n") == [
            f"[server] sql_queries: {wrong if wrong == '1' else repr('yes')} is not allowed; it must be true or false"
        ]

"""Where the address and the session come from, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from koinon.client import contexts
from koinon.client.contexts import Endpoint
from koinon.client.errors import SetupError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def test_the_first_address_found_holds(environment: dict[str, str]) -> None:
    assert contexts.find_endpoint(None, environment).url == "http://localhost:2633/RPC2"
    contexts.save_endpoint("http://file:1/RPC2", environment)
    assert contexts.find_endpoint(None, environment).url == "http://file:1/RPC2"
    environment["ONE_XMLRPC"] = "http://environment:2/RPC2"
    assert contexts.find_endpoint(None, environment).url == "http://environment:2/RPC2"
    found = contexts.find_endpoint("https://argument/x", environment)
    assert (found.url, found.source) == ("https://argument:443/x", "--endpoint")


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://a", "http://a:80/RPC2"),
        ("https://a/", "https://a:443/"),
        ("http://[::1]:2633/RPC2", "http://[::1]:2633/RPC2"),
        (" http://a:1/RPC2 ", "http://a:1/RPC2"),
    ],
)
def test_addresses_are_completed(written: str, url: str) -> None:
    assert Endpoint.parse(written, "the test").url == url


@pytest.mark.parametrize(
    "written",
    [
        "",
        "-",
        "localhost:2633",
        "ftp://a/RPC2",
        "http://",
        "http://a:99999/",
        "http://a:x/",
        "http://[::1/",
        "http://u:p@a/",
        "http://a/?q",
        "http://a/#f",
        "http://a b/",
        "http://a/\r\nX: y",
        "http://ä/",
    ],
)
def test_what_is_no_address_is_refused_by_name(written: str) -> None:
    with pytest.raises(SetupError, match="the test"):
        Endpoint.parse(written, "the test")


def test_the_session_is_the_first_line_of_the_file(environment: dict[str, str], tmp_path: Path) -> None:
    contexts.save_session("alice:se:cret", environment)
    assert contexts.find_session(environment) == "alice:se:cret"
    other = tmp_path / "other"
    other.write_bytes(b"bob:x\r\nsecond:line\n")
    assert contexts.find_session({**environment, "ONE_AUTH": str(other)}) == "bob:x"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"alice\n", b":x\n", b"alice:\n", b"\xff:x\n"])
def test_no_usable_session_says_what_to_do(environment: dict[str, str], tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "auth").write_bytes(content)
    with pytest.raises(SetupError, match=r"oneuser login|Write it anew"):
        contexts.find_session({**environment, "ONE_AUTH": str(tmp_path / "auth")})


def test_a_session_file_that_was_readable_by_all_becomes_private(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / ".one" / "one_auth"
    path.parent.mkdir()
    path.write_text("old:x\n")
    path.chmod(0o644)
    assert contexts.save_session("new:y", environment) == path
    assert path.read_text() == "new:y\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["one_auth"]


def test_a_place_that_cannot_be_written_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".one").write_text("a file where a directory belongs")
    with pytest.raises(SetupError, match="Nothing was saved"):
        contexts.save_endpoint("http://a/RPC2", environment)

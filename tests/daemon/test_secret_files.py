"""Files with a name and a password."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from koinon.daemon import secret_files
from koinon.errors import InternalError


def test_the_first_start_makes_a_key_that_the_next_finds(tmp_path: Path) -> None:
    secret_files.server_key(tmp_path)
    path = tmp_path / "serveradmin_auth"
    content = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content.startswith("serveradmin:")
    assert len(content) > len("serveradmin:") + 24
    assert secret_files.server_key(tmp_path).name == "serveradmin"
    assert path.read_text() == content
    assert [file.name for file in tmp_path.iterdir()] == ["serveradmin_auth"]


def test_a_key_is_each_zones_own(tmp_path: Path) -> None:
    for zone in ("a", "b"):
        secret_files.server_key(tmp_path / zone)
    assert (tmp_path / "a" / "serveradmin_auth").read_text() != (tmp_path / "b" / "serveradmin_auth").read_text()


def test_a_file_that_is_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "serveradmin_auth").write_text("gate:key:with:colons\nmore\n")
    assert secret_files.read(tmp_path / "serveradmin_auth") == ("gate", "key:with:colons")
    assert secret_files.server_key(tmp_path).name == "gate"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"serveradmin\n", b"serveradmin:\n", b":x\n", b"a b:x\n", b"serveradmin:\xff\n", b"\xff:x\n"]
)
def test_a_file_that_makes_no_sense_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "serveradmin_auth").write_bytes(content)
    with pytest.raises(InternalError, match="serveradmin_auth"):
        secret_files.server_key(tmp_path)


def test_of_two_processes_that_make_a_file_at_once_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "one_auth"
    first = secret_files.create(path, "oneadmin")
    assert secret_files.create(path, "oneadmin") == first
    assert [file.name for file in tmp_path.iterdir()] == ["one_auth"]

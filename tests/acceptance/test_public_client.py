"""opennebula-cli, a public command line for OpenNebula that knows nothing of us, run unmodified at a master and at a slave.

Holds:    its programs have the names of ours; they yield to ours, so it is run as a module.
Not here: pyone, the library beneath it (tests/federation/test_real_calls.py). Where it sends what no OpenNebula takes (``user create``
          without groups, ``acl create``), its raw call does the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from harness.zones import Federation, Zone, federation

_FAILED: Final = 12  #: its exit code for a refusal by the server


class PublicClient:
    """The program as one person uses it at one zone, with a home of its own."""

    def __init__(self, zone: Zone, secret: str, home: Path) -> None:
        self._home = home
        home.mkdir()
        auth = home / "one_auth"
        auth.touch(mode=0o600)
        auth.write_text(secret + "\n")
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home), "ONE_XMLRPC": zone.endpoint, "ONE_AUTH": str(auth)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it, whatever comes of it."""
        command = [sys.executable, "-m", "opennebula_cli", "--output", "json", *arguments]
        return subprocess.run(command, env=self._environment, cwd=self._home, capture_output=True, text=True, timeout=60, check=False)

    def __call__(self, *arguments: str) -> Any:
        """What it prints when it succeeds."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def raw(self, method: str, *arguments: Any) -> Any:
        """The result of its raw call."""
        sent = ["--json-args-text", json.dumps(arguments), "--i-understand-this-is-unsafe"]
        return self("raw", "call", method, *sent)["result"]


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("public"), 2) as made:
        yield made


@pytest.mark.parametrize("at", ["master", "slave"])
def test_a_public_command_line_works_at_any_zone(zones: Federation, at: str, tmp_path: Path) -> None:
    """What it makes at one zone it reads there at once, and at the other one too."""
    here, there = zones.zones if at == "master" else reversed(zones.zones)
    client = PublicClient(here, zones.secret, tmp_path / "here")
    other = PublicClient(there, zones.secret, tmp_path / "there")

    known = client("doctor")["xmlrpc"]
    assert (known["authenticated"], known["server_version"], known["transport"]) == (True, "7.4.0", "pyone")

    group = client("group", "create", f"tenant-{at}")["id"]
    user = client.raw("one.user.allocate", f"ada-{at}", "Secret1", "core", [group])
    assert {"id": group, "name": f"tenant-{at}"} in client("group", "list")
    shown = client("user", "show", str(user))
    assert (shown["name"], shown["group"], shown["enabled"]) == (f"ada-{at}", f"tenant-{at}", True)
    client("user", "disable", str(user))

    cluster = client("cluster", "create", f"rack-{at}")["id"]
    host = client("host", "create", f"node-{at}", "-i", "kvm", "-v", "kvm")["id"]
    client("cluster", "addhost", str(cluster), str(host))
    assert f"node-{at}" in json.dumps(client("host", "list"))

    zones.settled()
    assert other("user", "show", str(user))["enabled"] is False
    assert f"node-{at}" not in json.dumps(other("host", "list")), "hosts are the zone's own"

    refused = client.run("user", "show", "99999")
    assert refused.returncode == _FAILED
    assert "[one.user.info] Error getting user [99999]." in refused.stderr

"""The machines on which a page of the guide is followed: each has a zone, people with a home, and a shell.

Path:     guide_page.follow() -> Machines.do() -> bash, with our programs first on its path, against real zones from harness/
Holds:    a page writes addresses, ports and places as they are on a machine of its own (``athens.example.org:2633``, ``/var/lib/koinon``);
          they are put in and out here, in commands, files and output, and nothing else is. Settings get what a page leaves to its default:
          ports and addresses, and a quicker hash of passwords.
          What only a system has that is a machine's own, ``systemctl`` and ``journalctl``, is played here: the unit's command is run.
Not here: what stands in a page (guide_page.py).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from harness import processes
from harness.zones import PATIENCE_S, Section, Zone, alive, join, wait_until
from koinon.client.errors import ClientError
from tests.acceptance import guide_page
from tests.acceptance.guide_page import Given, Meanwhile, Part, Step, WrongPage

PROGRAMS: Final = processes.program("koinon").parent

#: programs that a page may call though they are played here, and why
PLAYED: Final = {
    "systemctl": "a test has no systemd of its own: the command in ExecStart of the unit is started and stopped, as the zone's process",
    "journalctl": "it shows the end of what the zone's process wrote",
}

_READS = re.compile(r"(?:koinon \w+|one\w+) (?:list|show|status|explain|diff|token-list)\b")
_TOKEN = re.compile(r"(koinon1\.[\w-]{7})[\w-]+([\w-]{8})")
#: how long a command that only reads is repeated until it shows what the page says: the zones hear of each other in their own time
_PATIENCE_S: Final = 8.0 if guide_page.REWRITE else PATIENCE_S
_PASSWORD: Final = "Secret1"  #: of everybody but oneadmin


class Machine:
    """One machine: its zone, and how a page writes what differs here.

    Attributes:
        zone: the zone, which may not have been started yet.
        written: what a page writes -> what it is here; only this machine's paths.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Section]) -> None:
        self.zone = Zone(folder, name, settings=settings, engine="sqlite")  # as pages install it
        self.folder = folder
        self.service: list[str] | None = None
        self._read_to = 0
        self.written = {
            "/etc/koinon.toml": str(self.zone.config),
            "/var/lib/koinon": str(self.zone.state_dir),
            "~/.local/state/koinon": str(self.zone.state_dir),
            "/opt/koinon/bin": str(PROGRAMS),
            "venv/bin/": f"{PROGRAMS}/",
            "/etc/": f"{folder}/etc/",
            "/usr/local/": f"{folder}/usr/local/",
            "/var/backups/": f"{folder}/var/backups/",
            "/root": str(folder / "root"),
            "/home/": f"{folder}/home/",
        }

    def home(self, user: str) -> Path:
        """The home of a person."""
        home = self.folder / "root" if user == "oneadmin" else self.folder / "home" / user
        if not home.exists():
            (home / ".one").mkdir(parents=True)
            (home / ".one" / "one_endpoint").write_text(self.zone.endpoint + "\n")
        return home

    def start(self, command: list[str]) -> str:
        """Run a server until it serves or ends; what it said."""
        self.news()
        alive.add(self.zone)
        process = processes.start(command, log=self.zone.log)
        wait_until("the server serves or ends", lambda: "zone serves" in self._unread() or process.poll() is not None)
        if process.returncode is None:
            self.zone.process = process
        return self.news() + (f"(exit code {process.returncode})\n" if process.returncode else "")

    def news(self) -> str:
        """What the server wrote since this was asked last."""
        text = self._unread()
        self._read_to += len(text)
        return text

    def _unread(self) -> str:
        return self.zone.log.read_text()[self._read_to :] if self.zone.log.exists() else ""

    def systemctl(self, verb: str) -> str:
        """Start or stop the zone as its service."""
        if verb not in ("start", "stop", "restart", "enable"):
            raise WrongPage(f"systemctl {verb} is not played here")
        if verb in ("stop", "restart"):
            self.zone.stop()
        if verb != "stop":
            self.start(self.service or [str(PROGRAMS / "koinon"), "server", "--config", str(self.zone.config)])
        return ""


class Machines:
    """All machines of a page.

    Args:
        folder: for their files.
        names: of the machines and their zones; the first one's zone is the master when they are federated.
        logged_in: whether oneadmin has a session, so that a page need not say so.
        settings: sections for every zone.
    """

    def __init__(self, folder: Path, names: str, *, logged_in: bool = True, settings: Mapping[str, Section] | None = None) -> None:
        common: dict[str, Section] = {
            "login": {"password_hash": "sha256"},
            "log": {"format": "text"},
            "federation": {"master_silent_s": 2.0},  # as it is where a page does not say otherwise
            **(settings or {}),
        }
        self.by_name = {name: Machine(folder / name, name, common) for name in names.split()}
        #: what happens without a command: its text in the page -> what does it
        self.happenings: dict[str, Callable[[], object]] = {}
        #: more that a page writes in its own way -> what it is here
        self.written: dict[str, str] = {}
        self._logged_in = logged_in
        self._whole: dict[str, str] = {}  # a token as it is shown -> the whole of it
        self._addresses: dict[str, str] = {}
        for name, machine in self.by_name.items():
            zone = machine.zone
            self._addresses |= {
                f"{name}.example.org:2633": f"127.0.0.1:{zone.port}",
                f"{name}.example.org:2635": f"127.0.0.1:{zone.federation_port}",
            }

    def __getitem__(self, name: str) -> Zone:
        return self.by_name[name].zone

    @property
    def zones(self) -> list[Zone]:
        """Their zones."""
        return [machine.zone for machine in self.by_name.values()]

    @contextlib.contextmanager
    def running(self, *, federated: int = 0) -> Iterator[Machines]:
        """Start all zones for the time of a ``with`` block, and join so many of them, the first one as the master."""
        try:
            for zone in self.zones:
                zone.launch()
            for zone in self.zones:
                zone.await_answer()
            if federated:
                self.zones[0].federation("init")
                for zone in self.zones[1:federated]:
                    join(self.zones[0], zone)
                self.settled()
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """End all zones."""
        for zone in reversed(self.zones):
            zone.stop()

    def settled(self) -> None:
        """Wait until all that follow the master hold what it holds."""

        def agree() -> bool:
            statuses = []
            for zone in self.zones:
                if zone.running:
                    with contextlib.suppress(ClientError):
                        statuses.append(zone.status())
            heads = {status["chain"] for status in statuses if status["role"] == "master" or (status.get("master") or {}).get("connected")}
            return len(heads) <= 1

        with contextlib.suppress(AssertionError):  # then what comes shows why
            wait_until("all zones agree", agree, timeout_s=30)

    def do(self, part: Part, shown: Callable[[str], bool]) -> str:
        """Do one part of a page; what is seen, as the page would write it. ``shown`` says of an output whether the page has it."""
        match part:
            case Meanwhile():
                self.happenings[part.text]()
            case Given():
                self._write(part)
            case Step():
                return self._perform(part, shown)
        return ""

    def _write(self, given: Given) -> None:
        machine = self.by_name[given.zone]
        text = self._as_run(machine, given.text)
        path = Path(self._as_run(machine, given.path))
        if path == machine.zone.config:
            sections = tomllib.loads(text)
            sections.pop("state_dir", None)
            machine.zone.write_settings(**sections)
            return
        if (command := re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)) is not None:
            machine.service = shlex.split(command[1])
        path = machine.home("oneadmin") / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _perform(self, step: Step, shown: Callable[[str], bool]) -> str:
        machine = self.by_name[step.zone]
        self.settled()  # what was written in one zone is there in the others
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            seen = self._as_page(machine, self._run(machine, step))
            if not _READS.match(step.command) or shown(seen) or time.monotonic() > deadline:
                return seen
            time.sleep(0.1)

    def _run(self, machine: Machine, step: Step) -> str:
        command = self._as_run(machine, step.command)
        words = shlex.split(command)
        match words:
            case ["systemctl", verb, *_]:
                return machine.systemctl(verb)
            case ["journalctl", *_, count]:
                return machine.zone.tail(int(count)) + "\n"
            case [program, "server", *options] if Path(program).name == "koinon":
                # Without settings it would serve on the system's own ports and keep its state in the system's own place.
                return machine.start([str(PROGRAMS / "koinon"), "server", *(options or ["--config", str(machine.zone.config)])])
        return self._shell(machine, step.user, command)

    def _shell(self, machine: Machine, user: str, command: str) -> str:
        """What a command prints in the shell of ``user``, whose variables last from one command to the next."""
        home = machine.home(user)
        auth, variables = home / ".one" / "one_auth", home / ".variables"
        if self._logged_in and not auth.exists():
            auth.touch(mode=0o600)
            auth.write_text((self.zones[0].secret if user == "oneadmin" else f"{user}:{_PASSWORD}") + "\n")
        variables.touch()
        keep = shlex.quote(str(variables))
        done = subprocess.run(
            ["bash", "-c", f"set -a; . {keep}\n{command}\n_code=$?; export -p > {keep}; exit $_code"],
            cwd=home,
            env={
                "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
                "HOME": str(home),
                "LANG": "C.UTF-8",
                "TZ": "UTC",
                "KOINON_STATE_DIR": str(machine.zone.state_dir),  # as /var/lib/koinon is for root
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return f"{done.stdout}{done.stderr}" + (f"(exit code {done.returncode})\n" if done.returncode else "")

    def _as_run(self, machine: Machine, text: str) -> str:
        """What a page writes as it is here."""
        places = {"localhost:2633": f"127.0.0.1:{machine.zone.port}", **self._addresses, **machine.written, **self.written}
        return _replaced(_replaced(text, places), self._whole)

    def _as_page(self, machine: Machine, text: str) -> str:
        """What is seen here as a page writes it."""

        def cut(match: re.Match[str]) -> str:
            shown = f"{match[1]}...{match[2]}"
            self._whole[shown] = match[0]
            return shown

        text = _TOKEN.sub(cut, text)
        places = {here: written for written, here in reversed([*self.written.items(), *self._addresses.items(), *machine.written.items()])}
        text = _replaced(text, places)
        for zone in self.zones:
            text = re.sub(rf"\b{zone.port}\b", "2633", text)
            text = re.sub(rf"\b{zone.federation_port}\b", "2635", text)
        return text


def _replaced(text: str, pairs: Mapping[str, str]) -> str:
    """``text`` with each key replaced by its value, at once; a longer key goes first."""
    if not pairs:
        return text
    keys = sorted(pairs, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, keys)), lambda match: pairs[match[0]], text)

"""The page of troubles is true: each is made in real zones, shows what the page shows, and ends as it says."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from harness.zones import Zone, wait_until
from tests.acceptance import guide_page
from tests.acceptance.machines import Machines

PAGE: Final = guide_page.GUIDES / "troubleshooting.md"

#: more than any disk has free; the page writes the default, 64
_MORE_THAN_THERE_IS_MIB: Final = 1_000_000_000


class Troubles:
    """What befalls the zones of the page without a command."""

    def __init__(self, machines: Machines) -> None:
        self._zones = machines
        self._taken: socket.socket | None = None
        self._schema = ""

    @property
    def happenings(self) -> dict[str, Callable[[], object]]:
        """As the page names them."""
        athens, corinth, thebes, delos = self._zones.zones
        return {
            "corinth hears nothing of the master": lambda: _await_silence(corinth),
            "thebes hears nothing of the master": lambda: _await_silence(thebes),
            "another program has the port of delos": lambda: self._take_port(delos),
            "the other program on delos ends": self._free_port,
            "a newer koinon has run on delos": lambda: self._set_schema(delos, "9999"),
            "delos is as it was": lambda: self._set_schema(delos, self._schema, start=True),
            "the disk of thebes is full": lambda: self._reserve(thebes, _MORE_THAN_THERE_IS_MIB),
            "there is space on the disk of thebes": lambda: self._reserve(thebes, 64),
            "athens is backed up": lambda: _copy(athens, self._copy_of(athens)),
            "athens is restored from the backup": lambda: self._set_back(athens),
            "an hour passes at athens": lambda: _write(athens, "UPDATE invitation SET expires_at = 1 WHERE used_at IS NULL OR used_at = 0"),
        }

    def end(self) -> None:
        """Give back what is still taken."""
        if self._taken is not None:
            self._taken.close()

    def _take_port(self, zone: Zone) -> None:
        zone.stop()
        self._taken = socket.create_server(("127.0.0.1", zone.port))

    def _free_port(self) -> None:
        assert self._taken is not None
        self._taken.close()

    def _set_schema(self, zone: Zone, version: str, *, start: bool = False) -> None:
        self._schema = self._schema or _read(zone, "SELECT version_num FROM alembic_version")
        _write(zone, "UPDATE alembic_version SET version_num = ?", version)
        if start:
            zone.start()

    def _reserve(self, zone: Zone, mib: int) -> None:
        zone.stop()
        zone.write_settings(database={"disk_reserve_mib": mib})
        zone.start()

    def _copy_of(self, zone: Zone) -> Path:
        return zone.folder / "nightly.db"

    def _set_back(self, zone: Zone) -> None:
        self._zones.settled()
        corinth, thebes = self._zones["corinth"], self._zones["thebes"]
        wait_until("the slaves keep the master's signature", lambda: _keeps_proof(corinth) and _keeps_proof(thebes))
        thebes.stop()  # so that it is corinth that shows it
        zone.kill()
        for suffix in ("-wal", "-shm"):
            Path(f"{zone.database}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self._copy_of(zone), zone.database)
        zone.start()
        wait_until("the master sees it", lambda: zone.status()["state"] == "halted")
        thebes.start()


# Every connection is closed at once: one that is left open keeps the files of before a restore, and SQLite would use them again.
def _copy(zone: Zone, target: Path) -> None:
    with closing(sqlite3.connect(zone.database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _read(zone: Zone, query: str) -> Any:
    with closing(sqlite3.connect(zone.database)) as database:
        return database.execute(query).fetchone()[0]


def _write(zone: Zone, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(zone.database, timeout=10)) as database, database:
        assert database.execute(statement, values).rowcount


def _await_silence(slave: Zone) -> None:
    """Wait until a slave takes the master for gone (``master_silent_s``)."""
    wait_until(f"{slave.name} misses the master", lambda: slave.status()["master"]["heartbeat_age_s"] > 2.0)


def _keeps_proof(slave: Zone) -> bool:
    return bool(_read(slave, "SELECT COUNT(*) FROM federation_setting WHERE name LIKE '%frame%' OR name LIKE '%proof%'"))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """A federation of three, and a zone that is in none."""
    made = Machines(tmp_path, "athens corinth thebes delos")
    made.written = {
        "64 MiB are left": f"{_MORE_THAN_THERE_IS_MIB} MiB are left",
        "'192.0.2.10'": "'127.0.0.1'",
    }
    troubles = Troubles(made)
    made.happenings = troubles.happenings
    with made.running(federated=3):
        made["athens"].command("oneuser", "create", "ada", "Secret1", session=made["athens"].secret)
        (made.by_name["corinth"].home("ada") / "ada.password").write_text("Secret1\n")
        yield made
    troubles.end()


def test_the_page_shows_what_its_commands_show(machines: Machines) -> None:
    seen, shown = guide_page.follow(PAGE, machines.do)
    assert seen == shown

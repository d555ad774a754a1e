"""A zone's links to others: made from the keys of this machine, which may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from koinon.errors import UnavailableError
from tests.federation.members import master_at, run, zone_at


@pytest.mark.parametrize("missing", ["zone.key", "ca.pem"])
def test_where_a_key_file_is_missing_there_is_no_link_and_no_new_key(tmp_path: Path, missing: str) -> None:
    """As on a second machine of a zone that was forgotten when the keys were copied: what it would make is no key of the zone."""

    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            invited = await master.membership.invite("branch", None)
            await zone.joining(master).join(invited.token)
            assert zone.links.master().zone_id == 0
            zone.links.forget()
            (zone.store.directory / missing).unlink()
            with pytest.raises(UnavailableError, match=missing):
                zone.links.master()
            assert not (zone.store.directory / missing).exists()

    run(test)


def test_a_directory_that_can_not_hold_keys_is_named_to_who_founds(tmp_path: Path) -> None:
    async def test() -> None:
        async with zone_at(tmp_path / "a") as zone:
            zone.store.directory.write_text("no directory")
            with pytest.raises(UnavailableError, match=str(zone.store.directory)):
                await zone.membership.init()
            assert zone.database.state().role == "standalone"

    run(test)

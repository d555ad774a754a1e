"""The first start of an empty zone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from koinon.daemon import bootstrap
from koinon.database.transactions import ZoneTx
from koinon.errors import InternalError
from koinon.identity import group_record, user_documents, users, vdcs, zones
from koinon.identity.login import Login
from koinon.identity.passwords import Hasher, Scheme
from koinon.infrastructure import clusters
from tests.identity.site import ADMIN, Site, plain


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, empty=True)
    yield site
    site.close()


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher()
    yield hasher
    hasher.close()


def start(site: Site, folder: Path, hasher: Hasher) -> bool:
    return site.run(bootstrap.bootstrap(site.database, folder, hasher, zone_name="North", endpoint="http://north:2633/RPC2"))


def test_the_default_objects_have_the_ids_that_clients_expect(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    assert start(empty, tmp_path, hasher)
    assert empty.rules() == [
        "@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *",
        "* ZONE/* USE *",
        "* MARKETPLACE+MARKETPLACEAPP/* USE *",
        "@1 HOST/* MANAGE #0",
        "@1 NET/* USE #0",
        "@1 DATASTORE/* USE #0",
    ]
    names = {
        table: empty.read(lambda tx, table=table: [(row.oid, row.name) for row in tx.rows(table)])  # type: ignore[misc]  # bound per round
        for table in ("user_pool", "group_pool", "vdc_pool", "zone_pool", "marketplace_pool", "marketplaceapp_pool")
    }
    assert names == {
        "user_pool": [(0, "oneadmin"), (1, "serveradmin")],
        "group_pool": [(0, "oneadmin"), (1, "users")],
        "vdc_pool": [(0, "default")],
        "zone_pool": [(0, "North")],
        "marketplace_pool": [(0, "OpenNebula Public"), (1, "Linux Containers")],
        "marketplaceapp_pool": [],
    }
    counters = empty.read(lambda tx: {table: tx.counter(table) for table in (*names, "acl")})
    assert counters == {
        "user_pool": 1, "group_pool": 99, "vdc_pool": 99, "zone_pool": 99, "marketplace_pool": 99, "marketplaceapp_pool": -1, "acl": 5,
    }  # fmt: skip
    assert empty.members(0) == [0, 1]
    assert empty.read(lambda tx: vdcs.find(tx, 0)).clusters == [(0, -10)]  # type: ignore[union-attr]  # it is there
    assert empty.read(lambda tx: zones.find(tx, 0)).endpoint == "http://north:2633/RPC2"  # type: ignore[union-attr]  # it is there
    plain(empty.read(lambda tx: user_documents.pool_document(tx, ADMIN)))
    plain(empty.read(lambda tx: group_record.pool_document(tx, ADMIN)))
    plain(empty.read(lambda tx: zones.pool_document(tx, ADMIN)))


def test_the_password_file_opens_the_zone_and_is_its_owners_only(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    start(empty, tmp_path, hasher)
    path = tmp_path / "one_auth"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    login = Login(empty.database, hasher, remember_s=300)
    assert empty.run(login.authenticate(path.read_text().strip(), 0)).uid == 0
    assert empty.read(lambda tx: users.get(tx, 0)).password.startswith("$scrypt$")


def test_a_second_start_changes_nothing(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    start(empty, tmp_path, hasher)
    before, position = (tmp_path / "one_auth").read_text(), empty.database.state().position
    assert not start(empty, tmp_path, hasher)
    assert not empty.write(lambda tx: bootstrap.fill(tx, bootstrap.NewZone("x", "e", "n", "v", "k", ("a", "b"))))
    assert ((tmp_path / "one_auth").read_text(), empty.database.state().position) == (before, position)


def test_a_zone_from_before_there_were_clusters_gets_its_default_one(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    start(empty, tmp_path, hasher)
    assert empty.read(lambda tx: tx.counter("cluster_pool")) == 99

    def forget(tx: ZoneTx) -> None:
        tx.execute("DELETE FROM cluster_pool")
        tx.execute("DELETE FROM pool_control WHERE tablename = 'cluster_pool'")

    empty.run(empty.database.write_zone("test", forget))
    position = empty.database.state().position
    assert not start(empty, tmp_path, hasher)
    assert "<NAME>default</NAME>" in plain(empty.read(lambda tx: clusters.show(tx, ADMIN, 0)))
    assert empty.read(lambda tx: tx.counter("cluster_pool")) == 99
    assert empty.database.state().position == position


def test_a_machine_that_comes_second_to_an_empty_database_puts_its_password_away(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    class Slow(Hasher):
        """Another machine is quicker."""

        async def make(self, secret: str, scheme: Scheme) -> str:
            await bootstrap.bootstrap(empty.database, tmp_path / "one", hasher, zone_name="North", endpoint="http://north:2633/RPC2")
            return await super().make(secret, scheme)

    slow = Slow()
    assert not start(empty, tmp_path / "two", slow)
    slow.close()
    assert [file.name for file in (tmp_path / "two").iterdir()] == ["one_auth.unused"]
    name_and_password = (tmp_path / "one" / "one_auth").read_text().strip()
    assert empty.run(Login(empty.database, hasher, remember_s=300).authenticate(name_and_password, 0)).uid == 0


def test_workers_of_the_machine_that_comes_second_all_start(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    """They share one password file, and each of them finds that it is of no use."""

    class Slow(Hasher):
        """Another machine is quicker, and so is another worker of this one."""

        async def make(self, secret: str, scheme: Scheme) -> str:
            await bootstrap.bootstrap(empty.database, tmp_path / "one", hasher, zone_name="North", endpoint="http://north:2633/RPC2")
            (tmp_path / "two" / "one_auth").rename(tmp_path / "two" / "one_auth.unused")
            return await super().make(secret, scheme)

    slow = Slow()
    assert not start(empty, tmp_path / "two", slow)
    slow.close()
    assert [file.name for file in (tmp_path / "two").iterdir()] == ["one_auth.unused"]


def test_it_is_one_commit(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    start(empty, tmp_path, hasher)
    assert empty.read(lambda tx: tx.fetch("SELECT count(*) FROM federation_commit")) == [(1,)]


def test_a_file_that_is_there_is_used(empty: Site, hasher: Hasher, tmp_path: Path) -> None:
    (tmp_path / "one_auth").write_text("root:s3cret:x\nsecond line\n")
    start(empty, tmp_path, hasher)
    assert empty.run(Login(empty.database, hasher, remember_s=300).authenticate("root:s3cret:x", 0)).name == "root"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"justname\n", b"serveradmin:pw\n", b"a b:pw\n", b"name:\n", b"name:p w\n", b"\xff:pw\n", b"name:\xff\n"]
)
def test_a_file_that_makes_no_sense_is_refused_by_name(empty: Site, hasher: Hasher, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one_auth").write_bytes(content)
    with pytest.raises(InternalError, match="one_auth"):
        start(empty, tmp_path, hasher)
    assert empty.database.state().position == 0

"""The first start of an empty zone: the default users, groups, rules, VDC, zone, marketplaces and cluster.

Path:     wiring -> bootstrap() -> one_auth on disk -> one commit with everything
Holds:    ids and their order are OpenNebula's, for clients rely on them. The password file is on disk before the commit: a crash between
          leaves a file that the next start uses. A zone with a user 0 is left alone.
Not here: a zone that joins a federation gets all this from its master (federation/).
Source:   OpenNebula src/nebula/Nebula.cc, src/um/UserPool.cc, src/acl/AclManager.cc, src/market/MarketPlacePool.cc.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec
import structlog

from koinon.daemon import secret_files
from koinon.daemon.secret_files import SERVERADMIN
from koinon.database.database import Database
from koinon.database.transactions import SharedTx
from koinon.errors import InvalidError
from koinon.identity import acl, auth_drivers, groups, passwords, vdcs, zones
from koinon.identity.group_record import Group
from koinon.identity.passwords import Hasher, Scheme
from koinon.identity.user_record import User
from koinon.infrastructure import cluster_record, clusters, targets
from koinon.objects import xml
from koinon.objects.acl import ALL, Right, Rule, all_zones, everyone, group, resource
from koinon.objects.kinds import Kind
from koinon.objects.names import require_name
from koinon.objects.template import Template
from koinon.statements.schema import PoolRow

log = structlog.get_logger(__name__)

ONE_AUTH: Final = "one_auth"
ONEADMIN: Final = "oneadmin"
_LAST_SYSTEM_ID: Final = 99
_CREATED_BY_USERS: Final = (Kind.VM, Kind.IMAGE, Kind.TEMPLATE, Kind.DOCUMENT, Kind.SECGROUP, Kind.VMGROUP, Kind.BACKUPJOB)
_VIEWS: Final = {
    "DEFAULT_VIEW": "cloud",
    "VIEWS": "cloud",
    "GROUP_ADMIN_DEFAULT_VIEW": "groupadmin",
    "GROUP_ADMIN_VIEWS": "groupadmin,cloud",
}


class NewZone(msgspec.Struct, frozen=True):
    """What an empty zone begins with; everything random is in here, so that the job can run again.

    Attributes:
        zone_name: name of the zone's record.
        endpoint: where clients reach it.
        admin_name: name of user 0.
        verifier: of its password.
        server_key: stands where serveradmin's key would be, for the row is shared and each zone has its own key (secret_files.py).
        token_passwords: of users 0 and 1.
    """

    zone_name: str
    endpoint: str
    admin_name: str
    verifier: str
    server_key: str
    token_passwords: tuple[str, str]


async def bootstrap(
    database: Database, state_dir: Path, hasher: Hasher, *, zone_name: str, endpoint: str, scheme: Scheme = "scrypt"
) -> bool:
    """Fill an empty zone.

    Args:
        database: this zone's, started.
        state_dir: where ``one_auth`` is or will be.
        hasher: hashes the administrator's password.
        zone_name: name of the zone's record.
        endpoint: where clients reach it.
        scheme: how passwords are stored.

    Returns:
        False if the zone had its users already.

    Raises:
        InvalidError: ``one_auth`` can't be used, or a name is not allowed; the text says what to do.
        OSError: ``one_auth`` can't be read or written.
    """
    with database.read() as tx:
        filled, has_cluster = tx.row("user_pool", 0) is not None, targets.exists(tx, Kind.CLUSTER, cluster_record.DEFAULT)
    if filled:
        if not has_cluster:  # a zone from before there were clusters
            await database.write_zone("default cluster", clusters.ensure_default)
        return False
    name, password = read_credentials(state_dir) or create_credentials(state_dir)
    plan = NewZone(
        zone_name=zone_name,
        endpoint=endpoint,
        admin_name=name,
        verifier=await hasher.make(password, scheme),
        server_key=secrets.token_hex(32),
        token_passwords=(secrets.token_hex(32), secrets.token_hex(32)),
    )
    written = await database.write_shared("bootstrap", lambda tx: fill(tx, plan))
    if not written.value:
        await _put_away_if_wrong(database, state_dir, hasher, password)
    return written.value


async def _put_away_if_wrong(database: Database, state_dir: Path, hasher: Hasher, password: str) -> None:
    """A process on another machine has filled the database at the same time, with a password of its own.

    Several workers of this machine may find that out together; the file is theirs all, and one of them puts it away.
    """
    with database.read() as tx:
        row = tx.row("user_pool", 0)
    if row is None or await hasher.verify(password, User.from_row(row).password):
        return
    path = state_dir / ONE_AUTH
    try:
        path.rename(path.with_name(f"{ONE_AUTH}.unused"))
    except FileNotFoundError:
        return
    log.warning("another machine has filled this zone's database: copy one_auth from there", put_away=str(path))


def read_credentials(state_dir: Path) -> tuple[str, str] | None:
    """Name and password of user 0 from ``one_auth``; None if there is no such file.

    Raises:
        InvalidError: its first line is not ``NAME:PASSWORD``, or one of the two is not allowed.
    """
    path = state_dir / ONE_AUTH
    found = secret_files.read(path)
    if found is None:
        return None
    name, password = found
    if name == SERVERADMIN:
        raise InvalidError(f"{path}: the name {SERVERADMIN} is reserved. Choose another.")
    wrong = passwords.problem(password, auth_drivers.CORE)
    if wrong:
        raise InvalidError(f"{path}: {wrong}")
    return name, password


def create_credentials(state_dir: Path) -> tuple[str, str]:
    """Write ``one_auth`` with a random password, durably and for its owner only, if it is not there. Returns name and password."""
    return secret_files.create(state_dir / ONE_AUTH, ONEADMIN)


def fill(tx: SharedTx, plan: NewZone) -> bool:
    """Write the default objects; False, and nothing written, if user 0 exists."""
    if tx.row("user_pool", 0) is not None:
        return False
    for rule in (
        Rule(group(groups.USERS), resource(_CREATED_BY_USERS, ALL), int(Right.CREATE), all_zones()),
        Rule(everyone(), resource([Kind.ZONE], ALL), int(Right.USE), all_zones()),
        Rule(everyone(), resource([Kind.MARKETPLACE, Kind.MARKETPLACEAPP], ALL), int(Right.USE), all_zones()),
    ):
        acl.ensure(tx, rule)
    _add_groups(tx)
    _add_users(tx, plan)
    _add_zone(tx, plan)
    tx.next_id("vdc_pool")
    tx.insert("vdc_pool", vdcs.default(tx.state.zone_id).as_row())
    tx.set_counter("vdc_pool", _LAST_SYSTEM_ID)
    vdcs.add_group(tx, vdcs.DEFAULT_VDC, groups.USERS)
    _add_marketplaces(tx, plan)
    clusters.ensure_default(tx)
    return True


def _add_groups(tx: SharedTx) -> None:
    for_users = Template()
    for_users.set("SUNSTONE", _VIEWS)
    for oid, name, template in ((groups.ADMINS, "oneadmin", Template()), (groups.USERS, "users", for_users)):
        tx.insert("group_pool", Group(oid, name, template, []).as_row())
    tx.set_counter("group_pool", _LAST_SYSTEM_ID)


def _add_users(tx: SharedTx, plan: NewZone) -> None:
    accounts = ((plan.admin_name, plan.verifier, auth_drivers.CORE), (SERVERADMIN, plan.server_key, auth_drivers.SERVER_CIPHER))
    for (name, verifier, driver), token_password in zip(accounts, plan.token_passwords, strict=True):
        template = Template()
        template.set("TOKEN_PASSWORD", token_password)
        user = User(
            oid=tx.next_id("user_pool"),
            gid=groups.ADMINS,
            groups=[groups.ADMINS],
            gname="oneadmin",
            name=name,
            password=verifier,
            driver=driver,
            enabled=True,
            tokens=[],
            template=template,
        )
        tx.insert("user_pool", user.as_row())


def _add_zone(tx: SharedTx, plan: NewZone) -> None:
    template = Template()
    template.set("ENDPOINT", plan.endpoint)
    name = require_name(plan.zone_name, Kind.ZONE)
    tx.insert("zone_pool", zones.Zone(tx.state.zone_id, name, zones.ENABLED, template).as_row())
    tx.set_counter("zone_pool", max(_LAST_SYSTEM_ID, tx.state.zone_id))


def _add_marketplaces(tx: SharedTx, plan: NewZone) -> None:
    for oid, name, driver, state, description in (
        (0, "OpenNebula Public", "one", 0, "Appliances that OpenNebula publishes"),
        (1, "Linux Containers", "linuxcontainers", 1, "Images that linuxcontainers.org publishes for LXC and LXD"),
    ):
        template = Template()
        template.set("DESCRIPTION", description)
        template.set("MARKET_MAD", driver)
        body = (
            f"<MARKETPLACE><ID>{oid}</ID><UID>0</UID><GID>0</GID><UNAME>{xml.escape(plan.admin_name)}</UNAME><GNAME>oneadmin</GNAME>"
            f"<NAME>{name}</NAME><STATE>{state}</STATE><MARKET_MAD>{xml.cdata(driver)}</MARKET_MAD>"
            f"<ZONE_ID>{xml.cdata(str(tx.state.zone_id))}</ZONE_ID><TOTAL_MB>0</TOTAL_MB><FREE_MB>0</FREE_MB><USED_MB>0</USED_MB>"
            "<MARKETPLACEAPPS></MARKETPLACEAPPS><PERMISSIONS><OWNER_U>1</OWNER_U><OWNER_M>1</OWNER_M><OWNER_A>1</OWNER_A>"
            "<GROUP_U>1</GROUP_U><GROUP_M>0</GROUP_M><GROUP_A>0</GROUP_A><OTHER_U>1</OTHER_U><OTHER_M>0</OTHER_M><OTHER_A>0</OTHER_A>"
            f"</PERMISSIONS>{template.to_xml()}</MARKETPLACE>"
        )
        tx.insert("marketplace_pool", PoolRow(oid, name, body, uid=0, gid=0, owner_u=1, group_u=1, other_u=1))
    tx.set_counter("marketplace_pool", _LAST_SYSTEM_ID)

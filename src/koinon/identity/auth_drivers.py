"""What OpenNebula's auth drivers allow by default: who may change a password, who keeps the groups, how long a token may live.

Only ``core`` and ``server_cipher`` are checked by this zone; users of the other drivers are kept for clients and peers that know them.
Source: OpenNebula share/etc/oned.conf, AUTH_MAD_CONF.
"""

from __future__ import annotations

from typing import Final

import msgspec

CORE: Final = "core"
PUBLIC: Final = "public"
SERVER_CIPHER: Final = "server_cipher"


class Driver(msgspec.Struct, frozen=True):
    """One auth driver.

    Attributes:
        password_change: users may change their own password.
        managed_groups: the directory behind the driver decides on groups, so calls may not.
        max_token_s: longest life of a log-in token, -1 for no cap, 0 for no tokens.
        max_password: most bytes of a password.
    """

    password_change: bool = False
    managed_groups: bool = False
    max_token_s: int = -1
    max_password: int = 65_536


_DRIVERS: Final = {
    CORE: Driver(password_change=True, max_password=256),
    PUBLIC: Driver(),
    "ssh": Driver(password_change=True, max_password=16_384),
    "x509": Driver(),
    "ldap": Driver(password_change=True, managed_groups=True, max_token_s=86_400),
    "saml": Driver(managed_groups=True, max_token_s=86_400),
    SERVER_CIPHER: Driver(),
    "server_x509": Driver(),
}
_UNKNOWN: Final = Driver()


def driver(name: str) -> Driver:
    """What a driver allows; an unknown one allows least."""
    return _DRIVERS.get(name, _UNKNOWN)


def hides_password(name: str) -> bool:
    """Whether what such a user has as PASSWORD is never shown."""
    return name == CORE or name.startswith("server")

"""A user as a record: read from a row's body, changed, rendered back; and the account in it that log-in needs.

Not here: operations (users.py, login_tokens.py), replies (user_documents.py).
Source:   OpenNebula src/um/User.cc (order of the body), src/um/LoginToken.cc.
"""

from __future__ import annotations

from typing import Final

import msgspec

from koinon.errors import DefectError
from koinon.objects import xml
from koinon.objects.template import Template
from koinon.statements.schema import PoolRow

_SHOWN_DIGITS: Final = 16


class LoginToken(msgspec.Struct, frozen=True):
    """One log-in token.

    Attributes:
        token_hash: BLAKE2b of the token, hex.
        expires_at: seconds since 1970, -1 for never.
        egid: the one group of its sessions, -1 for all.
    """

    token_hash: str
    expires_at: int
    egid: int

    @property
    def shown(self) -> str:
        """What replies show: enough to tell tokens apart, not what is stored."""
        return self.token_hash[:_SHOWN_DIGITS]

    def is_expired(self, now: int) -> bool:
        return self.expires_at != -1 and now >= self.expires_at


class User(msgspec.Struct):
    """One user. ``groups`` is ascending and holds ``gid``."""

    oid: int
    gid: int
    groups: list[int]
    gname: str
    name: str
    password: str
    driver: str
    enabled: bool
    tokens: list[LoginToken]
    template: Template

    @classmethod
    def from_row(cls, row: PoolRow) -> User:
        """Read a stored row.

        Raises:
            DefectError: its body is not one of a user.
        """
        try:
            root = xml.parse(row.body)
            # One walk in place of a search for each field: this runs in every change of a user.
            nodes = {node.tag: node for node in root}
            texts = {tag: node.text or "" for tag, node in nodes.items()}
            return cls(
                oid=row.oid,
                gid=int(texts.get("GID") or -1),
                groups=sorted({int(node.text or -1) for node in nodes.get("GROUPS", ())}),
                gname=texts.get("GNAME", ""),
                name=row.name,
                password=texts.get("PASSWORD", ""),
                driver=texts.get("AUTH_DRIVER", ""),
                enabled=texts.get("ENABLED") == "1",
                tokens=[
                    LoginToken(xml.text_of(node, "TOKEN"), xml.int_of(node, "EXPIRATION_TIME", 0), xml.int_of(node, "EGID"))
                    for node in (root.findall("LOGIN_TOKEN") if "LOGIN_TOKEN" in nodes else ())
                ],
                template=Template.from_element(nodes["TEMPLATE"]) if "TEMPLATE" in nodes else Template(),
            )
        except ValueError as error:
            raise DefectError(f"The stored body of user {row.oid} can't be read: {error}.", object_id=row.oid) from error

    def as_row(self) -> PoolRow:
        """The row to store."""
        return PoolRow(self.oid, self.name, self.body(), uid=self.oid, gid=self.gid, owner_u=1, group_u=0, other_u=0)

    def body(self, *, show_tokens: bool = True) -> str:
        """The body to store, or to show when ``show_tokens`` is off: then tokens appear in their short form."""
        tokens = "".join(
            f"<LOGIN_TOKEN><TOKEN>{token.token_hash if show_tokens else token.shown}</TOKEN>"
            f"<EXPIRATION_TIME>{token.expires_at}</EXPIRATION_TIME><EGID>{token.egid}</EGID></LOGIN_TOKEN>"
            for token in self.tokens
        )
        return (
            f"<USER><ID>{self.oid}</ID><GID>{self.gid}</GID>{xml.ids_xml('GROUPS', self.groups)}<GNAME>{xml.escape(self.gname)}</GNAME>"
            f"<NAME>{xml.escape(self.name)}</NAME><PASSWORD>{xml.cdata(self.password)}</PASSWORD>"
            f"<AUTH_DRIVER>{xml.cdata(self.driver)}</AUTH_DRIVER><ENABLED>{int(self.enabled)}</ENABLED>"
            f"{tokens}{self.template.to_xml()}</USER>"
        )

    def join(self, gid: int) -> None:
        """Add a group to the set."""
        self.groups = sorted({*self.groups, gid})

    def leave(self, gid: int) -> None:
        """Take a group out of the set."""
        self.groups = [known for known in self.groups if known != gid]


class Account(msgspec.Struct, frozen=True):
    """What log-in needs of a user, computed once per version of the row."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    verifier: str
    driver: str
    enabled: bool
    tokens: dict[str, LoginToken]

    @classmethod
    def from_row(cls, row: PoolRow) -> Account:
        """Read a stored row. Raises DefectError as ``User.from_row``."""
        user = User.from_row(row)
        return cls(
            uid=user.oid,
            gid=user.gid,
            groups=tuple(user.groups),
            name=user.name,
            verifier=user.password,
            driver=user.driver,
            enabled=user.enabled,
            tokens={token.token_hash: token for token in user.tokens},
        )

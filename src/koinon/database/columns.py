"""Column types as each engine needs them. Tables and migrations are made of these.

Holds:    text compares by its bytes everywhere: no case, no accents, trailing blanks count. Bodies of 4 MiB and log statements twice as
          long fit.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Integer, LargeBinary, String, Text
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT, VARBINARY
from sqlalchemy.types import TypeEngine

_MARIADB: Final = "utf8mb4_nopad_bin"
_POSTGRESQL: Final = "C"


def word(length: int) -> TypeEngine[Any]:
    """Short text."""
    return String(length).with_variant(String(length, _POSTGRESQL), "postgresql").with_variant(String(length, _MARIADB), "mysql", "mariadb")


def raw(length: int) -> TypeEngine[Any]:
    """So many bytes."""
    return LargeBinary(length).with_variant(VARBINARY(length), "mysql", "mariadb")


TEXT: Final = Text().with_variant(Text(collation=_POSTGRESQL), "postgresql").with_variant(LONGTEXT(collation=_MARIADB), "mysql", "mariadb")
BLOB: Final = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")
HASH: Final = raw(32)
#: Keys of the log. SQLite keeps a table in the order of its key, without an index beside it, if the key is called INTEGER (64 bits
#: there): each page less that a commit touches makes the commit faster.
INDEX: Final = BigInteger().with_variant(Integer(), "sqlite")

"""Small values that this zone remembers about its federation, and no other zone knows: rows of ``federation_setting``."""

from __future__ import annotations

from typing import Literal

from koinon.database.transactions import ReadTx, ZoneTx

Name = Literal["instance", "signed frame", "rollback", "losses accepted", "resync", "attempt to join"]


def recall(tx: ReadTx, name: Name) -> bytes | None:
    """The value, None if there is none."""
    rows = tx.fetch("SELECT value FROM federation_setting WHERE name = ?", (name,))
    return bytes(rows[0][0]) if rows else None


def remember(tx: ZoneTx, name: Name, value: bytes) -> None:
    """Keep a value in place of the one before."""
    forget(tx, name)
    tx.later("INSERT INTO federation_setting (name, value) VALUES (?, ?)", (name, value))


def forget(tx: ZoneTx, name: Name) -> None:
    """Drop a value."""
    tx.later("DELETE FROM federation_setting WHERE name = ?", (name,))


def forget_all(tx: ZoneTx) -> None:
    """Drop every value: this zone leaves the federation, or comes to another."""
    tx.later("DELETE FROM federation_setting", ())

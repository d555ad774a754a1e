"""Read the SQL text of one statement back into the typed change that it is the text of. Nothing else is SQL here.

Strict on purpose: one space where the canonical text has one, numbers as Python prints them, whole text or nothing. So the text of a change
is unique, and a statement from elsewhere can say no more than a typed change can.
Path:     text of federation_log -> parse() -> RowChange     (the way out: rendering.py)
"""

from __future__ import annotations

import re
from typing import Final

from koinon.statements.rendering import GrammarError, check
from koinon.statements.schema import (
    MAX_BODY_BYTES,
    MAX_NAME_BYTES,
    POOL_TABLES,
    SHARED_TABLES,
    Column,
    Delete,
    Insert,
    RowChange,
    SetCounter,
    Update,
    Value,
)

# Every quote in both texts may be doubled; 1024 is ample for words and numbers.
_MAX_CHARACTERS: Final = 2 * (MAX_BODY_BYTES + MAX_NAME_BYTES) + 1024

_NUMBER: Final = "(0|-?[1-9][0-9]{0,18})"
# Possessive, so that megabytes of quotes take time and memory in proportion, whatever follows them.
_TEXT: Final = "'([^']*+(?:''[^']*+)*+)'"


def _literal(column: Column) -> str:
    return _TEXT if column.bounds is None else _NUMBER


def _insert_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    columns = SHARED_TABLES[names[0]].columns
    listed = ", ".join(column.name for column in columns)
    return re.compile(rf"INSERT INTO ({'|'.join(names)}) \({listed}\) VALUES \({', '.join(map(_literal, columns))}\)")  # noqa: S608 - a pattern


def _update_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    columns = SHARED_TABLES[names[0]].columns[1:]
    # After a value stands a comma if another column follows, else the space before WHERE.
    assignments = "".join(rf"(?:{column.name} = {_literal(column)}(?:, (?!WHERE)| (?=WHERE)))?" for column in columns)
    return re.compile(rf"UPDATE ({'|'.join(names)}) SET {assignments}WHERE oid = {_NUMBER}")  # noqa: S608 - a pattern


_ACL: Final = ("acl",)
_INSERTS: Final = tuple((_insert_pattern(names), SHARED_TABLES[names[0]].columns) for names in (POOL_TABLES, _ACL))
_UPDATES: Final = tuple((_update_pattern(names), SHARED_TABLES[names[0]].columns[1:]) for names in (POOL_TABLES, _ACL))
_DELETE: Final = re.compile(rf"DELETE FROM ({'|'.join(SHARED_TABLES)}) WHERE oid = {_NUMBER}")  # noqa: S608 - a pattern
_COUNTER: Final = re.compile(
    rf"REPLACE INTO pool_control \(tablename, last_oid\) VALUES \('({'|'.join(SHARED_TABLES)})', {_NUMBER}\)"  # noqa: S608 - a pattern
)


def parse(text: str) -> RowChange:
    """The change whose canonical text this is.

    Raises:
        GrammarError: the text is not exactly one statement of the grammar, or its values are out of bounds.
    """
    if len(text) > _MAX_CHARACTERS:
        raise GrammarError(f"{len(text)} characters are more than any statement has")
    change = _read(text)
    if change is None:
        raise GrammarError(f"not a statement of the federation log: it begins with {text[:32]!r}")
    check(change)
    return change


def _read(text: str) -> RowChange | None:
    for pattern, columns in _INSERTS:
        if found := pattern.fullmatch(text):
            table, *literals = found.groups()
            return Insert(table, tuple([_value(column, literal) for column, literal in zip(columns, literals, strict=True)]))
    for pattern, columns in _UPDATES:
        if found := pattern.fullmatch(text):
            table, *literals, oid = found.groups()
            chosen = [(column, literal) for column, literal in zip(columns, literals, strict=True) if literal is not None]
            names = tuple([column.name for column, _ in chosen])
            return Update(table, int(oid), names, tuple([_value(column, literal) for column, literal in chosen]))
    if found := _DELETE.fullmatch(text):
        return Delete(found[1], int(found[2]))
    if found := _COUNTER.fullmatch(text):
        return SetCounter(found[1], int(found[2]))
    return None


def _value(column: Column, literal: str) -> Value:
    return literal.replace("''", "'") if column.bounds is None else int(literal)

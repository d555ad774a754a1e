"""The canonical SQL text of a typed change, and the limits that every change keeps.

Each change has exactly one text; grammar.py reads it back. What ``check`` accepts is what the log may hold: whoever makes a change, takes
one off the wire or parses one asks it.
Not here: binding values to an engine (database); the texts are for the log, the chain and people.
Source: OpenNebula src/sql/OneDB.cc and the statements of its federation log; XML 1.0 section 2.2 (Char).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from koinon.statements.schema import INT32, SHARED_TABLES, Column, Delete, Insert, RowChange, Table, Update, Value


class GrammarError(ValueError):
    """Not a change that the federation log may hold, or not the text of one. The text says which part and why."""


class _UpdateShape(msgspec.Struct, frozen=True):
    """How an UPDATE of certain columns is written: ``template`` takes their values and the row's oid."""

    template: str
    columns: tuple[Column, ...]


_OID: Final = Column("oid", INT32)
_LAST_OID: Final = Column("last_oid", INT32)
# Deleting these from the UTF-8 form and comparing lengths costs a fifth of a search with a regular expression (4 KB: 2.7 us against 14).
_CONTROLS: Final = bytes(code for code in range(0x20) if code not in b"\t\n\r")


def render(change: RowChange) -> str:
    """The one SQL text of a change that ``check`` accepts.

    Raises:
        GrammarError: the change names no shared table or columns, or holds a value of quite another type.
    """
    try:
        if isinstance(change, Insert):
            return _INSERTS[change.table] % _quoted(change.values)
        if isinstance(change, Update):
            return _update_shape(change.table, change.columns).template % (*_quoted(change.values), change.oid)
        if isinstance(change, Delete):
            return _DELETES[change.table] % change.oid
        return _COUNTERS[change.table] % change.last_oid
    except GrammarError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise GrammarError(f"{change.table!r:.80} is not a shared table, or the values are not its columns' ({error!r:.80})") from error


def check(change: RowChange) -> None:
    """Refuse what the log may not hold: other tables or columns, another order, wrong types, numbers or texts out of bounds.

    Raises:
        GrammarError: names the table, the column and the reason.
    """
    table = _known(change.table)
    if isinstance(change, Insert):
        _check_values(table, table.columns, change.values)
    elif isinstance(change, Update):
        _check_value(table, _OID, change.oid)
        _check_values(table, _update_shape(change.table, change.columns).columns, change.values)
    elif isinstance(change, Delete):
        _check_value(table, _OID, change.oid)
    else:
        _check_value(table, _LAST_OID, change.last_oid)


def _quoted(values: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple([value.replace("'", "''") if isinstance(value, str) else value for value in values])


def _mark(column: Column) -> str:
    return "'%s'" if column.bounds is None else "%d"


def _insert_template(table: Table) -> str:
    return f"INSERT INTO {table.name} ({', '.join(table.names)}) VALUES ({', '.join(map(_mark, table.columns))})"  # noqa: S608 - our own names


_INSERTS: Final = {name: _insert_template(table) for name, table in SHARED_TABLES.items()}
_DELETES: Final = {name: f"DELETE FROM {name} WHERE oid = %d" for name in SHARED_TABLES}  # noqa: S608 - our own names
_COUNTERS: Final = {
    name: f"REPLACE INTO pool_control (tablename, last_oid) VALUES ('{name}', %d)"  # noqa: S608 - our own names
    for name in SHARED_TABLES
}


@lru_cache(maxsize=1024)  # there are 777 shapes in all, and a refused one is never kept
def _update_shape(name: str, columns: tuple[str, ...]) -> _UpdateShape:
    chosen = tuple(column for column in _known(name).columns[1:] if column.name in columns)
    if not columns or tuple(column.name for column in chosen) != columns:
        raise GrammarError(f"{name}: an update names some of its columns, in their order, never oid; not {columns!r:.200}")
    assignments = ", ".join(f"{column.name} = {_mark(column)}" for column in chosen)
    return _UpdateShape(f"UPDATE {name} SET {assignments} WHERE oid = %d", chosen)  # noqa: S608 - our own names


def _known(name: str) -> Table:
    table = SHARED_TABLES.get(name)
    if table is None:
        raise GrammarError(f"{name!r:.80} is not a shared table")
    return table


def _check_values(table: Table, columns: tuple[Column, ...], values: tuple[Value, ...]) -> None:
    if len(values) != len(columns):
        raise GrammarError(f"{table.name}: {len(values)} values for {len(columns)} columns")
    for column, value in zip(columns, values, strict=True):
        _check_value(table, column, value)


def _check_value(table: Table, column: Column, value: Value) -> None:
    # Exact types: a bool or an enum is an int that another zone would read back as something else, and hash differently.
    if column.bounds is not None:
        if type(value) is not int:
            raise GrammarError(f"{table.name}.{column.name}: a number is needed, not {type(value).__name__}")
        least, greatest = column.bounds
        if not least <= value <= greatest:
            raise GrammarError(f"{table.name}.{column.name}: the number is not within {least} and {greatest}")
    else:
        if type(value) is not str:
            raise GrammarError(f"{table.name}.{column.name}: text is needed, not {type(value).__name__}")
        _check_text(table, column, value)


def _check_text(table: Table, column: Column, text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise GrammarError(f"{table.name}.{column.name}: XML does not allow the lone surrogate U+{ord(text[error.start]):04X}") from error
    if len(raw) > column.max_bytes:
        raise GrammarError(f"{table.name}.{column.name}: {len(raw)} bytes are more than the {column.max_bytes} allowed")
    if len(raw.translate(None, _CONTROLS)) != len(raw) or "\ufffe" in text or "\uffff" in text:
        found = next(char for char in text if char in "\ufffe\uffff" or (char < " " and char not in "\t\n\r"))
        raise GrammarError(f"{table.name}.{column.name}: XML does not allow the character U+{ord(found):04X}")

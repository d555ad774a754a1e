"""A session with a PostgreSQL server, spoken with libpq itself: psycopg connects, adapts values and names errors; its cursors are left out.

Path:     execute() -> what ``later`` has left, and this statement -> one pipeline, ended by one Sync -> the answer to the last
Holds:    a statement is prepared when it is met for the third time. Rows come in binary. A server that keeps silent for too long is given
          up. An error in a statement left for later ends the transaction for this session: whose it was, nobody could tell.
Why:      a point read costs 8 us of processor here and 13 through a cursor; 30 statements in a pipeline take one round trip
          (docs/decisions/0018-round-trips.md).
"""

from __future__ import annotations

import contextlib
import select
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.types.numeric import Int8BinaryDumper

from koinon.database.dialects import servers

#: Serialisation failure, deadlock, lock not to be had in time: the transaction must be made again.
AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
#: The server has ended the session, or is about to.
ENDED: Final = ("08", "57P", "25P03")
_BINARY: Final = pq.Format.BINARY
_FAILED: Final = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)
_OVERHEAD: Final = 50  #: bytes of a statement beside its values, about
_STREAMED_AT_ONCE: Final = 500
_PREPARED_AT_USE: Final = 3
#: Most statements that a session prepares, and that it counts. Those composed for a caller are many; ours are fewer, and met early.
_MOST_PREPARED: Final = 256
_MOST_COUNTED: Final = 1024


class _Statement(NamedTuple):
    """A statement and its values as they go to the server.

    Attributes:
        name: empty unless it is prepared.
        finds: whether it must find a row.
    """

    name: bytes
    text: bytes
    values: Sequence[Any]
    types: tuple[int, ...]
    formats: Sequence[pq.Format]
    finds: bool = False


class _Rows:
    """What a statement answered."""

    def __init__(self, rowcount: int, rows: list[Any]) -> None:
        self.rowcount = rowcount
        self._left = iter(rows)

    def fetchone(self) -> Any:
        return next(self._left, None)

    def fetchall(self) -> list[Any]:
        return list(self._left)

    def __iter__(self) -> Iterator[Any]:
        return self._left


@lru_cache(maxsize=_MOST_COUNTED)
def _numbered(sql: str) -> bytes:
    """SQL with ``$1`` for the first ``?``, and so on. None of our texts holds a question mark of its own."""
    first, *rest = sql.split("?")
    return (first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))).encode()


class Session:
    """A connection with the surface of sqlite3's.

    Args:
        raw: in autocommit mode; this session has it for itself.

    Attributes:
        lost: an error may have cost the transaction: nothing but ``rollback`` is done.
        defers: whether ``later`` may wait.
    """

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        self.lost = False
        self.defers = False
        self._waiting: list[_Statement] = []
        self._waiting_bytes = 0
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._uses: Counter[tuple[bytes, tuple[int, ...]]] = Counter()
        # One type for all numbers: a statement is then planned once, not for each size of its numbers.
        raw.adapters.register_dumper(int, Int8BinaryDumper)
        self._adapter = Transformer(raw)
        self._libpq = raw.pgconn
        self._libpq.enter_pipeline_mode()
        self._heard = select.poll()
        self._socket = self._libpq.socket
        self._heard.register(self._socket, select.POLLIN)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> _Rows:
        return self._run(self._bound(sql, parameters))

    def later(self, sql: str, *rows: Sequence[Any]) -> None:
        for row in rows:
            self._leave(self._bound(sql, row))

    def later_one(self, sql: str, parameters: Sequence[Any], /) -> None:
        self._leave(self._bound(sql, parameters)._replace(finds=True))

    def _leave(self, statement: _Statement) -> None:
        if not self.defers:
            self._run(statement)
            return
        self._waiting.append(statement)
        self._waiting_bytes += _OVERHEAD + sum(len(value) for value in statement.values if value is not None)
        if self._waiting_bytes > servers.WAITING_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._run(None)

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        self.execute(f"DECLARE stream NO SCROLL CURSOR FOR {sql}", parameters)
        while rows := self.execute(f"FETCH {_STREAMED_AT_ONCE} FROM stream").fetchall():
            yield from rows
        self.execute("CLOSE stream")

    def rollback(self) -> None:
        """End a transaction, if there is one, and forget what waits; never fails."""
        self._taken()
        self.lost = False
        with contextlib.suppress(psycopg.Error):
            self.execute("ROLLBACK")
        self.lost = bool(self.raw.closed)

    def close(self) -> None:
        self.raw.close()

    def _bound(self, sql: str, parameters: Sequence[Any]) -> _Statement:
        if self.lost:
            raise psycopg.OperationalError("the transaction was lost")
        text = _numbered(sql)
        values: Sequence[Any] = ()
        types: tuple[int, ...] = ()
        formats: Sequence[pq.Format] = ()
        if parameters:
            values = self._adapter.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
            types, formats = self._adapter.types or (), self._adapter.formats or ()
        return _Statement(self._prepared.get((text, types)) or self._prepare(text, types), text, values, types, formats)

    def _prepare(self, text: bytes, types: tuple[int, ...]) -> bytes:
        """The name that a statement has now; empty if it is not worth one."""
        key = (text, types)
        if self._uses[key] < _PREPARED_AT_USE - 1 or len(self._prepared) >= _MOST_PREPARED:
            if len(self._uses) >= _MOST_COUNTED:
                self._uses.clear()
            self._uses[key] += 1
            return b""
        name = b"koinon%d" % len(self._prepared)
        self._libpq.send_prepare(name, text, types)
        (result,) = self._results()
        self._raise_if_failed(result, alone=True)
        self._prepared[key] = name
        return name

    def _taken(self) -> list[_Statement]:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    def _run(self, last: _Statement | None) -> _Rows:
        """Run what waits, and then this."""
        waiting = self._taken()
        batch = waiting if last is None else [*waiting, last]
        for name, text, values, types, formats, _ in batch:
            if name:
                self._libpq.send_query_prepared(name, values, formats, _BINARY)
            else:
                self._libpq.send_query_params(text, values, types, formats, _BINARY)
        results = self._results()
        for at, (statement, result) in enumerate(zip(batch, results, strict=False)):  # what follows a failure has no result
            self._raise_if_failed(result, alone=at == len(waiting))
            if statement.finds and not result.command_tuples:
                self.lost = at < len(waiting)
                raise psycopg.IntegrityError("the row is gone")
        if last is None:
            return _NONE
        answer = results[-1]
        if answer.status != pq.ExecStatus.TUPLES_OK:
            return _Rows(answer.command_tuples or 0, [])
        self._adapter.set_pgresult(answer, set_loaders=True, format=_BINARY)
        return _Rows(answer.ntuples, self._adapter.load_rows(0, answer.ntuples, tuple))

    def _results(self) -> list[Any]:
        """End the pipeline and wait for all that it answers. (While libpq itself waits, no other thread of ours would run.)"""
        libpq = self._libpq
        results: list[Any] = []
        try:
            libpq.pipeline_sync()
            while libpq.flush():
                self._wait(select.POLLIN | select.POLLOUT)
            while True:
                while libpq.is_busy():
                    self._wait(select.POLLIN)
                result = libpq.get_result()
                if result is None:  # between two statements
                    if libpq.status != pq.ConnStatus.OK:
                        raise psycopg.OperationalError(libpq.get_error_message())
                elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return results
                else:
                    results.append(result)
        except psycopg.Error:
            self.raw.close()
            self.lost = True
            if results:  # it may have said why
                self._raise_if_failed(results[-1], alone=False)
            raise

    def _wait(self, events: int) -> None:
        self._heard.modify(self._socket, events)
        for _, event in self._heard.poll(servers.SILENCE_S * 1000):
            if event & ~select.POLLOUT:
                self._libpq.consume_input()
            return
        raise psycopg.OperationalError(f"the server has kept silent for {servers.SILENCE_S} s")

    def _raise_if_failed(self, result: Any, *, alone: bool) -> None:
        if result.status not in _FAILED:
            return
        error = error_from_result(result, encoding="utf-8")
        if (error.sqlstate or "").startswith(ENDED):
            self.raw.close()
        self.lost = not alone or error.sqlstate in AGAIN or bool(self.raw.closed)
        raise error


_NONE: Final = _Rows(0, [])

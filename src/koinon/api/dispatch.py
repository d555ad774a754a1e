"""Answer one call: who asks, which zone answers, what comes out.

Path:     http.py, daemon/plain_calls.py -> Dispatcher.begin() -> a bound function, here or (shared writes on a slave) on the master through
          federation.forwarding
          another zone's redirect -> Dispatcher.answer_forwarded()
Holds:    the session is checked before anything else is said, and once more where a write is made; every failure becomes OpenNebula's
          array, every unreadable call a fault.
          What only this zone has is written here, whatever its role, and never for a caller of another zone.
Not here: what a call does (bindings.py and the domain); how a redirect travels (federation/forwarding.py).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from koinon import clock
from koinon.api import versions
from koinon.api.bindings import Bindings, Bound
from koinon.database.database import Database
from koinon.database.jobs import Request, Written
from koinon.database.request_outcomes import first_outcome, remembering
from koinon.database.transactions import ReadTx
from koinon.errors import ActionError, CloudError, DefectError, InvalidError, UnavailableError
from koinon.federation.forwarding import Forwarding, request_of
from koinon.identity import zones
from koinon.identity.login import Login
from koinon.identity.pool_lists import Selection
from koinon.policy.caller import Caller
from koinon.statements.commits import Position
from koinon.wire import xmlrpc
from koinon.wire.calls import CALLS, Call, Runs
from koinon.wire.resources import VERSIONED
from koinon.wire.values import Value

log = structlog.get_logger(__name__)

#: Says, in the transaction that makes a write, who calls.
Who: TypeAlias = Callable[[ReadTx], Caller]

_LONG: Final = 256 * 1024  #: bytes of a call that take some milliseconds to read


class Answer(NamedTuple):
    """A reply as bytes.

    Attributes:
        body: the XML.
        position: what to wait for if this zone's copy does not hold the caller's write yet.
    """

    body: bytes
    position: Position | None = None


class Reply(NamedTuple):
    """What a call returned.

    Attributes:
        value: as the bound function made it.
        position: holds what was written; where this zone is, if nothing shared was.
        readable: whether this zone's copy holds it.
        version: first part of the version of the object that the call is about, if that was asked for.
    """

    value: Any
    position: Position
    readable: bool = True
    version: str = ""


class Terms(NamedTuple):
    """What a caller may ask for beside the call.

    Attributes:
        after: a read answers from a state that holds this position.
        if_match: versions of the object, one of which it must have for a write; empty for any.
        once_id: id of the request, the same in each repetition; empty for none.
        once_secret: 32 bytes that go with it.
        versioned: table of the object whose version the answer to a read carries; empty for none.
        selection: which part of a list; None if the call lists nothing.
    """

    after: Position | None = None
    if_match: str = ""
    once_id: str = ""
    once_secret: bytes = b""
    versioned: str = ""
    selection: Selection | None = None


NO_TERMS: Final = Terms()


class Dispatcher:
    """Answers calls.

    Args:
        database: this zone's.
        login: who is who.
        bindings: what does the work.
        forwarding: the way to the master.
        halted: why shared writes are refused, None if they are not.
        wait_s: how long a read waits for the state that it asks for.
    """

    def __init__(
        self,
        database: Database,
        login: Login,
        bindings: Bindings,
        forwarding: Forwarding,
        halted: Callable[[], str | None],
        *,
        wait_s: float = 5.0,
    ) -> None:
        self._database = database
        self._login = login
        self._bindings = bindings
        self._forwarding = forwarding
        self._halted = halted
        self._wait_s = wait_s

    async def answer(self, body: bytes) -> Answer:
        """Answer an XML-RPC body. Never raises but for cancellation."""
        begun = self.begin(body)
        return begun if isinstance(begun, Answer) else await begun

    def begin(self, body: bytes) -> Answer | Coroutine[Any, Any, Answer]:
        """Answer an XML-RPC body at once if all that it needs is at hand here; otherwise what to wait for. Neither raises."""
        if len(body) > _LONG:
            return self._answer_long(body)
        try:
            call, values = _read_call(body)
        except xmlrpc.Fault as fault:
            return Answer(xmlrpc.encode_fault(fault.code, fault.text))
        return self._begin(call, values, body)

    async def _answer_long(self, body: bytes) -> Answer:
        # Read in a thread, or a stranger's 64 MiB would hold up everybody for seconds.
        try:
            call, values = await asyncio.to_thread(_read_call, body)
        except xmlrpc.Fault as fault:
            return Answer(xmlrpc.encode_fault(fault.code, fault.text))
        begun = self._begin(call, values, body)
        return begun if isinstance(begun, Answer) else await begun

    def _begin(self, call: Call, values: list[Value], body: bytes) -> Answer | Coroutine[Any, Any, Answer]:
        try:
            arguments = xmlrpc.bind(values, call.signature)
            bound = self._bindings[call.name]
            if not call.authenticates:
                return Answer(xmlrpc.encode_result(bound.run(*arguments)))
            if not call.writes and not bound.in_thread and not self._database.asks:
                with self._database.read() as tx:
                    caller = self._login.remembered(arguments[0], tx, tx.state.zone_id, clock.now_s())
                    if caller is not None:
                        return _success(self._read(call, bound, tx, caller, arguments[1:], NO_TERMS).value)
        except Exception as error:
            return _refused(call, error)
        return self._finish(call, arguments, body, self._database.looks())

    async def _finish(self, call: Call, arguments: list[Any], body: bytes, since: int) -> Answer:
        try:
            reply = await self._answer(call, arguments[0], arguments[1:], NO_TERMS, body, since=since)
            return _success(reply.value, None if reply.readable else reply.position)
        except Exception as error:
            return _refused(call, error)

    async def reply(self, call: Call, session: str, arguments: list[Any], terms: Terms) -> Reply:
        """Answer a call whose arguments were read from something else than XML-RPC.

        Args:
            call: one that authenticates.
            session: ``user:secret``.
            arguments: what follows the session, of the right types.
            terms: what else is asked for.

        Raises:
            CloudError: what the caller gets to read.
        """
        try:
            return await self._answer(call, session, arguments, terms)
        except CloudError:
            raise
        except Exception as error:
            raise _defect(call, error) from error

    async def _answer(
        self, call: Call, session: str, arguments: list[Any], terms: Terms, body: bytes = b"", *, since: int | None = None
    ) -> Reply:
        bound = self._bindings[call.name]
        if terms.after is not None:
            await self._reach(terms.after)
        with self._database.read(since) as tx:
            state = tx.state
            caller = self._login.remembered(session, tx, state.zone_id, clock.now_s())
            reply = None if caller is None else self._read_now(call, bound, tx, caller, arguments, terms)
        seen = None if caller is None else state
        if caller is None:
            caller = await self._login.authenticate(session, state.zone_id)
            with self._database.read() as tx:
                state = tx.state
                reply = self._read_now(call, bound, tx, caller, arguments, terms)
        if reply is not None:
            return reply
        if bound.in_thread:
            return await self._read_in_thread(call, bound, caller, arguments, terms)
        _require_home(call, arguments, state.zone_id)
        who = self._login.renewal(session, caller, seen)
        request_id = _begin_request(f"{caller.uid}-{terms.once_id}" if terms.once_id else "")
        redirected = state.role == "slave" and call.runs is not Runs.LOCAL
        if not body and (redirected or terms.once_id):
            body = await _encode(call, session, arguments)
        request = Request(state.zone_id)
        if terms.once_id:
            request = request_of(body, state.zone_id, request_id, terms.once_secret)
            with self._database.read() as tx:
                first = first_outcome(tx, request)
            if first is not None:
                return Reply(first.value, first.head or state.head.position)
        if call.runs is Runs.LOCAL:
            value = await self._write_here(call, bound, caller, who, arguments, request, terms.if_match)
            return Reply(value, self._database.state().head.position)
        if redirected:
            return Reply(*await self._forwarding.redirect(call.name, body, request_id, secret=terms.once_secret, if_match=terms.if_match))
        written = await self._write(call, bound, caller, who, arguments, request, terms.if_match)
        return Reply(written.value, written.head)

    async def _reach(self, after: Position) -> None:
        """Wait until this zone holds ``after``. Raises UnavailableError."""
        if not await self._database.reached(after.index, self._wait_s) or self._database.state().epoch < after.epoch:
            position = self._database.state().head.position
            raise UnavailableError(f"This zone is at {position} and did not reach {after} within {self._wait_s:g} s. Try again.")

    def _read_now(self, call: Call, bound: Bound, tx: ReadTx, caller: Caller, arguments: list[Any], terms: Terms) -> Reply | None:
        """The reply to a short read; None for what is made elsewhere."""
        if call.writes:
            _require_enabled(call, tx)
            return None
        return None if bound.in_thread else self._read(call, bound, tx, caller, arguments, terms)

    @staticmethod
    def _read(call: Call, bound: Bound, tx: ReadTx, caller: Caller, arguments: list[Any], terms: Terms) -> Reply:
        if not call.when_disabled:
            _require_enabled(call, tx)
        if terms.selection is None:
            value = bound.run(tx, caller, *arguments)
        else:
            value = bound.run(tx, caller, *arguments, selection=terms.selection)
        version = ""
        if terms.versioned:
            oid = caller.gid if terms.versioned == "group_pool" else caller.uid
            version = versions.of_object(tx, terms.versioned, arguments[0] if arguments[0] >= 0 else oid)
        return Reply(value, tx.state.head.position, version=version)

    async def _read_in_thread(self, call: Call, bound: Bound, caller: Caller, arguments: list[Any], terms: Terms) -> Reply:
        return await self._database.read_in_thread(lambda tx: self._read(call, bound, tx, caller, arguments, terms))

    async def _write(
        self, call: Call, bound: Bound, caller: Caller, who: Who, arguments: list[Any], request: Request, if_match: str = ""
    ) -> Written[Any]:
        halted = self._halted()
        if halted is not None:
            raise UnavailableError(halted)
        if bound.prepare is not None:
            arguments = list(await bound.prepare(caller, *arguments))
        job = remembering(self._guarded(call, bound, who, arguments, if_match), request, logged=True)
        written = await self._database.write_shared(call.name, job, request=request)
        log.info("written", method=call.name, uid=caller.uid, zone=request.origin_zone, head=str(written.head))
        return written

    async def _write_here(
        self, call: Call, bound: Bound, caller: Caller, who: Who, arguments: list[Any], request: Request, if_match: str
    ) -> Any:
        """Write what only this zone has; its master need not be there for it."""
        if bound.prepare is not None:
            arguments = list(await bound.prepare(caller, *arguments))
        job = remembering(self._guarded(call, bound, who, arguments, if_match), request, logged=False)
        if bound.cleans_up and self._database.state().role != "slave" and self._halted() is None:
            value = (await self._database.write_shared(call.name, job)).value
        else:
            value = await self._database.write_zone(call.name, job)
        log.info("written here", method=call.name, uid=caller.uid, zone=caller.zone_id)
        return value

    def _guarded(self, call: Call, bound: Bound, who: Who, arguments: list[Any], if_match: str) -> Callable[[Any], Any]:
        if not if_match:
            return lambda tx: bound.run(tx, who(tx), *arguments)
        if call.noun not in VERSIONED:
            raise InvalidError(f"{call.name} is about nothing that has a version.")
        show = self._bindings[f"one.{call.noun}.info"].run
        return versions.guarded(call, bound.run, show, who, arguments, if_match)

    async def answer_forwarded(self, body: bytes, request: Request, if_match: str = "") -> Written[Any]:
        """Do a shared write for a caller who came to another zone.

        Args:
            body: the caller's own XML-RPC body, session included.
            request: with the origin zone, whose rules count, and the request id, under which it happens once.
            if_match: versions of the object, one of which it must have; empty for any.

        Raises:
            CloudError: what the caller gets to read.
        """
        bind_contextvars(request=request.request_id)
        try:
            call, values = await asyncio.to_thread(_read_call, body) if len(body) > _LONG else _read_call(body)
            if not call.writes or call.runs is Runs.LOCAL:
                raise InvalidError(f"{call.name} is not redirected: every zone answers it itself.")
            session, *arguments = xmlrpc.bind(values, call.signature)
        except xmlrpc.Fault as fault:
            raise InvalidError(fault.text) from fault
        with self._database.read() as tx:
            # Before the log-in: the first time may have changed the very password that this repetition carries.
            first = first_outcome(tx, request)
            _require_enabled(call, tx)
            position = tx.state.head.position
        if first is not None:
            return Written(first.value, first.head or position, repeated=True)
        caller = await self._login.authenticate(session, request.origin_zone)
        _require_home(call, arguments, request.origin_zone)
        who = self._login.renewal(session, caller, None)
        return await self._write(call, self._bindings[call.name], caller, who, arguments, request, if_match)


def _begin_request(request_id: str = "") -> str:
    """Give this task's log lines an id, new unless given: each call has a task of its own, so nothing need take it away again."""
    request_id = request_id or secrets.token_hex(16)
    bind_contextvars(request=request_id)
    return request_id


def _read_call(body: bytes) -> tuple[Call, list[Value]]:
    """The call that a body makes, and the values it sends, whatever they are. Raises Fault."""
    request = xmlrpc.decode(body)
    call = CALLS.get(request.method)
    if call is None:
        raise xmlrpc.unknown_method(request.method)
    return call, request.params


async def _encode(call: Call, session: str, arguments: list[Any]) -> bytes:
    """A call as XML-RPC, which is what zones send on and what a repetition must equal; a long one is made in a thread."""
    values = [session, *arguments]
    if sum(len(value) for value in arguments if isinstance(value, str)) < _LONG:
        return xmlrpc.encode_call(call.name, values)
    return await asyncio.to_thread(xmlrpc.encode_call, call.name, values)


def _defect(call: Call, error: Exception) -> DefectError:
    # The caller gets the request's id to quote; what went wrong stands in the log only, it may hold what is not theirs to know.
    request_id = get_contextvars().get("request") or secrets.token_hex(16)
    log.exception("call failed", method=call.name, request=request_id)
    return DefectError(f"Unexpected {type(error).__name__}. The server's log tells more under request {request_id}.")


def _require_enabled(call: Call, tx: ReadTx) -> None:
    """Source: OpenNebula, RequestManager: the text."""
    if not call.when_disabled and not zones.is_enabled(tx, tx.state.zone_id):
        raise UnavailableError("Cannot process request, zone disabled")


def _require_home(call: Call, arguments: list[Any], zone_id: int) -> None:
    """Refuse what is asked of one zone about another, if only that one can do it."""
    if call.elsewhere and arguments[0] != zone_id:
        raise ActionError(call.elsewhere)


def _success(value: Any, position: Position | None = None) -> Answer:
    if isinstance(value, list):
        # One copy here costs less than a send for each chunk.
        return Answer(b"".join(xmlrpc.success_chunks(value)[0]), position)
    return Answer(xmlrpc.encode_success(value), position)


def _refused(call: Call, error: Exception) -> Answer:
    """The reply to a call that failed."""
    if isinstance(error, xmlrpc.Fault):
        return Answer(xmlrpc.encode_fault(error.code, error.text))
    if not isinstance(error, CloudError):
        return _failure(call, _defect(call, error))
    # A text may quote an argument, and that may be a secret: then the code must do.
    quotable = len(call.hidden) <= 1
    log.debug("call refused", method=call.name, code=error.code, error=error.text if quotable else "(not logged)")
    return _failure(call, error)


def _failure(call: Call, error: CloudError) -> Answer:
    return Answer(xmlrpc.encode_failure(f"[{call.name}] {error.text}", error.code, error.object_id))

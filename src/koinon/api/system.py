"""Who does what the rows about the server itself promise."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NoReturn

from koinon.api.bindings import Bindings, Services
from koinon.database.transactions import ReadTx
from koinon.errors import ActionError, AuthorizationError
from koinon.objects.characters import forbidden_in, is_element_name
from koinon.objects.xml import cdata, escape
from koinon.policy.caller import Caller
from koinon.wire.calls import CALLS, Call
from koinon.wire.values import WRONG_PARAMETERS, Fault, unknown_method

#: Names of engines that OpenNebula's schema knows; there is none for PostgreSQL.
_BACKENDS = {"sqlite": "sqlite", "mysql": "mysql", "mariadb": "mysql"}
_RETURNED = "array"  # every one. call answers OpenNebula's reply array


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about the server."""
    server, federation = services.settings.server, services.settings.federation

    def config(tx: ReadTx, _caller: Caller) -> bytes:
        """The settings that OpenNebula's clients look for; nothing in them is a secret, so nothing is masked.

        Source: OpenNebula share/doc/xsd/opennebula_configuration.xsd for names and order.
        """
        state = tx.state
        fields = "".join((
            _single("API_LIST_ORDER", server.list_order),
            _vector("DB", {"BACKEND": backend} if (backend := _BACKENDS.get(services.settings.database.engine)) else {}),
            _single("DEFAULT_AUTH", "core"),
            _single("DEFAULT_UMASK", "177"),
            _single("DEFAULT_VDC_CLUSTER_DATASTORE_ACL", "USE"),
            _single("DEFAULT_VDC_CLUSTER_HOST_ACL", "MANAGE"),
            _single("DEFAULT_VDC_CLUSTER_NET_ACL", "USE"),
            _single("DEFAULT_VDC_DATASTORE_ACL", "USE"),
            _single("DEFAULT_VDC_HOST_ACL", "MANAGE"),
            _single("DEFAULT_VDC_VNET_ACL", "USE"),
            _single("ENABLE_OTHER_PERMISSIONS", "YES"),
            _vector("FEDERATION", {"MODE": state.role.upper(), "SERVER_ID": "-1", "ZONE_ID": str(state.zone_id)}),
            _single("LISTEN_ADDRESS", server.listen),
            _single("PORT", str(server.port)),
            _single("SESSION_EXPIRATION_TIME", str(int(services.settings.login.remember_s))),
            _single("TIMEOUT", str(int(federation.redirect_timeout_s))),
        ))  # fmt: skip
        return escape(f"<OPENNEBULA_CONFIGURATION>{fields}</OPENNEBULA_CONFIGURATION>").encode()

    def query(_tx: ReadTx, caller: Caller, sql: str) -> bytes:
        """What one SELECT finds in this zone's tables. For user 0.

        Source: OpenNebula src/rm/api/SystemAPI.cc: the document, and base64 for values that begin with ``<``.

        Raises:
            AuthorizationError: another user asks.
            ActionError: the settings don't allow it, or the statement can't be answered.
        """
        _require_user_0(caller)
        if not server.sql_queries:
            raise ActionError(
                "SQL queries are off in this zone. An operator can set sql_queries = true in section [server] of its settings."
            )
        names, rows = services.database.query(sql)
        return escape(_answer(sql, names, rows)).encode()

    bindings.bind("one.system.sqlquery", query, in_thread=True)
    bindings.bind("one.system.sql", refuse_sql)
    bindings.bind("one.system.version", lambda _tx, _caller: server.api_version)
    bindings.bind("one.system.config", config)
    bindings.bind("system.listMethods", lambda: sorted(CALLS))
    bindings.bind("system.methodExist", lambda name: name in CALLS)
    bindings.bind("system.methodHelp", lambda name: _known(name).summary)
    bindings.bind("system.methodSignature", lambda name: [_signature(_known(name))])


def refuse_sql(_tx: ReadTx, caller: Caller, _sql: str, _federate: bool) -> NoReturn:
    """Refuse to write by SQL, to everybody.

    Raises:
        AuthorizationError: another than user 0 asks.
        ActionError: user 0 does.
    """
    _require_user_0(caller)
    raise ActionError("SQL that writes is not taken: it would pass by all checks. Use the call that makes the change.")


def _require_user_0(caller: Caller) -> None:
    if caller.uid != 0:
        raise AuthorizationError.not_for(caller.uid, "-")


def _answer(sql: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    for name in names:
        if not is_element_name(name):
            raise ActionError(f"The column {name[:64]!r} can't name an element of the answer. Give it another name with AS.")
    found = "".join(f"<ROW>{''.join(map(_column, names, row))}</ROW>" for row in rows)
    return f"<SQL_COMMAND><QUERY>{cdata(sql)}</QUERY><RESULT>{found}</RESULT></SQL_COMMAND>"


def _column(name: str, value: object) -> str:
    """One value; what is a document, or no text that XML can hold, in base64 under a name that says so."""
    if isinstance(value, str) and not value.startswith("<") and forbidden_in(value) is None:
        return _single(name, value)
    if isinstance(value, str | bytes):
        return _single(f"{name}64", base64.b64encode(value.encode() if isinstance(value, str) else value).decode())
    return _single(name, "" if value is None else str(value))


def _known(name: str) -> Call:
    call = CALLS.get(name)
    if call is None:
        raise Fault(WRONG_PARAMETERS, unknown_method(name).text)
    return call


def _signature(call: Call) -> list[str]:
    returned = _RETURNED if call.authenticates else call.returns.partition("<")[0]
    return [returned, *(param.type.partition("<")[0] for param in call.signature)]


def _single(name: str, value: str) -> str:
    return f"<{name}>{cdata(value)}</{name}>"


def _vector(name: str, values: dict[str, str]) -> str:
    return f"<{name}>{''.join(_single(key, value) for key, value in sorted(values.items()))}</{name}>"

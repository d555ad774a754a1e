"""The calls as resources under ``/api/v1``: JSON in, JSON out, problems as RFC 9457 has them.

Path:     http.py -> this application -> json_headers.py, json_requests.py -> Dispatcher.reply() -> _shown() -> json_documents.py
Holds:    what a row of wire/resources.py says is all there is: routes are made from the rows.
Not here: what calls do; the other wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from koinon.api import json_documents, json_headers, json_requests, versions
from koinon.api.dispatch import Dispatcher, Reply
from koinon.errors import AuthenticationError, BadArgumentError, CloudError, DefectError
from koinon.wire import openapi
from koinon.wire.resources import DIFFERENCE, EXPLANATION, ID, PICKED, RESOURCES, TOKEN, VERSION, Resource

T = TypeVar("T")

BASE: Final = openapi.BASE
_LONG: Final = 64 * 1024  #: characters of a document or of a request that take milliseconds to render or to read
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"


def application(dispatcher: Dispatcher, max_request_bytes: int) -> Starlette:
    """The application.

    Args:
        dispatcher: answers calls.
        max_request_bytes: longer bodies are refused.
    """
    by_path: dict[str, dict[str, Resource]] = {}
    for resource in RESOURCES:
        by_path.setdefault(resource.path, {})[resource.method] = resource
    routes = [Route(f"{BASE}/openapi.json", _openapi, methods=["GET"])]
    for path, resources in sorted(by_path.items(), key=lambda item: item[0].count("{")):  # /acl/explain before /acl/{id}
        routes.append(Route(f"{BASE}{path}", _endpoint(dispatcher, resources, max_request_bytes), methods=list(resources)))
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        CloudError: _cloud_error,
        HTTPException: _http_error,
        Exception: _cloud_error,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


_DOCUMENT: Final[list[bytes]] = []


async def _openapi(request: Request) -> Response:
    if not _DOCUMENT:
        _DOCUMENT.append(openapi.text().encode())
    asked = json_headers.fields(request.headers)
    _require_accept(asked)
    version = versions.of_shown(_DOCUMENT[0])
    headers = {"etag": f'"{version}"', "cache-control": "no-cache"}
    if json_headers.is_known(asked, version):
        return Response(None, 304, headers)
    return Response(_DOCUMENT[0], 200, headers, _JSON)


def _endpoint(dispatcher: Dispatcher, resources: dict[str, Resource], limit: int) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        resource = resources["GET" if request.method == "HEAD" else request.method]
        headers = json_headers.fields(request.headers)
        _require_accept(headers)
        session = json_headers.session_of(headers.get("authorization", ""))
        query = request.query_params
        if len(query.multi_items()) != len(query):
            raise BadArgumentError("A parameter of the query is given twice.")
        selection = json_requests.selection_of(resource, query)
        terms = json_headers.terms_of(resource, headers, session, selection)
        body = await _body(request, limit)
        arguments = await _beside(len(body), lambda: json_requests.arguments_of(resource, request.path_params, query, body))
        reply = await dispatcher.reply(resource.row, session, arguments, terms)
        return await (_shown if resource.method == "GET" else _written)(resource, reply, request, headers)

    return answer


def _require_accept(headers: Mapping[str, str]) -> None:
    if not json_headers.accepts_json(headers.get("accept", "")):
        raise HTTPException(406, "The answer is application/json, and Accept does not allow that.")


async def _body(request: Request, limit: int) -> bytes:
    """The body, if there is one; it must be JSON.

    One that is too long is read all the same, and dropped: many clients hear nothing before all is sent. One that is far too long is not.
    """
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > 2 * limit:
        raise _too_long({"connection": "close"})
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > 2 * limit:
                raise _too_long({"connection": "close"})
            if size > limit:
                parts.clear()
            else:
                parts.append(part)
    except ClientDisconnect as error:
        raise BadArgumentError("The request ended before its body was whole.") from error
    if size > limit:
        raise _too_long()
    if size:
        _require_json(request)
    return b"".join(parts)


def _too_long(headers: dict[str, str] | None = None) -> HTTPException:
    return HTTPException(413, "The request is longer than this server allows ([server] max_request_mib).", headers)


def _require_json(request: Request) -> None:
    if request.method in ("GET", "HEAD"):
        raise BadArgumentError("A GET has no body: what belongs to it goes into the query.")
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != _JSON or charset not in ("", "utf-8"):
        raise HTTPException(415, "Send application/json, in UTF-8.", {"accept": _JSON})
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "Send the body as it is: compressed ones are not taken.", {"accept-encoding": "identity"})


async def _shown(resource: Resource, reply: Reply, request: Request, asked: Mapping[str, str]) -> Response:
    """The answer to a GET: what was asked for, unless the caller has this version of it."""
    headers = {"cache-control": "private, no-cache", "koinon-position": str(reply.position)}
    value, size = reply.value, _size(reply.value)
    if resource.picked_from:
        oid = json_requests.from_text(PICKED, request.path_params["id"])
        value = await _beside(size, lambda: json_documents.picked(reply.value, resource.picked_from, resource.answer, oid))
    version = await _beside(size, lambda: versions.of_shown(value, reply.version))
    headers["etag"] = f'"{version}"'
    if json_headers.is_known(asked, version):
        return Response(None, 304, headers)
    if resource.picked_from:
        return Response(value, resource.status, headers, _JSON)
    if not resource.listed:
        return Response(await _beside(size, lambda: _rendered(value, resource.answer)), resource.status, headers, _JSON)
    listed = await _beside(size, lambda: json_documents.rendered_list(value, resource.answer, resource.listed))
    selection = json_requests.selection_of(resource, request.query_params)
    if selection is not None and listed.count == selection.limit:
        query = urlencode({**request.query_params, "after": listed.last})
        headers["link"] = f'<{BASE}{resource.path}?{query}>; rel="next"'
    return Response(listed.body, resource.status, headers, _JSON)


async def _written(resource: Resource, reply: Reply, _request: Request, _asked: Mapping[str, str]) -> Response:
    headers = {"cache-control": "no-store", "koinon-position": str(reply.position)}
    if resource.status == 201 and resource.answer == ID:
        headers["location"] = f"{BASE}/{resource.path.split('/')[1]}/{reply.value}"
    return Response(_rendered(reply.value, resource.answer), resource.status, headers, _JSON)


def _rendered(value: Any, answer: str) -> bytes:
    if answer == ID:
        return msgspec.json.encode({"id": value})
    if answer in (TOKEN, VERSION):
        return msgspec.json.encode({answer: json_documents.text_of(value)})
    if answer in (EXPLANATION, DIFFERENCE):
        return json_documents.text_of(value).encode()
    return json_documents.rendered(value, answer)


def _size(value: Any) -> int:
    return sum(map(len, value)) if isinstance(value, list) else len(value)


async def _beside(size: int, work: Callable[[], T]) -> T:
    """The result of some work on a value of this size: beside the loop if it would hold that up."""
    return work() if size < _LONG else await asyncio.to_thread(work)


def _problem(status: int, detail: str, code: int, object_id: int, headers: dict[str, str]) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "object_id": object_id,
    }
    return Response(msgspec.json.encode(body), status, headers, _PROBLEM)


async def _cloud_error(_request: Request, error: Exception) -> Response:
    known = error if isinstance(error, CloudError) else DefectError("Unexpected error.")
    headers = {}
    if isinstance(known, AuthenticationError):
        headers["www-authenticate"] = 'Basic realm="koinon", charset="UTF-8"'
    if known.status == 503:
        headers["retry-after"] = "1"
    return _problem(known.status, known.text, known.code, known.object_id, headers)


async def _http_error(_request: Request, error: Exception) -> Response:
    status, detail, headers = 500, "Unexpected error.", {}
    if isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, dict(error.headers or {})
    return _problem(status, detail, BadArgumentError.code, -1, headers)

"""The calls as resources under ``/api/v1``: JSON in, JSON out, problems as RFC 9457 has them.

Path:     http.py -> this application -> json_requests.py -> Dispatcher.reply() -> json_documents.py
Holds:    what a row of wire/resources.py says is all there is: routes are made from the rows.
Not here: what calls do; the other wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from koinon.api import json_documents, json_requests, versions
from koinon.api.dispatch import Dispatcher, Reply
from koinon.errors import AuthenticationError, BadArgumentError, CloudError, DefectError, NotFoundError
from koinon.wire import openapi
from koinon.wire.resources import EXPLANATION, ID, PICKED, RESOURCES, TOKEN, VERSION, Resource

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
    version = versions.of_shown(_DOCUMENT[0])
    headers = {"etag": f'"{version}"', "cache-control": "no-cache"}
    if json_requests.is_known(json_requests.fields(request.headers), version):
        return Response(None, 304, headers)
    return Response(_DOCUMENT[0], 200, headers, _JSON)


def _endpoint(dispatcher: Dispatcher, resources: dict[str, Resource], limit: int) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        resource = resources["GET" if request.method == "HEAD" else request.method]
        headers = json_requests.fields(request.headers)
        session = json_requests.session_of(headers.get("authorization", ""))
        terms = json_requests.terms_of(resource, headers, session)
        body = await _body(request, limit)
        query = request.query_params
        if len(query.multi_items()) != len(query):
            raise BadArgumentError("A parameter of the query is given twice.")
        asked = (resource, request.path_params, query, body)
        if len(body) <= _LONG:
            arguments = json_requests.arguments_of(*asked)
        else:  # a stranger's megabytes must not hold up everybody
            arguments = await asyncio.to_thread(json_requests.arguments_of, *asked)
        oid = json_requests.from_text(PICKED, request.path_params["id"]) if resource.picked_from else -1
        reply = await dispatcher.reply(resource.row, session, arguments, terms)
        if resource.picked_from:
            reply = reply._replace(value=await asyncio.to_thread(_picked, reply.value, resource, oid))
        return await _response(resource, reply, headers)

    return answer


async def _body(request: Request, limit: int) -> bytes:
    """The body, if there is one; it must be JSON."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise HTTPException(
                    413, "The request is longer than this server allows ([server] max_request_mib).", {"connection": "close"}
                )
            parts.append(part)
    except ClientDisconnect as error:
        raise BadArgumentError("The request ended before its body was whole.") from error
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if size and kind != _JSON:
        raise HTTPException(415, "Send application/json.")
    return b"".join(parts)


async def _response(resource: Resource, reply: Reply, asked: Mapping[str, str]) -> Response:
    headers = {"cache-control": "no-store", "koinon-position": str(reply.position)}
    if resource.method == "GET":
        version = versions.of_shown(reply.value, reply.version)
        headers |= {"cache-control": "private, no-cache", "etag": f'"{version}"'}
        if json_requests.is_known(asked, version):
            return Response(None, 304, headers)
    answer = resource.answer
    if answer == ID:
        if resource.status == 201:
            headers["location"] = f"{BASE}/{resource.path.split('/')[1]}/{reply.value}"
        body = msgspec.json.encode({"id": reply.value})
    elif answer in (TOKEN, VERSION):
        body = msgspec.json.encode({answer: json_documents.text_of(reply.value)})
    elif resource.picked_from:
        body = reply.value
    elif answer == EXPLANATION:
        body = json_documents.text_of(reply.value).encode()
    else:
        text = json_documents.text_of(reply.value)
        body = _rendered(text, answer) if len(text) < _LONG else await asyncio.to_thread(_rendered, text, answer)
    return Response(body, resource.status, headers, _JSON)


def _picked(value: Any, resource: Resource, oid: int) -> bytes:
    """The one element that the path means, as JSON."""
    found = json_documents.picked(json_documents.text_of(value), resource.picked_from, resource.answer, oid)
    if found is None:
        raise NotFoundError(resource.answer, oid)
    return msgspec.json.encode(found)


def _rendered(text: str, root: str) -> bytes:
    return msgspec.json.encode(json_documents.rendered(text, root))


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

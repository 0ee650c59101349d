"""The remote API on Klein: routes from the table of resources, one way in, one way for errors out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource as WebResource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from gnt.daemon.runtime import Clock, Pool
from gnt.model.errors import GntError
from gnt.rapi import body
from gnt.rapi.authentication import Authentication
from gnt.rapi.encoded import CACHING, SERVER, Encoded, digested, encoded, matches, takes_gzip
from gnt.rapi.errors import (
    HttpError,
    bad_request,
    error_body,
    headers_of,
    message_of,
    not_found,
    not_supported,
    status_of,
)
from gnt.rapi.events import Hub
from gnt.rapi.http import RapiRequest
from gnt.rapi.keeper import Ask, Keeper
from gnt.rapi.luxi import Master
from gnt.rapi.openapi import describe
from gnt.rapi.query_string import QueryString
from gnt.rapi.resources.base import Call, Own, Plain, Resource, Stream
from gnt.rapi.resources.table import ROWS, by_path
from gnt.rapi.streaming import stream

JSON: Final = "application/json"

MOST_WAYS: Final = 2000
"""Paths whose way to their rows is remembered; Klein takes as long to find it as all else that a request needs."""

_PART: Final = re.compile(r"\[(?P<name>[a-z_]+)\]")
_PATH: Final = re.compile(rb"/|(/[A-Za-z0-9_.\-]+)+")
_NUMBERS: Final = ("job_id", "disk_index")

log: Final = Logger()


class _Name(BaseConverter):
    regex = r"[A-Za-z0-9_.\-]+"


class _Number(BaseConverter):
    regex = r"[0-9]+"


class Application:
    """What answers requests. `resource` is what Twisted serves."""

    # Laid once, at the end of this module: that takes as long as a hundred requests. Klein binds what it is asked of.
    _routes: Final = Klein()

    def __init__(self, master: Master, authentication: Authentication, clock: Clock, pool: Pool) -> None:
        self._master = master
        self._keeper = Keeper(master)
        self._pool = pool
        self.hub = Hub(master, clock)
        self.own: Callable[[], Own] | None = None
        self._description: bytes | None = None
        self._ways: dict[bytes, tuple[Mapping[str, Resource], Mapping[str, str]]] = {}
        self._authentication = authentication
        self._clock = clock
        self.resource = _Front(self._routes.resource(), self)

    async def answer(self, request: RapiRequest, methods: Mapping[str, Resource], names: Mapping[str, str]) -> bytes:
        """Answer a request to which Klein has found the way; from now on it is known."""
        if len(self._ways) >= MOST_WAYS:
            self._ways.clear()
        self._ways[request.path] = (methods, names)
        return await self._answer(request, methods, names)

    def quick(self, request: RapiRequest) -> bool:
        """Answer what programs ask for again and again: a GET of what is kept, by who was right a moment ago.

        False: it is something else, or something is wrong with it; then it goes the way of all requests.
        """
        way = self._ways.get(request.path)
        row = way[0].get("GET") if way is not None and request.method == b"GET" else None
        if way is None or row is None or not row.kept or request.body() or not _is_sound(request) or not request.stays:
            return False
        try:
            user = self._authentication.allow_at_once(request.header("authorization"), row.access, request.address())
        except HttpError:
            return False
        if user is None:
            return False
        request.requester = user.name
        self._kept(request, row, way[1]).addCallbacks(
            self._send, self._send_failure, callbackArgs=(request,), errbackArgs=(request,)
        )
        return True

    def _send(self, answer: Encoded, request: RapiRequest) -> None:
        pack = answer.is_long and takes_gzip(request.header("accept-encoding") or "")
        if pack and not answer.is_packed:
            packing = Deferred.fromCoroutine(answer.packed(self._pool))
            packing.addCallbacks(lambda _: self._send(answer, request), lambda why: self._send_failure(why, request))
            return
        request.send(*answer.whole(request.header("if-none-match"), pack=pack))

    def _send_failure(self, failure: Failure, request: RapiRequest) -> None:
        request.answer(self.failed(request, failure))

    def _kept(self, request: RapiRequest, row: Resource, names: Mapping[str, str]) -> Deferred[Encoded]:
        """Give the answer of a row that is kept. What the request asks for is only looked at if it is asked anew."""
        query = request.uri.partition(b"?")[2]

        async def make(ask: Ask) -> Any:
            does: Any = row.does
            return await does(
                Call(master=self._master, clock=self._clock, names=names, query=QueryString(query), ask=ask)
            )

        return self._keeper.answer(request.path + b"?" + query, make)

    def serve(self, request: RapiRequest) -> bool:
        """Answer a request whose path was seen before; False: it is Klein's to find who answers."""
        way = self._ways.get(request.path)
        if way is None:
            return False
        answering = Deferred.fromCoroutine(self._answer(request, *way))
        if not answering.called:
            request.on_gone(answering.cancel)
        answering.addErrback(lambda failure: self.failed(request, failure))
        answering.addCallback(request.answer)
        return True

    async def _answer(self, request: RapiRequest, methods: Mapping[str, Resource], names: Mapping[str, str]) -> bytes:
        method = request.method.decode("latin-1")
        row = methods.get(method)
        if row is None:
            raise HttpError(
                HTTPStatus.NOT_IMPLEMENTED,
                f"Method {method} is unsupported for path {request.path.decode('latin-1')}",
                headers={"Allow": ", ".join(sorted(methods))},
            )
        user = await self._authentication.allow(request.header("authorization"), row.access, request.address())
        request.requester = "" if user is None else user.name
        if row.opcodes:
            await self._check_needs(row)
        query = request.uri.partition(b"?")[2]
        if isinstance(row.does, Stream):
            header, address = request.header("authorization"), request.address()
            return await stream(
                self.hub, request, QueryString(query), lambda: self._authentication.allow(header, row.access, address)
            )
        if row.kept:
            _body(request)
            return await self._rendered(request, await self._kept(request, row, names))
        does: Any = row.does
        value = await does(
            Call(
                master=self._master,
                clock=self._clock,
                names=names,
                query=QueryString(query),
                body=_body(request),
                reason_name=row.reason_name,
                own=self.own,
                described=self._described,
            )
        )
        if isinstance(value, Plain):
            return await self._rendered(request, digested(value.body), value.content_type)
        return await self._rendered(request, encoded(value))

    async def _rendered(self, request: RapiRequest, answer: Encoded, content_type: str = JSON) -> bytes:
        """Give an answer's body as this client takes it, and set its headers."""
        request.put("Server", SERVER)
        if request.method == b"GET":
            request.put("ETag", answer.tag)
            request.put("Cache-Control", CACHING)
            known = request.header("if-none-match")
            if known is not None and matches(known, answer.tag):
                request.setResponseCode(HTTPStatus.NOT_MODIFIED.value)
                return b""
        request.put("Content-Type", content_type)
        request.put("X-Content-Type-Options", "nosniff")
        content, length = answer.body, answer.length
        if answer.is_long:
            request.put("Vary", "Accept-Encoding")
            if takes_gzip(request.header("accept-encoding") or ""):
                content = await answer.packed(self._pool)
                length = answer.packed_length
                request.put("Content-Encoding", "gzip")
        request.put("Content-Length", length)
        return content

    def _described(self) -> bytes:
        """Give the description of this API; made when the first asks."""
        if self._description is None:
            self._description = msgspec.json.encode(describe(ROWS)) + b"\n"
        return self._description

    async def _check_needs(self, row: Resource) -> None:
        """Refuse what the master does not carry out, by name. Raises `HttpError` (501)."""
        there = await self._master.carries_out()
        for opcode in row.opcodes:
            if opcode.op_id() not in there:
                raise not_supported(f"{opcode.op_id()} is not supported by this version")

    def failed(self, request: RapiRequest, failure: Failure) -> bytes:
        """Answer a request that failed, whatever the failure."""
        problem = failure.value
        headers: Mapping[str, str] = {}
        if isinstance(problem, HTTPException):  # no route: werkzeug knows nothing else about our rules
            problem = not_found()
        if isinstance(problem, GntError):
            status, message = status_of(problem), message_of(problem)
            headers = headers_of(problem)
        elif isinstance(problem, CancelledError):
            status, message = HTTPStatus.SERVICE_UNAVAILABLE, "The request was given up"
        else:
            log.failure("{method} failed unexpectedly", failure=failure, method=request.method)
            status, message = HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error; the log of gnt-rapi says more"
        content = error_body(status, message)
        request.setResponseCode(status.value, status.phrase.encode())
        request.put("Server", SERVER)
        request.put("Content-Type", JSON)
        request.put("Content-Length", str(len(content)))
        request.put("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            request.put(name, value)
        return content

    def refuse(self, request: RapiRequest, problem: Exception) -> None:
        """Answer a request that does not come to Klein."""
        request.answer(self.failed(request, Failure(problem)))  # type: ignore[no-untyped-call]


class _Front(WebResource):
    """Stands before Klein, which would answer what it cannot read with HTML, or not at all."""

    isLeaf = True

    def __init__(self, within: Any, application: Application) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._within = within
        self._application = application

    def render(self, request: RapiRequest) -> Any:
        """Answer."""
        try:
            _check(request)
            return NOT_DONE_YET if self._application.serve(request) else self._within.render(request)
        except Exception as problem:  # noqa: BLE001 - the one place for what nobody thought of; it is logged
            self._application.refuse(request, problem)
            return NOT_DONE_YET


def _check(request: RapiRequest) -> None:
    """Refuse what is wrong before its path is looked at. Raises `HttpError`."""
    if request.too_large:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {body.LIMIT} bytes")
    if not _has_host(request):
        raise bad_request("There has to be one Host header")
    if not _PATH.fullmatch(request.path):
        raise not_found()  # nothing is percent decoded, and no name has other characters
    # What the client calls us plays no part, and Klein must not stumble over it.
    request.requestHeaders.setRawHeaders(b"host", [b"localhost"])


def _has_host(request: RapiRequest) -> bool:
    hosts = request.requestHeaders.getRawHeaders(b"host", [])
    return len(hosts) == 1 or (not hosts and request.clientproto != b"HTTP/1.1")


def _is_sound(request: RapiRequest) -> bool:
    """Say whether nothing is wrong with a request whose path is known."""
    return not request.too_large and _has_host(request)


def _body(request: RapiRequest) -> Any:
    """Give the value of a request's body, UNSET if it is empty."""
    data = request.body()
    return body.parse(data, request.header("content-type") or "") if data else msgspec.UNSET


def _lay_routes(klein: Klein) -> None:
    """Make a route of each path, for all methods: which there are is said by us, in JSON."""
    rules = klein.url_map
    rules.converters |= {"name": _Name, "number": _Number}
    rules.merge_slashes = False
    rules.redirect_defaults = False
    for path, methods in by_path().items():
        pattern = _PART.sub(
            lambda found: f"<{'number' if found['name'] in _NUMBERS else 'name'}:{found['name']}>", path
        )
        klein.route(pattern, endpoint=path, strict_slashes=True)(_answer_by(methods))
    klein.handle_errors(Exception)(Application.failed)  # type: ignore[arg-type]


def _answer_by(methods: Mapping[str, Resource]) -> Callable[..., Any]:
    async def answer(application: Application, request: RapiRequest, **names: str) -> bytes:
        return await application.answer(request, methods, names)

    return answer


_lay_routes(Application._routes)  # noqa: SLF001 - of this module

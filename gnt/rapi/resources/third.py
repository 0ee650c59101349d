"""What there is under `/3/`: nothing of Ganeti's; described in `docs/remote-api.md`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from gnt import __version__
from gnt.model.errors import GntError
from gnt.rapi.errors import HttpError, bad_request
from gnt.rapi.query_string import QueryString
from gnt.rapi.resources.base import Access, Argument, Call, Plain, Resource, Stream, several, text
from gnt.rapi.resources.metrics import metrics
from gnt.rapi.resources.shapes import OBJECT

KINDS: Final = ("cluster", "disk", "filter", "group", "instance", "job", "network", "node")
_HEALTHY: Final = {
    "type": "object",
    "properties": {"status": {"const": "ok"}, "version": {"type": "string"}},
    "required": ["status", "version"],
}


def event_kinds(query: QueryString) -> frozenset[str]:
    """Give the kinds of objects that a listener names. Raises `HttpError` (400)."""
    named = frozenset(kind for value in query.texts("kind") for kind in value.split(",") if kind)
    unknown = sorted(named - set(KINDS))
    if unknown:
        raise bad_request(f"Invalid value for the 'kind' parameter: {unknown[0][:40]!r} is none of {', '.join(KINDS)}")
    return named


def event_serial(query: QueryString, last: str | None) -> int | None:
    """Give the serial from which a listener goes on: its last message's, or `since`. Raises `HttpError` (400)."""
    value = last or query.text("since")
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise bad_request("Last-Event-ID and since are serials: whole numbers")
    return int(value)


async def health(call: Call) -> dict[str, Any]:
    """Say that the API and its master answer. Raises `HttpError` (503) if the master does not."""
    try:
        await call.master.call("QueryConfigValues", ["master_node"])
    except GntError:
        raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "The master daemon does not answer") from None
    return {"status": "ok", "version": __version__}


async def openapi(call: Call) -> Plain:
    """Give the description of this API: OpenAPI 3.1."""
    return Plain(content_type="application/json", body=call.described())


_EVENTS: Final[tuple[Argument, ...]] = (several("kind"), text("since"))


def _both(path: str, access: Access, does: Any, **more: Any) -> tuple[Resource, Resource]:
    """Make the rows of what programs look for at the root too."""
    return (
        Resource(path=f"/3{path}", method="GET", access=access, does=does, **more),
        Resource(path=path, method="GET", access=access, does=does, **more),
    )


ROWS: Final = (
    Resource(path="/3/events", method="GET", access=Access.OPEN, does=Stream(), query=_EVENTS),
    *_both("/health", Access.PUBLIC, health, gives=_HEALTHY),
    *_both("/metrics", Access.METRICS, metrics),
    *_both("/openapi.json", Access.PUBLIC, openapi, gives=OBJECT),
)

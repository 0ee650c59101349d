"""The event stream over HTTP: server-sent events, for as long as the client stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from gnt.model.errors import GntError
from gnt.rapi.encoded import SERVER
from gnt.rapi.errors import HttpError
from gnt.rapi.events import Hub, Listener
from gnt.rapi.http import RapiRequest
from gnt.rapi.query_string import QueryString
from gnt.rapi.resources.third import event_kinds, event_serial

MOST_LISTENERS: Final = 1000


async def stream(
    hub: Hub, request: RapiRequest, query: QueryString, may_listen: Callable[[], Awaitable[object]]
) -> bytes:
    """Send what happens until the client leaves, or may listen no more; gives what is left to be sent: nothing.

    Raises `HttpError` for what cannot be listened to, `GntError` if the master does not answer at the beginning.
    """
    kinds, serial = event_kinds(query), event_serial(query, request.header("last-event-id"))
    if len(hub) >= MOST_LISTENERS:
        raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, f"There are {MOST_LISTENERS} listeners")
    request.put("Server", SERVER)
    request.put("Content-Type", "text/event-stream; charset=utf-8")
    request.put("Cache-Control", "no-store")
    request.put("X-Accel-Buffering", "no")
    listener = Listener(kinds, request.write, may_listen)
    request.registerProducer(listener, True)  # type: ignore[no-untyped-call]
    try:
        await hub.listen(listener, serial)
    except GntError:
        if not request.startedWriting:
            raise
    finally:
        if request.channel is not None:  # else the client has gone
            request.unregisterProducer()  # type: ignore[no-untyped-call]
    return b""

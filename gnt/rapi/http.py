"""HTTP below the resources: channel, request and site of Twisted, with limits, and errors that are JSON throughout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final

from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from gnt.daemon.runtime import Clock
from gnt.rapi import access_log
from gnt.rapi.access_log import AccessLog
from gnt.rapi.body import LIMIT
from gnt.rapi.encoded import SERVER
from gnt.rapi.errors import error_body

PATIENCE: Final = 30.0
"""Seconds in which a request has to arrive whole."""

REST: Final = 300.0
"""Seconds that a connection may rest between requests."""

MOST_SWALLOWED: Final = 8 * LIMIT
"""Bytes of a body that are read, though it is too large, so that the client comes to reading why."""

METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"})
"""Those that are counted by name: clients may invent others without end."""


class RapiRequest(Request):
    """A request whose body is kept in memory up to the limit; `too_large` says that there was more."""

    requester = ""
    """Name of the user who asks, for the log."""

    channel: Any

    def gotLength(self, length: int | None) -> None:
        """Hear how long the body will be, None if the client does not say."""
        self._body = BytesIO()
        self.content = self._body
        self.too_large = False
        self._received = 0
        if length is not None and length > MOST_SWALLOWED:
            self._hang_up()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._received += len(data)
        if self._received > MOST_SWALLOWED:
            self._hang_up()
        elif self._received > LIMIT:
            self.too_large = True
        else:
            self._body.write(data)

    def process(self) -> None:
        """Find who answers; `*` is no path of ours, and Twisted would answer it itself."""
        if not self.path.startswith(b"/"):
            self.path = b"/" + self.path
        self.channel.busy = True
        if not self.channel.site.quick(self):
            super().process()  # type: ignore[no-untyped-call]

    def _hang_up(self) -> None:
        if not self.too_large or not self.channel.refused:
            self.too_large = True
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def address(self) -> str:
        """Give the client's address."""
        return str(getattr(self.getClientAddress(), "host", "-"))  # type: ignore[no-untyped-call]

    def body(self) -> bytes:
        """Give the whole body."""
        return self._body.getvalue()

    def header(self, name: str) -> str | None:
        """Give a header of the request, whatever bytes it has; of several the first."""
        values = self.requestHeaders.getRawHeaders(name.encode())
        return values[0].decode("latin-1") if values else None

    def put(self, name: str, value: str) -> None:
        """Set a header of the answer."""
        self.responseHeaders.setRawHeaders(name, [value])

    def on_gone(self, call: Callable[[], None]) -> None:
        """Call when the client goes away before it is answered."""
        self.notifyFinish().addErrback(lambda _: call())

    def answer(self, content: bytes) -> None:
        """Send an answer whose headers are set."""
        if self._disconnected:
            return
        if not self.responseHeaders.hasHeader(b"date"):  # who answers quickly has made none
            self.responseHeaders.setRawHeaders(b"date", [datetimeToString()])  # type: ignore[no-untyped-call]
        self.write(content)  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]

    def send(self, status: HTTPStatus, head: bytes, content: bytes) -> None:
        """Send an answer whose head is made, but for the date; the connection stays."""
        if self._disconnected:
            return
        self.startedWriting = 1
        self.code = status.value
        self.sentLength = len(content)
        self.channel.write(b"%bDate: %b\r\n\r\n%b" % (head, self.channel.site.date(), content))
        self.finish()  # type: ignore[no-untyped-call]

    @property
    def stays(self) -> bool:
        """Say whether the connection stays after the answer, and the client knows how HTTP/1.1 does that."""
        return self.clientproto == b"HTTP/1.1" and not self.responseHeaders.hasHeader(b"connection")


class Channel(HTTPChannel):
    """A connection. A request has to arrive within `timeOut` seconds as a whole: each byte does not win more time."""

    site: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refused = False
        self._resting = False
        self.busy = False
        """Whether a request has arrived as a whole and is not answered yet."""

    def requestDone(self, request: Any) -> None:
        """Rest after an answer; a further request that has arrived already begins at once."""
        self.busy = False
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if not self.busy and not self.requests:
            self._resting = True
            self.setTimeout(REST)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """Take what arrives, without winding up the clock; after a refusal nothing counts."""
        if self._resting:
            self._resting = False
            self.setTimeout(PATIENCE)  # type: ignore[no-untyped-call]
        if not self.refused:
            LineReceiver.dataReceived(self, data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        """Tell the requests, and the site."""
        self.site.gone(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer what is not HTTP."""
        self.refuse(HTTPStatus.BAD_REQUEST)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        """Answer a line that is too long to be read."""
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer before there is a request, and close."""
        if self.refused:
            return
        self.refused = True
        body = error_body(status)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"Server: {SERVER}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        transport: Any = self.transport
        transport.write(head.encode() + body)
        self.site.note(transport, "-", status.value, len(body))
        self.loseConnection()  # type: ignore[no-untyped-call]


class RapiSite(Site):
    """Makes channels, no more than `most_clients` at a time, and keeps the access log."""

    noisy = False
    requestFactory = RapiRequest
    protocol: Any = Channel

    def __init__(self, resource: IResource, clock: Clock, access: AccessLog | None, *, most_clients: int) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource,
            parsePOSTFormSubmission=False,
            reactor=clock,
            timeout=PATIENCE,
        )
        self._clock = clock
        self._access = access
        self._most_clients = most_clients
        self._channels: dict[Channel, None] = {}  # in the order of their coming
        self.quick: Callable[[RapiRequest], bool] = lambda _: False
        """Answers a request at once, or says that it is for the resource."""
        self._date = (0, b"")
        self.answered: Counter[tuple[str, int]] = Counter()
        """Answered requests by method and status."""

    def date(self) -> bytes:
        """Give the date as a header has it; made anew each second."""
        second = int(self._clock.seconds())
        if self._date[0] != second:
            self._date = (second, datetimeToString(second))  # type: ignore[no-untyped-call]
        return self._date[1]

    @property
    def connections(self) -> int:
        """Give the number of connections."""
        return len(self._channels)

    def startFactory(self) -> None:
        """Begin; Twisted's own log, with its ticking clock, is not used."""

    def stopFactory(self) -> None:
        """Close the log."""
        if self._access is not None:
            self._access.close()

    def buildProtocol(self, addr: Any) -> Any:
        """Take a client; if there are too many, in place of the one that has rested longest.

        Gives None, which closes the connection, when all of them wait for answers.
        """
        if len(self._channels) >= self._most_clients and not self._make_room():
            return None
        channel = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        self._channels[channel] = None
        return channel

    def _make_room(self) -> bool:
        """Drop the oldest connection without a request: nobody shuts others out by silence. Say if there was one."""
        idle = next((channel for channel in self._channels if not channel.busy), None)
        if idle is None:
            return False
        self.gone(idle)
        transport: Any = idle.transport
        transport.abortConnection()
        return True

    def gone(self, channel: Channel) -> None:
        """Hear that a client has gone."""
        self._channels.pop(channel, None)

    def drop_all(self) -> None:
        """End all connections."""
        for channel in list(self._channels):
            transport: Any = channel.transport
            transport.abortConnection()

    def log(self, request: Any) -> None:
        """Count and log an answered request: its path, never its query."""
        method = request.method.decode("latin-1")
        self.answered[method if method in METHODS else "other", int(request.code)] += 1
        what = b" ".join((request.method, request.path, request.clientproto)).decode("latin-1")
        self._write(request.address(), request.requester, what, request.code, request.sentLength)

    def note(self, transport: Any, what: str, status: int, size: int) -> None:
        """Log what was no request."""
        self._write(str(getattr(transport.getPeer(), "host", "-")), "", what, status, size)

    def _write(self, address: str, user: str, what: str, status: int, size: int) -> None:
        if self._access is not None:
            self._access.write(
                access_log.line(
                    address=address, user=user, seconds=self._clock.seconds(), request=what, status=status, size=size
                )
            )

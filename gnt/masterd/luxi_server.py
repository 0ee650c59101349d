"""LUXI, the server's side: two UNIX sockets, requests of a connection strictly in turn, connections side by side.

What is asked is answered by `gnt.masterd.luxi_methods`. A client that does not read its answers is not read from
either, so it holds up nobody and its answers do not pile up.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IPushProducer,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gnt.masterd.luxi_methods import READING
from gnt.model.errors import ENVIRONMENT, GntError, Refused
from gnt.model.layout import SOCKET_PATH_LIMIT, Layout
from gnt.wire.at_once import send_now
from gnt.wire.luxi import Request, decode_request, encode_failure, encode_response
from gnt.wire.luxi_frames import END, MAX_REQUEST, FrameSplitter

SOCKET_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o750
BACKLOG: Final = 128
MOST_CONNECTIONS: Final = 4000
"""More are closed with a line that says so: each is an open file, and other files must still open."""

READ_AHEAD: Final = 64 * 1024
"""Bytes of requests that may wait behind one that is being answered."""

MOST_DISCARDED: Final = 4 * MAX_REQUEST


class Methods(Protocol):
    """What answers requests."""

    def call(self, request: Request) -> Awaitable[Any]:
        """Do what a request asks and give the result. Raises `GntError`; anything else is a fault of ours."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class LuxiConnection(TwistedProtocol):
    """One client. Reads a request, answers it, reads the next."""

    transport: Any  # a transport, the consumer of what we produce, the producer of what we read

    def __init__(self, server: LuxiServer) -> None:
        self._server = server
        self._splitter = FrameSplitter(MAX_REQUEST)
        self._frames: deque[bytes] = deque()
        self._busy = False
        self._reading: Deferred[Any] | None = None
        self._choked = False  # the client does not take answers
        self._paused = False  # we do not take requests
        self._ending = False  # close when all is answered
        self._last_word: GntError | None = None
        self._discarded = 0
        self._finished = False
        self._closed = False

    # What the transport calls

    def connectionMade(self) -> None:
        """Take the client, or tell it that there are too many."""
        self.transport.registerProducer(self, streaming=True)
        if not self._server.enter(self):
            self._last_word = GntError("too_many", "the master daemon has too many clients", hint="try again later")
            self._ending = True
            self._close_when_done()

    def dataReceived(self, data: bytes) -> None:
        """Take the next piece of requests."""
        if self._last_word is not None:
            self._discard(data)
            return
        try:
            self._frames.extend(self._splitter.feed(data))
        except GntError as error:
            self._last_word = error
            self._discard(data)
        self._go_on()

    def readConnectionLost(self) -> None:
        """Answer what was asked before the client closed its side, then close ours."""
        self._ending = True
        if _hung_up(self.transport.fileno()):
            self.transport.abortConnection()
        else:
            self._close_when_done()

    def writeConnectionLost(self) -> None:
        """Close: nobody can be answered any more."""
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002
        """Give up what was only read for this client; what changes something goes on."""
        self._closed = True
        self._frames.clear()
        self._server.leave(self)
        if self._reading is not None:
            self._reading.cancel()

    def pauseProducing(self) -> None:
        """Stop answering: the client does not read."""
        self._choked = True

    def resumeProducing(self) -> None:
        """Go on answering."""
        self._choked = False
        self._go_on()

    def stopProducing(self) -> None:
        """Stop answering for good."""
        self._choked = True

    # In turn

    def _go_on(self) -> None:
        if not self._busy and not self._choked:
            self._busy = True
            Deferred.fromCoroutine(self._answer_all()).addErrback(self._server.fault)
        self._mind_input()

    def _mind_input(self) -> None:
        """Read no more than can be answered."""
        full = self._choked or (self._busy and sum(map(len, self._frames)) > READ_AHEAD)
        if full != self._paused and not self._closed and not self._ending:
            self._paused = full
            if full:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    async def _answer_all(self) -> None:
        while self._frames and not self._choked and not self._closed:
            answer = await self._answer(self._frames.popleft())
            if not self._closed:
                self.transport.write(answer)
                send_now(self.transport)
        self._busy = False
        self._mind_input()
        self._close_when_done()

    async def _answer(self, frame: bytes) -> bytes:
        try:
            request = decode_request(frame)
            result = Deferred.fromCoroutine(_awaited(self._server.methods, request))
            if request.method in READING:
                self._reading = result
            try:
                return encode_response(await result)
            finally:
                self._reading = None
        except (GntError, CancelledError) as error:
            return encode_failure(error)
        except Exception as error:  # noqa: BLE001  (a fault of ours: this client hears of it, the others do not)
            self._server.fault(None)
            return encode_failure(error)

    def _discard(self, data: bytes) -> None:
        """Let a client finish sending what is too large, so that it comes to reading why; but not forever."""
        self._discarded += len(data)
        if data.endswith(END) or self._discarded > MOST_DISCARDED:
            self._ending = True
            self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._ending or self._busy or self._frames or self._closed or self._finished:
            return
        self._finished = True
        if self._last_word is not None:
            self.transport.write(encode_failure(self._last_word))
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def drop(self) -> None:
        """Close, whatever is under way."""
        self.transport.abortConnection()


def _hung_up(descriptor: int) -> bool:
    """Say whether the other side closed altogether, not only its writing: the end of reading looks the same."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


async def _awaited(methods: Methods, request: Request) -> Any:
    return await methods.call(request)


class _Factory(Factory):
    noisy = False

    def __init__(self, server: LuxiServer) -> None:
        self._server = server

    def buildProtocol(self, addr: object) -> LuxiConnection:  # noqa: ARG002
        return LuxiConnection(self._server)


class LuxiServer:
    """Listens where clients of all versions look. `start` after everything that answers is ready.

    `room` is the number of files that may be open for clients.
    """

    def __init__(self, methods: Methods, layout: Layout, *, room: int = MOST_CONNECTIONS) -> None:
        self.methods = methods
        self._room = room
        self._paths = (layout.master_socket, layout.query_socket)
        self._ports: list[IListeningPort] = []
        self._connections: set[LuxiConnection] = set()
        self._log = Logger()

    @property
    def connections(self) -> int:
        """Give the number of clients."""
        return len(self._connections)

    def start(self, reactor: IReactorUNIX) -> None:
        """Listen on both sockets. Raises `Refused` if a path is too long or taken."""
        check_paths(self._paths)
        for path in self._paths:
            path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            path.parent.chmod(DIRECTORY_MODE)
            remove_stale(path)
            try:
                port = reactor.listenUNIX(os.fspath(path), _Factory(self), BACKLOG, SOCKET_MODE, wantPID=False)
            except CannotListenError as error:
                raise Refused(ENVIRONMENT, f"cannot listen on {path}: {error.socketError}") from None
            self._ports.append(port)

    async def stop(self) -> None:
        """Listen no more and close all connections."""
        ports, self._ports = self._ports, []
        for port in ports:
            await _awaited_or_done(port.stopListening())
        for connection in list(self._connections):
            connection.drop()

    # What connections call

    def enter(self, connection: LuxiConnection) -> bool:
        """Take a client in; False if there are too many."""
        if len(self._connections) >= min(self._room, MOST_CONNECTIONS):
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: LuxiConnection) -> None:
        """Forget a client that has gone."""
        self._connections.discard(connection)

    def fault(self, failure: Failure | None) -> None:
        """Record what should not have happened, with its traceback; None: the exception that is being handled."""
        self._log.failure("a LUXI request failed unexpectedly", failure=failure)


async def _awaited_or_done(maybe: object) -> None:
    if isinstance(maybe, Deferred):
        await maybe


def check_paths(paths: Sequence[Path]) -> None:
    """Refuse socket paths that the system cannot bind. Raises `Refused` (environment_error), naming the limit."""
    for path in paths:
        size = len(os.fsencode(path))
        if size > SOCKET_PATH_LIMIT:
            raise Refused(
                ENVIRONMENT,
                f"the path of a socket has {size} bytes, the system allows {SOCKET_PATH_LIMIT}: {path}",
                hint="move the root directory to a shorter path with GNT_ROOTDIR",
            )


def remove_stale(path: Path) -> None:
    """Remove the socket that a daemon left which is gone. Raises `Refused` if one answers there, or it is no socket."""
    if not path.is_socket():
        if path.exists() or path.is_symlink():
            raise Refused(ENVIRONMENT, f"{path} is in the way: it is no socket", hint="move it away")
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        code = probe.connect_ex(os.fspath(path))
    finally:
        probe.close()
    if code in (0, errno.EAGAIN):
        raise Refused(ENVIRONMENT, f"another master daemon listens on {path}", hint="stop it first")
    path.unlink(missing_ok=True)

"""What both ends of a Perspective Broker connection share: a broker with limits, frames, pages.

PB carries byte strings and nothing else. One remote method, `call`, takes a frame and answers with a frame; a frame's
first byte says what it is. What is larger than a page travels in pages, one after the other, so that other calls and
the ping find room between them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import banana, jelly, pb

from gnt.wire import pb_short
from gnt.wire.at_once import send_now

log: Final = Logger()

PAGE: Final = 256 * 1024
"""Bytes of a request or an answer that travel at once; PB's own limit is 640 KiB."""
LARGEST: Final = 64 * 1024 * 1024
"""Bytes that a request or an answer may have, and that may be gathered for one connection."""
GREETING_LIMIT: Final = 16 * 1024
EXPRESSION_LIMIT: Final = 2 * PAGE
"""Bytes after which a message of PB must have ended: before the greeting, and after it."""

# Frames to the node: what the caller wants.
HELLO: Final = b"H"
PING: Final = b"P"
WHOLE: Final = b"C"
MORE: Final = b"M"
LAST: Final = b"L"
TAKE: Final = b"T"
# Frames back.
DONE: Final = b"D"
LONG: Final = b"B"
TOO_LARGE: Final = b"X"

_transfer: Final = struct.Struct("!Q")
_place: Final = struct.Struct("!QI")
_size: Final = struct.Struct("!QQ")


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The greeting: which protocol, and which node (UUID) is wanted or answers."""

    protocol: int
    node: str


def split_transfer(frame: bytes) -> tuple[int, bytes]:
    """Take a page of a request apart: number of the transfer, its bytes. Raises `struct.error`."""
    return _transfer.unpack_from(frame, 1)[0], frame[1 + _transfer.size :]


def page_frame(kind: bytes, transfer: int, content: bytes) -> bytes:
    """Make a page of a request."""
    return kind + _transfer.pack(transfer) + content


def take_frame(transfer: int, page: int) -> bytes:
    """Ask for a page of an answer."""
    return TAKE + _place.pack(transfer, page)


def split_take(frame: bytes) -> tuple[int, int]:
    """Take that apart: number of the transfer, number of the page. Raises `struct.error`."""
    transfer, page = _place.unpack(frame[1:])
    return transfer, page


def long_frame(transfer: int, size: int) -> bytes:
    """Say that an answer is long and waits to be taken."""
    return LONG + _size.pack(transfer, size)


def split_long(frame: bytes) -> tuple[int, int]:
    """Take that apart: number of the transfer, bytes of the answer. Raises `struct.error`."""
    transfer, size = _size.unpack(frame[1:])
    return transfer, size


def pages_of(size: int) -> int:
    """Give how many pages so many bytes have."""
    return -(-size // PAGE)


def page(content: bytes, number: int) -> bytes:
    """Give one page."""
    return content[number * PAGE : (number + 1) * PAGE]


def bytes_only() -> jelly.SecurityOptions:
    """Give PB options that let arguments in as tuple and dictionary of plain values: no objects, no references."""
    options = jelly.SecurityOptions()  # type: ignore[no-untyped-call]
    options.allowTypes("tuple", "dictionary")  # type: ignore[no-untyped-call]
    return options


_DIALECT: Final = b"pb"


class BoundedBroker(pb.Broker):
    """A broker that drops a peer whose messages are garbage or do not end.

    `on_ready` is called when PB's own negotiation is done, `on_lost` once when the connection is gone.
    """

    limit = GREETING_LIMIT

    def __init__(self, *, client: bool, peer: str) -> None:
        super().__init__(isClient=client, security=bytes_only())  # type: ignore[no-untyped-call]
        self.peer = peer
        self.factory = self  # type: ignore[assignment]
        self.on_ready: Callable[[], None] = lambda: None
        self.on_lost: Callable[[Failure], None] = lambda _: None
        self.on_data: Callable[[], None] = lambda: None
        self._open_bytes = 0
        self._dropped = False

    waitingForAnswers: Any
    """Calls by their number."""

    # PB looks these up at its factory, which we have no other use for.
    unsafeTracebacks = False

    def clientConnectionMade(self, _broker: Any) -> None:
        """Hear from PB that both ends speak the same dialect."""
        self.on_ready()

    def dataReceived(self, chunk: bytes) -> None:
        """Take bytes; whatever is wrong with them ends this connection, quietly and no other."""
        if self._dropped:
            return
        self._open_bytes += len(chunk)
        self.on_data()
        try:
            rest = self._read_short(chunk)
            if rest:
                super().dataReceived(rest)  # type: ignore[no-untyped-call]
        except Exception as problem:  # noqa: BLE001 - a peer's bytes may break PB's reader in many ways
            self.drop(f"not understood ({type(problem).__name__})")
            return
        if self._open_bytes > self.limit and not self._dropped:
            self.drop("a message that does not end")

    def _read_short(self, chunk: bytes) -> bytes:
        """Take the messages that are always the same but for their content; gives what is left for PB to read."""
        begin = 0
        if not self.buffer and not self.listStack and self.currentDialect == _DIALECT:
            while not self._dropped and (message := pb_short.read(chunk, begin)) is not None:
                begin = message.end
                self._open_bytes = len(chunk) - begin
                if message.is_call:
                    self._called(message.number, message.frame)
                else:
                    self.waitingForAnswers.pop(message.number).callback(message.frame)
        return b"" if self._dropped else chunk[begin:]

    def _called(self, number: int, frame: bytes) -> None:
        """Have our end called, as PB does."""
        ours: Any = self.localObjectForID(b"root")  # type: ignore[no-untyped-call]
        if ours is None:
            self.drop("nobody here to be called")
            return
        outcome: Deferred[bytes] = ours.remote_call(frame)
        numbered = (number,)
        outcome.addCallbacks(self._send_answer, self._sendFailureOrError, callbackArgs=numbered, errbackArgs=numbered)

    def _send_answer(self, frame: bytes, number: int) -> None:
        if len(frame) > banana.SIZE_LIMIT or number > pb_short.LARGEST_NUMBER:
            self._sendAnswer(frame, number)  # type: ignore[no-untyped-call]
        else:
            self._send(pb_short.answer(number, frame))

    def callExpressionReceived(self, obj: Any) -> None:
        """Take one whole message."""
        self._open_bytes = 0
        if not self._dropped:
            super().callExpressionReceived(obj)  # type: ignore[no-untyped-call]

    def sendEncoded(self, obj: Any) -> None:
        """Send one message, at once: it is written whole."""
        super().sendEncoded(obj)  # type: ignore[no-untyped-call]
        self._send_now()

    def _send(self, message: bytes) -> None:
        transport: Any = self.transport
        transport.write(message)
        self._send_now()

    def _send_now(self) -> None:
        # Below TLS is the socket.
        send_now(getattr(self.transport, "transport", None))

    def drop(self, reason: str) -> None:
        """End the connection at once, saying why in our own log only."""
        if self._dropped:
            return
        self._dropped = True
        log.info("dropped the connection with {peer}: {reason}", peer=self.peer, reason=reason)
        transport: Any = self.transport
        transport.abortConnection()

    def hang_up(self) -> None:
        """End the connection once what was written is out."""
        transport: Any = self.transport
        if not self._dropped and transport is not None:
            transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Hear that the connection is gone."""
        self._dropped = True
        # First, so that nobody takes us for connected who hears in the next line that the calls have failed.
        on_lost, self.on_lost = self.on_lost, lambda _: None
        on_lost(reason)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def ask(self, name: str, frame: bytes) -> Deferred[bytes]:
        """Call the other end's `name`; fails with whatever PB fails with."""
        is_short = name == "root" and len(frame) <= banana.SIZE_LIMIT and self.currentDialect == _DIALECT
        if not is_short or self.disconnected or self.currentRequestID >= pb_short.LARGEST_NUMBER:
            remote = self.remoteForName(name)  # type: ignore[no-untyped-call]
            called: Deferred[bytes] = maybeDeferred(remote.callRemote, "call", frame)
            return called
        number: int = self.newRequestID()  # type: ignore[no-untyped-call]
        answer: Deferred[bytes] = Deferred()
        self.waitingForAnswers[number] = answer
        self._send(pb_short.call(number, frame))
        return answer

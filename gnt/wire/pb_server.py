"""The node's end of Perspective Broker: a door that hands bytes to an `INodeDaemon`.

Nobody gets here without a certificate of the cluster: TLS comes first. A connection that has not greeted in time is
dropped, and of those that have not greeted yet only so many are kept; the oldest goes when another comes. Whatever one
peer does costs the others nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb

from gnt.model.errors import GntError
from gnt.wire import certificates, pb_broker
from gnt.wire.contract import Caller, INodeDaemon, NodeEvent, StopListening, encode_event
from gnt.wire.envelope import BAD_REQUEST, PROTOCOL, Answer, encode_answer
from gnt.wire.pb_broker import BoundedBroker, Hello
from gnt.wire.rejections import Rejections
from gnt.wire.timing import Clock

log: Final = Logger()

GREETING_TIME: Final = 10.0
"""Seconds for TLS and greeting together."""
SILENCE: Final = 75.0
"""Seconds without a byte after which a peer is gone; it pings much more often."""
KEEP_ANSWER: Final = 120.0
"""Seconds that a long answer waits to be taken, and that a request in pages may pause."""
STRANGERS: Final = 128
CALLS_AT_ONCE: Final = 1024
TRANSFERS: Final = 64

BUSY: Final = "busy"


class Transfers:
    """Pages of one connection that wait: requests that are not whole yet, answers that are not taken yet.

    At most `LARGEST` bytes together; what is not touched for `KEEP_ANSWER` seconds is dropped.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[tuple[str, int], tuple[bytearray, float]] = {}
        self._bytes = 0
        self._next = 0

    def add(self, transfer: int, content: bytes) -> bool:
        """Add a page to a request; False if that would be too much: the request is dropped then."""
        self._drop_old()
        key = ("in", transfer)
        gathered, _ = self._parts.get(key, (bytearray(), 0.0))
        too_many = key not in self._parts and len(self._parts) >= TRANSFERS
        if too_many or self._bytes + len(content) > pb_broker.LARGEST:
            self._remove(key)
            return False
        gathered += content
        self._bytes += len(content)
        self._parts[key] = (gathered, self._clock.seconds())
        return True

    def whole(self, transfer: int) -> bytes:
        """Give a request that is whole now, and forget it."""
        return bytes(self._remove(("in", transfer)))

    def keep(self, answer: bytes) -> int | None:
        """Keep a long answer to be taken; gives its number, or None if there is no room."""
        self._drop_old()
        if self._bytes + len(answer) > pb_broker.LARGEST or len(self._parts) >= TRANSFERS:
            return None
        self._next += 1
        self._parts["out", self._next] = (bytearray(answer), self._clock.seconds())
        self._bytes += len(answer)
        return self._next

    def take(self, transfer: int, number: int) -> bytes:
        """Give one page of an answer; empty if it is not there. The last page ends it."""
        key = ("out", transfer)
        if key not in self._parts:
            return b""
        answer, _ = self._parts[key]
        self._parts[key] = (answer, self._clock.seconds())
        content = bytes(memoryview(answer)[number * pb_broker.PAGE : (number + 1) * pb_broker.PAGE])
        if number + 1 >= pb_broker.pages_of(len(answer)):
            self._remove(key)
        return content

    def _remove(self, key: tuple[str, int]) -> bytearray:
        content, _ = self._parts.pop(key, (bytearray(), 0.0))
        self._bytes -= len(content)
        return content

    def _drop_old(self) -> None:
        oldest = self._clock.seconds() - KEEP_ANSWER
        for key in [key for key, (_, touched) in self._parts.items() if touched < oldest]:
            self._remove(key)


class Door(pb.Referenceable):
    """What a peer may call: one method, bytes in and bytes out. One for each connection."""

    def __init__(self, daemon: Any, broker: BoundedBroker, clock: Clock, greeted: Callable[[], None]) -> None:
        self._daemon = daemon
        self._broker = broker
        self._greeted_to = greeted
        self._transfers = Transfers(clock)
        self._under_way = 0
        self.caller: Caller | None = None

    def remote_call(self, frame: object) -> Deferred[bytes]:
        """Take a frame and answer with one."""
        return ensureDeferred(self._answer(frame))

    async def _answer(self, frame: object) -> bytes:
        """Do what the frame says; one that makes no sense ends the connection."""
        try:
            if not isinstance(frame, bytes):
                raise ValueError("not bytes")  # noqa: TRY004, TRY301
            kind = frame[:1]
            if kind == pb_broker.HELLO:
                return self._hello(frame)
            if self.caller is None:
                raise ValueError("no greeting")  # noqa: TRY301
            return await self._serve(kind, frame, self.caller)
        except (ValueError, struct.error, msgspec.DecodeError, GntError) as problem:
            self._broker.drop(f"bad frame: {problem}")
            return b""

    def _hello(self, frame: bytes) -> bytes:
        """Answer the greeting, whatever it wants: the other end sees whether we are the one. Same protocol, or end."""
        hello = msgspec.json.decode(frame[1:], type=Hello)
        _, uuid = self._daemon.identity()
        if hello.protocol == PROTOCOL and hello.node in {uuid, ""}:
            self.caller = caller_of(self._broker)
            self._broker.limit = pb_broker.EXPRESSION_LIMIT
            self._greeted_to()
        return msgspec.json.encode(Hello(protocol=PROTOCOL, node=uuid))

    async def _serve(self, kind: bytes, frame: bytes, caller: Caller) -> bytes:
        if kind == pb_broker.PING:
            return pb_broker.DONE
        if kind == pb_broker.WHOLE:
            return await self._perform(frame[1:], caller)
        if kind in {pb_broker.MORE, pb_broker.LAST}:
            transfer, content = pb_broker.split_transfer(frame)
            if not self._transfers.add(transfer, content):
                return pb_broker.TOO_LARGE
            if kind == pb_broker.MORE:
                return pb_broker.DONE
            return await self._perform(self._transfers.whole(transfer), caller)
        if kind == pb_broker.TAKE:
            return pb_broker.DONE + self._transfers.take(*pb_broker.split_take(frame))
        raise ValueError("unknown kind")

    async def _perform(self, request: bytes, caller: Caller) -> bytes:
        """Hand a request on, and give its answer as a frame."""
        if self._under_way >= CALLS_AT_ONCE:
            busy = Answer.error(BUSY, "too many calls at once on one connection", retry=True)
            return pb_broker.DONE + encode_answer(busy)
        self._under_way += 1
        try:
            answer: bytes = await self._daemon.call(request, caller)
        finally:
            self._under_way -= 1
        if len(answer) <= pb_broker.PAGE:
            return pb_broker.DONE + answer
        transfer = self._transfers.keep(answer)
        if transfer is None:
            text = f"the answer has {len(answer)} bytes, which is too large"
            return pb_broker.DONE + encode_answer(Answer.error(BAD_REQUEST, text))
        return pb_broker.long_frame(transfer, len(answer))


def caller_of(broker: BoundedBroker) -> Caller:
    """Say who is at the other end, from the certificate that TLS has checked."""
    transport: Any = broker.transport
    certificate = transport.getPeerCertificate()
    if certificate is None:
        raise ValueError("no certificate")
    der = certificate.to_cryptography().public_bytes(serialization.Encoding.DER)
    facts = certificates.facts(der)
    return Caller(digest=facts.digest, common_name=facts.common_name)


class DoorFactory(ServerFactory):
    """Makes a broker with a fresh door for each connection; to be wrapped in TLS."""

    noisy = False

    def __init__(self, daemon: Any, clock: Clock) -> None:
        self._daemon = INodeDaemon(daemon)
        self._clock = clock
        self._strangers: dict[BoundedBroker, IDelayedCall] = {}
        self._rejections = Rejections(clock)
        self._everybody: set[BoundedBroker] = set()

    def buildProtocol(self, addr: IAddress | None) -> BoundedBroker:  # type: ignore[override]
        """Take a connection that came in."""
        broker = BoundedBroker(client=False, peer=str(getattr(addr, "host", addr)))
        if len(self._strangers) >= STRANGERS:
            oldest = next(iter(self._strangers))
            self.greeted(oldest)
            oldest.drop("others came before it had greeted")
        self._everybody.add(broker)
        self._strangers[broker] = self._clock.callLater(GREETING_TIME, broker.drop, "no greeting")
        connection = _Connection(self, broker, self._daemon, self._clock)
        broker.on_lost = connection.lost
        broker.setNameForLocal("root", connection.door)  # type: ignore[no-untyped-call]
        return broker

    def greeted(self, broker: BoundedBroker) -> bool:
        """Hear that a peer has said who it is; False if it had said so before."""
        timer = self._strangers.pop(broker, None)
        if timer is None:
            return False
        if timer.active():
            timer.cancel()
        return True

    def forget(self, broker: BoundedBroker, reason: Failure) -> None:
        """Hear that a connection is gone."""
        if broker in self._strangers and isinstance(reason.value, BaseException):
            self._rejections.note(broker.peer, reason.value)
        self.greeted(broker)
        self._everybody.discard(broker)

    def end_all(self) -> None:
        """End all connections; answers that are on their way still go out to whoever has greeted."""
        for broker in list(self._everybody):
            if broker in self._strangers:
                broker.drop("this daemon stops")
            else:
                broker.hang_up()


class _Connection:
    """The life of one connection after its greeting: events out, silence watched."""

    def __init__(self, factory: DoorFactory, broker: BoundedBroker, daemon: Any, clock: Clock) -> None:
        self._factory = factory
        self._broker = broker
        self._daemon = daemon
        self._clock = clock
        self._stop_listening: StopListening | None = None
        self._silence: IDelayedCall | None = None
        self.door = Door(daemon, broker, clock, self._greeted)

    def _greeted(self) -> None:
        if self._factory.greeted(self._broker):
            self._stop_listening = self._daemon.listen(self._tell)
            self._silence = self._clock.callLater(SILENCE, self._broker.drop, "silence")
            self._broker.on_data = self._heard

    def _heard(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.reset(SILENCE)

    def _tell(self, event: NodeEvent) -> None:
        """Send an event; one that does not arrive is lost, as events may be."""
        self._broker.ask("events", encode_event(event)).addErrback(lambda _: None)

    def lost(self, reason: Failure) -> None:
        """Hear that the connection is gone; what it asked for goes on."""
        if self._stop_listening is not None:
            self._stop_listening()
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._factory.forget(self._broker, reason)

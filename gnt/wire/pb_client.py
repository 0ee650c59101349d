"""The master's end of Perspective Broker: one link to one node.

A link connects again by itself whenever it has lost the node, in growing and scattered intervals. Nothing counts as
connected before both ends have greeted: same protocol, the node that is wanted. A ping that is not answered ends the
connection, so a node whose power has gone is noticed although no byte says so.
"""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any, Final

import msgspec
from twisted.application.internet import ClientService
from twisted.internet import defer
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import implementer

from gnt.model.errors import GntError, InDoubt, NotReached
from gnt.wire import pb_broker
from gnt.wire.contract import decode_event
from gnt.wire.envelope import PROTOCOL, Answer, Request, decode_answer, encode_request
from gnt.wire.link_end import LinkEnd
from gnt.wire.pb_broker import BoundedBroker, Hello
from gnt.wire.timing import Clock, or_passed
from gnt.wire.tls import ClientTls, TlsEndpoint

log: Final = Logger()

CONNECT_TIME: Final = 10.0
GREETING_TIME: Final = 10.0
PING_EVERY: Final = 15.0
PING_TIME: Final = 15.0
FIRST_RETRY: Final = 0.25
LONGEST_RETRY: Final = 2.0
"""A node that comes back is at work again within 2 s; an attempt that is refused costs next to nothing."""


class NodeLink(LinkEnd):
    """A link to one node: `gnt.wire.contract.Link` over Perspective Broker and mutual TLS.

    `reactor` makes connections (None: the clock is the reactor, as in a daemon); `source` scatters the retries.
    """

    def __init__(
        self,
        name: str,
        uuid: str,
        address: str,
        port: int,
        tls: ClientTls,
        *,
        clock: Clock,
        source: random.Random,
        reactor: Any = None,
    ) -> None:
        super().__init__(name, uuid)
        self._clock = clock
        self._source = source
        self._problem = ""
        self._failures = 0
        # The connection there is, and the same once both ends have greeted.
        self._adopted: BoundedBroker | None = None
        self._broker: BoundedBroker | None = None
        self._transfers = itertools.count(1)
        self._ping: IDelayedCall | None = None
        endpoint = _Watched(self, _endpoint(reactor if reactor is not None else clock, address, port, tls))
        factory: Any = _BrokerFactory(self)
        self._service = ClientService(endpoint, factory, retryPolicy=self._delay, clock=clock)  # type: ignore[arg-type]

    @property
    def connected(self) -> bool:
        """Say whether calls can be sent at this moment."""
        return self._broker is not None

    @property
    def problem(self) -> str:
        """Say in one line why there is no connection."""
        return "" if self.connected else self._problem

    def start(self) -> None:
        """Begin to connect."""
        self._stopped = False
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Close the connection for good."""
        self._stopped = True
        self._fail_waiting(NotReached(f"the link to {self.name} was closed"))
        stopping: Deferred[Any] = defer.maybeDeferred(self._service.stopService)
        if self._adopted is not None:
            self._adopted.drop("the link is closed")
        return stopping.addCallback(lambda _: None)

    async def call(self, request: Request) -> Answer:
        """Make a call; see `gnt.wire.contract.Link`."""
        broker = self._broker
        tag = request.call.tag()
        if broker is None:
            reason = f": {self._problem}" if self._problem else ""
            raise NotReached(f"no connection to {self.name}{reason}")
        content = encode_request(request)
        if len(content) > pb_broker.LARGEST:
            raise NotReached(f"{tag} for {self.name} has {len(content)} bytes, which is too large")
        sending = _Sending(broker, content, next(self._transfers))
        passed = or_passed(self._clock, request.deadline, sending.begin(), _Passed)
        try:
            answer = decode_answer(await passed)
        except (_Passed, _Unusable, pb.PBConnectionLost, pb.Error, pb.RemoteError, struct.error) as problem:
            raise self._failed(tag, problem, sent=sending.sent) from None
        answer.check()
        return answer

    def _failed(self, tag: str, problem: Exception, *, sent: bool) -> GntError:
        """Say what became of a call whose answer will not come."""
        what = "the connection was lost"
        if isinstance(problem, _Passed):
            what = "no answer in time"
        elif isinstance(problem, _Unusable):
            what = str(problem)
        if sent:
            return InDoubt(f"{tag} on {self.name}: {what}; nobody knows whether it was done")
        return NotReached(f"{tag} never reached {self.name}: {what}")

    # --- the life of a connection

    def adopt(self, broker: BoundedBroker) -> None:
        """Take a connection whose TLS may still be under way, and greet when PB is ready."""
        self._adopted = broker
        timer = self._clock.callLater(GREETING_TIME, broker.drop, "no greeting")

        def lost(reason: Failure) -> None:
            if timer.active():
                timer.cancel()
            self._lost(broker, reason)

        def ready() -> None:
            ensureDeferred(self._greet(broker, timer)).addErrback(self._not_greeted, broker)

        broker.on_ready = ready
        broker.on_lost = lost

    async def _greet(self, broker: BoundedBroker, timer: IDelayedCall) -> None:
        """Find out whether the other end is the node that we want."""
        ours = msgspec.json.encode(Hello(protocol=PROTOCOL, node=self.uuid))
        theirs = msgspec.json.decode(await broker.ask("root", pb_broker.HELLO + ours), type=Hello)
        if theirs.protocol != PROTOCOL:
            raise NotReached(f"{self.name} speaks protocol {theirs.protocol}, we speak {PROTOCOL}")
        if self.uuid and theirs.node != self.uuid:
            raise NotReached(f"at the address of {self.name} another node answers ({theirs.node})")
        if timer.active():
            timer.cancel()
        broker.limit = pb_broker.EXPRESSION_LIMIT
        self._broker = broker
        self._failures = 0
        self._problem = ""
        log.info("connected to {name}", name=self.name)
        self._schedule_ping(broker)
        self._tell_connected()

    def _not_greeted(self, failure: Failure, broker: BoundedBroker) -> None:
        """End a connection whose greeting went wrong."""
        if not isinstance(failure.value, (pb.PBConnectionLost, pb.DeadReferenceError)):
            error = failure.value
            self._problem = error.text if isinstance(error, GntError) else "the greeting was not understood"
        broker.drop(self._problem or "no greeting")

    def _lost(self, broker: BoundedBroker, reason: Failure) -> None:
        """Hear that a connection is gone; calls under way have been told by PB."""
        if self._adopted is broker:
            self._adopted = None
        if self._broker is broker:
            self._broker = None
            self._problem = "the connection was lost"
            log.info("the connection to {name} was lost", name=self.name)
            if self._ping is not None and self._ping.active():
                self._ping.cancel()
        elif not self._problem:
            self._problem = _why(reason)

    def not_connected(self, failure: Failure) -> Failure:
        """Remember why an attempt came to nothing."""
        self._problem = failure.getErrorMessage()
        return failure

    def heard(self, frame: object) -> None:
        """Take an event of the node; what cannot be read is ignored."""
        try:
            event = decode_event(frame if isinstance(frame, bytes) else b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.info("an event of {name} cannot be read", name=self.name)
            return
        for listener in list(self._listeners):
            listener(event)

    def _delay(self, _attempt: int) -> float:
        """Give the seconds until the next attempt; the service counts connections, we count greetings."""
        self._failures += 1
        longest = min(LONGEST_RETRY, FIRST_RETRY * 1.7 ** min(self._failures - 1, 20))
        return longest * (0.5 + self._source.random() / 2)

    def _schedule_ping(self, broker: BoundedBroker) -> None:
        self._ping = self._clock.callLater(PING_EVERY, self._send_ping, broker)

    def _send_ping(self, broker: BoundedBroker) -> None:
        """Ask for a sign of life."""

        def alive(_answer: object) -> None:
            if self._broker is broker:
                self._schedule_ping(broker)

        def dead(_failure: Failure) -> None:
            broker.drop("no answer to a ping")

        or_passed(self._clock, PING_TIME, broker.ask("root", pb_broker.PING), _Passed).addCallbacks(alive, dead)


class _Passed(Exception):
    """The time is over."""


class _Unusable(Exception):
    """The node answered something that ends the call without an answer."""


class _Sending:
    """One call on its way: in one piece or in pages, and its answer likewise. `sent` from when it may take effect."""

    def __init__(self, broker: BoundedBroker, content: bytes, transfer: int) -> None:
        self._broker = broker
        self._content = content
        self._transfer = transfer
        self.sent = False

    def begin(self) -> Deferred[bytes]:
        """Send, and give the whole answer. Nearly always both are one piece, for which there is little on the way."""
        if pb_broker.pages_of(len(self._content)) > 1:
            return ensureDeferred(self._send()).addCallback(self._answered)
        self.sent = True
        asked: Deferred[bytes] = defer.maybeDeferred(self._broker.ask, "root", pb_broker.WHOLE + self._content)
        return asked.addCallback(self._answered)

    def _answered(self, frame: bytes) -> bytes | Deferred[bytes]:
        return frame[1:] if frame[:1] == pb_broker.DONE else ensureDeferred(self._rest(frame))

    async def _rest(self, frame: bytes) -> bytes:
        """Give an answer that has not come with the first frame."""
        kind = frame[:1]
        if kind != pb_broker.LONG:
            self.sent = self.sent and kind != pb_broker.TOO_LARGE
            raise _Unusable("the node did not take it")
        transfer, size = pb_broker.split_long(frame)
        if size > pb_broker.LARGEST:
            raise _Unusable("the answer is too large")
        return await self._take(transfer, size)

    async def _send(self) -> bytes:
        count = pb_broker.pages_of(len(self._content))
        for number in range(count - 1):
            frame = pb_broker.page_frame(pb_broker.MORE, self._transfer, pb_broker.page(self._content, number))
            if await self._broker.ask("root", frame) != pb_broker.DONE:
                raise _Unusable("the node has no room for it")
        last = pb_broker.page(self._content, count - 1)
        self.sent = True
        return await self._broker.ask("root", pb_broker.page_frame(pb_broker.LAST, self._transfer, last))

    async def _take(self, transfer: int, size: int) -> bytes:
        gathered = bytearray()
        for number in range(pb_broker.pages_of(size)):
            frame = await self._broker.ask("root", pb_broker.take_frame(transfer, number))
            gathered += frame[1:]
        if len(gathered) != size:
            raise _Unusable("the answer is not whole")
        return bytes(gathered)


class _Events(pb.Referenceable):
    """What a node may call at the master: it tells of events."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link

    def remote_call(self, frame: object) -> None:
        """Take an event."""
        self._link.heard(frame)


class _BrokerFactory(Factory):
    """Makes a broker for each connection of a link."""

    noisy = False

    def __init__(self, link: NodeLink) -> None:
        self._link = link

    def buildProtocol(self, _addr: IAddress | None) -> BoundedBroker:  # type: ignore[override]
        """Make a broker."""
        broker = BoundedBroker(client=True, peer=self._link.name)
        broker.setNameForLocal("events", _Events(self._link))  # type: ignore[no-untyped-call]
        self._link.adopt(broker)
        return broker


@implementer(IStreamClientEndpoint)
class _Watched:
    """An endpoint whose failures the link hears of."""

    def __init__(self, link: NodeLink, endpoint: IStreamClientEndpoint) -> None:
        self._link = link
        self._endpoint = endpoint

    def connect(self, protocol_factory: Any) -> Deferred[Any]:
        """Connect."""
        connecting: Deferred[Any] = self._endpoint.connect(protocol_factory)
        return connecting.addErrback(self._link.not_connected)


def _endpoint(reactor: Any, address: str, port: int, tls: ClientTls) -> IStreamClientEndpoint:
    make = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    return TlsEndpoint(tls, make(reactor, address, port, timeout=CONNECT_TIME))


def _why(reason: Failure) -> str:
    """Say in a few words why a connection did not come about."""
    text = str(reason.value)
    if "certificate" in text:
        return "its certificate or ours was refused"
    return "the connection was closed before the greeting"

"""Node calls over Perspective Broker and mutual TLS, on real sockets."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.spread import banana, pb
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from gnt.model.epoch import Epoch
from gnt.model.errors import GntError, InDoubt, NodeFailure, NotReached, StaleEpoch
from gnt.wire import certificates, pb_broker, pb_client, pb_server
from gnt.wire.calls import Delay
from gnt.wire.contract import CallProgress, GuestChanged, NodeEvent
from gnt.wire.envelope import Answer, Request, decode_request, encode_answer
from gnt.wire.log_calls import AskLog, LogSnapshot
from gnt.wire.pb_client import NodeLink
from gnt.wire.pb_server import DoorFactory
from gnt.wire.tls import ClientTls, NodeCredentials, ServerTls, make_context, tls_server_factory
from tests.wire import cluster_keys
from tests.wire.cluster_keys import MASTER_UUID, NODE_UUID, Daemon

reactor: Any = _reactor
EPOCH = Epoch(number=1, node=MASTER_UUID)


def request(call: Any, deadline: float = 30.0) -> Request:
    """Give a request of a made-up master."""
    return Request(id="1", epoch=EPOCH, deadline=deadline, call=call)


class Bytes(Protocol):
    """A peer that is not ours: it sends what it is told and sees whether it is dropped."""

    def __init__(self) -> None:
        self.received = b""
        self.on_data: Deferred[None] | None = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data
        waiting, self.on_data = self.on_data, None
        if waiting is not None:
            waiting.callback(None)

    def connectionLost(self, reason: Failure = mock.sentinel.none) -> None:
        """See the end."""
        self.lost.callback(None)


@implementer(IOpenSSLClientConnectionCreator)
class Anyone:
    """A client without a certificate, or with any, that trusts everybody."""

    def __init__(self, context: SSL.Context | None = None) -> None:
        self.context = context if context is not None else SSL.Context(SSL.TLS_METHOD)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make a connection object."""
        self.context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return SSL.Connection(self.context, None)


class OverSockets(TestCase):
    """One node that listens on 127.0.0.1, and whoever comes."""

    timeout = 20

    def setUp(self) -> None:
        """Make a cluster's keys and start the node."""
        directory = tempfile.TemporaryDirectory(prefix="gnt")
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.authority = cluster_keys.authority()
        self.node = cluster_keys.node(self.authority, "node1.example.com", NODE_UUID)
        self.master = cluster_keys.node(self.authority, "node2.example.com", MASTER_UUID)
        self.daemon = Daemon()
        self.server_credentials = self.keep("server", self.node)
        self.doors = DoorFactory(self.daemon, reactor)
        factory = tls_server_factory(ServerTls(self.server_credentials), self.doors, reactor)
        self.port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.number: int = self.port.getHost().port
        self.addCleanup(self.port.stopListening)
        self.addCleanup(self.drop_all)

    def drop_all(self) -> None:
        """Cut all connections off."""
        for broker in list(self.doors._everybody):
            broker.drop("the test says so")

    def keep(
        self, name: str, identity: certificates.Identity, by: certificates.Identity | None = None
    ) -> NodeCredentials:
        """Put a node's files into a directory of their own."""
        return cluster_keys.credentials(self.root / name, identity, by or self.authority)

    def link(self, identity: certificates.Identity | None = None, **others: Any) -> NodeLink:
        """Give a link to the node, begun, ended with the test."""
        by = others.pop("by", None)
        wanted = others.pop("wanted", (NODE_UUID,))
        name = f"client{len(list(self.root.iterdir()))}"
        tls = ClientTls(self.keep(name, identity or self.master, by), wanted)
        uuid = others.pop("uuid", NODE_UUID)
        source = random.Random(3)  # noqa: S311
        link = NodeLink("node1", uuid, "127.0.0.1", self.number, tls, clock=reactor, source=source, **others)
        self.addCleanup(link.stop)
        link.start()
        return link

    async def stranger(self, creator: Anyone | None = None) -> Bytes:
        """Give a peer that speaks TLS, and nothing of ours."""
        peer = Bytes()
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", self.number)
        if creator is not None:
            endpoint = wrapClientTLS(creator, endpoint)
        factory: Any = Factory.forProtocol(lambda: peer)  # type: ignore[arg-type]
        await endpoint.connect(factory)

        async def leave() -> None:
            transport: Any = peer.transport
            if not peer.lost.called:
                transport.abortConnection()

        self.addCleanup(lambda: ensureDeferred(leave()))
        return peer

    async def refused(self, link: NodeLink) -> str:
        """Wait until a link has failed once; give the reason."""
        for _ in range(500):
            if link.problem:
                break
            await pause()
        assert not link.connected
        return link.problem

    async def failure(self, work: Deferred[Any], kind: type[Exception]) -> Any:
        """Give the error of the expected kind."""
        return await self.assertFailure(work, kind)


def pause(seconds: float = 0.01) -> Deferred[None]:
    """Let the reactor turn."""
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting


class CallTests(OverSockets):
    """What calls give."""

    async def test_value_and_caller(self) -> None:
        """The request arrives with the caller that TLS proved; the answer comes back as a value."""
        link = self.link()
        await link.when_connected()
        self.daemon.answers = [encode_answer(Answer.value(None))]
        answer = await link.call(request(Delay(seconds=1)))
        assert answer.result(Delay(seconds=1)) is None
        sent, caller = self.daemon.asked[0]
        assert decode_request(sent).call == Delay(seconds=1)
        assert caller.common_name == "node2.example.com"
        assert caller.digest == certificates.digest(self.master.certificate)

    async def test_errors_are_raised_as_what_they_are(self) -> None:
        """An error of the node is NodeFailure with its code, a stale epoch is StaleEpoch, a doubt is InDoubt."""
        link = self.link()
        await link.when_connected()
        cases: list[tuple[GntError, type[GntError]]] = [
            (NodeFailure("no_space", "disk is full", hint="make room", retry=True), NodeFailure),
            (StaleEpoch("old"), StaleEpoch),
            (InDoubt("who knows"), InDoubt),
        ]
        for error, kind in cases:
            self.daemon.answers = [encode_answer(Answer.of(error))]
            raised = await self.failure(ensureDeferred(link.call(request(AskLog()))), kind)
            assert (raised.code, raised.text, raised.hint) == (error.code, error.text, error.hint)

    async def test_large_requests_and_answers_travel_in_pages(self) -> None:
        """A megabyte each way arrives unharmed, and other calls pass between."""
        link = self.link()
        await link.when_connected()
        piece = random.Random(5).randbytes(1_000_000)  # noqa: S311
        call = LogSnapshot(transfer="t", offset=0, piece=piece, last=True)
        self.daemon.answers = [encode_answer(Answer.value(1)), encode_answer(Answer.value(piece))]
        first = ensureDeferred(link.call(request(call)))
        await link.call(request(AskLog()))
        answer = await first
        assert [decode_request(sent).call for sent, _ in self.daemon.asked] == [AskLog(), call]
        assert msgspec.json.decode(answer.ok, type=bytes) == piece

    async def test_too_large_never_reaches_the_node(self) -> None:
        """A request over the total limit is refused before it is sent."""
        link = self.link()
        await link.when_connected()
        self.patch(pb_broker, "LARGEST", 1000)
        call = LogSnapshot(transfer="t", offset=0, piece=b"x" * 2000, last=True)
        error = await self.failure(ensureDeferred(link.call(request(call))), NotReached)
        assert "too large" in error.text

    async def test_answer_over_the_limit_is_an_error_of_that_call(self) -> None:
        """The connection and its other calls go on."""
        link = self.link()
        await link.when_connected()
        self.daemon.answers = [encode_answer(Answer.value("x" * 600_000)), encode_answer(Answer.value(None))]
        self.patch(pb_broker, "LARGEST", 500_000)
        await self.failure(ensureDeferred(link.call(request(AskLog()))), NodeFailure)
        await link.call(request(Delay(seconds=1)))

    async def test_deadline_is_in_doubt(self) -> None:
        """No answer in time: nobody knows; an answer that comes later disturbs nothing."""
        link = self.link()
        await link.when_connected()
        late: Deferred[bytes] = Deferred()
        self.daemon.answers = [late, encode_answer(Answer.value(None))]
        await self.failure(ensureDeferred(link.call(request(AskLog(), deadline=0.05))), InDoubt)
        late.callback(encode_answer(Answer.value(None)))
        await link.call(request(Delay(seconds=1)))

    async def test_connection_lost_after_sending_is_in_doubt_then_it_connects_again(self) -> None:
        """The link comes back by itself, and says so each time."""
        link = self.link()
        connections: list[None] = []
        link.on_connected(lambda: connections.append(None))
        await link.when_connected()
        assert len(connections) == 1
        self.daemon.answers = [Deferred()]
        call = ensureDeferred(link.call(request(AskLog())))
        while not self.daemon.asked:
            await pause()
        self.drop_all()
        await self.failure(call, InDoubt)
        assert not link.connected
        await link.when_connected()
        assert len(connections) == 2
        self.daemon.answers = [encode_answer(Answer.value(None))]
        await link.call(request(Delay(seconds=1)))

    def test_a_node_that_was_long_away_is_met_soon(self) -> None:
        """However often nobody was there, the next attempt comes within two seconds."""
        world = MemoryReactorClock()
        tls = ClientTls(self.keep("away", self.master), (NODE_UUID,))
        source = random.Random(3)  # noqa: S311
        link = NodeLink("node1", NODE_UUID, "127.0.0.1", 1, tls, clock=world, source=source)
        link.start()
        for attempt in range(1, 101):
            assert len(world.tcpClients) == attempt
            world.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError("nobody")))
            world.advance(2.0)
        assert "nobody" in link.problem
        link.stop()

    async def test_answer_after_the_connection_was_lost_is_nobodys(self) -> None:
        """The node ends its work in peace: no error in its log."""
        link = self.link()
        await link.when_connected()
        late: Deferred[bytes] = Deferred()
        self.daemon.answers = [late]
        call = ensureDeferred(link.call(request(AskLog())))
        while not self.daemon.asked:
            await pause()
        await link.stop()
        await self.failure(call, InDoubt)
        while self.daemon.listeners:
            await pause()
        late.callback(encode_answer(Answer.value("x" * 1_000_000)))
        await pause()
        assert self.flushLoggedErrors() == []

    async def test_without_a_connection_nothing_is_sent(self) -> None:
        """The reason stands in the error."""
        await self.port.stopListening()
        link = self.link()
        await self.refused(link)
        error = await self.failure(ensureDeferred(link.call(request(AskLog()))), NotReached)
        assert "refused" in error.text

    async def test_stopped_link_tells_those_who_wait(self) -> None:
        """Who waits for a connection hears that there will be none."""
        await self.port.stopListening()
        link = self.link()
        waiting = link.when_connected()
        stopped = link.stop()
        await self.failure(waiting, NotReached)
        await stopped

    async def test_events_reach_the_master(self) -> None:
        """Progress and guests that change by themselves."""
        link = self.link()
        heard: list[NodeEvent] = []
        link.listen(heard.append)
        await link.when_connected()
        events: list[NodeEvent] = [
            CallProgress(id="1", text="half-way"),
            GuestChanged(uuid="u", name="web1", hypervisor="kvm", state="stopped"),
        ]
        for event in events:
            self.daemon.tell(event)
        while len(heard) < len(events):
            await pause()
        assert heard == events

    async def test_listening_ends_with_the_connection(self) -> None:
        """A node keeps nothing of a master that went away."""
        link = self.link()
        await link.when_connected()
        assert len(self.daemon.listeners) == 1
        await link.stop()
        while self.daemon.listeners:
            await pause()

    async def test_peer_that_does_not_answer_pings_is_given_up(self) -> None:
        """Half-open connections are noticed by the application."""
        self.patch(pb_client, "PING_EVERY", 0.01)
        self.patch(pb_client, "PING_TIME", 0.05)

        async def silent(_door: Any, _kind: bytes, _frame: bytes, _caller: Any) -> bytes:
            never: Deferred[bytes] = Deferred()
            return await never

        link = self.link()
        await link.when_connected()
        self.patch(pb_server.Door, "_serve", silent)
        while link.connected:
            await pause()
        assert link.problem == "the connection was lost"

    async def test_silent_master_is_dropped_by_the_node(self) -> None:
        """The node does not keep half-open connections either."""
        self.patch(pb_server, "SILENCE", 0.05)
        link = self.link()
        await link.when_connected()
        while link.connected:
            await pause()


class IdentityTests(OverSockets):
    """Who gets in, and who does not."""

    async def test_client_without_a_certificate(self) -> None:
        """TLS ends before a byte of ours is spoken."""
        peer = await self.stranger(Anyone())
        peer.transport.write(b"x")  # type: ignore[union-attr]
        await peer.lost
        assert self.daemon.asked == []
        assert peer.received == b""

    async def test_who_is_turned_away_is_told_with_the_address(self) -> None:
        """One line for several tries, of whoever is not let in."""
        with capturedLogs() as events:
            for _ in range(3):
                peer = await self.stranger(Anyone())
                peer.transport.write(b"x")  # type: ignore[union-attr]
                await peer.lost
            while self.doors._everybody:
                await pause()
        told = [formatEvent(event) for event in events if event.get("log_namespace") == "gnt.wire.rejections"]
        assert len(told) == 1
        assert told[0].startswith("turned away 127.0.0.1: TLS: peer did not return a certificate")

    async def test_who_is_let_in_still_gets_answers_when_the_node_stops(self) -> None:
        """What was written before the end goes out; strangers are cut off."""
        link = self.link()
        await link.when_connected()
        stranger = await self.stranger(Anyone(make_context(self.master, self.authority.certificate)))
        answer: Deferred[bytes] = Deferred()
        self.daemon.answers = [answer]
        asked = ensureDeferred(link.call(request(Delay(seconds=1))))
        while not self.daemon.asked:
            await pause()
        answer.callback(encode_answer(Answer.value(None)))
        self.doors.end_all()
        assert (await asked).result(Delay(seconds=1)) is None
        await stranger.lost
        while self.doors._everybody:
            await pause()

    async def test_client_of_another_cluster(self) -> None:
        """A certificate that another authority signed is refused by the node."""
        other = cluster_keys.authority("other.example.com")
        foreign = cluster_keys.node(other, "node2.example.com", MASTER_UUID)
        peer = await self.stranger(Anyone(make_context(foreign, other.certificate)))
        peer.transport.write(b"x")  # type: ignore[union-attr]
        await peer.lost
        assert peer.received == b""

    async def test_client_with_an_expired_certificate(self) -> None:
        """Three years later the certificate opens nothing."""
        old = cluster_keys.node(self.authority, "node2.example.com", MASTER_UUID, now=time.time() - 3 * 365 * 86400)
        peer = await self.stranger(Anyone(make_context(old, self.authority.certificate)))
        peer.transport.write(b"x")  # type: ignore[union-attr]
        await peer.lost
        assert peer.received == b""

    async def test_certificate_of_the_remote_api_is_no_client(self) -> None:
        """It was signed by the same authority, for a server only."""
        rapi = certificates.make_rapi(
            self.authority, cluster_name="c", names=[], addresses=[], now=time.time(), source=cluster_keys.SOURCE
        )
        peer = await self.stranger(Anyone(make_context(rapi, self.authority.certificate)))
        peer.transport.write(b"x")  # type: ignore[union-attr]
        await peer.lost
        assert peer.received == b""

    async def test_older_tls_is_refused(self) -> None:
        """TLS 1.2 does not get in, even with the right certificate."""
        context = make_context(self.master, self.authority.certificate)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        peer = await self.stranger(Anyone(context))
        peer.transport.write(b"x")  # type: ignore[union-attr]
        await peer.lost
        assert peer.received == b""

    async def test_node_of_another_cluster(self) -> None:
        """The master does not speak to a server that its authority did not sign."""
        other = cluster_keys.authority("other.example.com")
        link = self.link(cluster_keys.node(other, "node2", MASTER_UUID), by=other)
        assert "certificate" in await self.refused(link)

    async def test_another_node_at_the_address(self) -> None:
        """A node of the same cluster that is not the one we want is refused by its certificate."""
        link = self.link(wanted=("00000000-0000-4000-8000-00000000beef",))
        assert "certificate" in await self.refused(link)

    async def test_name_is_an_identity_too(self) -> None:
        """A link may want a node by its name."""
        link = self.link(wanted=("node1.example.com",))
        await link.when_connected()

    async def test_greeting_names_the_node(self) -> None:
        """A daemon that says it is another node is not spoken to, whatever its certificate."""
        self.daemon.uuid = "00000000-0000-4000-8000-00000000beef"
        link = self.link()
        assert "another node answers" in await self.refused(link)

    async def test_another_protocol_is_named(self) -> None:
        """A node of another release is refused in words."""
        self.patch(pb_server, "PROTOCOL", 2_000_000)
        link = self.link()
        assert "speaks protocol 2000000" in await self.refused(link)

    async def test_renewed_certificate_needs_no_restart(self) -> None:
        """The next connection shows the new certificate; a broken file leaves the old one in use."""
        renewed = cluster_keys.node(self.authority, "node1.example.com", NODE_UUID)
        certificates.save_identity(self.root / "server" / "server.pem", renewed)
        seen: list[str] = []
        for _ in range(2):
            peer = await self.stranger(Anyone(make_context(self.master, self.authority.certificate)))
            assert peer.on_data is not None
            await peer.on_data
            shown = peer.transport.getPeerCertificate().to_cryptography()  # type: ignore[union-attr]
            seen.append(certificates.digest(shown.public_bytes(certificates.serialization.Encoding.DER)))
            (self.root / "server" / "server.pem").write_bytes(b"half of a")
        assert seen == [certificates.digest(renewed.certificate)] * 2

    async def test_two_authorities_of_one_name_while_one_takes_the_place_of_the_other(self) -> None:
        """Who trusts both talks to nodes of both; who trusts only the new one refuses the old."""
        fresh = cluster_keys.authority()
        both = certificates.Identity(self.authority.certificate + fresh.certificate, fresh.key)
        certificates.save_public(self.root / "server" / "ca.pem", both.certificate)
        renewed = cluster_keys.node(fresh, "node2.example.com", MASTER_UUID)
        for identity in (self.master, renewed):
            await self.link(identity, by=both).when_connected()
        assert "certificate" in await self.refused(self.link(renewed, by=fresh))
        certificates.save_identity(
            self.root / "server" / "server.pem", cluster_keys.node(fresh, "node1.example.com", NODE_UUID)
        )
        for identity in (self.master, renewed):
            await self.link(identity, by=both).when_connected()
        await self.link(renewed, by=fresh).when_connected()


class BadPeerTests(OverSockets):
    """Peers that speak garbage, or nothing."""

    async def served(self) -> None:
        """See that others are served."""
        link = self.link()
        await link.when_connected()

    def member(self) -> Anyone:
        """Give a client with a good certificate that is not ours otherwise."""
        return Anyone(make_context(self.master, self.authority.certificate))

    async def test_silence_before_tls(self) -> None:
        """Who connects and says nothing is dropped when the time for the greeting is over."""
        self.patch(pb_server, "GREETING_TIME", 0.05)
        peer = await self.stranger()
        await peer.lost
        assert len(self.doors._strangers) == 0

    async def test_silence_after_tls(self) -> None:
        """A certificate alone keeps no connection open."""
        self.patch(pb_server, "GREETING_TIME", 0.3)
        peer = await self.stranger(self.member())
        assert peer.on_data is not None
        await peer.on_data
        await peer.lost

    async def test_garbage_instead_of_tls(self) -> None:
        """It is no TLS: the connection ends, others are served."""
        peer = await self.stranger()
        peer.transport.write(b"GET / HTTP/1.0\r\n\r\n")  # type: ignore[union-attr]
        await peer.lost
        await self.served()

    async def garbage(self, data: bytes) -> None:
        """Send data inside TLS; see the connection dropped and others served."""
        peer = await self.stranger(self.member())
        assert peer.on_data is not None
        await peer.on_data
        peer.transport.write(data)  # type: ignore[union-attr]
        await peer.lost
        await self.served()
        assert self.flushLoggedErrors() == []

    async def test_garbage_inside_tls(self) -> None:
        """Bytes that are no banana."""
        await self.garbage(bytes(range(256)) * 10)

    async def test_endless_prefix(self) -> None:
        """A number that does not end."""
        await self.garbage(b"\x01" * 5000)

    async def test_nesting_without_end(self) -> None:
        """A list in a list in a list."""
        await self.garbage(b"\x01\x80" * 100_000)

    async def test_message_without_end_is_dropped_before_it_fills_memory(self) -> None:
        """A long list of large strings, each within PB's own limits."""
        text = banana.encode([b"x" * 600_000])[2:]
        await self.garbage(b"\x7f\x7f\x80" + text)

    async def test_call_without_a_greeting(self) -> None:
        """Nothing is served to who has not said what protocol it speaks."""
        await self.framed(pb_broker.WHOLE + b"{}", greet=False)
        assert self.daemon.asked == []

    async def test_unknown_frame(self) -> None:
        """A frame of no known kind ends the connection."""
        await self.framed(b"?nonsense", greet=True)

    async def framed(self, frame: bytes, *, greet: bool) -> None:
        """Send a frame as a real PB client does; see the connection dropped."""
        ready: Deferred[None] = Deferred()
        lost: Deferred[None] = Deferred()

        broker = pb_broker.BoundedBroker(client=True, peer="test")
        broker.on_ready = lambda: ready.callback(None)
        broker.on_lost = lambda _: lost.callback(None)
        factory: Any = mock.Mock()
        factory.buildProtocol.return_value = broker
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", self.number)
        await wrapClientTLS(self.member(), plain).connect(factory)
        await ready
        if greet:
            hello = b'{"protocol":3010000,"node":"' + NODE_UUID.encode() + b'"}'
            await broker.ask("root", pb_broker.HELLO + hello)
        broker.ask("root", frame).addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
        await lost

    async def test_crowd_of_strangers_keeps_nobody_out(self) -> None:
        """Of those that have not greeted only so many stay: the oldest goes."""
        self.patch(pb_server, "STRANGERS", 3)
        peers = [await self.stranger() for _ in range(6)]
        for peer in peers[:3]:
            await peer.lost
        await self.served()
        assert len(self.doors._strangers) <= 3


class TransferTests(TestCase):
    """Pages that wait."""

    def setUp(self) -> None:
        """Begin at zero."""
        self.seconds = 0.0
        clock: Any = mock.Mock()
        clock.seconds = lambda: self.seconds
        self.transfers = pb_server.Transfers(clock)

    def test_bytes_are_limited_over_all_transfers(self) -> None:
        """What would be too much is dropped, and its room is free again."""
        self.patch(pb_broker, "LARGEST", 100)
        assert self.transfers.add(1, b"x" * 60)
        assert not self.transfers.add(2, b"x" * 60)
        assert not self.transfers.add(1, b"x" * 60)
        assert self.transfers.add(2, b"x" * 60)
        assert self.transfers.keep(b"x" * 60) is None

    def test_what_nobody_touches_is_dropped(self) -> None:
        """Half a request, or an answer that nobody takes, does not stay for ever."""
        self.patch(pb_broker, "LARGEST", 100)
        assert self.transfers.add(1, b"x" * 60)
        self.seconds = pb_server.KEEP_ANSWER + 1
        number = self.transfers.keep(b"x" * 60)
        assert number is not None
        assert self.transfers.take(number, 0) == b"x" * 60
        assert self.transfers.take(number, 0) == b""

    def test_number_of_transfers_is_limited(self) -> None:
        """Many empty transfers are no way around the limit."""
        taken = [self.transfers.add(number, b"") for number in range(pb_server.TRANSFERS + 1)]
        assert taken.count(False) == 1

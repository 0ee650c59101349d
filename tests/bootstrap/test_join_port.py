"""The master's door for new nodes, on real sockets: who holds the token gets in once, nobody else ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import msgspec
from OpenSSL import SSL
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from gnt.bootstrap.join_talk import Conversation
from gnt.masterd import join_talk
from gnt.masterd.join_port import MOST_CONNECTIONS, Offer
from gnt.masterd.join_talk import SET_UP, TALK, JoinTls
from gnt.model.errors import GntError, Refused
from gnt.wire import certificates
from gnt.wire.joining import LIFE, TRIES, JoinAnswer, JoinRequest, Token, parse_token
from gnt.wire.tls import NodeCredentials
from tests.bootstrap.world import MASTER_UUID, NAMES, PREFIX, Master, directory, reactor
from tests.wire import cluster_keys


def hello(name: str = "node2", **changes: Any) -> tuple[bytes, JoinRequest]:
    """Give a key and what a node says of itself."""
    key = certificates.make_key()
    request = JoinRequest(
        protocol=1,
        name=name,
        address=NAMES.get(name, f"{PREFIX}.9"),
        request=certificates.make_request(key, name).decode(),
        release="1.0",
    )
    return key, msgspec.structs.replace(request, **changes)


def attempt(token: Token, message: JoinRequest, end: str | None = "") -> JoinAnswer:
    """Try to join, as a node does it: blocks. `end` None leaves without a word."""
    with Conversation(token, patience=10) as master:
        answer = master.ask(message)
        if end is not None:
            master.end(end)
        return answer


class Doors(TestCase):
    """A master that has made a token for node2."""

    timeout = 30

    def setUp(self) -> None:
        """Have a master."""
        self.master = Master(directory(self))
        self.port = self.master.port
        self.addCleanup(self._stop)

    def _stop(self) -> Deferred[None]:
        return ensureDeferred(self.port.stop())

    async def offer(self, name: str = "node2", **options: Any) -> Offer:
        """Make a token."""
        return await self.port.offer(name, **options)

    async def refused(self, work: Callable[..., Any], *args: Any) -> GntError:
        """Do something in a thread that must be refused; gives the refusal."""
        return await self.assertFailure(deferToThread(work, *args), GntError)

    async def fate(self, offer: Offer) -> str:
        """Give what became of a token."""
        return str((await self.port.wait(offer.id, 0))["state"])

    # The right one

    async def test_the_right_token_makes_a_node(self) -> None:
        """A node with the token gets a certificate for its own key, and what it needs; the master learns its digest."""
        offer = await self.offer()
        token = parse_token(offer.token.text())
        key, message = hello()
        waiting = ensureDeferred(self.port.wait(offer.id, 30))
        answer = await deferToThread(attempt, token, message)
        fate = await waiting
        found = certificates.facts(answer.certificate.encode())
        assert (fate["state"], fate["uuid"], fate["digest"]) == ("joined", offer.uuid, found.digest)
        certificates.check_signed(answer.certificate.encode(), self.master.authority.certificate)
        certificates.split_identity(key + answer.certificate.encode(), "node")
        assert found.names == ("node2", offer.uuid)
        assert found.addresses == (NAMES["node2"],)
        assert answer.membership.node_uuid == offer.uuid != MASTER_UUID
        assert answer.membership.candidates == self.master.truth.cluster.settings.candidate_certs
        assert answer.membership.position == self.master.truth.position
        assert answer.files["cluster_name"] == "demo\n"
        assert "KEY" not in answer.authority

    async def test_the_port_is_open_only_while_a_token_lives(self) -> None:
        """Before there is a token, and after its end, nothing listens."""
        assert not self.port.is_open
        first = await self.offer()
        second = await self.offer("node3")
        assert self.port.is_open
        self.port.withdraw(first.id)
        assert self.port.is_open
        await deferToThread(attempt, second.token, hello("node3")[1])
        assert not self.port.is_open
        error = await self.refused(attempt, second.token, hello("node3")[1])
        assert "does not answer" in error.text

    async def test_a_node_that_is_taken_back_keeps_its_uuid(self) -> None:
        """With readd the certificate has the UUID that the cluster knows the node by."""
        await self.refused_offer("node1", "is the master", readd=True)
        await self.refused_offer("node2", "is not a node of this cluster", readd=True)
        cluster = self.master.truth.cluster
        known = msgspec.structs.replace(
            cluster.master, name="node2", uuid="00000000-0000-4000-8000-000000000002", primary_ip=NAMES["node2"]
        )
        self.master.truth.cluster = cluster.put(known)
        await self.refused_offer("node2", "already in the cluster")
        offer = await self.offer(readd=True)
        answer = await deferToThread(attempt, offer.token, hello()[1])
        assert answer.membership.node_uuid == known.uuid

    async def refused_offer(self, name: str, text: str, **options: Any) -> None:
        """See that no token is made."""
        error = await self.assertFailure(ensureDeferred(self.offer(name, **options)), Refused)
        assert text in error.text, error.text
        assert not self.port.is_open

    async def test_tokens_are_refused_for_what_cannot_be_added(self) -> None:
        """Names that are taken, do not resolve or are no names, and a master that cannot sign."""
        await self.refused_offer("demo", "name of an instance or of the cluster")
        await self.refused_offer("nowhere.invalid", "does not resolve")
        await self.refused_offer("../etc", "contains")
        await self.refused_offer("node2", "group", group="nogroup")
        self.master.layout.authority_key.unlink()
        await self.refused_offer("node2", "cannot sign")

    # The wrong ones

    async def test_a_wrong_token_gets_nothing_and_five_kill_it(self) -> None:
        """Who has another secret is refused; the fifth time the token dies, and the right one comes too late."""
        offer = await self.offer()
        keeper = await self.offer("node3")
        wrong = msgspec_replace(offer.token, secret=b"x" * 20)
        for count in range(1, TRIES + 1):
            error = await self.refused(attempt, wrong, hello()[1])
            assert "wrong, was used, or has expired" in error.text
            assert (await self.port.wait(offer.id, 0))["tries"] == count
        assert await self.fate(offer) == "spent"
        error = await self.refused(attempt, offer.token, hello()[1])
        assert "wrong, was used, or has expired" in error.text
        # That last try was made in node2's name, for which there is no token any more: it counts for whoever is left.
        assert (await self.port.wait(keeper.id, 0))["tries"] == 1

    async def test_four_wrong_tries_leave_the_token_good(self) -> None:
        """A token stands mistakes, as long as they are fewer than five."""
        offer = await self.offer()
        for _ in range(TRIES - 1):
            await self.refused(attempt, msgspec_replace(offer.token, secret=b"x" * 20), hello()[1])
        await deferToThread(attempt, offer.token, hello()[1])
        assert await self.fate(offer) == "joined"

    async def test_an_expired_token_gets_nothing(self) -> None:
        """After ten minutes the token is dead and the port closed."""
        offer = await self.offer()
        self.master.clock.jump(LIFE - 1)
        assert await self.fate(offer) == "open"
        waiting = ensureDeferred(self.port.wait(offer.id, 60))
        self.master.clock.jump(2)
        assert (await waiting)["state"] == "expired"
        error = await self.refused(attempt, offer.token, hello()[1])
        assert "does not answer" in error.text

    async def test_a_connection_from_before_the_end_gets_nothing_after_it(self) -> None:
        """Who connected while the token lived is refused when it has expired meanwhile."""
        offer = await self.offer()

        def late() -> None:
            with Conversation(offer.token, patience=10) as conversation:
                from twisted.internet.threads import blockingCallFromThread

                blockingCallFromThread(reactor, self.port._expire, offer)
                conversation.ask(hello()[1])

        error = await self.refused(late)
        assert "expired" in error.text

    async def test_a_token_works_once(self) -> None:
        """The second use is refused, also while another token keeps the port open, also while the first goes on."""
        offer = await self.offer()
        await self.offer("node3")

        def twice() -> None:
            with Conversation(offer.token, patience=10) as first:
                first.ask(hello()[1])
                try:
                    attempt(offer.token, hello()[1])
                finally:
                    first.end("")

        error = await self.refused(twice)
        assert "was used" in error.text
        assert await self.fate(offer) == "joined"
        error = await self.refused(attempt, offer.token, hello()[1])
        assert "was used" in error.text

    async def test_nobody_else_joins_between_a_join_and_its_job(self) -> None:
        """Who joins again gets another identity than the job expects; if the job does not come it is soon forgotten."""
        offer = await self.offer()
        await deferToThread(attempt, offer.token, hello()[1])
        await self.refused_offer("node2", "has joined a moment ago")
        await self.offer("node3")
        self.port.followed("node2")
        await self.offer()
        with patch("gnt.masterd.join_port.FOLLOWED", 0.0):
            again = await self.offer()
            await deferToThread(attempt, again.token, hello()[1])
        await self.offer()

    async def test_another_node_than_the_one_it_was_made_for_gets_nothing(self) -> None:
        """A token for node2 is no good on node3, and trying costs."""
        offer = await self.offer()
        error = await self.refused(attempt, offer.token, hello("node3")[1])
        assert error.text == "the token was made for node2, not for this node"
        assert (await self.port.wait(offer.id, 0))["tries"] == 1

    async def test_a_newer_token_ends_the_older(self) -> None:
        """Of two tokens for one node only the newer is good."""
        first = await self.offer()
        second = await self.offer()
        assert await self.fate(first) == "withdrawn"
        await self.refused(attempt, first.token, hello()[1])
        await deferToThread(attempt, second.token, hello()[1])
        assert await self.fate(second) == "joined"

    async def test_another_master_is_noticed_before_anything_is_sent(self) -> None:
        """Who answers with another certificate than the token names gets not even a name."""
        other = Master(directory(self), seed=2)
        self.addCleanup(lambda: ensureDeferred(other.port.stop()))
        offer = await self.offer()
        trap = await other.port.offer("node2")
        error = await self.refused(attempt, msgspec_replace(offer.token, port=trap.token.port), hello()[1])
        assert "is not the master that made the token: nothing was sent" in error.text
        assert (await other.port.wait(trap.id, 0))["tries"] == 0

    async def test_who_stands_between_gets_nothing(self) -> None:
        """A relay that the node takes for the master cannot pass the node's proof on: it is bound to the connection."""
        offer = await self.offer()
        place = directory(self)
        identity = cluster_keys.node(cluster_keys.authority(), "node1", MASTER_UUID)
        credentials = cluster_keys.credentials(place, identity, cluster_keys.authority())
        relay = listen_as_relay(credentials, offer.token.port)
        self.addCleanup(relay.stopListening)
        digest = certificates.digest(identity.certificate)
        changed = msgspec_replace(offer.token, port=relay.getHost().port, digest=digest)
        error = await self.refused(attempt, changed, hello()[1])
        assert "wrong, was used, or has expired" in error.text
        assert (await self.port.wait(offer.id, 0))["tries"] == 1
        assert await self.fate(offer) == "open"

    # What does not fit

    async def test_a_node_that_resolves_itself_otherwise_is_refused(self) -> None:
        """Both sides must mean the same address; the token is spent on it."""
        offer = await self.offer()
        error = await self.refused(attempt, offer.token, hello(address="10.9.9.9")[1])
        assert f"10.9.9.9 by its own name service, but {PREFIX}.2" in error.text
        assert await self.fate(offer) == "failed"

    async def test_another_release_is_refused(self) -> None:
        """A node that speaks another protocol is told both releases."""
        offer = await self.offer()
        error = await self.refused(attempt, offer.token, hello(protocol=9, release="9.9")[1])
        assert "9.9" in error.text

    async def test_a_bad_signing_request_is_refused(self) -> None:
        """What is no signing request for the right kind of key gets no certificate."""
        offer = await self.offer()
        error = await self.refused(attempt, offer.token, hello(request="no PEM")[1])
        assert "not a signing request" in error.text
        fate = await self.port.wait(offer.id, 0)
        assert (fate["state"], fate["digest"]) == ("failed", "")

    # How it ends there

    async def test_what_goes_wrong_on_the_node_is_told_to_who_waits(self) -> None:
        """The node's own words reach the master; the token does not live again."""
        offer = await self.offer()
        await deferToThread(attempt, offer.token, hello()[1], "the disk is full")
        fate = await self.port.wait(offer.id, 0)
        assert (fate["state"], fate["problem"]) == ("failed", "the disk is full")

    async def test_a_node_that_vanishes_has_failed(self) -> None:
        """Who leaves with its certificate and without a word is not taken for ready."""
        offer = await self.offer()
        await deferToThread(attempt, offer.token, hello()[1], None)
        fate = await self.port.wait(offer.id, 10)
        assert fate["state"] == "failed"
        assert "connection was lost" in fate["problem"]

    async def test_a_node_that_never_gets_ready_is_given_up(self) -> None:
        """After some minutes the master does not wait any longer."""
        offer = await self.offer()

        def silent() -> None:
            with Conversation(offer.token, patience=10) as conversation:
                conversation.ask(hello()[1])
                from twisted.internet.threads import blockingCallFromThread

                blockingCallFromThread(reactor, self.master.clock.jump, SET_UP + 1)
                conversation._receive(1)

        await self.refused(silent)
        assert (await self.port.wait(offer.id, 10))["state"] == "failed"

    async def test_waiting_ends_in_time(self) -> None:
        """Who waits for a token hears in time that nothing has happened, and can wait again."""
        offer = await self.offer()
        assert (await self.port.wait(offer.id, 0.01))["state"] == "open"
        given_up = ensureDeferred(self.port.wait(offer.id, 1000))
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        assert offer.waiting == []
        error = await self.assertFailure(ensureDeferred(self.port.wait("other", 1)), Refused)
        assert "no such token" in error.text

    async def test_stopping_ends_everything(self) -> None:
        """A master that stops listens no more and makes no more tokens."""
        offer = await self.offer()
        await self.port.stop()
        assert not self.port.is_open
        assert await self.fate(offer) == "withdrawn"
        await self.refused_offer("node3", "is ending")

    async def test_a_port_that_is_taken_is_no_obstacle(self) -> None:
        """The usual port may be in use: then it is another one, and the token says which."""
        with socket.socket() as taken:
            taken.bind((NAMES["node1"], 0))
            taken.listen()
            self.port._wanted_port = taken.getsockname()[1]
            offer = await self.offer()
            assert offer.token.port != taken.getsockname()[1]
        await deferToThread(attempt, offer.token, hello()[1])

    # Garbage

    async def test_garbage_is_dropped_and_costs_nothing(self) -> None:
        """Noise, half a handshake, a huge message, JSON of another kind: closed, not counted, and the door works."""
        offer = await self.offer()
        where = (offer.token.address, offer.token.port)
        huge = (2**31 - 1).to_bytes(4, "big")
        over = (20 * 1024).to_bytes(4, "big")
        for noise in (os.urandom(3000), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""):
            await deferToThread(shout, where, noise)
        for frame in (huge, over + b"x" * 20480, framed(b"\xff\xfe"), framed(b"[1]"), framed(b"["[:1] * 16000)):
            data = await deferToThread(shout_inside, offer.token, frame)
            assert data == b"", data
        for frame in (framed(b"{}"), framed(b'{"body":"[]","proof":""}')):
            data = await deferToThread(shout_inside, offer.token, frame)
            assert b"does not speak the protocol" in data
        assert (await self.port.wait(offer.id, 0))["tries"] == 0
        await deferToThread(attempt, offer.token, hello()[1])

    async def test_who_says_nothing_is_dropped(self) -> None:
        """A peer that connects and is silent, before or after the handshake, is closed after a while."""
        offer = await self.offer()
        jump = self.master.clock.jump

        def silent(inside: bool) -> bytes:
            from twisted.internet.threads import blockingCallFromThread

            if not inside:
                with socket.create_connection((offer.token.address, offer.token.port), timeout=10) as peer:
                    blockingCallFromThread(reactor, wait_for_peer)
                    blockingCallFromThread(reactor, jump, TALK + 1)
                    return peer.recv(10)
            with Conversation(offer.token, patience=10) as conversation:
                blockingCallFromThread(reactor, jump, TALK + 1)
                return read_rest(conversation)

        def wait_for_peer() -> Deferred[None]:
            done: Deferred[None] = Deferred()

            def look() -> None:
                if self.port._connections:
                    done.callback(None)
                else:
                    reactor.callLater(0.005, look)

            look()
            return done

        await self.assertFailure(deferToThread(silent, False), ConnectionResetError)
        assert await deferToThread(silent, True) == b""
        assert await self.fate(offer) == "open"

    async def test_too_many_at_once_are_turned_away(self) -> None:
        """A bounded number of peers is connected; when they go, there is room again."""
        offer = await self.offer()
        where = (offer.token.address, offer.token.port)

        def crowd() -> None:
            peers = [socket.create_connection(where, timeout=10) for _ in range(MOST_CONNECTIONS)]
            try:
                attempt(offer.token, hello()[1])
            finally:
                for peer in peers:
                    peer.close()

        await self.refused(crowd)
        assert await self.fate(offer) == "open"
        while self.port._connections:
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0.005, waiting.callback, None)
            await waiting
        await deferToThread(attempt, offer.token, hello()[1])

    async def test_a_fault_of_ours_ends_the_attempt_only(self) -> None:
        """An unexpected error is logged without the secret, the peer is dropped, the master goes on."""
        offer = await self.offer()

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(self.port, "_sign", broken)
        await self.refused(attempt, offer.token, hello()[1])
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        assert await self.fate(offer) == "failed"
        assert join_talk.log.namespace == "gnt.masterd.join_talk"


def msgspec_replace(token: Token, **changes: Any) -> Token:
    """Give a token with something changed."""
    import dataclasses

    return dataclasses.replace(token, **changes)


def framed(data: bytes) -> bytes:
    """Give a message as it is sent."""
    return len(data).to_bytes(4, "big") + data


def shout(where: tuple[str, int], noise: bytes) -> None:
    """Send bytes to a port and go."""
    with socket.create_connection(where, timeout=10) as peer:
        peer.sendall(noise)


def shout_inside(token: Token, frame: bytes) -> bytes:
    """Send bytes inside TLS; gives what comes back until the end."""
    with Conversation(token, patience=10) as conversation:
        conversation._send(frame)
        return read_rest(conversation)


def read_rest(conversation: Conversation) -> bytes:
    """Read until the other side has closed; that it only stays silent does not count."""
    found = b""
    try:
        while True:
            found += conversation._receive(1)
    except SSL.Error:
        return found
    except GntError as error:
        if "does not answer within" in error.text:
            raise
        return found


@implementer(IOpenSSLClientConnectionCreator)
class _Trusting:
    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Take any certificate."""
        return SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)


class _Pipe(Protocol):
    """Passes what comes to the other side."""

    other: _Pipe | None = None
    transport: Any

    def __init__(self) -> None:
        self.held = b""

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, once there is an other side."""
        if self.other is None:
            self.held += data
        else:
            self.other.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        """Close both."""
        if self.other is not None:
            self.other.transport.loseConnection()


class _Inward(_Pipe):
    """The side of the node: connects to the master when it comes."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def connectionMade(self) -> None:
        """Connect to the real master."""
        inward = self

        class Outward(_Pipe):
            def connectionMade(self) -> None:
                self.other, inward.other = inward, self
                self.transport.write(inward.held)

        factory: Any = ClientFactory.forProtocol(Outward)
        wrapped = TLSMemoryBIOFactory(_Trusting(), True, factory, reactor)
        reactor.connectTCP(NAMES["node1"], self._port, wrapped)


def listen_as_relay(credentials: NodeCredentials, port: int) -> Any:
    """Listen as somebody who stands between a node and the master."""
    factory: Any = Factory.forProtocol(lambda: _Inward(port))
    wrapped = TLSMemoryBIOFactory(JoinTls(credentials), False, factory, reactor)
    return reactor.listenTCP(0, wrapped, interface=NAMES["node1"])

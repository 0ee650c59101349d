"""What is sent at once is with the other end before the reactor has had another round."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IWriteDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from gnt.wire.at_once import send_now
from gnt.wire.pb_broker import BoundedBroker

reactor: Any = the_reactor


class Server(Protocol):
    """Tells when a client is there, and when it has gone."""

    def __init__(self, there: Deferred[Server]) -> None:
        self.there = there
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Tell."""
        self.there.callback(self)

    def connectionLost(self, reason: Any = None) -> None:
        """Tell."""
        self.gone.callback(None)


class AtOnce(TestCase):
    """A server on the reactor, and a client that blocks it: what that reads was there without another round."""

    timeout = 20

    def setUp(self) -> None:
        """Listen."""
        self.there: Deferred[Server] = Deferred()
        self.port = reactor.listenTCP(0, Factory.forProtocol(lambda: Server(self.there)), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.client = socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=5)
        self.addCleanup(self.client.close)

    async def test_what_was_written_is_sent(self) -> None:
        """Also if it was written in pieces."""
        transport: Any = (await self.there).transport
        transport.writeSequence([b"one ", b"message"])
        send_now(transport)
        assert self.client.recv(100) == b"one message"

    async def test_what_the_socket_does_not_take_follows(self) -> None:
        """A client that reads slowly gets all of it, in order."""
        server = await self.there
        transport: Any = server.transport
        much = bytes(range(256)) * 64 * 1024
        transport.write(much)
        send_now(transport)
        found = bytearray()
        self.client.setblocking(False)
        while len(found) < len(much):
            try:
                found += self.client.recv(1 << 20)
            except BlockingIOError:
                round_over: Deferred[None] = Deferred()
                reactor.callLater(0, round_over.callback, None)
                await round_over
        assert found == much

    async def test_a_connection_that_was_to_be_closed_is_closed(self) -> None:
        """The last that was written is sent, and the end is the reactor's to bring about."""
        server = await self.there
        transport: Any = server.transport
        transport.write(b"last")
        transport.loseConnection()
        send_now(transport)
        assert self.client.recv(100) == b"last"
        await server.gone
        assert self.client.recv(100) == b""

    async def test_a_client_that_has_gone_is_noticed(self) -> None:
        """As without it."""
        server = await self.there
        transport: Any = server.transport
        self.client.close()
        transport.write(b"into the void")
        send_now(transport)
        await server.gone
        send_now(transport)

    def test_what_is_no_socket_is_left_alone(self) -> None:
        """As in tests and in the simulator, where nothing is under a transport."""
        send_now(None)
        send_now(object())


@implementer(IWriteDescriptor)
class Socket:
    """Notes what is asked of it."""

    connected = True

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps

    def doWrite(self) -> None:
        """Send."""
        self.steps.append("sent")

    def fileno(self) -> int:
        """Give none."""
        return -1


class Tls:
    """Hands on what is written, as TLS does, to the socket below it."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.transport = Socket(steps)

    def write(self, _data: bytes) -> None:
        """Take a piece of a message."""
        self.steps.append("written")


def test_a_message_to_a_node_is_written_whole_and_sent_at_once() -> None:
    """In one piece, so there is nothing to wait for."""
    steps: list[str] = []
    broker = BoundedBroker(client=True, peer="node1")
    broker.makeConnection(cast("Any", Tls(steps)))
    broker.sendEncoded([b"message", 1, [b"tuple", b"content"]])
    assert steps == ["written", "sent"]

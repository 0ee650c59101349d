"""One connection of a node that wants to join: frames, time, order. What is decided about it is in `join_port`."""

from __future__ import annotations

from typing import Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from gnt.daemon.runtime import Runtime
from gnt.model.errors import GntError
from gnt.wire.joining import (
    CHANNEL_LABEL,
    CHANNEL_OCTETS,
    MASTER,
    MAX_REQUEST,
    NODE,
    JoinAnswer,
    JoinDone,
    JoinEnd,
    Refusal,
    Seal,
    Sealed,
    decode,
    encode_refusal,
)
from gnt.wire.tls import NodeCredentials

log: Final = Logger()

TALK: Final = 20.0
"""Seconds in which a peer must have shaken hands and proved the token."""
SET_UP: Final = 180.0
"""Seconds that the new node has to write its files and start its daemon."""
CLOSING: Final = 5.0


@implementer(IOpenSSLServerConnectionCreator)
class JoinTls:
    """Shows the master's certificate to anybody: who comes has none yet."""

    def __init__(self, credentials: NodeCredentials) -> None:
        self._credentials = credentials

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Make the connection object for a connection that came in."""
        context = self._credentials.context()
        context.set_verify(SSL.VERIFY_NONE)
        return SSL.Connection(context, None)


class Door(Protocol):
    """What decides; an offer is what it makes of it."""

    def enter(self, connection: JoinConnection) -> bool:
        """Take a peer in; False if there are too many."""

    def leave(self, connection: JoinConnection) -> None:
        """Forget a peer."""

    async def take(self, sealed: Sealed, channel: bytes) -> tuple[Any, Seal, JoinAnswer]:
        """Check who comes, and sign."""

    def ended(self, offer: Any, problem: str) -> None:
        """Note how it ended on the new node."""


class JoinConnection(Int32StringReceiver):
    """One peer: a request, the answer to it, how it ended."""

    MAX_LENGTH = MAX_REQUEST
    transport: Any

    def __init__(self, runtime: Runtime, door: Door) -> None:
        self._runtime = runtime
        self._door = door
        self._timer: IDelayedCall | None = None
        self._asked = False
        self._offer: Any = None
        self._seal: Seal | None = None

    def connectionMade(self) -> None:
        """Take the peer in, for a while."""
        self._limit(TALK)
        if not self._door.enter(self):
            self.drop()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002
        """Forget the peer; a node that has got its certificate and says nothing more has failed."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._door.leave(self)
        if self._offer is not None:
            self._finish("the connection was lost before the node was ready")

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: ARG002
        """Drop who sends more than there is to say."""
        self.drop()

    def stringReceived(self, string: bytes) -> None:
        """Take a message; one that is not its turn ends the connection."""
        try:
            sealed = decode(string, Sealed)
        except GntError:
            self.drop()
            return
        if not self._asked:
            self._asked = True
            answering = Deferred.fromCoroutine(self._answer(sealed))
            answering.addErrback(self._fault)
        elif self._offer is not None and self._seal is not None:
            self._note_end(sealed, self._seal)
        else:
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        self.transport.abortConnection()

    async def _answer(self, sealed: Sealed) -> None:
        channel = self.transport.getHandle().export_keying_material(CHANNEL_LABEL, CHANNEL_OCTETS)
        try:
            offer, seal, answer = await self._door.take(sealed, channel)
        except GntError as error:
            self._close_with(encode_refusal(Refusal(code=error.code, text=error.text, hint=error.hint)))
            return
        if not self.connected:
            self._door.ended(offer, "the connection was lost before the node was ready")
            return
        self._offer, self._seal = offer, seal
        self._limit(SET_UP)
        self._send(seal.close(MASTER, answer))

    def _note_end(self, sealed: Sealed, seal: Seal) -> None:
        try:
            end = seal.open(NODE, sealed, JoinEnd)
        except GntError as error:
            self._finish(error.text)
            self.drop()
            return
        self._finish(end.problem[:1000])
        self._close_with(seal.close(MASTER, JoinDone(noted=True)))

    def _finish(self, problem: str) -> None:
        offer, self._offer = self._offer, None
        self._door.ended(offer, problem)

    def _close_with(self, message: bytes) -> None:
        self._limit(CLOSING)
        self._send(message)
        self.transport.loseConnection()

    def _send(self, message: bytes) -> None:
        self.transport.writeSequence([len(message).to_bytes(4, "big"), message])

    def _limit(self, seconds: float) -> None:
        """Allow the peer so many seconds from now."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._runtime.clock.callLater(seconds, self.drop)

    def _fault(self, failure: Failure) -> None:
        log.failure("taking in a node", failure=failure)
        self.drop()

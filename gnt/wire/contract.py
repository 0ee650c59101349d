"""What a node daemon is to a master, whatever carries the bytes between them.

`INodeDaemon` is the node's side, `NodeLink` the master's. Perspective Broker over mutual TLS (`pb_server`,
`pb_client`) and plain memory (`memory`) carry the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface

from gnt.wire.envelope import Answer, Request


class Caller(msgspec.Struct, frozen=True):
    """Who calls, as the transport proved it: SHA-256 of the certificate (lower-case hex), its common name."""

    digest: str
    common_name: str


class CallProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress", tag_field="event"):
    """A line about a call that is under way; advice, it may be lost."""

    id: str
    text: str


class GuestChanged(msgspec.Struct, frozen=True, kw_only=True, tag="guest", tag_field="event"):
    """A guest changed its state by itself. `state` as in `GuestFacts`, or `stopped`."""

    uuid: str
    name: str
    hypervisor: str
    state: str


NodeEvent = CallProgress | GuestChanged
Listener = Callable[[NodeEvent], None]
StopListening = Callable[[], None]

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[NodeEvent] = msgspec.json.Decoder(NodeEvent)


def encode_event(event: NodeEvent) -> bytes:
    """Encode an event."""
    return _encoder.encode(event)


def decode_event(data: bytes) -> NodeEvent:
    """Decode an event; raises `msgspec.DecodeError`."""
    return _decoder.decode(data)


class INodeDaemon(Interface):
    """A node daemon as its transports see it."""

    def call(request: bytes, caller: Caller) -> Deferred[bytes]:  # noqa: N805
        """Perform an encoded request; the Deferred fires with an encoded answer and never fails."""

    def listen(listener: Listener) -> StopListening:  # noqa: N805
        """Tell `listener` of every event until the function that comes back is called."""

    def identity() -> tuple[str, str]:
        """Give the node's name and UUID, for the greeting between the two ends."""


class Link(Protocol):
    """The master's connection to one node."""

    name: str
    uuid: str

    @property
    def connected(self) -> bool:
        """Say whether calls can be sent at this moment."""

    @property
    def problem(self) -> str:
        """Say in one line why there is no connection; empty while there is one, or before the first attempt."""

    def start(self) -> None:
        """Begin to connect, and connect again whenever the connection is lost."""

    def stop(self) -> Deferred[None]:
        """Close the connection for good; calls under way end in doubt."""

    def when_connected(self) -> Deferred[None]:
        """Fire when calls can be sent; at once if they can now. Fails with `NotReached` when the link is stopped."""

    def on_connected(self, listener: Callable[[], None]) -> None:
        """Hear of each time that calls can be sent: once connected, and again after each loss."""

    async def call(self, request: Request) -> Answer:
        """Make a call. The answer has a value: errors are raised.

        Raises `NotReached` (it never began), `InDoubt` (deadline passed, or connection lost after sending),
        `StaleEpoch`, `NodeFailure`.
        """

    def listen(self, listener: Listener) -> StopListening:
        """Tell `listener` of the node's events until the function that comes back is called."""

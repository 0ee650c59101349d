"""Certificates of a made-up cluster, and a node daemon that answers what it is told."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from gnt.wire import certificates
from gnt.wire.certificates import Identity
from gnt.wire.contract import Caller, INodeDaemon, Listener, NodeEvent, StopListening
from gnt.wire.tls import NodeCredentials

SOURCE = random.Random(1)  # noqa: S311
NODE_UUID = "00000000-0000-4000-8000-000000000001"
MASTER_UUID = "00000000-0000-4000-8000-000000000002"


def authority(name: str = "cluster.example.com") -> Identity:
    """Make an authority that is good now."""
    return certificates.make_authority(name, now=time.time(), source=SOURCE)


def node(by: Identity, name: str, uuid: str, *, now: float | None = None) -> Identity:
    """Make a node's key and have it signed."""
    key = certificates.make_key()
    request = certificates.make_request(key, name)
    moment = time.time() if now is None else now
    signed = certificates.sign_node(
        by, request, name=name, uuid=uuid, addresses=["127.0.0.1"], now=moment, source=SOURCE
    )
    return Identity(signed, key)


def credentials(directory: Path, identity: Identity, by: Identity) -> NodeCredentials:
    """Put a node's files into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    certificates.save_identity(directory / "server.pem", identity)
    certificates.save_public(directory / "ca.pem", by.certificate)
    return NodeCredentials(directory / "server.pem", directory / "ca.pem")


@implementer(INodeDaemon)
class Daemon:
    """Gives the answers that it was told, and remembers requests and callers."""

    def __init__(self, uuid: str = NODE_UUID) -> None:
        self.uuid = uuid
        self.asked: list[tuple[bytes, Caller]] = []
        self.answers: list[Deferred[bytes] | bytes] = []
        self.listeners: list[Listener] = []

    def identity(self) -> tuple[str, str]:
        """Say who this is."""
        return "node1.example.com", self.uuid

    def call(self, request: bytes, caller: Caller) -> Deferred[bytes]:
        """Answer."""
        self.asked.append((request, caller))
        answer: Any = self.answers.pop(0)
        return succeed(answer) if isinstance(answer, bytes) else answer

    def listen(self, listener: Listener) -> StopListening:
        """Remember who listens."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, event: NodeEvent) -> None:
        """Tell everybody who listens."""
        for listener in list(self.listeners):
            listener(event)

"""The remote API on a socket, with a certificate of a cluster, and a master behind its real LUXI server."""

from __future__ import annotations

import base64
import random
import socket
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.trial.unittest import TestCase

from gnt.daemon.pools import ThreadPools
from gnt.masterd.luxi_server import LuxiServer
from gnt.model.layout import Layout
from gnt.opcodes.registry import ALL
from gnt.rapi.service import RemoteApi, Settings
from gnt.rapi.tls import RapiTls
from gnt.wire import certificates
from gnt.wire.luxi import Request
from tests.rapi.room import USERS

reactor: Any = _reactor
SOURCE = random.Random()  # noqa: S311
LOGIN = {"Authorization": "Basic " + base64.b64encode(b"writer:secret1").decode()}


class Methods:
    """A master that is asked over its real server; `answers` are values, or made of the arguments."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.answers: dict[str, Any] = {
            "Abilities": {"opcodes": sorted(ALL)},
            "QueryClusterInfo": {"name": "demo"},
            "SubmitJob": 7,
        }

    async def call(self, request: Request) -> Any:
        """Answer."""
        if request.method == "IfChanged" and "IfChanged" not in self.answers:
            _, method, args = request.args
            return {"stamp": None, "result": await self.call(Request(method=method, args=args))}
        if request.method == "WaitForJobChange" and request.method not in self.answers:
            self.waiting.append(Deferred())
            return await self.waiting[-1]
        answer = self.answers[request.method]
        if callable(answer):
            answer = answer(*request.args)
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer


class SocketCase(TestCase):
    """One remote API on 127.0.0.1, with a certificate of a cluster, and one master behind it."""

    timeout = 30
    most_clients = 100

    def setUp(self) -> None:
        """Start both."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.authority = certificates.make_authority("demo", now=time.time(), source=SOURCE)
        self.pem = self.path / "rapi.pem"
        self.renew()
        (self.path / "ca.pem").write_bytes(self.authority.certificate)
        users = self.path / "users"
        users.write_text(USERS)
        users.chmod(0o600)
        layout = Layout(self.path)
        self.methods = Methods()
        self.luxi = LuxiServer(self.methods, layout)
        self.luxi.start(reactor)
        self.tls = RapiTls(self.pem, self.pem)
        self.tls.check()
        endpoint = UNIXClientEndpoint(reactor, str(layout.master_socket))
        self.pools = ThreadPools(reactor)
        settings = Settings(users=users, tls=self.tls, most_clients=self.most_clients)
        self.api = RemoteApi(settings, endpoint, reactor, self.pools)
        self.port: Any = reactor.listenTCP(0, self.api.factory, interface="127.0.0.1")
        self.number: int = self.port.getHost().port
        self.addCleanup(self.stop)

    async def stop(self) -> None:
        """Stop both."""
        await self.port.stopListening()
        self.api.stop()
        for waiting in self.methods.waiting:
            if not waiting.called:
                waiting.callback("nochange")
        await self.luxi.stop()
        await self.pools.stop()
        gone: Deferred[None] = Deferred()
        reactor.callLater(0.01, gone.callback, None)
        await gone

    def renew(self) -> None:
        """Make a new certificate for the same cluster."""
        identity = certificates.make_rapi(
            self.authority,
            cluster_name="demo",
            names=["node1"],
            addresses=["127.0.0.1"],
            now=time.time(),
            source=SOURCE,
        )
        certificates.save_identity(self.pem, identity)

    def context(self) -> ssl.SSLContext:
        """Give the context of a client that trusts this cluster only."""
        return ssl.create_default_context(cafile=str(self.path / "ca.pem"))

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Connect, as a client in a thread does."""
        plain = socket.create_connection(("127.0.0.1", self.number), timeout=10)
        return (context or self.context()).wrap_socket(plain, server_hostname="127.0.0.1")

"""`twistd gnt-noded`: options, checks before the daemon detaches, and the service."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon import collector, readiness
from gnt.daemon.ending import stop
from gnt.daemon.files import make_directories, remove_unfinished
from gnt.daemon.foreign import refuse_foreign
from gnt.daemon.listening import listen, noded_port
from gnt.daemon.names import default_bind
from gnt.daemon.options import (
    EXIT_NOT_A_MEMBER,
    Daemon,
    DaemonOptions,
    end_with_failure,
    refuse_start,
)
from gnt.daemon.pools import ThreadPools
from gnt.daemon.reactor import real_runtime, the_reactor
from gnt.model.errors import GntError
from gnt.model.layout import Layout
from gnt.noded.call_table import check_table
from gnt.noded.handler import Place
from gnt.noded.hypervisors.pki import prepare_tls
from gnt.noded.membership import MembershipFile
from gnt.noded.service import NodeDaemon, real_providers
from gnt.wire.calls import Membership
from gnt.wire.pb_server import DoorFactory
from gnt.wire.tls import NodeCredentials, ServerTls, tls_server_factory

log: Final = Logger()

PROGRAM: Final = "gnt-noded"
LOG_FILE: Final = "node-daemon.log"


class Options(DaemonOptions):
    """Options of the node daemon."""

    PROGRAM: ClassVar[str] = PROGRAM
    PORT: ClassVar[int] = noded_port()


def makeService(options: Options) -> Daemon:
    """Check what can be checked, and make the service. Ends the program with exit codes of `spec/daemons.md`."""
    try:
        layout = Layout.from_environment(os.environ)
        refuse_foreign(layout)
        member = _membership(layout)
        credentials = NodeCredentials(layout.node_pem, layout.authority_certificate)
        credentials.check()
        make_directories(layout)
        check_table(layout.calls_db)
        listening = listen(options["bind"] or default_bind(layout, member.node_name), options["port"])
        remove_unfinished(layout.data)  # not before the port is ours: another node daemon may be writing
        daemon = Daemon(options, layout.log / LOG_FILE)
    except GntError as problem:
        refuse_start(PROGRAM, problem)
    _give_certificate(layout)
    runtime, pools = real_runtime()
    collector.wait_with_collecting()
    place = Place(layout=layout, name=member.node_name, runtime=runtime)
    NodeService(place, pools, credentials, listening).setServiceParent(daemon)  # type: ignore[no-untyped-call]
    return daemon


def _give_certificate(layout: Layout) -> None:
    """Let libvirt have the node's certificate; where it cannot be written, guests run, and only migration fails."""
    try:
        prepare_tls(layout)
    except OSError as problem:
        log.warn("libvirt does not get this node's certificate: {problem}", problem=problem)


def _membership(layout: Layout) -> Membership:
    """Give the node's membership, or end: there is nothing to serve."""
    hint = "gnt-cluster init makes a cluster of this machine; gnt-node add, on the master, takes it into one"
    if not layout.node_pem.exists():
        refuse_start(PROGRAM, f"{layout.node_pem} is missing: not a node of a cluster ({hint})", EXIT_NOT_A_MEMBER)
    member = MembershipFile(layout).load()
    if member is None:
        refuse_start(PROGRAM, f"the membership in {layout.data} is missing ({hint})", EXIT_NOT_A_MEMBER)
    return member


class NodeService(Service):
    """The running node daemon: starts what it is made of, then takes the connections that wait."""

    def __init__(
        self, place: Place, pools: ThreadPools, credentials: NodeCredentials, listening: socket.socket
    ) -> None:
        self._reactor: Any = the_reactor()
        self._place = place
        self._pools = pools
        self._credentials = credentials
        self._listening = listening
        self._port: Any = None
        self._daemon = NodeDaemon(place, real_providers(place, self._reactor), self._leave)
        self._doors = DoorFactory(self._daemon.door, self._reactor)

    def startService(self) -> None:
        """Start, and say that we are ready when we are."""
        super().startService()  # type: ignore[no-untyped-call]
        ensureDeferred(self._start()).addErrback(self._failed)

    async def _start(self) -> None:
        await self._daemon.start()
        if not self.running:
            return
        collector.spare_the_collector()
        factory = tls_server_factory(ServerTls(self._credentials), self._doors, self._reactor)
        with contextlib.closing(self._listening) as listening:
            self._port = self._reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
        readiness.ready(os.environ, f"serves {self._place.name}")
        log.info("{node} is ready", node=self._place.name)

    def _failed(self, failure: Failure) -> None:
        """End: a daemon that cannot start must not look as if it ran."""
        if isinstance(failure.value, GntError):
            log.critical("cannot start: {problem}", problem=failure.value.text)
        else:
            log.failure("cannot start", failure=failure)
        end_with_failure(self._reactor)

    def stopService(self) -> Deferred[None]:
        """Take no more calls, end what is under way, close the files, join the threads."""
        super().stopService()  # type: ignore[no-untyped-call]
        readiness.stopping(os.environ)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
        await self._daemon.come_to_rest()
        self._doors.end_all()
        await self._daemon.stop()
        await self._pools.stop()

    def _leave(self) -> None:
        """End after the node has left its cluster."""
        log.info("{node} has left its cluster", node=self._place.name)
        stop(self._reactor)

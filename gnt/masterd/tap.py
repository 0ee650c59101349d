"""`twistd gnt-masterd`: options, checks before the daemon detaches, and the service."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from gnt.daemon import collector, names, readiness
from gnt.daemon.config_view import refuse_edited
from gnt.daemon.files import make_directories
from gnt.daemon.foreign import refuse_foreign
from gnt.daemon.listening import noded_port
from gnt.daemon.open_files import allow_many
from gnt.daemon.options import (
    EXIT_FAILURE,
    EXIT_NODE_SETUP,
    EXIT_NOT_A_MEMBER,
    EXIT_NOT_MASTER,
    Daemon,
    DaemonOptions,
    end_with_failure,
    refuse_start,
)
from gnt.daemon.pools import ThreadPools
from gnt.daemon.reactor import real_runtime, the_reactor
from gnt.daemon.room import Room
from gnt.daemon.runtime import Runtime
from gnt.daemon.takeover import Takeover, take_order
from gnt.masterd import high_water
from gnt.masterd.high_water import refuse_older
from gnt.masterd.luxi_server import LuxiServer, check_paths
from gnt.masterd.service import MasterDaemon, Providers
from gnt.masterd.vote import NOT_MASTER
from gnt.model.errors import GntError, Refused, StaleEpoch
from gnt.model.layout import Layout, host_name
from gnt.model.objects import Node
from gnt.store.reading import Reader, is_older
from gnt.store.vault import FOLD_AT, ROOM, FileVault
from gnt.wire.pb_client import NodeLink
from gnt.wire.tls import ClientTls, NodeCredentials

log: Final = Logger()

PROGRAM: Final = "gnt-masterd"
LOG_FILE: Final = "master-daemon.log"
ROOM_AFTER: Final = 1.0
"""Seconds after a start until the write-ahead log gets its room: whoever waits for the start has things to do first."""


class Options(DaemonOptions):
    """Options of the master daemon (`spec/daemons.md`, section 2)."""

    PROGRAM: ClassVar[str] = PROGRAM

    optFlags: ClassVar[list[list[Any]]] = [
        *DaemonOptions.optFlags,
        ["no-voting", None, "become master without asking the other master candidates"],
        ["yes-do-it", None, "with --no-voting: do not ask whether that is meant"],
    ]

    def postOptions(self) -> None:
        """Refuse what this daemon does not do, and what makes no sense."""
        for name in ("bind", "port"):
            if self[name] is not None:
                raise usage.UsageError(f"--{name}: {PROGRAM} listens on no network address")
        if self["yes-do-it"] and not self["no-voting"]:
            raise usage.UsageError("--yes-do-it says nothing without --no-voting")
        super().postOptions()


def makeService(options: Options) -> Daemon:
    """Check what can be checked, and make the service. Ends the program with exit codes of `spec/daemons.md`."""
    host = host_name(os.environ, socket.getfqdn())
    try:
        layout = Layout.from_environment(os.environ)
        refuse_foreign(layout)
    except GntError as problem:
        refuse_start(PROGRAM, problem)
    try:
        if not layout.node_pem.exists():
            hint = "gnt-cluster init makes a cluster of this machine"
            refuse_start(PROGRAM, f"{layout.node_pem} is missing: not a node of a cluster ({hint})", EXIT_NOT_A_MEMBER)
        order = _order(layout, options)
        _refuse_unless_master(layout, host, order)
        _refuse_unresolvable(layout, host)
        credentials = NodeCredentials(layout.node_pem, layout.authority_certificate)
        credentials.check()
        check_paths((layout.master_socket, layout.query_socket))
        make_directories(layout)
        daemon = Daemon(options, layout.log / LOG_FILE)
    except GntError as problem:
        refuse_start(PROGRAM, problem, log_file=layout.log / LOG_FILE)
    runtime, pools = real_runtime()
    collector.wait_with_collecting()
    service = MasterService(layout, host, runtime, pools, credentials, order=order)
    service.setServiceParent(daemon)  # type: ignore[no-untyped-call]
    return daemon


def _order(layout: Layout, options: Options) -> Takeover | None:
    """Give what an administrator has ordered: to take over, or to begin without a majority."""
    order = take_order(layout)
    if not options["no-voting"]:
        return order
    if not options["yes-do-it"]:
        sys.stdout.write(
            "Master candidates that do not answer will be flagged offline by force, and what only they have is lost.\n"
            "That is safe only if they are switched off, and stay so. Type YES to go on: "
        )
        sys.stdout.flush()
        if sys.stdin.readline().strip() != "YES":
            refuse_start(PROGRAM, "Aborting.", EXIT_FAILURE)
    return Takeover(here=order is not None and order.here, no_voting=True)


def _refuse_unless_master(layout: Layout, host: str, order: Takeover | None) -> None:
    """End unless the store on this node names it as the master. Raises `ConfigError` for a store that is damaged."""
    if not layout.config_db.exists():
        text = f"{host} is not the master: it has no copy of the configuration"
        refuse_start(PROGRAM, f"{text} (gnt-cluster getmaster names the master)", EXIT_NOT_MASTER)
    _bring_over(layout)
    if order is not None and order.here:
        return
    reader = Reader.open(layout.config_db)
    try:
        cluster = reader.load_cluster(instances=False)
        if cluster.master.name == host:
            refuse_edited(layout)
            refuse_older(layout, reader)
    finally:
        reader.close()
    master = cluster.nodes.get(cluster.settings.master_node)
    if master is not None and master.name != host:
        refuse_start(PROGRAM, f"{host} is not the master, {master.name} is", EXIT_NOT_MASTER)


def _bring_over(layout: Layout) -> None:
    """Bring a store that an older gnt wrote to our version. Raises `ConfigError`."""
    if is_older(layout.config_db):
        vault = FileVault(layout.config_db)
        vault.hold(PROGRAM)
        try:
            vault.open().close()
        finally:
            vault.release()


def _refuse_unresolvable(layout: Layout, host: str) -> None:
    try:
        names.resolve(layout, host)
    except Refused as problem:
        refuse_start(PROGRAM, problem, EXIT_NODE_SETUP)


class MasterService(Service):
    """The running master daemon: becomes master, then takes LUXI clients."""

    def __init__(
        self,
        layout: Layout,
        host: str,
        runtime: Runtime,
        pools: ThreadPools,
        credentials: NodeCredentials,
        *,
        order: Takeover | None = None,
    ) -> None:
        self._reactor: Any = the_reactor()
        self._layout = layout
        self._host = host
        self._runtime = runtime
        self._pools = pools
        self._credentials = credentials
        self._port = noded_port()
        providers = Providers(
            host=host,
            # What folds the log in beside the writing does so much earlier.
            vault=FileVault(layout.config_db, fold_at=16 * FOLD_AT),
            connect=self._connect,
            listen=self._listen,
            takeover=order,
        )
        self._daemon = MasterDaemon(runtime, layout, providers, self._deposed)
        self._luxi: LuxiServer | None = None
        self._starting: Deferred[None] | None = None
        self._room = Room(runtime, 8 * ROOM, self._daemon.make_room)

    def startService(self) -> None:
        """Start, and say that we are ready when we are."""
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start()).addErrback(self._failed)

    async def _start(self) -> None:
        await self._daemon.start()
        await self._record()
        if not self.running:
            return
        self._luxi = LuxiServer(self._daemon.methods, self._layout, room=allow_many() // 2)
        collector.spare_the_collector()
        self._luxi.start(self._reactor)
        readiness.ready(os.environ, f"{self._host} is the master")
        log.info("{host} is ready", host=self._host)
        self._room.begin(ROOM_AFTER)

    def _failed(self, failure: Failure) -> None:
        """End: a daemon that cannot start must not look as if it ran."""
        error = failure.value
        if not self.running and isinstance(error, CancelledError):
            return
        if isinstance(error, GntError):
            hint = f" ({error.hint})" if error.hint else ""
            log.critical("cannot start: {problem}{hint}", problem=error.text, hint=hint)
        else:
            log.failure("cannot start", failure=failure)
        not_master = isinstance(error, GntError) and error.code == NOT_MASTER
        end_with_failure(self._reactor, EXIT_NOT_MASTER if not_master else EXIT_FAILURE)

    def _deposed(self, error: StaleEpoch) -> None:
        """End: another node is master now."""
        log.critical("stepping down: {error}", error=error.text)
        end_with_failure(self._reactor, EXIT_NOT_MASTER)

    def stopService(self) -> Deferred[None]:
        """Take no more requests, bring what runs to rest, close the store, join the threads."""
        super().stopService()  # type: ignore[no-untyped-call]
        readiness.stopping(os.environ)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await self._starting
        self._room.stop()
        if self._luxi is not None:
            await self._luxi.stop()
        await self._daemon.stop()
        await self._record()
        await self._pools.stop()

    async def _record(self) -> None:
        """Write down how far the store has come; that it cannot be written must keep nothing from going on."""
        try:
            await self._runtime.pools("store").run(high_water.record, self._layout)
        except (GntError, OSError) as error:
            log.warn("cannot write how far the store has come: {problem}", problem=error)

    def _connect(self, node: Node) -> NodeLink:
        # A newcomer has no UUID yet that its certificate could hold; it holds its name.
        tls = ClientTls(self._credentials, (node.uuid or node.name,))
        return NodeLink(
            node.name,
            node.uuid,
            node.primary_ip,
            self._port,
            tls,
            clock=self._reactor,
            source=self._runtime.random,
        )

    def _listen(self, address: str, port: int, factory: IProtocolFactory) -> IListeningPort:
        listening: IListeningPort = self._reactor.listenTCP(port, factory, interface=address)
        return listening

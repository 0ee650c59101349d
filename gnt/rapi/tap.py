"""`twistd gnt-rapi`: options, checks before the daemon detaches, and the service."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.logger import Logger
from twisted.python import usage

from gnt.daemon import readiness
from gnt.daemon.files import make_directories
from gnt.daemon.foreign import refuse_foreign
from gnt.daemon.listening import listen, service_port
from gnt.daemon.names import default_bind
from gnt.daemon.open_files import allow_many
from gnt.daemon.options import (
    EXIT_NODE_SETUP,
    EXIT_NOT_A_MEMBER,
    EXIT_NOT_MASTER,
    Daemon,
    DaemonOptions,
    refuse_start,
)
from gnt.daemon.pools import ThreadPools
from gnt.daemon.reactor import the_reactor
from gnt.model.errors import GntError
from gnt.model.layout import Layout, host_name
from gnt.rapi.service import MOST_CLIENTS, RemoteApi, Settings
from gnt.rapi.tls import RapiTls
from gnt.wire.luxi_frames import CONNECT_TIMEOUT

log: Final = Logger()

PROGRAM: Final = "gnt-rapi"
LOG_FILE: Final = "rapi-daemon.log"
ACCESS_LOG: Final = "rapi-access.log"


class Options(DaemonOptions):
    """Options of the remote API (`spec/daemons.md`, section 4)."""

    PROGRAM: ClassVar[str] = PROGRAM
    PORT: ClassVar[int] = service_port("ganeti-rapi", 5080)

    optFlags: ClassVar[list[list[Any]]] = [
        *DaemonOptions.optFlags,
        ["no-ssl", None, "speak plain HTTP: passwords go over the network in clear"],
        ["require-authentication", None, "let only users read (this is the default)"],
        ["open-reads", None, "let everybody read without a login, as Ganeti does; changes need one all the same"],
    ]
    optParameters: ClassVar[list[list[Any]]] = [
        *DaemonOptions.optParameters,
        ["ssl-key", "K", None, "file with the key (default: rapi.pem in the data directory)"],
        ["ssl-cert", "C", None, "file with the certificate (default: the same)"],
        ["ssl-chain", None, None, "file with further certificates between it and its authority"],
        ["max-clients", None, str(MOST_CLIENTS), "connections at a time"],
    ]

    def postOptions(self) -> None:
        """Check values."""
        super().postOptions()
        if self["open-reads"] and self["require-authentication"]:
            raise usage.UsageError("--open-reads and --require-authentication exclude each other")
        if self["no-ssl"] and (self["ssl-key"] or self["ssl-cert"] or self["ssl-chain"]):
            raise usage.UsageError("--no-ssl needs neither key nor certificate")
        most = self["max-clients"]
        if not most.isascii() or not most.isdigit() or not 0 < int(most) <= 10_000:
            raise usage.UsageError(f"--max-clients is a number from 1 to 10000, not {most!r}")
        self["max-clients"] = int(most)


def makeService(options: Options) -> Daemon:
    """Check what can be checked, and make the service. Ends the program with exit codes of `spec/daemons.md`."""
    host = host_name(os.environ, socket.getfqdn())
    try:
        layout = Layout.from_environment(os.environ)
        allow_many()
        refuse_foreign(layout)
        _refuse_unless_master(layout, host)
        tls = _tls(options, layout)
        make_directories(layout)
        settings = Settings(
            users=layout.rapi_users,
            tls=tls,
            access_log=layout.log / ACCESS_LOG,
            open_reads=bool(options["open-reads"]),
            most_clients=options["max-clients"],
        )
        listening = listen(options["bind"] or default_bind(layout, host), options["port"])
        daemon = Daemon(options, layout.log / LOG_FILE)
        RapiService(settings, layout, listening).setServiceParent(daemon)  # type: ignore[no-untyped-call]
    except GntError as problem:
        refuse_start(PROGRAM, problem)
    return daemon


def _refuse_unless_master(layout: Layout, host: str) -> None:
    """End unless the node's own notes name it as the master."""
    if not layout.node_pem.exists():
        hint = "gnt-cluster init makes a cluster of this machine"
        refuse_start(PROGRAM, f"{layout.node_pem} is missing: not a node of a cluster ({hint})", EXIT_NOT_A_MEMBER)
    try:
        master = layout.ssconf("master_node").read_text().strip()
    except OSError as problem:
        refuse_start(PROGRAM, f"{layout.ssconf('master_node')}: {problem.strerror}", EXIT_NODE_SETUP)
    if master != host:
        refuse_start(PROGRAM, f"{host} is not the master, {master or 'nobody'} is", EXIT_NOT_MASTER)


def _tls(options: Options, layout: Layout) -> RapiTls | None:
    """Give what TLS needs, None for plain HTTP. Raises `ConfigError` naming the file that is of no use."""
    if options["no-ssl"]:
        return None
    key = Path(options["ssl-key"] or layout.rapi_pem)
    certificate = Path(options["ssl-cert"] or options["ssl-key"] or layout.rapi_pem)
    tls = RapiTls(key, certificate, Path(options["ssl-chain"]) if options["ssl-chain"] else None)
    tls.check()
    return tls


class RapiService(Service):
    """The running remote API."""

    def __init__(self, settings: Settings, layout: Layout, listening: socket.socket) -> None:
        self._reactor: Any = the_reactor()
        endpoint = UNIXClientEndpoint(self._reactor, str(layout.master_socket), timeout=CONNECT_TIMEOUT)  # type: ignore[no-untyped-call]
        # One at a time: a hash takes 16 MiB, and who guesses must not take all processors.
        self._pools = ThreadPools(self._reactor, {"passwords": 1})
        self._api = RemoteApi(settings, endpoint, self._reactor, self._pools)
        self._settings = settings
        self._listening = listening
        self._port: Any = None

    def startService(self) -> None:
        """Take connections, and say so."""
        super().startService()  # type: ignore[no-untyped-call]
        with contextlib.closing(self._listening) as listening:
            self._port = self._reactor.adoptStreamPort(listening.fileno(), listening.family, self._api.factory)
        if self._settings.tls is None:
            log.warn("without TLS: passwords go over the network in clear")
        if self._settings.open_reads:
            log.info("reading is open to everybody")
        readiness.ready(os.environ, "serves the remote API")
        log.info("the remote API is ready")

    def stopService(self) -> Deferred[None]:
        """Take no more requests, and end the connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        readiness.stopping(os.environ)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
        self._api.stop()
        await self._pools.stop()

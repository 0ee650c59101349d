"""Puts the remote API together. No logic: what it is made of, and the order in which that starts and ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory

from gnt.daemon.runtime import Clock, Pools
from gnt.rapi.access_log import AccessLog
from gnt.rapi.app import Application
from gnt.rapi.authentication import Authentication
from gnt.rapi.http import RapiSite
from gnt.rapi.luxi import Master
from gnt.rapi.resources.base import Own
from gnt.rapi.throttle import Throttle
from gnt.rapi.tls import RapiTls
from gnt.rapi.users import Users

MOST_CLIENTS: Final = 1200
"""Clients that rest, and those that listen to events, count too."""


@dataclass(frozen=True)
class Settings:
    """What an administrator may choose. `tls` None: plain HTTP; `access_log` None: none is kept."""

    users: Path
    tls: RapiTls | None = None
    access_log: Path | None = None
    open_reads: bool = False
    most_clients: int = MOST_CLIENTS


class RemoteApi:
    """The remote API without its port: `factory` is what listens. `endpoint` leads to the master daemon.

    `pools`: of threads, for slow hashes of passwords.
    """

    def __init__(self, settings: Settings, endpoint: IStreamClientEndpoint, clock: Clock, pools: Pools) -> None:
        self.master = Master(endpoint, clock)
        users = Users(settings.users, pools("passwords"))
        authentication = Authentication(users, self.master, Throttle(clock), clock, open_reads=settings.open_reads)
        self.application = Application(self.master, authentication, clock, pools("answers"))
        access = AccessLog(settings.access_log) if settings.access_log is not None else None
        self.site = RapiSite(self.application.resource, clock, access, most_clients=settings.most_clients)
        self.application.own = self._own
        self.site.quick = self.application.quick
        self.factory: IProtocolFactory = self.site if settings.tls is None else _inside(settings.tls, self.site, clock)

    def stop(self) -> None:
        """End the connections: those of clients, and those to the master."""
        self.application.hub.stop()
        self.site.drop_all()
        self.master.close()

    def _own(self) -> Own:
        return Own(requests=self.site.answered, connections=self.site.connections, listeners=len(self.application.hub))


class _TlsSite(TLSMemoryBIOFactory):
    """TLS around the site. Twisted's own wraps what is not there when the site takes no more clients."""

    def buildProtocol(self, addr: Any) -> Any:
        """Take a client, or close the connection if the site does not want it."""
        channel = self.wrappedFactory.buildProtocol(addr)
        return None if channel is None else self.protocol(self, channel)


def _inside(tls: RapiTls, site: RapiSite, clock: Any) -> TLSMemoryBIOFactory:
    return _TlsSite(tls, False, site, clock)

"""Ports of daemons, and sockets that listen: taken before a daemon detaches, so that somebody sees the exit code."""

from __future__ import annotations

import socket
from typing import Final

from gnt.model.errors import ENVIRONMENT, Refused

BACKLOG: Final = 128
NODED_PORT: Final = 1811
NODED_SERVICE: Final = "ganeti-noded"


def service_port(service: str, otherwise: int) -> int:
    """Give the TCP port of a service in the services database of this machine, else `otherwise`."""
    try:
        return socket.getservbyname(service, "tcp")
    except OSError:
        return otherwise


def noded_port() -> int:
    """Give the port of node daemons, for those that listen and for those that connect."""
    return service_port(NODED_SERVICE, NODED_PORT)


def listen(address: str, port: int) -> socket.socket:
    """Listen at an address, IPv4 or IPv6; the empty one means all, of both kinds where the system has both.

    Raises `Refused` (environment_error) naming the place that cannot be had.
    """
    dual = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in address or dual else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as problem:
        listening.close()
        where = f"{address or 'all addresses'} port {port}"
        raise Refused(ENVIRONMENT, f"Cannot listen on {where}: {problem.strerror}") from None
    return listening

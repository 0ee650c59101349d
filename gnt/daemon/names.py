"""Host names to addresses. Blocking: daemons call it in a pool.

Below a moved root, the root's own `etc/hosts` comes first, so that several nodes on one machine have names without
touching the machine's.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from gnt.model.errors import RESOLVER, Refused
from gnt.model.layout import Layout


def resolve(layout: Layout, name: str, *, family: int = socket.AF_UNSPEC) -> str:
    """Give the first address of a name. Raises `Refused` (`resolver_error`).

    `family` is an address family of `socket`; an address given as name is its own answer.
    """
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    listed = read_hosts(layout).get(name.lower())
    if listed is not None:
        return listed
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(
            RESOLVER,
            f"{name} does not resolve: {getattr(error, 'strerror', None) or error}",
            hint=f"enter it in the name service or in {hosts_file(layout)}",
        ) from None
    return str(found[0][4][0])


def hosts_file(layout: Layout) -> str:
    """Give the path of the hosts file that an administrator would edit."""
    return str(layout.root / "etc/hosts")


def read_hosts(layout: Layout) -> Mapping[str, str]:
    """Read the hosts file of a moved root: names to addresses. On a real machine the system reads its own."""
    if str(layout.root) == "/":
        return {}
    try:
        text = (layout.root / "etc/hosts").read_text(errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            found.setdefault(name.lower(), address)
    return found


def default_bind(layout: Layout, own_name: str) -> str:
    """Give the address to listen on: all of them on a real machine, the node's own where nodes share a machine."""
    if str(layout.root) == "/":
        return ""
    try:
        return resolve(layout, own_name)
    except Refused:
        return ""

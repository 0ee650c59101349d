"""Telling systemd that a daemon is ready or stops: one datagram to the socket that it named, without a library."""

from __future__ import annotations

import socket
from collections.abc import Mapping


def notify(environ: Mapping[str, str], state: str) -> bool:
    """Send a state such as `READY=1`; says whether anybody was told. Never blocks and never raises."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
            channel.connect(address)
            channel.send(state.encode())
    except OSError:
        return False
    return True


def ready(environ: Mapping[str, str], status: str = "") -> bool:
    """Say that the daemon serves."""
    return notify(environ, f"READY=1\nSTATUS={status}" if status else "READY=1")


def stopping(environ: Mapping[str, str]) -> bool:
    """Say that the daemon ends in order."""
    return notify(environ, "STOPPING=1")

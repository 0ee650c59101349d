"""What the node daemon sees of the machine itself, and of the network around it."""

# In a zope interface the first argument is the method's own, there is no self.
# ruff: noqa: N805

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, Final

from twisted.internet import error as refusals
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface import Interface, implementer

REACH_SECONDS: Final = 10


class IMachine(Interface):
    """The machine under a node daemon; the simulator puts its own here."""

    def boot_id() -> str:
        """Give what changes with every boot. Blocks."""

    def missing_bridges(names: Iterable[str]) -> list[str]:
        """Give those of the names that are no bridge here. Blocks."""

    def missing_interfaces(names: Iterable[str]) -> list[str]:
        """Give those of the names that are no network interface here. Blocks."""

    def reach(address: str, port: int, source: str) -> Awaitable[bool]:
        """Say whether somebody answers at an address within ten seconds; being refused is an answer.

        `source` is our own address to connect from, or empty.
        """


@implementer(IMachine)
class Machine:
    """The real one. `system` is where /proc and /sys are."""

    def __init__(self, reactor: Any, *, system: Path = Path("/")) -> None:
        self._reactor = reactor
        self._system = system

    def boot_id(self) -> str:
        """Give the kernel's id of this boot: `IMachine.boot_id`."""
        return (self._system / "proc/sys/kernel/random/boot_id").read_text().strip()

    def missing_bridges(self, names: Iterable[str]) -> list[str]:
        """Look for the bridges below /sys/class/net: `IMachine.missing_bridges`."""
        return [name for name in names if not self._is_bridge(name)]

    def missing_interfaces(self, names: Iterable[str]) -> list[str]:
        """Look for them below /sys/class/net: `IMachine.missing_interfaces`."""
        return [name for name in names if not self._is_interface(name)]

    async def reach(self, address: str, port: int, source: str) -> bool:
        """Connect, and hang up: `IMachine.reach`."""
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        bind = (source, 0) if source else None
        endpoint = kind(self._reactor, address, port, timeout=REACH_SECONDS, bindAddress=bind)
        try:
            connected: Any = await endpoint.connect(Factory.forProtocol(Protocol))
        except refusals.ConnectionRefusedError:
            return True
        except (refusals.ConnectError, OSError):
            return False
        connected.transport.loseConnection()
        return True

    def _is_bridge(self, name: str) -> bool:
        return self._is_interface(name) and (self._system / "sys/class/net" / name / "bridge").is_dir()

    def _is_interface(self, name: str) -> bool:
        return "/" not in name and name not in {"", ".", ".."} and (self._system / "sys/class/net" / name).is_dir()

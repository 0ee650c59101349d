"""Numbers that must be free: TCP ports in the cluster, drbd minors on a node, secrets of mirrors.

What is free follows from what is configured or reserved; so a number is free again as soon as its disk or instance is
gone, and stays taken while a node that is away still owes the removal. Ports are 11000 to 14999; a port that the
configuration keeps in a pool (`tcpudp_port_pool`) leaves it when it is given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from gnt.masterd.operation import Fresh
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.objects import ClusterSettings, Disk, DiskTemplate

FIRST_PORT: Final = 11000
LAST_PORT: Final = 14999
SECRET_OCTETS: Final = 20


class FreeNumbers:
    """Gives out what is free, each once."""

    def __init__(self, cluster: Cluster) -> None:
        self._settings = cluster.settings
        self._disks = tuple(_mirrors(cluster.disks.values()))
        self._ports = {int(disk.logical_id[2]) for disk in self._disks}
        self._ports.update(instance.network_port or 0 for instance in cluster.instances.values())
        self._minors: dict[str, set[int]] = {}
        self._given: list[int] = []

    def port(self) -> int:
        """Give the lowest free port."""
        for port in range(FIRST_PORT, LAST_PORT + 1):
            if port not in self._ports:
                self._ports.add(port)
                self._given.append(port)
                return port
        raise Refused(WRONG_STATE, f"All ports from {FIRST_PORT} to {LAST_PORT} are in use")

    def minor(self, node: str) -> int:
        """Give the lowest free drbd minor of a node (UUID)."""
        taken = self._minors.setdefault(node, set(self._used_minors(node)))
        minor = next(number for number in range(len(taken) + 1) if number not in taken)
        taken.add(minor)
        return minor

    def secret(self, fresh: Fresh) -> str:
        """Give a secret that no other mirror has: 40 hexadecimal digits."""
        known = {disk.logical_id[5] for disk in self._disks}
        while True:
            secret = fresh.octets(SECRET_OCTETS).hex()
            if secret not in known:
                return secret

    def settings(self) -> ClusterSettings | None:
        """Give the settings that note the ports that were given out; None if they say so already.

        The highest port ever used stays noted, whatever becomes of its user.
        """
        if not self._given:
            return None
        noted = replace(
            self._settings,
            highest_used_port=max(self._settings.highest_used_port, *self._given),
            tcpudp_port_pool=tuple(port for port in self._settings.tcpudp_port_pool if port not in self._given),
        )
        return noted if noted != self._settings else None

    def _used_minors(self, node: str) -> Iterator[int]:
        for disk in self._disks:
            for end, minor in ((disk.logical_id[0], disk.logical_id[3]), (disk.logical_id[1], disk.logical_id[4])):
                if end == node:
                    yield int(minor)


def _mirrors(disks: Iterable[Disk]) -> Iterator[Disk]:
    for disk in disks:
        if disk.dev_type is DiskTemplate.DRBD and len(disk.logical_id) == 6:
            yield disk

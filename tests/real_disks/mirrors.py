"""Mirrors to try on two machines: descriptions as the master makes them, and what is done to both sides."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import DiskSpec, disk_spec
from gnt.wire.calls import DiskAssemble, DiskFind, DiskRelease, DiskRemove, NodeCall
from gnt.wire.disk_calls import (
    DiskDemote,
    DiskGrow,
    DiskGrowCheck,
    DiskLabel,
    DiskPromote,
    DiskRename,
    DiskSnapshot,
    DiskStates,
    DiskWipe,
)
from tests.live import wait_until
from tests.noded.storage.mirror_contract import MirrorPair
from tests.real_disks.cluster import GROUP, LOOK_EVERY, RealCluster

SIZE: Final = 32
SYNC_TIME: Final = 90.0
_uuids: Final = itertools.count(1)


def another_uuid() -> str:
    """Give a UUID that nothing has yet."""
    return f"00000000-0000-4000-8000-{next(_uuids):012d}"


class RealPair(MirrorPair):
    """Two machines with one mirror of DRBD."""

    def __init__(self, real: RealCluster, spec: DiskSpec, nodes: tuple[str, str]) -> None:
        self._real = real
        self.spec = spec
        self.nodes = nodes
        one, other = spec.logical_id[3:5]
        self.minors = {nodes[0]: int(one), nodes[1]: int(other)}

    def ask(self, node: str, call: NodeCall[Any]) -> Any:
        """Make a node call."""
        return self._real.ask(node, call)

    def together(self, call: NodeCall[Any], *nodes: str) -> None:
        """Make a call to both machines, or to these, at once as the master does."""
        self._real.together(dict.fromkeys(nodes or self.nodes, call))

    def wait(self, so: Callable[[], bool], what: str) -> None:
        """Look again and again."""
        wait_until(so, what, SYNC_TIME, LOOK_EVERY)

    def apart(self) -> AbstractContextManager[None]:
        """Pull the cable of the mirrors' network out."""
        return self._real.machines[self.nodes[1]].without_mirrors()

    def lose_power(self, node: str) -> None:
        """End the machine at once, and switch it on again."""
        self._real.machines[node].lose_power()
        self._real.reboot(node)
        self._real.wait_for_noded(node)

    def write(self, node: str, data: bytes) -> None:
        """Write a block that begins with the data."""
        there = f"dd of={self._device(node)} bs=4096 iflag=fullblock conv=sync oflag=direct status=none"
        self._real.machines[node].shell(f"echo {base64.b64encode(data).decode()} | base64 -d | {there}")

    def read(self, node: str, length: int) -> bytes:
        """Read from the device."""
        return self._read(node, self._device(node), length)

    def read_volume(self, node: str, length: int) -> bytes:
        """Read from the volume below."""
        return self._read(node, "/dev/" + "/".join(map(str, self.spec.children[0].logical_id)), length)

    def _device(self, node: str) -> str:
        return f"/dev/drbd{self.minors[node]}"

    def _read(self, node: str, device: str, length: int) -> bytes:
        here = f"dd if={device} bs=4096 count=1 iflag=direct status=none"
        return base64.b64decode(self._real.machines[node].shell(f"{here} | head -c {length} | base64"))


def mirror(
    real: RealCluster, number: int = 0, *, size: int = SIZE, nodes: tuple[str, str] = ("node2", "node3")
) -> RealPair:
    """Describe a mirror; `number` gives its port, and minors that differ between the nodes."""
    cluster = real.model()
    by_name = {node.name: node for node in cluster.nodes.values()}
    one, other = (by_name[name] for name in nodes)
    name = f"mirror{number}.disk0"
    children = tuple(
        Disk(uuid=another_uuid(), dev_type=DiskTemplate.PLAIN, logical_id=(GROUP, f"{name}_{part}"), size=room)
        for part, room in (("data", size), ("meta", 128))
    )
    disk = Disk(
        uuid=another_uuid(),
        dev_type=DiskTemplate.DRBD,
        logical_id=(one.uuid, other.uuid, 11000 + number, number, number + 20, "not-a-secret-of-anybody"),
        children=children,
        size=size,
    )
    instance = Instance(uuid=another_uuid(), name="web1", primary_node=one.uuid)
    return RealPair(real, disk_spec(cluster, instance, disk, 0), nodes)


class OneSide:
    """The disk template `drbd` of one machine, as far as node calls reach: what its contract talks to."""

    def __init__(self, real: RealCluster, node: str) -> None:
        self._real = real
        self._node = node

    def _ask(self, call: NodeCall[Any]) -> Any:
        return self._real.ask(self._node, call)

    def find(self, disk: DiskSpec) -> Any:
        """Find it."""
        return self._ask(DiskFind(disk=disk))

    def find_many(self, disks: Sequence[DiskSpec]) -> Any:
        """Find many."""
        return self._ask(DiskStates(disks=list(disks)))

    def remove(self, disk: DiskSpec) -> None:
        """Remove it."""
        self._ask(DiskRemove(disk=disk))

    def assemble(self, disk: DiskSpec, primary: bool) -> Any:
        """Set it up."""
        return self._ask(DiskAssemble(disk=disk, primary=primary))

    def release(self, disk: DiskSpec) -> None:
        """Take it down."""
        self._ask(DiskRelease(disk=disk))

    def promote(self, disk: DiskSpec, shared: bool) -> None:
        """Open it."""
        self._ask(DiskPromote(disk=disk, shared=shared))

    def demote(self, disk: DiskSpec) -> None:
        """Close it."""
        self._ask(DiskDemote(disk=disk))

    def grow(self, disk: DiskSpec, size: int, backing: bool) -> None:
        """Grow it."""
        self._ask(DiskGrow(disk=disk, size=size, backing=backing))

    def check_grow(self, disk: DiskSpec, size: int) -> None:
        """See whether it could grow."""
        self._ask(DiskGrowCheck(disk=disk, size=size))

    def rename(self, disk: DiskSpec, target: DiskSpec) -> None:
        """Rename it."""
        self._ask(DiskRename(disk=disk, target=target))

    def snapshot(self, disk: DiskSpec, target: DiskSpec) -> None:
        """Make a snapshot."""
        self._ask(DiskSnapshot(disk=disk, target=target))

    def label(self, disk: DiskSpec, text: str) -> None:
        """Label it."""
        self._ask(DiskLabel(disk=disk, text=text))

    def contents(self, disk: DiskSpec) -> None:
        """Write to what is in it."""
        self._ask(DiskWipe(disk=disk, offset=0, size=1))

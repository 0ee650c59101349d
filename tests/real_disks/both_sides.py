"""A mirror as one disk, as the master handles it: what the contract of all disks that keep data talks to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskRelease, DiskRemove, NodeCall
from gnt.wire.disk_calls import DiskDemote, DiskGrow, DiskLabel
from tests.real_disks.cluster import GROUP, RealCluster
from tests.real_disks.mirrors import OneSide, RealPair

NODES: Final = ("node2", "node3")
_FOREIGN_MIRROR: Final = """
drbdsetup new-resource theirs && drbdsetup new-minor theirs {minor} 0
drbdsetup connect theirs ipv4:{0}:11999 ipv4:{1}:11999 --protocol C
"""


class BothSides(OneSide):
    """Mirrors are made, set up and taken down on both nodes, and used on the first; other disks are there alone.

    What is made here is in step, as the master has it before a guest starts.
    """

    def __init__(self, real: RealCluster) -> None:
        super().__init__(real, NODES[0])
        self._cluster = real

    def _both(self, disk: DiskSpec, call: NodeCall[Any]) -> None:
        nodes = NODES if disk.dev_type is DiskTemplate.DRBD else NODES[:1]
        self._cluster.together(dict.fromkeys(nodes, call))

    def create(self, disk: DiskSpec) -> None:
        """Make both sides, and bring a new mirror into step; its data volume is as large as itself."""
        data, metadata = disk.children
        disk = replace(disk, children=(replace(data, size=disk.size), metadata))
        is_new = self.find(disk) is None
        self._both(disk, DiskCreate(disk=disk))
        if is_new:
            pair = RealPair(self._cluster, disk, NODES)
            pair.connect()
            pair.open(NODES[0])
            pair.in_sync()
            self.demote(disk)

    def remove(self, disk: DiskSpec) -> None:
        """Remove both sides."""
        self._both(disk, DiskRemove(disk=disk))

    def assemble(self, disk: DiskSpec, primary: bool) -> Any:
        """Set both sides up, and open the first if `primary`."""
        self._both(disk, DiskAssemble(disk=disk, primary=False))
        return self._ask(DiskAssemble(disk=disk, primary=primary))

    def release(self, disk: DiskSpec) -> None:
        """Take both sides down."""
        self._both(disk, DiskRelease(disk=disk))

    def demote(self, disk: DiskSpec) -> None:
        """Close the first side."""
        self._ask(DiskDemote(disk=disk))

    def grow(self, disk: DiskSpec, size: int, backing: bool) -> None:
        """Grow the volumes of both sides, or the mirror on them."""
        if backing:
            self._both(disk, DiskGrow(disk=disk, size=size, backing=True))
        else:
            self._ask(DiskGrow(disk=disk, size=size, backing=False))

    def snapshot(self, disk: DiskSpec, target: DiskSpec) -> None:
        """Make a snapshot of the first side, which is a volume."""
        super().snapshot(disk, target.children[0] if target.children else target)

    def label(self, disk: DiskSpec, text: str) -> None:
        """Label both sides."""
        self._both(disk, DiskLabel(disk=disk, text=text))

    # As its user, and as somebody else

    def write(self, disk: DiskSpec, data: bytes) -> None:
        """Write to the beginning of the disk."""
        self._user(disk).write(NODES[0], data)

    def read(self, disk: DiskSpec, size: int) -> bytes:
        """Read from the beginning of the disk."""
        user = self._user(disk)
        return user.read(NODES[0], size) if disk.children else user.read_volume(NODES[0], size)

    def _user(self, disk: DiskSpec) -> RealPair:
        if disk.children:
            return RealPair(self._cluster, disk, NODES)
        return RealPair(self._cluster, replace(disk, logical_id=("", "", 0, 0, 0, ""), children=(disk,)), NODES)

    def plant(self, disk: DiskSpec) -> Callable[[], bool]:
        """Have somebody else's volume where the disk's would be, and somebody else's mirror with its minor.

        Gives a function that says whether both are untouched.
        """
        one, other = (self._cluster.machines[node] for node in NODES)
        [name] = [child.logical_id[1] for child in disk.children[:1]] or [disk.logical_id[1]]
        one.shell(f"lvcreate -qq -Wn -Zn -L12m -n {name} --addtag mine {GROUP}")
        if disk.children:
            ends = (one.mirror_address, other.mirror_address)
            one.shell("set -e\n" + _FOREIGN_MIRROR.format(*ends, minor=disk.logical_id[3]))
        look = f"lvs -o lv_all {GROUP}/{name}; drbdsetup show"
        before = one.shell(look)
        assert ("theirs" in before) is bool(disk.children)
        return lambda: one.shell(look) == before

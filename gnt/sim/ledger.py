"""What guests have written and been told is written: whatever befalls, they must find it again.

Each guest that runs writes a number to the beginning of each of its disks, from time to time, and counts on. A disk
that shows an older number was stale; one that shows none was lost.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gnt.sim import images
from gnt.sim.mirror_sides import Side

if TYPE_CHECKING:
    from gnt.noded.hypervisors.fake import FakeGuest
    from gnt.sim.machine import SimNode
    from gnt.sim.world import SimWorld

EVERY: Final = 0.25
"""Simulated seconds between two writes."""
_RECORD: Final = struct.Struct(">8sQQ")
_MAGIC: Final = b"simguest"


@dataclass(frozen=True)
class Lost:
    """A disk that held what a guest had written, and holds nothing now."""

    guest: str
    index: int


@dataclass
class Ledger:
    """What was acknowledged: the last number by disk. `lost` are disks that somebody may have emptied on purpose."""

    numbers: dict[int, int] = field(default_factory=dict)
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    _next: float = 0.0

    def turn(self, world: SimWorld) -> None:
        """Let the guests that run write, if it is time."""
        now = world.clock.seconds()
        if now < self._next:
            return
        self._next = now + EVERY
        for node in world.nodes.values():
            if node.powered:
                for guest in node.hypervisor.running():
                    for index, disk in enumerate(guest.disks):
                        self._write(world, node, guest, index, disk)

    def _write(self, world: SimWorld, node: SimNode, guest: FakeGuest, index: int, disk: str) -> None:
        path = os.readlink(disk) if _is_link(disk) else disk  # noqa: PTH115  (texts, not paths: after every event)
        side = node.storage.side_at(path)
        where = f"disk/{index} of {guest.name} on {node.name}"
        if side is not None and not side.primary:
            world.wrong(f"{where} is used and not open for writing")
            return
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            # A mirror without good data gives errors to who reads it; a volume or file has no excuse.
            if side is None:
                world.wrong(f"{where} is used and is not there")
            return
        try:
            begin = images.BEGINNING if images.is_image_at(handle) else 0
            disk_id, number = _read(handle, begin)
            if not disk_id:
                disk_id = self._fresh(world, guest, index)
            elif number != self.numbers.get(disk_id):
                world.wrong(f"{where} has write {number}, and {self.numbers.get(disk_id)} was acknowledged")
            if _put(node, side, handle, begin, _RECORD.pack(_MAGIC, disk_id, number + 1)):
                self.numbers[disk_id] = number + 1
                self.held[guest.uuid, index] = disk_id
        finally:
            os.close(handle)

    def _fresh(self, world: SimWorld, guest: FakeGuest, index: int) -> int:
        before = self.held.get((guest.uuid, index))
        if before is not None and Lost(guest.name, index) not in self.lost:
            world.say(f"disk/{index} of {guest.name} is empty")
            self.lost.append(Lost(guest.name, index))
        return len(self.numbers) + 1


def _is_link(disk: str) -> bool:
    """Say whether this is one of the names that a node gives to the disks of its instances."""
    return os.path.basename(os.path.dirname(disk)) == "instance-disks" and os.path.islink(disk)  # noqa: PTH114, PTH119, PTH120  (after every event)


def _read(handle: int, begin: int) -> tuple[int, int]:
    data = os.pread(handle, _RECORD.size, begin)
    if len(data) < _RECORD.size or not data.startswith(_MAGIC):
        return 0, 0
    _, disk_id, number = _RECORD.unpack(data)
    return int(disk_id), int(number)


def _put(node: SimNode, side: Side | None, handle: int, begin: int, data: bytes) -> bool:
    """Write, and say whether that was acknowledged."""
    if side is not None:
        return node.storage.mirrors.write(side, begin, data)
    os.pwrite(handle, data, begin)
    return True

"""What guests have written and been told is written: whatever befalls, they must find it again.

Each guest that runs writes a number to each of its disks, from time to time, and counts on. It writes as a database
does: to one of two places in turn, so that what is torn is never the last that was whole; with the number in each
sector, so that a torn one is known; and it has it flushed before it writes the next one. A disk that shows another
number than the last was stale; after a power failure it may show the last, or the last that was flushed. Every eighth
number is written to a place of its own besides, which is not written to again for a while: what was not brought into
step there shows.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gnt.sim import images
from gnt.sim.caches import SECTOR
from gnt.sim.content import PIECE
from gnt.sim.mirror_sides import Side
from gnt.sim.mirror_writing import flush, write

if TYPE_CHECKING:
    from gnt.noded.hypervisors.fake import FakeGuest
    from gnt.sim.machine import SimNode
    from gnt.sim.world import SimWorld

EVERY: Final = 0.25
"""Simulated seconds between two writes."""
EVERY_MARK: Final = 8
MARKS: Final = 24
"""How many places of their own there are: for longer than a machine takes to boot."""
_FIRST_MARK: Final = 2
_RECORD: Final = struct.Struct(">8sQQ")
_MAGIC: Final = b"simguest"
_SLOTS: Final = (0, 2 * SECTOR)


@dataclass(frozen=True)
class Lost:
    """A disk that held what a guest had written, and holds nothing now."""

    guest: str
    index: int


@dataclass
class Written:
    """What a guest has written to one of its disks.

    `number` was written last and must be found, `highest` is the highest that was ever given out, `flushed` the last
    that was flushed. `marks` are numbers by place, `fresh` the places that were written since. `doubtful`: the power
    has failed, and what was not flushed is there or is not. `by` is who wrote last, as long as it may still be flushed.
    """

    number: int = 0
    highest: int = 0
    flushed: int = 0
    marks: dict[int, int] = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
    doubtful: bool = False
    by: Writer | None = None

    def is_flushed(self) -> None:
        """Hear that everything is on disk."""
        self.flushed = self.number
        self.fresh.clear()

    def differences(self, handle: int, begin: int, number: int, *, marks: bool) -> Iterator[str]:
        """Say what a disk should show and does not, with `number` the last that is whole."""
        if self.doubtful and not self.flushed <= number <= self.number:
            yield f"has write {number}, and {self.flushed} was flushed before the power failed"
        elif not self.doubtful and number != self.number:
            yield f"has write {number}, and {self.number} was acknowledged"
        for place, wanted in self.marks.items() if marks else ():
            _, found = _record(handle, begin + place * PIECE)
            if found != wanted and not (self.doubtful and place in self.fresh):
                yield f"has write {found} at MiB {place}, and {wanted} was acknowledged"


@dataclass(frozen=True)
class Writer:
    """Who writes to a disk, and where: the machine, the guest (UUID), the device, the mirror's side that it is."""

    node: SimNode
    guest: str
    path: str
    side: Side | None

    def depends_on(self, node: SimNode) -> bool:
        """Say whether what was written and not flushed is gone with a machine: it is the guest's, or has all data."""
        if self.node is node or self.side is None:
            return self.node is node
        good = [each for each in (self.side, self.side.peer) if each is not None and each.good]
        return all(each.machine is node.storage.machine for each in good)

    @property
    def is_closed(self) -> bool:
        """Say whether it is a side of a mirror that was taken down, which has flushed everything."""
        return self.side is not None and self.side not in self.node.storage.machine.sides.values()

    def flush(self) -> bool:
        """Have all that was written on disk; say whether that is acknowledged."""
        if self.side is None:
            self.node.storage.cache.flush(self.path)
            return True
        return flush(self.side)

    def write(self, offset: int, data: bytes) -> bool:
        """Write, and say whether that was acknowledged."""
        if self.side is None:
            self.node.storage.cache.write(self.path, offset, data)
            return True
        return write(self.side, offset, data)


@dataclass
class Ledger:
    """What was acknowledged, by disk. `lost` are disks that somebody may have emptied on purpose."""

    disks: dict[int, Written] = field(default_factory=dict)
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    _next: float = 0.0

    def turn(self, world: SimWorld) -> None:
        """Let the guests that run write, if it is time."""
        now = world.clock.seconds()
        if now < self._next:
            return
        self._next = now + EVERY
        running = [
            (node, guest) for node in world.nodes.values() if node.powered for guest in node.hypervisor.running()
        ]
        self._see_who_has_ended({(node.name, guest.uuid) for node, guest in running})
        for node, guest in running:
            for index, disk in enumerate(guest.disks):
                self._go_on(world, node, guest, index, disk)

    def leaves(self, node: SimNode, guest: str) -> None:
        """Hear that a guest (UUID) leaves a machine for another: QEMU flushes its disks before it hands it over."""
        for written in self.disks.values():
            by = written.by
            if by is not None and (by.node, by.guest) == (node, guest) and by.flush():
                written.is_flushed()

    def power_fails(self, node: SimNode) -> None:
        """Hear that what was not flushed on a machine is in doubt."""
        for written in self.disks.values():
            if written.by is not None and written.by.depends_on(node):
                written.by, written.doubtful = None, True

    def _see_who_has_ended(self, running: set[tuple[str, str]]) -> None:
        """Have the disks of guests that ended flushed: QEMU does so at its end, and the kernel at the last close."""
        for written in self.disks.values():
            by = written.by
            if by is not None and (by.node.name, by.guest) not in running:
                written.by = None
                if by.flush() or by.is_closed:
                    written.is_flushed()

    def _go_on(self, world: SimWorld, node: SimNode, guest: FakeGuest, index: int, disk: str) -> None:
        path = node.device_of(disk)
        side = node.storage.side_at(path)
        where = f"disk/{index} of {guest.name} on {node.name}"
        if side is not None and not side.primary:
            world.wrong(f"{where} is used and not open for writing")
            return
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            # A mirror without good data gives errors to who reads it; a volume or file has no excuse.
            if side is None:
                world.wrong(f"{where} is used and is not there")
            return
        writer = Writer(node, guest.uuid, path, side)
        try:
            begin = images.BEGINNING if images.is_image_at(handle) else 0
            disk_id, number, slot = _last_of(handle, begin)
            if not disk_id:
                disk_id = self._fresh(world, guest, index)
            written = self.disks.setdefault(disk_id, Written())
            before, written.by = written.by, writer
            if before == writer and writer.flush():
                written.is_flushed()
            for problem in written.differences(handle, begin, number, marks=before != writer):
                world.wrong(f"{where} {problem}")
            room = os.fstat(handle).st_size - begin
        finally:
            os.close(handle)
        _count_on(written, writer, Place(disk_id, begin, 1 - slot, room), number)
        self.held[guest.uuid, index] = disk_id

    def _fresh(self, world: SimWorld, guest: FakeGuest, index: int) -> int:
        before = self.disks.get(self.held.get((guest.uuid, index), 0))
        held_any = before is not None and bool(before.flushed or (before.number and not before.doubtful))
        if held_any and Lost(guest.name, index) not in self.lost:
            world.say(f"disk/{index} of {guest.name} is empty")
            self.lost.append(Lost(guest.name, index))
        return len(self.disks) + 1


@dataclass(frozen=True)
class Place:
    """Where to write next: the disk's number, where its data begins, which of the two places, the bytes that it has."""

    disk: int
    begin: int
    slot: int
    room: int


def _count_on(written: Written, writer: Writer, place: Place, found: int) -> None:
    """Write the next number, to the place that does not have the last one."""
    marks = set[int]()
    if written.doubtful:
        # What is found is on disk; marks that may be torn are written again, as a database does with its log.
        marks = set(written.fresh)
        written.number, written.doubtful = found, False
        written.is_flushed()
    number = written.highest + 1
    record = _RECORD.pack(_MAGIC, place.disk, number).ljust(SECTOR, b"\0") * 2
    if not writer.write(place.begin + _SLOTS[place.slot], record):
        # Until somebody has written them again nothing is known of these.
        for each in marks:
            del written.marks[each]
        return
    written.number = written.highest = number
    if number % EVERY_MARK == 0 and place.room >= (_FIRST_MARK + MARKS) * PIECE:
        marks.add(_FIRST_MARK + number // EVERY_MARK % MARKS)
    for each in sorted(marks):
        writer.write(place.begin + each * PIECE, record)
        written.marks[each] = number
        written.fresh.add(each)


def _last_of(handle: int, begin: int) -> tuple[int, int, int]:
    """Give disk and number of the last write that is whole, and its place of the two; 0, 0, 1 where there is none."""
    found = [(number, disk, slot) for slot, at in enumerate(_SLOTS) for disk, number in (_record(handle, begin + at),)]
    number, disk, slot = max(found)
    return (disk, number, slot) if disk else (0, 0, 1)


def _record(handle: int, at: int) -> tuple[int, int]:
    """Read disk and number of a write; zeros if there is none, or it is torn."""
    data = os.pread(handle, 2 * SECTOR, at)
    if len(data) < 2 * SECTOR or not data.startswith(_MAGIC) or data[:SECTOR] != data[SECTOR:]:
        return 0, 0
    _, disk, number = _RECORD.unpack(data[: _RECORD.size])
    return int(disk), int(number)

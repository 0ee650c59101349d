"""What was written to the disks of a machine and is in memory still, the kernel's or the drives' own.

Whoever reads finds it. When the power fails, of what was written since the last flush each sector is there or is not:
that is all that a disk promises. What LVM and mirrors write for themselves never stands here: a change of LVM's
metadata is a new copy that becomes valid by its last sector, mirrors write theirs past every cache.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gnt.sim.content import read_at, write_at

SECTOR: Final = 512
"""Bytes that are written as a whole or not at all."""
WRITTEN_BACK: Final = 30.0
"""Seconds after which everything is on disk, asked for or not: the kernel's `dirty_expire_centisecs`."""


@dataclass(frozen=True)
class Unflushed:
    """One write: where, what stood there before, what stands there now."""

    at: float
    offset: int
    before: bytes
    after: bytes


@dataclass
class WriteCache:
    """The writes to each file or volume (by the path of what holds its data) since it was flushed last."""

    seconds: Callable[[], float] = lambda: 0.0
    _writes: dict[str, list[Unflushed]] = field(default_factory=dict)

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write; it is on disk for certain when it is flushed."""
        where = _file_of(path)
        handle = os.open(where, os.O_RDWR)
        try:
            before = os.pread(handle, len(data), offset).ljust(len(data), b"\0")
            os.pwrite(handle, data, offset)
        finally:
            os.close(handle)
        self._note(where, offset, before, data)

    def wrote(self, path: str, before: Mapping[int, bytes], now: Mapping[int, bytes]) -> None:
        """Hear that something has written to a file, and left it to the kernel: contents by their offset."""
        where = _file_of(path)
        for offset, data in now.items():
            old = bytearray(len(data))
            for begin, piece in before.items():
                first, last = max(begin, offset), min(begin + len(piece), offset + len(data))
                if first < last:
                    old[first - offset : last - offset] = piece[first - begin : last - begin]
            self._note(where, offset, bytes(old), data)

    def _note(self, path: str, offset: int, before: bytes, after: bytes) -> None:
        self._writes.setdefault(path, []).append(Unflushed(self.seconds(), offset, before, after))

    def flush(self, path: str) -> None:
        """Have everything on disk that was written to one of them."""
        if self._writes:
            self._writes.pop(_file_of(path), None)

    def moved(self, path: str, target: str) -> None:
        """Hear that a volume has another name."""
        writes = self._writes.pop(_file_of(path), None)
        if writes is not None:
            self._writes[_file_of(target)] = writes

    def lose_power(self, source: random.Random) -> None:
        """Take away what was in memory only: of each sector the dice say whether it had come to the disk."""
        writes, self._writes = self._writes, {}
        oldest = self.seconds() - WRITTEN_BACK
        for path, unflushed in writes.items():
            for one in reversed(unflushed) if os.path.exists(path) else ():  # noqa: PTH110  (texts, not paths)
                if one.at >= oldest:
                    _tear(path, one, source)


def _file_of(path: str) -> str:
    """Give the file that a device leads to, by the name that it has in every copy of a world."""
    while os.path.islink(path):  # noqa: PTH114  (texts, not paths: after every event)
        path = os.readlink(path)  # noqa: PTH115
    return path


def _tear(path: str, one: Unflushed, source: random.Random) -> None:
    for begin in range(0, len(one.after), SECTOR):
        old, new = one.before[begin : begin + SECTOR], one.after[begin : begin + SECTOR]
        # What somebody else has written there since came to the disk in its own way.
        if source.random() < 0.5 and read_at(path, one.offset + begin, len(new)) == new:
            write_at(path, one.offset + begin, old)

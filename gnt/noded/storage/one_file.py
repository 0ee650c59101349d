"""What all disks that are one file have alike, whatever is in the file: `gnt.noded.storage.marked_files`."""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Sequence

from gnt.daemon.runtime import Pool
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.noded.storage.answers import one_by_one
from gnt.noded.storage.marked_files import MarkedFiles
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState


class OneFile:
    """A part of `IDiskTemplate`: what the file's contents do not matter for. A file is not held by anybody."""

    def __init__(self, files: MarkedFiles, pool: Pool) -> None:
        self._files = files
        self._pool = pool

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Remove the file, its mark, and the instance's directory when that is empty: `IDiskTemplate.remove`."""
        await self._pool.run(self._files.remove, disk)

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Check that the file is there: `IDiskTemplate.assemble`."""
        return DiskDevice(path=await self._pool.run(self._files.path, disk))

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do, since a file is not held: `IDiskTemplate.release`."""
        await self._pool.run(self._files.check_path, disk)

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find the file, if it is this disk's: `IDiskTemplate.find`."""
        return await self._pool.run(self._files.find, disk)

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Look at each file: `IDiskTemplate.find_many`."""
        return await one_by_one(disks, self.find)

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Check that the file is there: `IDiskTemplate.promote`."""
        await self._pool.run(self._files.path, disk)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do, since a file is not held: `IDiskTemplate.demote`."""
        await self._pool.run(self._files.check_path, disk)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Check that the file system is not too small: `IDiskTemplate.check_grow`."""
        await self._pool.run(self._files.check_grow, disk, size)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Move the file and its mark: `IDiskTemplate.rename`."""
        await self._pool.run(self._files.rename, disk, target)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Nothing to do, since a file bears no text beside its mark: `IDiskTemplate.label`."""
        await self._pool.run(self._files.path, disk)

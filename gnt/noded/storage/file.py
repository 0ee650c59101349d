"""Disks as sparse raw files: the templates `file` and `sharedfile`, spec/storage.md, section 5."""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.storage.answers import one_by_one
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.marked_files import MarkedFiles
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState


@implementer(IDiskTemplate)
class FileDisks:
    """Disks of the template `file` or `sharedfile` in the allowed directories of a node."""

    def __init__(self, place: Place, template: str = "file") -> None:
        self._files = MarkedFiles(place.layout, template)
        self._pool = place.runtime.pools("storage")

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make a sparse file of exactly `disk.size` MiB: `IDiskTemplate.create`."""
        await self._pool.run(self._files.make_raw, disk)

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

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Lengthen the file: `IDiskTemplate.grow`."""
        if backing:
            await self._pool.run(self._files.grow, disk, size)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Check that the file system is not too small: `IDiskTemplate.check_grow`."""
        await self._pool.run(self._files.check_grow, disk, size)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Move the file and its mark: `IDiskTemplate.rename`."""
        await self._pool.run(self._files.rename, disk, target)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Share the data with a new file, where the file system can: `IDiskTemplate.snapshot`."""
        await self._pool.run(self._files.clone, disk, target)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Nothing to do, since a file bears no text beside its mark: `IDiskTemplate.label`."""
        await self._pool.run(self._files.path, disk)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the file: `IDiskTemplate.contents`."""
        return Contents(place=await self._pool.run(self._files.path, disk), size=disk.size)

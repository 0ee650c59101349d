"""Disks as sparse raw files: the templates `file` and `sharedfile`, spec/storage.md, section 5."""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

from zope.interface import implementer

from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.marked_files import MarkedFiles
from gnt.noded.storage.one_file import OneFile


@implementer(IDiskTemplate)
class FileDisks(OneFile):
    """Disks of the template `file` or `sharedfile` in the allowed directories of a node."""

    def __init__(self, place: Place, template: str = "file") -> None:
        super().__init__(MarkedFiles(place.layout, template), place.runtime.pools("storage"))

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make a sparse file of exactly `disk.size` MiB: `IDiskTemplate.create`."""
        await self._pool.run(self._files.make_raw, disk)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Lengthen the file: `IDiskTemplate.grow`."""
        if backing:
            await self._pool.run(self._files.grow, disk, size)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Share the data with a new file, where the file system can: `IDiskTemplate.snapshot`."""
        await self._pool.run(self._files.clone, disk, target)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the file: `IDiskTemplate.contents`."""
        return Contents(place=await self._pool.run(self._files.path, disk), size=disk.size)

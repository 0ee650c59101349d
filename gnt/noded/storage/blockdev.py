"""Disks that are block devices made by others: the template `blockdev`, spec/storage.md, section 6.

They are adopted as they are: never made, removed, resized or renamed. A device bears no mark; that two instances do not
have the same one is the configuration's business.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import os
from collections.abc import Sequence

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.storage.allowed import NOT_ALLOWED
from gnt.noded.storage.answers import (
    GROWABLE,
    SNAPSHOTS,
    check_size,
    exists_otherwise,
    not_there,
    one_by_one,
    unsupported,
)
from gnt.noded.storage.devices import MIB, device_size
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState


@implementer(IDiskTemplate)
class BlockDevices:
    """Disks of the template `blockdev`: logical_id (`manual`, path below /dev)."""

    def __init__(self, place: Place) -> None:
        self._pool = place.runtime.pools("storage")

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Check that the device is there, and large enough: `IDiskTemplate.create`."""
        check_size(disk)
        size = await self._size(disk)
        if size < disk.size * MIB:
            raise exists_otherwise(_path(disk), f"{size // MIB} MiB", disk)

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Leave the device as it is: it was there before the disk: `IDiskTemplate.remove`."""
        _path(disk)

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Check that the device is there: `IDiskTemplate.assemble`."""
        await self._size(disk)
        return DiskDevice(path=_path(disk))

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: `IDiskTemplate.release`."""
        _path(disk)

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find the device: `IDiskTemplate.find`."""
        size = await self._pool.run(device_size, _path(disk))
        return None if size is None else DiskFacts(path=_path(disk), size=size // MIB)

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Look at each device: `IDiskTemplate.find_many`."""
        return await one_by_one(disks, self.find)

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Check that the device is there: `IDiskTemplate.promote`."""
        await self._size(disk)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: `IDiskTemplate.demote`."""
        _path(disk)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.grow`."""
        raise unsupported(disk, "grown", GROWABLE)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.check_grow`."""
        raise unsupported(disk, "grown", GROWABLE)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Take a device in under its own name; it gets no other: `IDiskTemplate.rename`."""
        if _path(disk) != _path(target):
            raise NodeFailure(
                "unsupported",
                "Devices of the template blockdev are not renamed",
                hint="whoever made the device can give it another name",
            )
        await self._size(disk)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.snapshot`."""
        raise unsupported(disk, "copied as they are at a moment", SNAPSHOTS)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Nothing to do, since a device bears no text: `IDiskTemplate.label`."""
        await self._size(disk)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the device: `IDiskTemplate.contents`."""
        await self._size(disk)
        return Contents(place=_path(disk), size=disk.size)

    async def _size(self, disk: DiskSpec) -> int:
        """Give the size in bytes of the device; raises `not_found`."""
        size = await self._pool.run(device_size, _path(disk))
        if size is None:
            raise not_there(disk, f"block device {_path(disk)}")
        return size


def _path(disk: DiskSpec) -> str:
    """Give the path of the device, or refuse it."""
    if len(disk.logical_id) != 2:
        raise NodeFailure("wrong_input", f"{disk.shown}: logical_id must be driver and path")
    path = str(disk.logical_id[1])
    if "\0" in path or not path.startswith("/dev/") or not os.path.realpath(path).startswith("/dev/"):
        raise NodeFailure(NOT_ALLOWED, f"Path {path!r} is not acceptable for a block device", hint="below /dev")
    return path
